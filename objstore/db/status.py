"""The life of a container or an account as its timestamps tell it: pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from objstore.timestamps import Timestamp

# Timestamps are kept in their internal form, which sorts as text; this one is older than all.
NEVER: Final = Timestamp(0).internal


class Status(Struct, frozen=True, gc=False):
    """When a resource was put and deleted, each for the last time; the newer of both decides.

    `status_changed_at` is when it last came to be or ceased to be. `policy_index` is chosen when it comes to be.
    """

    created_at: str
    put_timestamp: str
    delete_timestamp: str = NEVER
    status_changed_at: str = NEVER
    policy_index: int = 0

    @property
    def deleted(self) -> bool:
        """Whether it was deleted after it was put."""
        return self.delete_timestamp > self.put_timestamp


def new_status(timestamp: str, policy_index: int = 0) -> Status:
    """That of a resource put for the first time."""
    return Status(timestamp, timestamp, NEVER, timestamp, policy_index)


def after_put(status: Status, timestamp: str, policy_index: int) -> Status:
    """What a PUT makes of it: one that comes back to life may take another policy."""
    after = replace(status, put_timestamp=max(status.put_timestamp, timestamp))
    if status.deleted and not after.deleted:
        return replace(after, status_changed_at=timestamp, policy_index=policy_index)
    return after


def after_delete(status: Status, timestamp: str) -> Status:
    """What a DELETE makes of it."""
    after = replace(status, delete_timestamp=max(status.delete_timestamp, timestamp))
    if after.deleted and not status.deleted:
        return replace(after, status_changed_at=timestamp)
    return after
