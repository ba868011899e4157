"""Files and functions stay small. What is larger is listed, and may only shrink."""

import ast
import json
from pathlib import Path
from typing import Final

from tests.tidy.repository import RANKS, ROOT, sources

FILE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 60
RATCHET: Final = Path(__file__).with_name("sizes.json")


def sizes(name: str, text: str) -> dict[str, int]:
    """What of a source file is larger than allowed: name -> lines."""
    found = {}
    lines = len(text.splitlines())
    if lines > FILE_LINES_MAX:
        found[name] = lines
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                found[f"{name}::{node.name}"] = length
    return found


def test_nothing_is_larger_than_allowed_or_listed() -> None:
    allowed: dict[str, int] = json.loads(RATCHET.read_text(encoding="utf-8"))
    found: dict[str, int] = {}
    for path in sources(*RANKS, "tests"):
        found |= sizes(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
    grown = {name: lines for name, lines in found.items() if lines > allowed.get(name, 0)}
    assert not grown, "split these"
    shrunk = {name: lines for name, lines in allowed.items() if found.get(name, 0) < lines}
    assert not shrunk, f"these are smaller now: lower or drop them in {RATCHET.name}"


def test_what_is_too_long_is_seen() -> None:
    function = "def long():\n" + "    pass\n" * FUNCTION_LINES_MAX
    assert sizes("a.py", function) == {"a.py::long": FUNCTION_LINES_MAX + 1}
    assert sizes("a.py", "pass\n" * (FILE_LINES_MAX + 1)) == {"a.py": FILE_LINES_MAX + 1}
    assert sizes("a.py", "pass\n" * FILE_LINES_MAX) == {}
