"""The queue of misplaced objects: containers of an internal account, an entry for each object in a wrong policy.

Replicas of a container that were put under different policies agree on one of them in the end. What was stored under
another is not listed, and found in the container's rows by their policy. Each such row becomes an entry of the queue,
a row of a container that is named after an hour:

    .misplaced_objects/1700000000/1:0000000000.00000:1699999999.00000:0:PUT:1700000000.00000:/AUTH_test/photos/cat.jpg

says that policy 1 holds content of the object with the last timestamp, which is misplaced in one incarnation of its
container: the one after the deletion at the first timestamp (zero: none), created at the second, under policy 0. DELETE
stands instead of PUT if policy 1 holds a client's deletion, MARK if it holds a delete marker. Behind it stands, after
an exclamation mark, the version that is meant, if it is a kept one: PUT!1699999999.00000. The entry's own timestamp,
and its ETag, is that of the newest metadata; the timestamp of the entry's metadata, which a listing shows, is when it
was queued. Queueing an entry again changes nothing else; removing it takes a later timestamp; newer metadata makes it a
newer entry. Each incarnation has entries of its own, since an object may be misplaced in one and not in the next.

The reconciler writes timestamps with offsets: what it moves in the plain line has a multiple of four, and the tombstone
that it leaves in the former policy two more. Such a tombstone is not queued: it says nothing about other policies. A
kept version is moved with its own times. The removal mark that it leaves has an offset as well; while it is there, the
version cannot come back to that policy.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from objstore.db.status import Incarnation
from objstore.paths import ResourcePath
from objstore.rows import ObjectRow, newest_of
from objstore.timestamps import Timestamp

ACCOUNT: Final = ".misplaced_objects"
DIVISOR: Final = 3600
_PUT, _DELETE, _MARK = "PUT", "DELETE", "MARK"
_KINDS: Final = (_PUT, _DELETE, _MARK)
# The size of an entry does not count, nor does its type.
_CONTENT_TYPE: Final = "text/plain"
# What reconciling writes sorts behind the client's write, and before any later one. Expiry has the offset 1.
_REMOVAL_OFFSET: Final = 2
_MOVE_OFFSET: Final = 4


class Misplaced(Struct, frozen=True, gc=False):
    """A version of an object in a policy that is not its container's in one of the container's incarnations.

    Its content was `written`, or it was deleted, or became a delete marker; its metadata is of `timestamp`. `version`
    is that of a kept version, "" for the plain line.
    """

    path: ResourcePath
    incarnation: Incarnation
    policy_index: int
    deleted: bool
    written: Timestamp
    timestamp: Timestamp
    queued_at: Timestamp
    version: str = ""
    marker: bool = False

    @property
    def name(self) -> str:
        incarnation = self.incarnation
        where = f"{self.policy_index}:{incarnation.deleted_at}:{incarnation.created_at}:{incarnation.policy_index}"
        kind = _DELETE if self.deleted else _MARK if self.marker else _PUT
        if self.version:
            kind = f"{kind}!{self.version}"
        return f"{where}:{kind}:{self.written.internal}:{self.path}"

    @property
    def queue(self) -> ResourcePath:
        return ResourcePath(ACCOUNT, str(int(self.timestamp.seconds) // DIVISOR * DIVISOR))

    @property
    def row(self) -> ObjectRow:
        moment = self.timestamp.internal
        return ObjectRow(self.name, moment, 0, _CONTENT_TYPE, moment, meta_timestamp=self.queued_at.internal)

    @property
    def removed_row(self) -> ObjectRow:
        moment = removed_at(self.timestamp).internal
        return ObjectRow(self.name, moment, 0, "", "", deleted=True)

    @property
    def tombstone_row(self) -> ObjectRow:
        """The tombstone that removes the version's row from its container."""
        moment, index = removed_at(self.written).internal, self.policy_index
        return ObjectRow(self.path.object, moment, 0, "", "", deleted=True, policy_index=index, version=self.version)


def misplaced(path: ResourcePath, incarnation: Incarnation, row: ObjectRow, now: Timestamp) -> Misplaced | None:
    """What is misplaced, as its row describes it; None for a reconciler's tombstone."""
    written = newest = Timestamp.parse(row.timestamp)
    if row.deleted and is_mark(written):
        return None
    if not row.deleted:
        newest = Timestamp.parse(newest_of(row))
    queued_at = max(now, newest)
    object_path = path.with_object(row.name)
    moments, kept = (written, newest, queued_at), (row.version, row.marker and not row.deleted)
    return Misplaced(object_path, incarnation, row.policy_index, row.deleted, *moments, *kept)


def parse_entry(name: str, moment: str, last_modified: str) -> Misplaced:
    """An entry as it is listed, `moment` being its ETag. Raises ValueError."""
    index, deleted_at, created_at, policy_index, kind, written, path = name.split(":", 6)
    numbers = index + policy_index
    kind, is_kept, version = kind.partition("!")
    if is_kept:
        version = Timestamp.parse(version).internal
    parsed = ResourcePath.parse(path)
    if not (numbers.isascii() and numbers.isdecimal() and parsed.is_object and kind in _KINDS):
        raise ValueError(f"not an entry of the queue: {name!r}")
    began = Timestamp.parse(created_at).internal
    incarnation = Incarnation(Timestamp.parse(deleted_at).internal, began, int(policy_index))
    times = Timestamp.parse(written), Timestamp.parse(moment), Timestamp.from_isoformat(last_modified)
    return Misplaced(parsed, incarnation, int(index), kind == _DELETE, *times, version, kind == _MARK)


def moved_at(timestamp: Timestamp) -> Timestamp:
    """When a moved version counts as written: just behind the client's own write."""
    return Timestamp(timestamp.ticks, timestamp.offset + _MOVE_OFFSET)


def removed_at(timestamp: Timestamp) -> Timestamp:
    """When the tombstone in the wrong policy counts as written."""
    return Timestamp(timestamp.ticks, timestamp.offset + _REMOVAL_OFFSET)


def is_mark(timestamp: Timestamp) -> bool:
    """Whether a timestamp is of a tombstone that a moved version left in its former policy."""
    return timestamp.offset % _MOVE_OFFSET == _REMOVAL_OFFSET
