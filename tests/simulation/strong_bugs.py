"""Bugs to be planted in how the nodes of strong policies agree."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace as changed

from objstore.object.agreement import AgreementTable, HeldSlot
from objstore.proxy.core.agreement import Ballot
from objstore.proxy.core.objects import ObjectOperations
from objstore.proxy.core.strong import Agreement, WriteAgreement
from objstore.proxy.core.strong_reading import StrongReader
from tests.simulation.planting import Mutant, always, nothing, replace


def promises_are_not_kept() -> None:
    """A device that promises to take no older write forgets it at once."""

    def promise(self: Any, timestamp: str) -> None:
        self._content.floor = ""

    def takes(self: Any, timestamp: str, agreed: bool) -> bool:
        return bool(agreed or timestamp > self.floor)

    replace("promise", promise, HeldSlot)
    replace("takes", takes, HeldSlot)


def promises_are_lost_with_the_power() -> None:
    """The limit above all promises is not durable before they are given."""
    replace("raise_limit", nothing, AgreementTable)


def handoffs_count_in_strong_quorums() -> None:
    """A handoff has a say in the place of a primary that cannot be reached."""
    real = ObjectOperations._placed

    def _placed(self: Any, *arguments: Any) -> Any:
        placement = real(self, *arguments)
        if not placement.strict:
            return placement
        nodes, _ = self._reader.nodes.for_writing(changed(placement, strict=False))
        return changed(placement, primaries=tuple(nodes))

    replace("_placed", _placed, ObjectOperations)


def reads_skip_their_second_replica() -> None:
    """The first node that answers is believed."""
    replace("read", lambda self, *arguments: self.reader.read(*arguments), StrongReader)


def what_is_newest_is_read_at_once() -> None:
    """The newest of all answers is given back, though only one node may have it."""
    replace("read", lambda self, *arguments: self.reader.read(*arguments, newest=True), StrongReader)


def conditions_are_decided_on_one_node() -> None:
    """A condition is decided on the newest that any node has, whether a quorum has it or not."""
    newest = property(lambda self: max(self.granted, key=lambda each: each.newest))
    replace("shared", newest, Ballot)


def writes_go_to_nodes_that_were_not_prepared() -> None:
    """A write that is agreed on is sent to all nodes, and those that have not promised anything take it."""
    real = WriteAgreement._attempt

    def _attempt(self: Any, accept: Any) -> Any:
        return real(self, changed(accept, placement=self._placement))

    replace("_attempt", _attempt, WriteAgreement)
    replace("takes", lambda self, timestamp, agreed: timestamp >= self.floor, HeldSlot)


def attempts_are_forgotten() -> None:
    """A write that may have had its turn is done again."""
    replace("may_be_chosen", always(False), Ballot)


def halves_are_not_brought_to_a_quorum() -> None:
    """What only some nodes have stays there, and is taken for what a quorum has."""
    replace("repair", nothing, Agreement)
    replace("shared", property(lambda self: max(self.granted, key=lambda each: each.newest)), Ballot)


STRONG_BUGS: Final = (
    Mutant(promises_are_not_kept, 8),
    Mutant(promises_are_lost_with_the_power, 8),
    Mutant(handoffs_count_in_strong_quorums, 8),
    Mutant(reads_skip_their_second_replica, 8),
    Mutant(what_is_newest_is_read_at_once, 8),
    Mutant(conditions_are_decided_on_one_node, 8),
    Mutant(writes_go_to_nodes_that_were_not_prepared, 8),
    Mutant(attempts_are_forgotten, 8),
    Mutant(halves_are_not_brought_to_a_quorum, 8),
)
