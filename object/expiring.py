"""Entries of the expirer's queue, and what is to be done about each: pure.

An entry is a row of a container of `.expiring_objects`, named "1700000000-AUTH_test/photos/cat.jpg": the object expires
at that second, unless a later write has changed it. What the primaries of the object hold decides, not the entry, and
by the clocks of their servers, not by the expirer's alone: one that is wrong by hours deletes nothing too soon.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

from msgspec import Struct

from objstore.direct import Reply
from objstore.headers import Backend, Client
from objstore.paths import ResourcePath
from objstore.rows import ObjectRow
from objstore.timestamps import Timestamp

_NAME: Final = re.compile(r"(?P<due>\d{1,10})-(?P<path>[^/]+/[^/]+/.+)", re.ASCII | re.DOTALL)
# Takes out a row that was written at its timestamp, whatever its offset, and none that was written later.
_LAST_OFFSET: Final = 0xFFFF_FFFF


class QueueEntry(Struct, frozen=True):
    """`path` may expire at `due`, says a write made at `timestamp`."""

    queue: ResourcePath
    name: str
    due: int
    path: ResourcePath
    timestamp: Timestamp

    @property
    def removed_row(self) -> ObjectRow:
        """What takes it out of the queue."""
        moment = Timestamp(self.timestamp.ticks, _LAST_OFFSET).internal
        return ObjectRow(self.name, moment, 0, "application/deleted", "noetag", deleted=True)


class Action(Enum):
    """What to do about an entry."""

    DELETE = "deleted"
    DROP = "dropped"  # something else has become of the object
    WAIT = "waiting"


class Verdict(Struct, frozen=True):
    """The action; `timestamp` is the tombstone's of a DELETE."""

    action: Action
    timestamp: str = ""


_WAIT: Final = Verdict(Action.WAIT)
_DROP: Final = Verdict(Action.DROP)


def parse_entry(queue: ResourcePath, listed: Mapping[str, Any]) -> QueueEntry | None:
    """An entry as the queue's listing shows it, None for what is none."""
    match = _NAME.fullmatch(str(listed.get("name", "")))
    if match is None:
        return None
    try:
        listed_at = Timestamp.from_isoformat(str(listed["last_modified"]))
        path = ResourcePath.parse("/" + match["path"])
    except (KeyError, ValueError):
        return None
    return QueueEntry(queue, match[0], int(match["due"]), path, listed_at)


def decide(entry: QueueEntry, replies: Sequence[Reply], now: float, reclaim_seconds: float) -> Verdict:
    """From what all primaries of the object answer to HEAD with X-Backend-Open-Expired.

    - One that does not answer may have a newer write than all others: wait for it.
    - The newest version expires at another time, and is as new as the entry: a later write has changed its mind, drop.
    - It expires when the entry says, and every server that holds it finds that over: delete. The tombstone is of the
      moment it expired, so that it stays long enough to be replicated, but newer than the version.
    - Nothing as new as the entry is seen: it may come yet from a handoff. Wait, but not for ever.
    """
    if any(reply.status not in (200, 404) for reply in replies):
        return _WAIT
    asked = entry.timestamp.internal
    gone = max((reply.headers.get(Backend.TIMESTAMP, "") for reply in replies if reply.status == 404), default="")
    holders = [reply for reply in replies if reply.status == 200]
    newest = max(map(_version, holders), default=("", ""))
    if newest[0] > gone:
        current = [reply for reply in holders if _version(reply) == newest]
        if all(reply.headers.get(Client.DELETE_AT) == str(entry.due) for reply in current):
            if all(Backend.EXPIRED in reply.headers for reply in current):
                return Verdict(Action.DELETE, _tombstone(entry.due, newest[0]))
            return _WAIT
        seen = max(newest)
    else:
        seen = gone
    return _DROP if seen >= asked or now > entry.due + reclaim_seconds else _WAIT


def _version(reply: Reply) -> tuple[str, str]:
    """When the object was written, and when it was last posted to."""
    return reply.headers.get(Backend.DATA_TIMESTAMP, ""), reply.headers.get(Backend.TIMESTAMP, "")


def _tombstone(due: int, data_timestamp: str) -> str:
    data = Timestamp.parse(data_timestamp)
    return max(Timestamp.from_seconds(due), Timestamp(data.ticks, data.offset + 1)).internal
