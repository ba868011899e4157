"""What two replicas of a database have to tell each other: decided from their summaries alone."""

from __future__ import annotations

from msgspec import Struct

from objstore.db.summary import Summary


class Plan(Struct, frozen=True):
    """What is to be done about one peer.

    `push_from` and `pull_from` are sequences after which rows are missing there or here. With `create` the peer has no
    replica. `agree` means that the rows are equal, and that this is not noted here yet. `strayed` means that rows
    differ although each has merged all of the other's: something has been damaged. On `forgotten_before` see Batch.
    """

    create: bool = False
    push_from: int | None = None
    pull_from: int | None = None
    agree: bool = False
    strayed: bool = False
    forgotten_before: str = ""

    @property
    def nothing(self) -> bool:
        """Whether both are in the same state, and know it."""
        return not (self.create or self.agree) and self.push_from is None and self.pull_from is None


def decide(mine: Summary, theirs: Summary | None, both_ways: bool) -> Plan:
    """What one pass does; a replica that is to be given up only gives (`both_ways` is false)."""
    if theirs is None:
        return Plan(create=True, push_from=0)
    known_there, known_here = theirs.points.get(mine.id, 0), mine.points.get(theirs.id, 0)
    if mine.same_rows(theirs):
        push = None if mine.same_state(theirs) else known_there
        return Plan(push_from=push, agree=both_ways and known_here < theirs.sequence)
    push = known_there if known_there < mine.sequence or not mine.same_state(theirs) else None
    pull = known_here if both_ways and known_here < theirs.sequence else None
    if known_there >= mine.sequence and known_here >= theirs.sequence and mine.live_digest != theirs.live_digest:
        # Tombstones may differ, since each replica drops old ones when it comes to them. Live rows may not.
        return Plan(push_from=0, pull_from=0 if both_ways else None, strayed=True)
    return Plan(push_from=push, pull_from=pull)


def was_turned_back(mine: Summary, theirs: Summary) -> bool:
    """Whether the peer has merged sequences that were not given out here: an older copy of the file was put back.

    New rows would get sequences again that the peer believes to have.
    """
    return theirs.points.get(mine.id, 0) > mine.sequence
