"""The core of the proxy, and the modules of values below it, know no API: no status, no environ, no client's header."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tidy.repository import ROOT, imported, place

CORE = ROOT / "proxy/core"
# The one place of the core that speaks the storage servers' protocol.
WIRE = CORE / "backend"
VALUES = [ROOT / "objstore" / name for name in ("limits.py", "rows.py", "mounts.py", "scheme.py")]
NEUTRAL = sorted(CORE.rglob("*.py")) + VALUES
HEADERS = "objstore.headers"
EDGES = ("objstore.proxy.swift", "objstore.proxy.s3")
FORBIDDEN = (*EDGES, "objstore.proxy.auth", "objstore.http.errors", "objstore.http.messages.Request")
# Numbers that are sizes and times, and could be statuses.
HARMLESS = {128, 256}


def statuses(source: str) -> Iterator[int]:
    """The lines with a number that is an HTTP status."""
    for node in ast.walk(ast.parse(source)):
        value = node.value if isinstance(node, ast.Constant) else None
        if type(value) is int and 200 <= value < 600 and value not in HARMLESS:
            yield node.lineno  # type: ignore[attr-defined]


def names(source: str) -> Iterator[tuple[int, str]]:
    """Every name and attribute that is spelt."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr


def header_like(source: str) -> Iterator[int]:
    """The lines with a string that is a header's name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(("X-", "HTTP_")):
            yield node.lineno


@pytest.mark.parametrize(
    ("source", "bad"),
    [("x = 404", True), ("x = 65536", False), ("x = 0.5", False), ("x = 256", False), ("raise E(503)", True)],
)
def test_rule(source: str, bad: bool) -> None:
    assert bool(list(statuses(source))) is bad


def test_the_core_has_no_status() -> None:
    found = [place(path, line) for path in NEUTRAL if WIRE not in path.parents for line in statuses(path.read_text())]
    assert found == []


def test_the_core_imports_no_edge_and_no_error_of_http() -> None:
    found = [
        f"{place(path, line)} {module}"
        for path in NEUTRAL
        for line, module in imported(path)
        if module.startswith(FORBIDDEN)
    ]
    assert found == []


def test_only_the_wire_knows_headers() -> None:
    found = [
        f"{place(path, line)} {module}"
        for path in NEUTRAL
        if WIRE not in path.parents
        for line, module in imported(path)
        if module.startswith(HEADERS)
    ]
    found += [place(path, line) for path in NEUTRAL for line in header_like(path.read_text())]
    assert found == []


def test_the_core_sees_no_environ() -> None:
    found = [
        place(path, line)
        for path in NEUTRAL
        for line, name in names(path.read_text())
        if name in ("environ", "HttpError")
    ]
    assert found == []


def test_authentication_knows_neither_the_core_nor_an_api() -> None:
    found = [
        f"{place(path, line)} {module}"
        for path in sorted((ROOT / "proxy/auth").rglob("*.py"))
        for line, module in imported(path)
        if module.startswith((*EDGES, "objstore.proxy.core", HEADERS, "objstore.http"))
    ]
    assert found == []


def test_edges_leave_the_wire_to_the_core() -> None:
    found = [
        f"{place(path, line)} {module}"
        for edge in ("proxy/swift", "proxy/s3")
        for path in sorted((ROOT / edge).rglob("*.py"))
        for line, module in imported(path)
        if module.startswith(("objstore.proxy.core.backend", "objstore.http.transport.Backend"))
    ]
    assert found == []


def test_every_module_is_looked_at() -> None:
    assert all(path.exists() for path in NEUTRAL)
    assert Path(CORE / "objects.py") in NEUTRAL
