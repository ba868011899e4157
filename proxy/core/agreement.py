"""What is to be done about a write of a strong policy, decided from the promises of a quorum of its nodes. Pure.

A write is chosen when a quorum has stored it: then every later quorum of promises shows it, or what has replaced it.
Each attempt to store it has a stamp of its own. As long as one may have been chosen and something newer is there,
nobody can tell whether the write has had its turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import Enum

from msgspec import Struct

from objstore.proxy.core.backend.agreement import Prepared


class SentWrite(Struct, frozen=True):
    """A write that was sent with `stamp`, in its internal form, and may be stored on the devices with these ids."""

    stamp: str
    holders: frozenset[int]


class Ballot(Struct, frozen=True):
    """The promises of a quorum, among all nodes that count: there are `voters` of them, and `quorum` take a write.

    What a `majority` of them has in common is what there is.
    """

    granted: Sequence[Prepared]
    voters: int
    quorum: int
    majority: int

    @property
    def newest(self) -> str:
        """When anything happened to the object last, as far as these nodes know."""
        return max(each.newest for each in self.granted)

    @property
    def shared(self) -> Prepared | None:
        """The state that a majority has, as one of them says it."""
        counts = Counter(each.state for each in self.granted)
        of_quorum = [each for each in self.granted if counts[each.state] >= self.majority]
        # Where clocks differ about whether it has expired, it is there.
        return max(of_quorum, key=lambda each: each.found is not None, default=None)

    @property
    def is_safe(self) -> bool:
        """Whether the loss of one device leaves what is shared: fragments must be on more than a majority."""
        shared = self.shared
        if shared is None or not shared.is_fragmented:
            return shared is not None
        return sum(each.state == shared.state for each in self.granted) >= self.quorum

    def may_be_chosen(self, attempt: SentWrite) -> bool:
        """Whether a quorum may have stored it: all but those that refused it, and have not got it from others since."""
        lacking = [each for each in self.granted if each.node.id not in attempt.holders and each.pushed < attempt.stamp]
        return self.voters - len(lacking) >= self.quorum


class WriteStanding(Enum):
    """How a write stands."""

    DONE = "a quorum has it"
    AGAIN = "it is what there is, in fewer fragments than are safe: those who have it cannot give others theirs"
    REPAIR = "what is newest must be brought to a quorum first"
    UNKNOWN = "it may have been done, and was replaced if it was"
    OPEN = "it is to be decided on the state that a quorum has"


def judge(ballot: Ballot, attempts: Sequence[SentWrite], on_state: bool) -> WriteStanding:
    """`attempts` are those made so far; `on_state`: the write depends on the state of its object."""
    newest, shared = ballot.newest, ballot.shared
    if any(attempt.stamp == newest for attempt in attempts):
        if shared is None or shared.newest != newest:
            return WriteStanding.REPAIR
        return WriteStanding.DONE if ballot.is_safe else WriteStanding.AGAIN
    if any(attempt.stamp < newest and ballot.may_be_chosen(attempt) for attempt in attempts):
        return WriteStanding.UNKNOWN
    return WriteStanding.REPAIR if on_state and shared is None else WriteStanding.OPEN
