"""The life of a container or an account as its timestamps tell it: pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from objstore.timestamps import TICKS_MAX, Timestamp

# Timestamps are kept in their internal form, which sorts as text; this one is older than all.
NEVER: Final = Timestamp(0).internal
_NOT_YET: Final = Timestamp(TICKS_MAX).internal


class Life(Struct, frozen=True, gc=False):
    """Which of its lives a replica is in: that after the deletion of `ended`, which began at `began`, and its policy.

    What a replica learns takes it to lives that outrank those it was in, never back: see `merge_status`. Only with a
    replica that is lost may a life go of which no other has heard.
    """

    ended: str
    began: str
    policy_index: int

    def outranks(self, other: Life) -> bool:
        """Whether replicas that know of both agree on this one: the later, and of two that began apart the older."""
        return (self.ended, other.began, other.policy_index) > (other.ended, self.began, self.policy_index)


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
    def life(self) -> Life:
        """That which it is in; while it is deleted, the next one, which has not begun."""
        return Life(self.delete_timestamp, _NOT_YET if self.deleted else self.status_changed_at, self.policy_index)


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


def merge_status(one: Status, other: Status) -> Status:
    """What two replicas know of a life together: commutative and idempotent, and repeated exchange converges.

    Of two lives that began apart (the resource was put on replicas that could not see each other) the older one goes
    on, with its policy: putting again what is there, in whatever way, must not move all that it holds. A life that
    began before the newest deletion is over.
    """
    put, deleted_at = max(one.put_timestamp, other.put_timestamp), max(one.delete_timestamp, other.delete_timestamp)
    created_at = min(one.created_at, other.created_at)
    if deleted_at > put:
        last = max(one, other, key=lambda status: (status.delete_timestamp, -status.policy_index))
        return Status(created_at, put, deleted_at, deleted_at, last.policy_index)
    lives = [each for each in (one, other) if not each.deleted and each.status_changed_at >= deleted_at]
    if lives:
        life = min(lives, key=lambda status: (status.status_changed_at, status.policy_index))
        return Status(created_at, put, deleted_at, life.status_changed_at, life.policy_index)
    # It was put again after a deletion of which that replica did not know: a new life, under the policy it knew.
    again = min(each.policy_index for each in (one, other) if each.put_timestamp == put)
    return Status(created_at, put, deleted_at, put, again)
