"""What judges the store uses none of its code: a mistake there must not be the judge's mistake, too."""

import ast
from pathlib import Path
from typing import Final

import pytest

from tests.tidy.repository import ROOT, imported, place, tree_of

# The simulation's model of what must be, and the checks of what is.
ORACLE: Final = tuple(
    ROOT / "tests/simulation" / f"{name}.py"
    for name in ("checks", "copy_inventory", "expiry", "findings", "listings", "model", "queues", "stored_forms")
)
# Virtual time stands for real time: a check that waits does so by it.
HARNESS: Final = "objstore.system.concurrency"
# Objects of the store that the simulated world holds; its `rings` say where copies belong, which the checks are told.
JUDGED_ATTRIBUTES: Final = {"hasher", "cluster", "partition_of"}


def used_code(path: Path) -> list[str]:
    """Where a module of the oracle imports code of the store, or reaches it through the simulated world."""
    found = [
        f"{place(path, line)} imports {module}"
        for line, module in imported(path)
        if module.split(".")[0] == "objstore" and module != HARNESS
    ]
    return found + [
        f"{place(path, node.lineno)} uses .{node.attr}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and node.attr in JUDGED_ATTRIBUTES
    ]


@pytest.mark.parametrize("path", ORACLE, ids=lambda path: path.name)
def test_the_oracle_uses_no_code_that_it_judges(path: Path) -> None:
    assert used_code(path) == []


def test_what_the_oracle_must_not_use_is_seen() -> None:
    bugs = ROOT / "tests/simulation/object_bugs.py"
    assert any("objstore.timestamps" in line for line in used_code(bugs))
    world = ROOT / "tests/simulation/world.py"
    assert any("uses .cluster" in line for line in used_code(world))
