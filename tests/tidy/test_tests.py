"""How tests wait and what they accept: a condition instead of a fixed sleep, one right status instead of several."""

import ast
from pathlib import Path
from typing import Final

import pytest

from tests.tidy.repository import ROOT, place, sources, tree_of

# Files that may sleep, and why.
SLEEPERS: Final = {
    "tests/waiting.py": "all other tests wait by its functions",
    "tests/simulation": "its time is virtual",
    "tests/unit/objstore/system/test_concurrency.py": "sleeping is what it tests",
}
# Files that may accept several statuses, and why.
SEVERAL_STATUSES: Final = {
    "tests/simulation": "faults at random: what each status means is held against a model",
    "tests/properties": "statuses of servers at random: the property says which answers each mix allows",
    "tests/functional/test_consistency.py": "writes race: which one is newer is left to chance",
    "tests/functional/test_durability.py": "writes race: which one is newer is left to chance",
    "tests/functional/test_strong_objects.py": "writes race: which one is first is left to chance",
    "tests/compat": "two programs are compared",
}
HTTP_STATUSES: Final = range(100, 600)


def allowed(path: Path, table: dict[str, str]) -> bool:
    """Whether a file or a folder around it stands in a table."""
    name = str(path.relative_to(ROOT))
    return any(name == listed or name.startswith(f"{listed}/") for listed in table)


def sleeps(tree: ast.Module) -> list[int]:
    """The lines of calls of a function named sleep that take some time; sleep() and sleep(0) let others run."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")) == "sleep"
        and not all(isinstance(each, ast.Constant) and each.value == 0 for each in node.args)
    ]


def several_statuses(tree: ast.Module) -> list[int]:
    """The lines that assert that something is one of several numbers that are HTTP statuses."""
    return [
        node.lineno
        for asserted in ast.walk(tree)
        if isinstance(asserted, ast.Assert)
        for node in ast.walk(asserted)
        if isinstance(node, ast.Compare)
        and isinstance(node.ops[0], ast.In | ast.LtE)
        and isinstance(choice := node.comparators[0], ast.Tuple | ast.Set | ast.List)
        and len(choice.elts) > 1
        and all(isinstance(each, ast.Constant) and each.value in HTTP_STATUSES for each in choice.elts)
    ]


def test_tests_wait_for_conditions() -> None:
    wrong = [
        place(path, line) for path in sources("tests") if not allowed(path, SLEEPERS) for line in sleeps(tree_of(path))
    ]
    assert wrong == [], "use tests.waiting: a condition with a deadline, or time that is part of the case"


def test_tests_decide_on_one_status() -> None:
    wrong = [
        place(path, line)
        for path in sources("tests")
        if not allowed(path, SEVERAL_STATUSES)
        for line in several_statuses(tree_of(path))
    ]
    assert wrong == [], "decide which status is right"


@pytest.mark.parametrize(
    ("code", "seen"),
    [("time.sleep(1)", True), ("sleep(x)", True), ("concurrency.sleep()", False), ("sleep(0)", False)],
)
def test_sleeps_are_seen(code: str, seen: bool) -> None:
    assert bool(sleeps(ast.parse(code))) is seen


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        ("assert a.status in (200, 204)", True),
        ("assert {x.status for x in y} <= {201, 503}", True),
        ("assert a.status == 200", False),
        ("assert a in (1, 2)", False),
        ("assert a.status in (200,)", False),
    ],
)
def test_several_statuses_are_seen(code: str, seen: bool) -> None:
    assert bool(several_statuses(ast.parse(code))) is seen
