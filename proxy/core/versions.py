"""Ids of versions: an opaque spelling of the timestamp at which a version was written; "null" is the plain line.

    000056e2f8a5b2c1                    the ticks, in 16 hex digits
    000056e2f8a5b2c1000000000000000a    and the offset, in 16 more, if there is one

So ids sort as versions do. Only this file knows how they are spelt. The timestamp itself, which is what Swift shows,
is understood too.
"""

from __future__ import annotations

import re
from typing import Final

from objstore.timestamps import TICKS_MAX, Timestamp

NULL: Final = "null"
_DIGITS: Final = 16
_ID: Final = re.compile(r"[0-9a-f]{16}(?:[0-9a-f]{16})?")
_TIMESTAMP: Final = re.compile(r"[0-9]{10}\.[0-9]{5}(?:_[0-9a-f]{16})?")


def public_id(version: str) -> str:
    """The id of a version, given its internal timestamp; that of the plain line for "" or "null"."""
    if version in ("", NULL):
        return NULL
    stamp = Timestamp.parse(version)
    return f"{stamp.ticks:016x}{stamp.offset:016x}" if stamp.offset else f"{stamp.ticks:016x}"


def version_of(identifier: str) -> str:
    """The internal timestamp of the version with this id, "null" for the plain line. Raises ValueError."""
    if identifier == NULL:
        return NULL
    if _TIMESTAMP.fullmatch(identifier):
        return Timestamp.parse(identifier).internal
    ticks = int(identifier[:_DIGITS], 16) if _ID.fullmatch(identifier) else TICKS_MAX + 1
    if ticks > TICKS_MAX:
        raise ValueError(f"not the id of a version: {identifier!r}")
    return Timestamp(ticks, int(identifier[_DIGITS:] or "0", 16)).internal
