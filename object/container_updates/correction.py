"""The row of what there is of an object, in the place of a row that was sent of a write that does not count."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from objstore.object.container_updates.pending import PendingUpdate, pending_path, save
from objstore.object.container_updates.sender import object_row, tombstone_row
from objstore.object.engine import DeviceStorage, Location, Missing, ObjectCorrupt
from objstore.object.requests import Target
from objstore.object.versions import Line, ObjectVersions
from objstore.paths import PathHasher, ResourcePath
from objstore.rows import ObjectRow
from objstore.system.threads import ThreadGroup


class RowCorrection(Struct, frozen=True):
    """Leaves such rows to the updater of a device."""

    hasher: PathHasher
    threads: ThreadGroup

    def list_instead(
        self, storage: DeviceStorage, location: Location, current: ObjectVersions, version: str, timestamp: str
    ) -> bool:
        """Queue, durably, the row of a line of `current` as if it had been written at `timestamp`.

        False if what is stored is damaged: it is in quarantine by then. Raises OSError.
        """
        target = Target("", ResourcePath.parse(location.name), storage, location)
        row = _row(target, current, current.line(version), timestamp)
        if row is None:
            return False
        update = PendingUpdate(target.path.account, target.path.container, row)
        path = pending_path(f"{storage.path}/{location.policy.async_dir}", self.hasher, update)
        self.threads.of(storage.path).call(save, path, update)
        return True


def _row(target: Target, current: ObjectVersions, line: Line, timestamp: str) -> ObjectRow | None:
    """None for an object that is damaged. Raises OSError."""
    if line.data is None:
        return tombstone_row(target, timestamp, line.version, line.is_marker)
    try:
        stored = target.storage.open(target.location, current, version=line.version)
    except ObjectCorrupt:
        return None
    if isinstance(stored, Missing):
        return None
    stored.close()
    row = object_row(target, stored.info)
    posted_at = row.meta_timestamp if row.meta_timestamp > timestamp else ""
    return replace(row, timestamp=timestamp, content_type_timestamp="", meta_timestamp=posted_at)
