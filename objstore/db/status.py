"""The status of a container or an account, which its timestamps decide: pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from objstore.timestamps import TICKS_MAX, Timestamp

# Timestamps are kept in their internal form, which sorts as text; this one is older than all.
NEVER: Final = Timestamp(0).internal
_NOT_YET: Final = Timestamp(TICKS_MAX).internal


class Incarnation(Struct, frozen=True, gc=False):
    """One existence of a resource between two deletions: deleted before at `deleted_at`, created at `created_at`.

    What a replica learns takes it from an incarnation to one that supersedes it, never back (`merge_status` sees to
    it). An incarnation that one replica alone knows may be lost with that replica.
    """

    deleted_at: str
    created_at: str
    policy_index: int

    def supersedes(self, other: Incarnation) -> bool:
        """Whether replicas that know both go on in this one: after the newer deletion, then the one created first."""
        mine = (self.deleted_at, other.created_at, other.policy_index)
        return mine > (other.deleted_at, self.created_at, self.policy_index)


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

    @property
    def incarnation(self) -> Incarnation:
        """The current one; while the resource is deleted, the next one, which has not begun."""
        return Incarnation(
            self.delete_timestamp, _NOT_YET if self.deleted else self.status_changed_at, self.policy_index
        )


def new_status(timestamp: str, policy_index: int = 0) -> Status:
    """The status of a resource that is put for the first time."""
    return Status(timestamp, timestamp, NEVER, timestamp, policy_index)


def after_put(status: Status, timestamp: str, policy_index: int) -> Status:
    """The status after a PUT; one that is created anew may take another policy."""
    after = replace(status, put_timestamp=max(status.put_timestamp, timestamp))
    if status.deleted and not after.deleted:
        return replace(after, status_changed_at=timestamp, policy_index=policy_index)
    return after


def after_delete(status: Status, timestamp: str) -> Status:
    after = replace(status, delete_timestamp=max(status.delete_timestamp, timestamp))
    if after.deleted and not status.deleted:
        return replace(after, status_changed_at=timestamp)
    return after


def merge_status(one: Status, other: Status) -> Status:
    """The status of two replicas together: commutative and idempotent, and repeated exchange converges.

    Of two incarnations that were created apart (on replicas that could not reach each other) the older one goes on,
    with its policy: putting once more what is there must not move all its objects. An incarnation that was created
    before the newest deletion is over.
    """
    put, deleted_at = max(one.put_timestamp, other.put_timestamp), max(one.delete_timestamp, other.delete_timestamp)
    created_at = min(one.created_at, other.created_at)
    if deleted_at > put:
        last = max(one, other, key=lambda status: (status.delete_timestamp, -status.policy_index))
        return Status(created_at, put, deleted_at, deleted_at, last.policy_index)
    alive = [each for each in (one, other) if not each.deleted and each.status_changed_at >= deleted_at]
    if alive:
        oldest = min(alive, key=lambda status: (status.status_changed_at, status.policy_index))
        return Status(created_at, put, deleted_at, oldest.status_changed_at, oldest.policy_index)
    # One replica put it again without knowing of the deletion: a new incarnation, under the policy that replica knew.
    again = min(each.policy_index for each in (one, other) if each.put_timestamp == put)
    return Status(created_at, put, deleted_at, put, again)
