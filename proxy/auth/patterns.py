"""Patterns of access policies: "*" stands for any text, "?" for one character, ${name} for what a request says.

A pattern is matched piece by piece from the left, so a hostile one costs no more than its length times the text's. What
takes a variable's place is text, never a wildcard.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from msgspec import Struct

# Gives the value of a variable by its lower-case name; None if the request has none, or more than one.
Variables = Callable[[str], str | None]

# One character of any kind, within a piece. No policy and no key holds a NUL.
ANY: Final = "\0"
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_DEFAULT: Final = re.compile(r"([^,]+?)\s*,\s*'([^']*)'")
_LITERALS: Final = {"*": "*", "?": "?", "$": "$"}


class PatternVariable(Struct, frozen=True):
    """${name} or ${name, 'default'}; the name in lower case."""

    name: str
    default: str | None = None


class Star(Struct, frozen=True):
    """Any text, also none."""


STAR: Final = Star()


class Pattern(Struct, frozen=True):
    """A pattern taken apart: text in which ANY stands for "?", stars, and variables."""

    parts: tuple[str | Star | PatternVariable, ...]

    @property
    def fixed(self) -> bool:
        """Whether it is plain text, which only itself matches."""
        return all(isinstance(part, str) and ANY not in part for part in self.parts)

    @property
    def beginning(self) -> str:
        """The plain text with which everything begins that it matches."""
        first = self.parts[0] if self.parts else ""
        return first.partition(ANY)[0] if isinstance(first, str) else ""

    def text(self, variables: Variables) -> str | None:
        """The text it stands for where wildcards mean themselves; None if a variable has no value."""
        pieces = self._pieces(variables)
        return None if pieces is None else "*".join(pieces).replace(ANY, "?")

    def matches(self, text: str, variables: Variables) -> bool:
        pieces = self._pieces(variables)
        return pieces is not None and _glob(pieces, text)

    def _pieces(self, variables: Variables) -> list[str] | None:
        """The text between stars."""
        pieces = [""]
        for part in self.parts:
            if isinstance(part, Star):
                pieces.append("")
            elif isinstance(part, str):
                pieces[-1] += part
            else:
                value = variables(part.name)
                if value is None:
                    value = part.default
                if value is None:
                    return None
                pieces[-1] += value.replace(ANY, "")
        return pieces


def parse_pattern(text: str, *, variables: bool) -> Pattern:
    """Take a pattern apart; without `variables`, as in the policy language of 2008, "${" is text. Raises ValueError."""
    parts: list[str | Star | PatternVariable] = []
    at = 0
    for found in _VARIABLE.finditer(text) if variables else ():
        _add_text(parts, text[at : found.start()])
        at, name = found.end(), found[1].strip()
        if name in _LITERALS:
            parts.append(_LITERALS[name])
        else:
            with_default = _DEFAULT.fullmatch(name)
            parts.append(
                PatternVariable(with_default[1].lower(), with_default[2])
                if with_default
                else PatternVariable(name.lower())
            )
    _add_text(parts, text[at:])
    if variables and "${" in _VARIABLE.sub("", text):
        raise ValueError(f"a variable without an end in {text!r}")
    return Pattern(tuple(parts))


def _add_text(parts: list[str | Star | PatternVariable], text: str) -> None:
    for place, piece in enumerate(text.split("*")):
        if place and (not parts or parts[-1] is not STAR):
            parts.append(STAR)
        if piece:
            parts.append(piece.replace("?", ANY))


def _glob(pieces: list[str], text: str) -> bool:
    """Whether the text is the pieces in this order, with anything between them."""
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return len(first) == len(text) and _find(first, text, 0) == 0
    end = len(text) - len(last)
    if end < len(first) or _find(first, text[: len(first)], 0) or _find(last, text[end:], 0):
        return False
    at, middle = len(first), text[:end]
    for piece in pieces[1:-1]:
        found = _find(piece, middle, at)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def _find(piece: str, text: str, at: int) -> int:
    """Where a piece is found first, from `at` on; -1 if it is not."""
    if ANY not in piece:
        return text.find(piece, at)
    found = _compiled(piece).search(text, at)
    return found.start() if found else -1


@lru_cache(maxsize=1024)
def _compiled(piece: str) -> re.Pattern[str]:
    return re.compile(".".join(re.escape(each) for each in piece.split(ANY)), re.DOTALL)
