"""Contact records: since when, and until when, a device was in contact with its peers.

A device that was isolated, empty or offline cannot vouch that something was deleted. Each replicator decides in which
of its passes a device was in contact.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from objstore.system import files


class ContactRecord(Struct, frozen=True, array_like=True):
    """When the first and the last pass in contact ended, in seconds since the epoch.

    A new or emptied disk has no record. A device that was away for longer than tombstones are kept begins a new one.
    """

    since: float
    last: float

    def was_in_service_at(self, moment: float) -> bool:
        """Whether the device was in service then, and so knows what other replicas held, or that it was deleted."""
        return self.since <= moment < self.last


def _path(device: str, kind: str) -> str:
    return f"{device}/{kind}_replicated"


def read_contact_record(device: str, kind: str) -> ContactRecord | None:
    """The record of a device for one kind of data ("objects"); None for a device that is new. Blocks."""
    try:
        with open(_path(device, kind), "rb") as file:
            found = msgspec.json.decode(file.read(), type=ContactRecord | float)
    except (OSError, msgspec.DecodeError):
        return None
    # The first version of the file has the last pass alone.
    return found if isinstance(found, ContactRecord) else ContactRecord(found, found)


def write_contact_record(device: str, kind: str, now: float, reclaim_seconds: float) -> None:
    """Record a pass in contact; tombstones are kept for `reclaim_seconds`. Blocks; raises OSError."""
    known = read_contact_record(device, kind)
    since = now if known is None or now - known.last > reclaim_seconds else known.since
    files.write_atomically(_path(device, kind), msgspec.json.encode(ContactRecord(since, now)))
