"""Checks of rows that arrive from other servers, common to all kinds."""

from __future__ import annotations

import re
from typing import Final

from objstore.db.status import NEVER
from objstore.http.errors import HttpError

# The internal form, exactly: stored timestamps are compared as text.
_TIMESTAMP: Final = re.compile(r"[0-9]{10}\.[0-9]{5}(?:_[0-9a-f]{16})?", re.ASCII).fullmatch
INTEGER_MAX: Final = 2**63 - 1  # what SQLite stores


def checked_timestamp(text: str) -> str:
    """A timestamp in its internal form, "0" for never. Raises HttpError 400."""
    if _TIMESTAMP(text):
        return text
    if text == "0":
        return NEVER
    raise HttpError(400, f"Bad timestamp {text[:40]!r}")


def check_integers(*numbers: int) -> None:
    """Raises HttpError 400 if one is negative or too large to be stored."""
    for number in numbers:
        if not 0 <= number <= INTEGER_MAX:
            raise HttpError(400, "Bad number in a row")


def check_name(name: str, length_max: int) -> None:
    """Raises HttpError 400 if a name is empty or too long in UTF-8.

    Whether a reserved name is allowed was decided where its object or container was written.
    """
    if not name or (len(name) * 4 > length_max and len(name.encode()) > length_max):
        raise HttpError(400, f"A row's name must have 1 to {length_max} bytes")
