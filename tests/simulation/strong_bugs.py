"""Bugs to be planted in how the nodes of strong policies agree."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace as changed

from objstore.object.agreement import HeldSlot
from objstore.proxy.core.agreement import Ballot
from objstore.proxy.core.objects import ObjectOperations
from objstore.proxy.core.strong import Agreement
from objstore.proxy.core.strong_reading import StrongReader
from tests.simulation.planting import Mutant, nothing, replace


def promises_are_not_kept() -> None:
    """A device that promises to take no older write forgets it at once."""

    def promise(self: Any, timestamp: str) -> None:
        self._content.floor = ""

    def takes(self: Any, timestamp: str, agreed: bool) -> bool:
        return bool(agreed or timestamp > self.floor)

    replace("promise", promise, HeldSlot)
    replace("takes", takes, HeldSlot)


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
    real = StrongReader.read

    def read(self: Any, method: str, placement: Any, headers: Any) -> Any:
        return real(self, method, changed(placement, quorum=1), headers)

    replace("read", read, StrongReader)


def conditions_are_decided_on_one_node() -> None:
    """A condition is decided on the newest that any node has, whether a quorum has it or not."""
    newest = property(lambda self: max(self.granted, key=lambda each: each.newest))
    replace("shared", newest, Ballot)


def halves_are_not_brought_to_a_quorum() -> None:
    """What only some nodes have stays there, and is taken for what a quorum has."""
    replace("repair", nothing, Agreement)
    replace("shared", property(lambda self: max(self.granted, key=lambda each: each.newest)), Ballot)


STRONG_BUGS: Final = (
    Mutant(promises_are_not_kept, 8),
    Mutant(handoffs_count_in_strong_quorums, 8),
    Mutant(reads_skip_their_second_replica, 8),
    Mutant(conditions_are_decided_on_one_node, 8),
    Mutant(halves_are_not_brought_to_a_quorum, 8),
)
