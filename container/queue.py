"""The queue of misplaced objects: containers of an internal account, an entry for each object in a wrong policy.

Replicas of a container that were put under different policies agree on one of them in the end. What was stored under
another is not listed, and found in the container's rows by their policy. Each such row becomes an entry of the queue,
a row of a container that is named after an hour:

    .misplaced_objects/1700000000/1:0000000000.00000:1699999999.00000:0:/AUTH_test/photos/cat.jpg

says that a version of the object lies in policy 1, where it should not be in this life of its container: that after the
deletion of the first timestamp (there was none), which began at the second, under policy 0. The entry's own timestamp
is that of the row, and so is its ETag; its content type says whether the version is a deletion; the timestamp of its
metadata, which a listing shows, is when it was queued. Queueing it again changes nothing else, taking it out is the
next timestamp, and a newer version is a newer entry. Another life has entries of its own: what was in its place in one
may not be in the next.
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
_TYPES: Final = (PUT_TYPE, DELETE_TYPE)
# What reconciling writes sorts behind the client's write, and before any later one.
REMOVAL_OFFSET: Final = 1
MOVE_OFFSET: Final = 2


class Misplaced(Struct, frozen=True, gc=False):
    """A version of an object in a policy that is not its container's in one of the container's lives."""

    path: ResourcePath
    life: Life
    policy_index: int
    timestamp: Timestamp
    deleted: bool
    queued_at: Timestamp

    @property
    def name(self) -> str:
        """That of its entry."""
        life = self.life
        return f"{self.policy_index}:{life.ended}:{life.began}:{life.policy_index}:{self.path}"

    @property
    def queue(self) -> ResourcePath:
        """The container that holds its entry."""
        return ResourcePath(ACCOUNT, str(int(self.timestamp.seconds) // DIVISOR * DIVISOR))

    @property
    def row(self) -> ObjectRow:
        """Its entry."""
        moment, kind = self.timestamp.internal, DELETE_TYPE if self.deleted else PUT_TYPE
        return ObjectRow(self.name, moment, 0, kind, moment, meta_timestamp=self.queued_at.internal)

    @property
    def removed_row(self) -> ObjectRow:
        """What takes its entry out."""
        moment = later(self.timestamp, REMOVAL_OFFSET).internal
        return ObjectRow(self.name, moment, 0, "", "", deleted=True)

    @property
    def delisted_row(self) -> ObjectRow:
        """What takes the row of the version out of its container."""
        moment = later(self.timestamp, REMOVAL_OFFSET).internal
        return ObjectRow(self.path.object, moment, 0, "", "", deleted=True, policy_index=self.policy_index)


def misplaced(path: ResourcePath, life: Life, row: ObjectRow, now: Timestamp) -> Misplaced:
    """The version that a row of a container tells of."""
    newest = Timestamp.parse(max(row.timestamp, row.content_type_timestamp, row.meta_timestamp))
    return Misplaced(path.with_object(row.name), life, row.policy_index, newest, row.deleted, max(now, newest))


def parse_entry(name: str, moment: str, content_type: str, last_modified: str) -> Misplaced:
    """An entry as it is listed, `moment` being its ETag. Raises ValueError."""
    index, ended, began, policy_index, path = name.split(":", 4)
    numbers = index + policy_index
    parsed = ResourcePath.parse(path)
    if not (numbers.isascii() and numbers.isdecimal() and parsed.is_object) or content_type not in _TYPES:
        raise ValueError(f"not an entry of the queue: {name!r}")
    life = Life(Timestamp.parse(ended).internal, Timestamp.parse(began).internal, int(policy_index))
    queued_at = Timestamp.from_isoformat(last_modified)
    return Misplaced(parsed, life, int(index), Timestamp.parse(moment), content_type == DELETE_TYPE, queued_at)


def later(timestamp: Timestamp, offset: int) -> Timestamp:
    """Just behind it."""
    return Timestamp(timestamp.ticks, timestamp.offset + offset)
