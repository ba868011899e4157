"""Digests by which replicas of a database see that they are equal, without looking at their rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
import xxhash

from objstore.db.description import Row

_encode: Final = msgspec.json.Encoder().encode


def row_digest(row: Row) -> int:
    """64 bits of a row in its stored form, as a signed integer, which is what SQLite stores.

    The digest of a set of rows is the exclusive or of those of its rows: it follows each change at once, and the
    order of the changes is nothing.
    """
    digest = xxhash.xxh3_64_intdigest(_encode(row))
    return digest if digest < 1 << 63 else digest - (1 << 64)


def rows_digest(rows: Iterable[Row]) -> int:
    """That of a set of rows."""
    digest = 0
    for row in rows:
        digest ^= row_digest(row)
    return digest


def items_digest(items: Iterable[tuple[str, str, str]]) -> str:
    """That of metadata: names, values and timestamps, in the order of the names."""
    return xxhash.xxh3_64_hexdigest(_encode(list(items)))
