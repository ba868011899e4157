"""What a device knows of the part power its objects lie by, and what is to be done about it.

Each device keeps a note for each policy: the part powers of the ring when the relinker was last there, and how far it
has come. By it a pass that is cut short goes on where it was, and a device that was away while the part power was
increased is put in order when it is back, though the ring is at rest again.
"""

from __future__ import annotations

from enum import Enum

import msgspec
from msgspec import Struct

from objstore.policies import Policy
from objstore.ring.ring import Ring
from objstore.system import files


class RelinkTask(Enum):
    """What a pass does: links all objects into the partitions they will belong to, or takes them out of wrong ones."""

    RELINK = "relink"
    CLEANUP = "cleanup"


class Note(Struct, frozen=True):
    """The part powers of the ring, the partitions that are done by them, and whether all are."""

    part_power: int
    next_part_power: int | None
    done: tuple[int, ...] = ()
    ended: bool = False

    def is_of(self, ring: Ring) -> bool:
        """Whether the ring is still in the state it was in."""
        return (self.part_power, self.next_part_power) == (ring.part_power, ring.next_part_power)


def task_of(ring: Ring, note: Note | None) -> RelinkTask | None:
    """What a device needs; `note` is its own, None if it has none."""
    power, following = ring.part_power, ring.next_part_power
    if note is not None and note.is_of(ring) and (note.ended or following is None):
        return None
    if following is not None:
        return RelinkTask.RELINK if following > power else RelinkTask.CLEANUP
    if note is None or (note.ended and note.part_power == power == note.next_part_power):
        return None
    return RelinkTask.CLEANUP  # it has missed the end, or all of it


def state_of(ring: Ring) -> str:
    """As operators say it; see `powers`."""
    if ring.next_part_power is None:
        return "at rest"
    return "prepared" if ring.next_part_power > ring.part_power else "increased, or cancelled"


def partition_end(ring: Ring, task: RelinkTask) -> int:
    """The number after the last partition that a task looks through: a cleanup, also those of a cancelled increase."""
    return ring.partition_count if task is RelinkTask.RELINK else 2 * ring.partition_count


def is_to_be_noted(ring: Ring, note: Note | None) -> bool:
    """Whether a device is in order by a ring at rest, and its note does not say so."""
    return ring.next_part_power is None and task_of(ring, note) is None and (note is None or not note.is_of(ring))


def load(device: str, policy: Policy) -> Note | None:
    """The note of a device; None if there is none that can be read. Blocks."""
    try:
        with open(_path(device, policy), "rb") as file:
            return msgspec.json.decode(file.read(), type=Note)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def save(device: str, policy: Policy, note: Note) -> None:
    """Replace the note. Blocks; raises OSError."""
    files.write_atomically(_path(device, policy), msgspec.json.encode(note))


def _path(device: str, policy: Policy) -> str:
    return f"{device}/relink.{policy.data_dir}.json"
