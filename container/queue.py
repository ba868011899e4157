"""The queue of misplaced objects: containers of an internal account, an entry for each object in a wrong policy.

Replicas of a container that were put under different policies agree on one of them in the end. What was stored under
another is not listed, and found in the container's rows by their policy. Each such row becomes an entry of the queue,
a row of a container that is named after an hour:

    .misplaced_objects/1700000000/1:0000000000.00000:1699999999.00000:0:PUT:1700000000.00000:/AUTH_test/photos/cat.jpg

says that content of the object of the last timestamp lies in policy 1, where it should not be in this life of its
container: that after the deletion of the first timestamp (there was none), which began at the second, under policy 0.
DELETE is in the place of PUT if it is a client's deletion that lies there. The entry's own timestamp is that of the
newest metadata, and so is its ETag; the timestamp of the entry's metadata, which a listing shows, is when it was
queued. Queueing it again changes nothing else, taking it out is a later timestamp, newer metadata makes it a newer
entry. Another life has entries of its own: what was in its place in one may not be in the next.

Reconciling leaves timestamps with offsets: what was moved has a multiple of four, and the mark in its former place,
which only tells that it is gone from there, two more. No mark is queued: it says nothing of other policies.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from objstore.db.status import Life
from objstore.paths import ResourcePath
from objstore.rows import ObjectRow, newest_of
from objstore.timestamps import Timestamp

ACCOUNT: Final = ".misplaced_objects"
DIVISOR: Final = 3600
_KINDS: Final = ("PUT", "DELETE")
# The size of an entry does not count, nor does its type.
_CONTENT_TYPE: Final = "text/plain"
# What reconciling writes sorts behind the client's write, and before any later one. Expiry has the offset 1.
_REMOVAL_OFFSET: Final = 2
_MOVE_OFFSET: Final = 4


class Misplaced(Struct, frozen=True, gc=False):
    """A version of an object in a policy that is not its container's in one of the container's lives.

    Its content was `written`, or it was deleted, and its metadata is of `timestamp`.
    """

    path: ResourcePath
    life: Life
    policy_index: int
    deleted: bool
    written: Timestamp
    timestamp: Timestamp
    queued_at: Timestamp

    @property
    def name(self) -> str:
        """That of its entry."""
        life = self.life
        where = f"{self.policy_index}:{life.ended}:{life.began}:{life.policy_index}"
        return f"{where}:{_KINDS[self.deleted]}:{self.written.internal}:{self.path}"

    @property
    def queue(self) -> ResourcePath:
        """The container that holds its entry."""
        return ResourcePath(ACCOUNT, str(int(self.timestamp.seconds) // DIVISOR * DIVISOR))

    @property
    def row(self) -> ObjectRow:
        """Its entry."""
        moment = self.timestamp.internal
        return ObjectRow(self.name, moment, 0, _CONTENT_TYPE, moment, meta_timestamp=self.queued_at.internal)

    @property
    def removed_row(self) -> ObjectRow:
        """What takes its entry out."""
        moment = removed_at(self.timestamp).internal
        return ObjectRow(self.name, moment, 0, "", "", deleted=True)

    @property
    def delisted_row(self) -> ObjectRow:
        """What takes the row of the version out of its container."""
        moment = removed_at(self.written).internal
        return ObjectRow(self.path.object, moment, 0, "", "", deleted=True, policy_index=self.policy_index)


def misplaced(path: ResourcePath, life: Life, row: ObjectRow, now: Timestamp) -> Misplaced | None:
    """The version that a row of a container tells of, None if it is a mark."""
    written = newest = Timestamp.parse(row.timestamp)
    if row.deleted and is_mark(written):
        return None
    if not row.deleted:
        newest = Timestamp.parse(newest_of(row))
    return Misplaced(path.with_object(row.name), life, row.policy_index, row.deleted, written, newest, max(now, newest))


def parse_entry(name: str, moment: str, last_modified: str) -> Misplaced:
    """An entry as it is listed, `moment` being its ETag. Raises ValueError."""
    index, ended, began, policy_index, kind, written, path = name.split(":", 6)
    numbers = index + policy_index
    parsed = ResourcePath.parse(path)
    if not (numbers.isascii() and numbers.isdecimal() and parsed.is_object):
        raise ValueError(f"not an entry of the queue: {name!r}")
    life = Life(Timestamp.parse(ended).internal, Timestamp.parse(began).internal, int(policy_index))
    deleted, queued_at = bool(_KINDS.index(kind)), Timestamp.from_isoformat(last_modified)
    return Misplaced(parsed, life, int(index), deleted, Timestamp.parse(written), Timestamp.parse(moment), queued_at)


def moved_at(timestamp: Timestamp) -> Timestamp:
    """The time of a version in the right policy: that of the client's write, and behind it."""
    return Timestamp(timestamp.ticks, timestamp.offset + _MOVE_OFFSET)


def removed_at(timestamp: Timestamp) -> Timestamp:
    """The time of the mark that takes its place in the wrong policy."""
    return Timestamp(timestamp.ticks, timestamp.offset + _REMOVAL_OFFSET)


def is_mark(timestamp: Timestamp) -> bool:
    """Whether it is that of what a moved version left in its former place."""
    return timestamp.offset % _MOVE_OFFSET == _REMOVAL_OFFSET
