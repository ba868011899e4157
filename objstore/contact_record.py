"""How long a device was away, and how far back goes what it knows: its note of the passes in which it was in touch.

What counts as being in touch, each replicator says for its own kind of things.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from objstore.system import files


class ContactRecord(Struct, frozen=True, array_like=True):
    """When the first and the last such pass ended, in seconds since the epoch; not longer apart than deletions last.

    A disk that is new or was emptied has no note, and one that was away too long begins a new one.
    """

    since: float
    last: float

    def was_in_service_at(self, moment: float) -> bool:
        """Whether the device was in service then: what others had, it would know, or know that it was deleted."""
        return self.since <= moment < self.last


def _path(device: str, kind: str) -> str:
    return f"{device}/{kind}_replicated"


def read_contact_record(device: str, kind: str) -> ContactRecord | None:
    """That of a device, for things of a kind ("objects"); None for a device that is new. Blocks."""
    try:
        with open(_path(device, kind), "rb") as file:
            noted = msgspec.json.decode(file.read(), type=ContactRecord | float)
    except (OSError, msgspec.DecodeError):
        return None
    # The first version has the last pass alone.
    return noted if isinstance(noted, ContactRecord) else ContactRecord(noted, noted)


def write_contact_record(device: str, kind: str, now: float, reclaim_seconds: float) -> None:
    """Such a pass has ended; deletions are remembered for `reclaim_seconds`. Blocks; raises OSError."""
    known = read_contact_record(device, kind)
    since = now if known is None or now - known.last > reclaim_seconds else known.since
    note = ContactRecord(since, now)
    files.write_atomically(_path(device, kind), msgspec.json.encode(note))
