"""Layers inside the tiers: which folder or module may not import which other, and why."""

from pathlib import Path
from typing import Final

import pytest

from tests.tidy.repository import ROOT, imported, place, sources

# Files that every tier exchanges: what a value is does not depend on how it travels, or where it is stored.
VALUES: Final = (
    "objstore/cluster.py",
    "objstore/devices.py",
    "objstore/errors.py",
    "objstore/headers.py",
    "objstore/limits.py",
    "objstore/mounts.py",
    "objstore/paths.py",
    "objstore/policies.py",
    "objstore/quorum.py",
    "objstore/rows.py",
    "objstore/scheme.py",
    "objstore/timestamps.py",
)
# Who imports -> what it may not import -> the reason.
FORBIDDEN: Final[dict[str, dict[tuple[str, ...], str]]] = {
    **{
        path: {("objstore.http", "objstore.db", "objstore.operators"): "a value knows no protocol and no storage"}
        for path in VALUES
    },
    "objstore/system": {
        (
            "objstore.http",
            "objstore.db",
            "objstore.operators",
            "objstore.logs",
            "objstore.metrics",
        ): "the real world is the lowest layer"
    },
    "objstore/config": {
        ("objstore.http", "objstore.db", "objstore.system"): "reading a configuration starts nothing and opens nothing"
    },
    "objstore/http": {
        ("objstore.config", "objstore.db", "objstore.operators"): "a protocol is used by servers and by clients alike"
    },
    "objstore/db": {("objstore.operators",): "reports read what daemons write down, not the reverse"},
    "object/file_engine": {
        ("objstore.object.replication", "objstore.object.container_updates"): "an engine stores; who calls it decides",
        ("objstore.http", "objstore.config"): "an engine has values in and out, whatever protocol brings them",
    },
    "object/replication": {
        ("objstore.object.file_engine",): "replication works on every engine",
        ("objstore.object.container_updates",): "replicas are compared; listings are the updater's",
    },
    "object/container_updates": {
        ("objstore.object.file_engine", "objstore.object.replication"): "updates do not depend on how objects are kept"
    },
    "proxy/core": {
        ("objstore.proxy.swift", "objstore.proxy.s3"): "an API needs nothing but an edge of its own",
        ("objstore.proxy.auth",): "an edge asks whether a request is allowed before it gives the core a command",
    },
    "proxy/swift": {("objstore.proxy.s3",): "the two APIs meet in the core"},
    "proxy/s3": {("objstore.proxy.swift",): "the two APIs meet in the core"},
    **{
        tier: {
            (
                "objstore.http",
                "objstore.db",
                "objstore.ring",
                "objstore.account",
                "objstore.container",
                "objstore.object",
                "objstore.proxy",
            ): "cloud services are clients of a store: they use it through objstore/client"
        }
        for tier in ("objstore/cloud", "identity", "image", "compute")
    },
    "proxy/auth": {
        ("objstore.proxy.core", "objstore.proxy.swift", "objstore.proxy.s3"): "rights are the same for every API",
        ("objstore.http",): "credentials are values; which header carries them is an API's",
    },
}


def is_below(module: str, package: str) -> bool:
    """Whether a module is the package or lies in it."""
    return module == package or module.startswith(f"{package}.")


def reason_against(path: str, module: str) -> tuple[str, str]:
    """Which layer a file breaks with an import, and the reason; "" twice if it breaks none."""
    for layer, rules in FORBIDDEN.items():
        if path == layer or path.startswith(f"{layer}/"):
            for packages, reason in rules.items():
                if any(is_below(module, package) for package in packages):
                    return layer, reason
    return "", ""


def test_no_layer_imports_what_it_must_not_know() -> None:
    wrong = []
    for path in sources():
        for line, module in imported(path):
            layer, reason = reason_against(str(path.relative_to(ROOT)), module)
            if layer:
                wrong.append(f"{place(path, line)} imports {module}: {reason}")
    assert wrong == []


def test_every_layer_of_the_table_is_there() -> None:
    assert [layer for layer in FORBIDDEN if not (ROOT / layer).exists()] == []
    packages = {package for rules in FORBIDDEN.values() for each in rules for package in each}
    folders = {package: ROOT / "objstore" / Path(*package.split(".")[1:]) for package in packages}
    assert [
        package for package, path in folders.items() if not path.exists() and not path.with_suffix(".py").exists()
    ] == []


@pytest.mark.parametrize(
    ("path", "module", "layer"),
    [
        ("proxy/core/objects.py", "objstore.proxy.auth.acl.Acl", "proxy/core"),
        ("proxy/core/objects.py", "objstore.proxy.core.nodes", ""),
        ("proxy/swift/app.py", "objstore.proxy.core.objects", ""),
        ("objstore/rows.py", "objstore.http.errors.HttpError", "objstore/rows.py"),
        ("objstore/rows.py", "objstore.httpd", ""),
        ("object/file_engine/engine.py", "objstore.object.engine", ""),
        ("image/uploads.py", "objstore.http.client", "image"),
        ("image/uploads.py", "objstore.client.store", ""),
    ],
)
def test_rule(path: str, module: str, layer: str) -> None:
    assert reason_against(path, module)[0] == layer
