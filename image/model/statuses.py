"""The statuses of an image, and which may follow which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from objstore.errors import StoreError

QUEUED: Final = "queued"
SAVING: Final = "saving"
UPLOADING: Final = "uploading"
IMPORTING: Final = "importing"
ACTIVE: Final = "active"
DEACTIVATED: Final = "deactivated"
DELETED: Final = "deleted"
KILLED: Final = "killed"
PENDING_DELETE: Final = "pending_delete"

# An image whose upload or import failed is queued again, so that it can be tried anew: none ends as killed, and
# none waits for its deletion, but clients know the two names and filter by them.
TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    QUEUED: frozenset({SAVING, UPLOADING, IMPORTING, DELETED}),
    SAVING: frozenset({ACTIVE, QUEUED, DELETED}),
    UPLOADING: frozenset({IMPORTING, QUEUED, DELETED}),
    IMPORTING: frozenset({ACTIVE, QUEUED, DELETED}),
    ACTIVE: frozenset({DEACTIVATED, ACTIVE, DELETED}),
    DEACTIVATED: frozenset({ACTIVE, DEACTIVATED, DELETED}),
    DELETED: frozenset(),
}
STATUSES: Final = frozenset({*TRANSITIONS, KILLED, PENDING_DELETE})
# Bytes are on their way: what a process that died left in these goes back to queued.
UNDER_WAY: Final = frozenset({SAVING, IMPORTING})
HAS_DATA: Final = frozenset({ACTIVE, DEACTIVATED})


@dataclass(eq=False)
class WrongStatus(StoreError):
    """The status of an image does not allow what was asked."""

    message: ClassVar[str] = "an image that is {status} cannot become {wanted}"

    status: str
    wanted: str


def check_transition(status: str, wanted: str) -> None:
    """Raises WrongStatus."""
    if wanted not in TRANSITIONS[status]:
        raise WrongStatus(status, wanted)
