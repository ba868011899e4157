"""The states of a write that goes to several nodes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar, Final

from objstore.errors import StoreError


class PutState(Enum):
    """Where the write as a whole stands."""

    CONNECTING = auto()  # nodes are being asked whether they would take it
    SENDING = auto()  # a quorum would: the body is on its way
    STORING = auto()  # the nodes have all of it, and make it durable
    DURABLE = auto()  # a quorum has
    REFUSED = auto()  # too few would or could: nothing is acknowledged
    ABANDONED = auto()  # the client left, or sent what cannot be stored: the nodes keep nothing


class PutEvent(Enum):
    """What moves it on."""

    CONTINUED = auto()  # a quorum of nodes waits for the body
    SENT_WHOLE = auto()  # head and body went out together
    BODY_ENDED = auto()
    STORED = auto()  # a quorum of nodes says so
    LOST_QUORUM = auto()
    CLIENT_FAILED = auto()


TRANSITIONS: Final = {
    (PutState.CONNECTING, PutEvent.CONTINUED): PutState.SENDING,
    (PutState.CONNECTING, PutEvent.SENT_WHOLE): PutState.STORING,
    (PutState.CONNECTING, PutEvent.LOST_QUORUM): PutState.REFUSED,
    (PutState.CONNECTING, PutEvent.CLIENT_FAILED): PutState.ABANDONED,
    (PutState.SENDING, PutEvent.BODY_ENDED): PutState.STORING,
    (PutState.SENDING, PutEvent.LOST_QUORUM): PutState.REFUSED,
    (PutState.SENDING, PutEvent.CLIENT_FAILED): PutState.ABANDONED,
    (PutState.STORING, PutEvent.STORED): PutState.DURABLE,
    (PutState.STORING, PutEvent.LOST_QUORUM): PutState.REFUSED,
}


@dataclass(eq=False)
class IllegalTransition(StoreError):
    """A bug: this cannot happen in that state."""

    message: ClassVar[str] = "{event} cannot happen in {state}"

    state: PutState
    event: PutEvent


def after(state: PutState, event: PutEvent) -> PutState:
    """The state that follows. Raises IllegalTransition."""
    following = TRANSITIONS.get((state, event))
    if following is None:
        raise IllegalTransition(state, event)
    return following
