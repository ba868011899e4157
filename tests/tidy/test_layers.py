"""Imports point down only, and what is to be replaced one day is imported in one place."""

import re
from pathlib import Path

import pytest

from tests.tidy.repository import RANKS, ROOT, imported, place, sources, tier_of

EVENTLET = ROOT / "objstore/system/concurrency.py"
GREENLETS = EVENTLET, ROOT / "objstore/system/hub.py"


def target_tier(module: str) -> str | None:
    """The tier a module belongs to; None if it is none of ours."""
    parts = module.split(".")
    if parts[0] != "objstore":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in RANKS else "objstore"


def upward(tier: str, module: str) -> bool:
    target = target_tier(module)
    return target is not None and target != tier and RANKS[target] >= RANKS[tier]


@pytest.mark.parametrize(
    ("tier", "module", "bad"),
    [
        ("object", "objstore.ring.ring.Ring", False),
        ("object", "objstore.container.server", True),
        ("objstore", "objstore.ring", True),
        ("proxy", "objstore.object.server", False),
        ("tools", "objstore.proxy.swift.app", False),
        ("ring", "objstore.devices.Device", False),
        ("ring", "os.path", False),
    ],
)
def test_rule(tier: str, module: str, bad: bool) -> None:
    assert upward(tier, module) is bad


def test_imports_point_down() -> None:
    wrong = [
        f"{place(path, line)} {tier_of(path)} imports {module}"
        for path in sources()
        for line, module in imported(path)
        if upward(tier_of(path), module)
    ]
    assert not wrong


def test_no_relative_imports() -> None:
    wrong = [place(path, line) for path in sources() for line, module in imported(path) if module.startswith(".")]
    assert not wrong


def test_eventlet_and_greenlet_are_imported_in_one_place() -> None:
    assert _users("eventlet") == {EVENTLET}
    assert _users("greenlet") <= set(GREENLETS)


def _users(library: str) -> set[Path]:
    return {path for path in sources() for _, module in imported(path) if module.split(".")[0] == library}


def test_tests_import_eventlet_nowhere() -> None:
    wrong = [
        place(path, line)
        for path in sources("tests")
        for line, module in imported(path)
        if module.split(".")[0] in ("eventlet", "greenlet")
    ]
    assert not wrong


def test_every_tier_is_linked() -> None:
    tiers = [tier for tier in RANKS if tier != "objstore" and (ROOT / tier).is_dir()]
    assert tiers
    for tier in tiers:
        link = ROOT / "objstore" / tier
        assert link.is_symlink(), f"objstore/{tier} is missing"
        assert link.readlink() == Path("..") / tier


def test_every_folder_of_sources_is_a_package() -> None:
    folders = {path.parent for path in sources()}
    assert [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_packaging_knows_every_tier() -> None:
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    tiers = re.search(r"TIERS = \((.*?)\)", setup, re.DOTALL)
    assert tiers is not None
    assert set(re.findall(r'"(\w+)"', tiers[1])) == {
        tier for tier in RANKS if tier != "objstore" and (ROOT / tier).is_dir()
    }
