"""The queue of misplaced objects: containers of an internal account, an entry for each object in a wrong policy.

Replicas of a container that were put under different policies agree on one of them in the end. What was stored under
another is not listed, and found in the container's rows by their policy. Each such row becomes an entry of the queue,
a row of a container that is named after an hour:

    .misplaced_objects/1700000000/1:0000000000.00000:1699999999.00000:/AUTH_test/photos/cat.jpg

says that a version of the object lies in policy 1, where it should not be in this life of its container: that after the
deletion of the first timestamp (there was none), which began at the second. The entry's own timestamp is that of the
row, and so is its ETag; its content type says whether the version is a deletion. Queueing it again changes nothing,
taking it out is the next timestamp, and a newer version is a newer entry. Another life has entries of its own: what
was in its place in one may not be in the next.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from objstore.db.status import Life
from objstore.paths import ResourcePath
from objstore.rows import ObjectRow
from objstore.timestamps import Timestamp

ACCOUNT: Final = ".misplaced_objects"
DIVISOR: Final = 3600
PUT_TYPE: Final = "application/x-put"
DELETE_TYPE: Final = "application/x-delete"
# What reconciling writes sorts behind the client's write it repeats, and before any later one.
REMOVAL_OFFSET: Final = 1
MOVE_OFFSET: Final = 2


class Misplaced(Struct, frozen=True, gc=False):
    """A version of an object in a policy that is not its container's in one of the container's lives."""

    path: ResourcePath
    life: Life
    policy_index: int
    timestamp: Timestamp
    deleted: bool

    @property
    def name(self) -> str:
        """That of its entry."""
        return f"{self.policy_index}:{self.life.ended}:{self.life.began}:{self.path}"

    @property
    def queue(self) -> ResourcePath:
        """The container that holds its entry."""
        return ResourcePath(ACCOUNT, str(int(self.timestamp.seconds) // DIVISOR * DIVISOR))

    @property
    def row(self) -> ObjectRow:
        """Its entry."""
        moment = self.timestamp.internal
        return ObjectRow(self.name, moment, 0, DELETE_TYPE if self.deleted else PUT_TYPE, moment)

    @property
    def removed_row(self) -> ObjectRow:
        """What takes its entry out."""
        moment = later(self.timestamp, REMOVAL_OFFSET).internal
        return ObjectRow(self.name, moment, 0, "", "", deleted=True)


def misplaced(path: ResourcePath, life: Life, row: ObjectRow) -> Misplaced:
    """The version that a row of a container tells of."""
    newest = max(row.timestamp, row.content_type_timestamp, row.meta_timestamp)
    return Misplaced(path.with_object(row.name), life, row.policy_index, Timestamp.parse(newest), row.deleted)


def parse_entry(name: str, moment: str, content_type: str) -> Misplaced:
    """An entry as it is listed, `moment` being its ETag. Raises ValueError."""
    index, *moments, path = name.split(":", 3)
    if not (len(moments) == 2 and index.isascii() and index.isdecimal()) or content_type not in (PUT_TYPE, DELETE_TYPE):
        raise ValueError(f"not an entry of the queue: {name!r}")
    parsed = ResourcePath.parse(path)
    if not parsed.is_object:
        raise ValueError(f"not an entry of the queue: {name!r}")
    life = Life(*(Timestamp.parse(each).internal for each in moments))
    return Misplaced(parsed, life, int(index), Timestamp.parse(moment), content_type == DELETE_TYPE)


def later(timestamp: Timestamp, offset: int) -> Timestamp:
    """Just behind it."""
    return Timestamp(timestamp.ticks, timestamp.offset + offset)
