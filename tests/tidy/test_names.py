"""One public class name has one meaning in the whole tree."""

import ast
from collections import defaultdict

from tests.tidy.repository import ROOT, sources, tree_of


def public_classes(tree: ast.Module) -> list[str]:
    """The names of a module's classes, those inside others too, which are not private."""
    return [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]


def places() -> dict[str, list[str]]:
    """Where each public class name stands."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sources():
        for name in public_classes(tree_of(path)):
            found[name].append(str(path.relative_to(ROOT)))
    return found


def test_a_class_name_means_one_thing() -> None:
    assert {name: files for name, files in places().items() if len(files) > 1} == {}


def test_private_and_inner_classes() -> None:
    tree = ast.parse("class A:\n    class B: pass\nclass _C: pass\ndef f():\n    class D: pass\n")
    assert sorted(public_classes(tree)) == ["A", "B", "D"]
