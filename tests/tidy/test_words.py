"""Words that do not belong into the sources: leftovers, and names of things outside of them."""

import re
from typing import Final

import pytest

from tests.tidy.repository import ROOT, files

FORBIDDEN: Final = re.compile(
    r"\b(?:TODO|FIXME|XXX|HACK|breakpoint\(\)|pdb\.set_trace|monkey_patch\(|pickle\.loads?\()"
)
TEXT: Final = {".py", ".toml", ".md", ".cfg", ".yaml", ".sh", ".lua"}


@pytest.mark.parametrize("line", ["# TODO: later", "x = 1  # FIXME", "breakpoint()"])
def test_leftovers_are_seen(line: str) -> None:
    assert FORBIDDEN.search(line)


def test_no_forbidden_words() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()}"
        for path in files()
        if path.suffix in TEXT and path.name != "test_words.py"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if FORBIDDEN.search(line)
    ]
    assert not wrong


def test_no_tabs_or_trailing_blanks() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files()
        if path.suffix in TEXT - {".md"}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if line != line.rstrip() or (path.suffix == ".py" and "\t" in line)
    ]
    assert not wrong
