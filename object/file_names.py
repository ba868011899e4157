"""What the names of an object's files say.

File names in `.../HASH/` are

    TIMESTAMP.data                  the object's body and metadata (replication)
    TIMESTAMP#FRAGMENT.data         one erasure-coded fragment, not yet known to be durable in the cluster
    TIMESTAMP#FRAGMENT#d.data       the same fragment once the whole write is durable
    TIMESTAMP.meta                  metadata that replaces the data file's
    TIMESTAMP+TYPE_TIMESTAMP.meta   the same, with a content type, which was set at TYPE_TIMESTAMP
    TIMESTAMP.ts                    a tombstone
    TIMESTAMP!null.ts               a delete marker that newer plain files replace

These form the plain line: the newest write replaces older ones. A version that is kept whatever is written later is
called by its TIMESTAMP, here VERSION, and has a line of its own:

    VERSION!.data                   its body and metadata; as a fragment VERSION!#FRAGMENT[#d].data
    TIMESTAMP!VERSION[#...].data    the same body written again, later: the version was made the current one then
    VERSION!.ts                     in place of a body: a delete marker
    TIMESTAMP[+TYPE]!VERSION.meta   metadata that replaces the data file's
    TIMESTAMP!VERSION.ts            a removal mark: the version was removed, and stays so

In the line of a version, too, the newest body replaces older ones. Lines do not touch each other: what becomes of one
follows from its own names alone. The object reads as what is newest of all that lives: a body, or a delete marker, with
which the object reads as deleted.

TIMESTAMP is the internal form `1234567890.12345[_OFFSET]`. Its seconds have ten digits and its offset
sixteen, so that the text sorts as the time does and this module compares text only.

The content type's timestamp is part of the name, not only of the metadata: two replicas that saw different
POSTs then have different names, and comparing names is all that replication does to find them.
"""

import re
from typing import Final

from msgspec import Struct

_TIMESTAMP = r"\d{10}\.\d{5}(?:_[0-9a-f]{16})?"
_NAME: Final = re.compile(
    rf"(?P<timestamp>{_TIMESTAMP})"
    rf"(?:(?:(?P<keeps>!)(?P<kept>{_TIMESTAMP})?)?(?:#(?P<fragment>\d{{1,4}})(?P<durable>#d)?)?(?P<data>\.data)"
    rf"|(?:\+(?P<type_timestamp>{_TIMESTAMP}))?(?:!(?P<described>{_TIMESTAMP}))?(?P<meta>\.meta)"
    rf"|(?:(?P<marks>!)(?P<marked>null|{_TIMESTAMP})?)?(?P<tombstone>\.ts))",
    re.ASCII,
)
_FRAGMENT: Final = re.compile(r"#\d+")
WHOLE: Final = -1  # in place of a fragment's number
NULL: Final = "null"  # how requests and names call the plain line, whose `version` is ""


class DataFile(Struct, frozen=True, order=True):
    """A `.data` file; `fragment` is -1 when it holds the whole object, `version` "" in the plain line."""

    timestamp: str
    fragment: int
    durable: bool
    name: str
    version: str = ""


class MetaFile(Struct, frozen=True, order=True):
    """A `.meta` file; `type_timestamp` is "" when it carries no content type. Sorts oldest first."""

    timestamp: str
    type_timestamp: str
    name: str
    version: str = ""


class Tombstone(Struct, frozen=True, order=True):
    """A `.ts` file that removes the plain line up to its timestamp, or a kept version."""

    timestamp: str
    name: str
    version: str = ""


class DeleteMarker(Struct, frozen=True, order=True):
    """A `.ts` file that stands for a version: with it the object reads as deleted."""

    timestamp: str
    name: str
    version: str = ""


StoredName = DataFile | MetaFile | Tombstone | DeleteMarker


def data_name(timestamp: str, fragment: int = WHOLE, durable: bool = True, version: str = "") -> str:
    """Name of a data file, of a kept `version` if one is given; `fragment` -1 for a whole one, which is durable."""
    stem = f"{timestamp}!{version if version != timestamp else ''}" if version else timestamp
    if fragment == WHOLE:
        return stem + ".data"
    return f"{stem}#{fragment}{'#d' if durable else ''}.data"


def meta_name(timestamp: str, type_timestamp: str = "", version: str = "") -> str:
    """Name of a metadata file, which carries a content type when `type_timestamp` is given."""
    stem = f"{timestamp}+{type_timestamp}" if type_timestamp else timestamp
    return f"{stem}!{version}.meta" if version else stem + ".meta"


def tombstone_name(timestamp: str, version: str = "") -> str:
    """Name of a tombstone; of the removal mark of a kept version, if one is given."""
    return f"{timestamp}!{version}.ts" if version else timestamp + ".ts"


def marker_name(timestamp: str, kept: bool) -> str:
    """Name of a delete marker."""
    return f"{timestamp}!.ts" if kept else f"{timestamp}!{NULL}.ts"


def shared_name(name: str) -> str:
    """What the names of all fragments of one write have in common; of other files it is the name."""
    return _FRAGMENT.sub("#", name) if "#" in name else name


def parse_name(name: str) -> StoredName | None:
    """What one file name says, None when it is of no known form."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    timestamp, keeps, kept, fragment, durable, data, *of_others = match.groups()
    type_timestamp, described, meta, marks, marked, _ = of_others
    if data:
        index = WHOLE if fragment is None else int(fragment)
        is_durable = index == WHOLE or durable is not None
        # A version is called by its first body's timestamp, so that no other one is older.
        if kept and kept >= timestamp:
            return None
        return DataFile(timestamp, index, is_durable, name, kept or (timestamp if keeps else ""))
    if meta:
        # A content type is never set after the metadata that carries it; the rules below lean on that.
        if type_timestamp and type_timestamp > timestamp:
            return None
        return MetaFile(timestamp, type_timestamp or "", name, described or "")
    if marks is None:
        return Tombstone(timestamp, name)
    if marked is None or marked == NULL:
        return DeleteMarker(timestamp, name, "" if marked else timestamp)
    return Tombstone(timestamp, name, marked)
