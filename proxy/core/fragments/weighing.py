"""Which writes of an object count, by what its devices say they have. Pure.

A write is acknowledged when `write_quorum` devices have its fragment, under a pending name; the durable names follow. A
reader that finds something pending, newer than all that is durable, counts those that have it:

    enough to read it, and a majority        it is committed, and read: whether it was acknowledged or not
    too few, whatever the others may have    it has not been acknowledged: as if it was not there
    else                                     nobody can know: more devices are asked, and if there are none, 503

So what was acknowledged is read, and what was read once is durable on a majority, which every later reader asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from objstore.proxy.core.backend.agreement import Prepared
from objstore.proxy.core.backend.fragments import HeldFile, held_file, names_of
from objstore.proxy.core.nodes import Placement

Holder = TypeVar("Holder")
DURABLE: Final = "#d.data"


class Quorums(Struct, frozen=True):
    """Of `voters` devices, how many must have stored a write that is acknowledged, how many make a majority, and how
    many different fragments give a body."""

    voters: int
    write: int
    majority: int
    data: int

    @property
    def read(self) -> int:
        """Of how many devices the answers may decide: they have a body, and one of every majority is among them."""
        return max(self.majority, self.data)


class PendingWrite(Struct, frozen=True):
    """A write of the line of `version` that some devices have, by number of the fragment's place."""

    timestamp: str
    version: str


class Weighed(Struct, frozen=True):
    """`commits` are the writes to commit first; `is_unknown` if it cannot be told whether one counts.

    void: the names of writes that were not acknowledged: they say nothing.
    """

    commits: tuple[PendingWrite, ...] = ()
    is_unknown: bool = False
    void: frozenset[str] = frozenset()


def weigh(states: Mapping[int, frozenset[str]], numbers: Mapping[int, int], unheard: int, quorums: Quorums) -> Weighed:
    """What the pending names amount to.

    `states`: by device the names it has; `numbers`: by device the number of its fragment; `unheard`: how many of the
    voters have not answered.
    """
    if not any("#.data" in name for names in states.values() for name in names):
        return Weighed()
    files = {device: [file for file in map(held_file, names) if file is not None] for device, names in states.items()}
    decided = _decided([file for some in files.values() for file in some])
    commits, void, is_unknown = list[PendingWrite](), set[str](), False
    for pending, name in _pending(files):
        newest = decided.get(pending.version, "")
        holders = [device for device, some in files.items() if any(_is_of(file, pending) for file in some)]
        if pending.timestamp == newest and any(_is_durable(some, pending) for some in files.values()):
            commits.append(pending)  # somebody has known that it counts
        elif pending.timestamp <= newest:
            void.add(name)
        elif len(holders) >= quorums.majority and len({numbers[device] for device in holders}) >= quorums.data:
            commits.append(pending)
        elif len(holders) + unheard < quorums.write:
            void.add(name)
        else:
            is_unknown = True
    return Weighed(tuple(commits), is_unknown, frozenset(void))


def survivors(states: Mapping[Holder, frozenset[str]], quorums: Quorums) -> list[Holder]:
    """Who has an object that counts, if all others of a majority have lost it; nobody if that cannot be said.

    A durable fragment was acknowledged, so one of those that have answered would know of anything newer. So many have
    to be left that one of every majority has it.
    """
    held = {names for names in states.values() if names}
    holders = [holder for holder, names in states.items() if names]
    newest = max((name for names in held for name in names if not name.endswith(".meta")), default="")
    enough = max(quorums.data, quorums.voters - quorums.majority + 1)
    return holders if len(held) == 1 and newest.endswith(DURABLE) and len(holders) >= enough else []


def weigh_prepared(granted: Sequence[Prepared], placement: Placement) -> Weighed:
    """What is pending by the promises of some of a placement's devices."""
    numbers = placement.fragments or {}
    quorums = Quorums(placement.replicas, placement.quorum, placement.majority, placement.data)
    states = {each.node.id: names_of(each.state) for each in granted}
    return weigh(states, numbers, placement.replicas - len(states), quorums)


def without(prepared: Prepared, void: frozenset[str]) -> Prepared:
    """A promise of a device as if it did not have these files."""
    names = names_of(prepared.state) - void
    newest = max((file.timestamp for file in map(held_file, names) if file is not None), default="")
    return replace(prepared, state=",".join(sorted(names)) or "-", newest=newest)


def _decided(files: Sequence[HeldFile]) -> dict[str, str]:
    """By line when it was written or removed last, durably."""
    found: dict[str, str] = {}
    for file in files:
        if file.decides and not file.pending:
            timestamp = "9" * 10 if file.removes else file.timestamp
            found[file.version] = max(found.get(file.version, ""), timestamp)
    return found


def _pending(files: Mapping[int, Sequence[HeldFile]]) -> list[tuple[PendingWrite, str]]:
    every = {(file.timestamp, file.version, file.name) for some in files.values() for file in some if file.pending}
    return [(PendingWrite(timestamp, version), name) for timestamp, version, name in sorted(every)]


def _is_durable(files: Sequence[HeldFile], pending: PendingWrite) -> bool:
    return any(_is_of(file, pending) and not file.pending for file in files)


def _is_of(file: HeldFile, pending: PendingWrite) -> bool:
    return file.timestamp == pending.timestamp and file.version == pending.version and file.decides
