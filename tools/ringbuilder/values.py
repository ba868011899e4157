"""Words of the command line as values. Whatever is none raises BuilderError with one line that says which and why."""

from __future__ import annotations

import re
from typing import Final

import xxhash

from objstore.ring.errors import BuilderError, require

WHOLE: Final = re.compile(r"[0-9]{1,9}")


def whole(word: str, what: str) -> int:
    """A whole number of 0 or more, such as a zone or a port."""
    require(WHOLE.fullmatch(word) is not None, f"{what} must be a whole number of 0 or more, not {word!r}")
    return int(word)


def number(word: str, what: str) -> float:
    """Any number, infinity and NaN too: what makes no sense is refused where it is used."""
    try:
        return float(word)
    except ValueError:
        raise BuilderError(f"{what} must be a number, not {word!r}") from None


def share(word: str, what: str) -> float:
    """A share such as 0.1 or 10%."""
    if word.endswith("%"):
        return number(word.removesuffix("%"), what) / 100
    return number(word, what)


def text(word: str, what: str) -> str:
    """Anything that can be shown in one line and stored as UTF-8."""
    require(word.isprintable(), f"{what} has characters that cannot be shown: {word!r}")
    return word


def seed(word: str) -> int:
    """A number counts as it is, any other text by its hash."""
    if WHOLE.fullmatch(word):
        return int(word)
    return xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogateescape"))
