"""Bugs, planted one at a time: each must be caught by the checks within so many seeds.

A mutant replaces a named function of the program. It shows that the simulation would find such a mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from objstore.container import rows
from objstore.db import database, syncing
from objstore.db import planning as db_planning
from objstore.object import announce, fileset, pending
from objstore.object.file_engine import disk, engine, reading, suffixes, writing
from objstore.object.replication import partitions, planning, receiving
from objstore.proxy.put import encoding
from objstore.proxy.put import writing as put_writing
from objstore.system import files
from tests.simulation.driver import run_all
from tests.simulation.plan import make_plan

HOURS: Final = 10.0


@dataclass(frozen=True)
class Mutant:
    """A planted bug. `seeds` is within how many seeds it has to be caught."""

    name: str
    plant: Callable[[], None]
    seeds: int


def _nothing(*_: Any, **__: Any) -> None:
    """What should be done is not."""


def data_is_not_flushed() -> None:
    """An object's file gets its name before its content is durable."""
    disk.Disk.flush = _nothing  # type: ignore[method-assign]
    disk.Disk.flush_large = _nothing  # type: ignore[method-assign]


def names_are_not_flushed() -> None:
    """A write is acknowledged before its name is durable."""
    disk.Disk.flush_names = _nothing  # type: ignore[method-assign]


def rows_are_not_flushed() -> None:
    """A database's log is not flushed after a commit."""
    database.Database.flush = _nothing  # type: ignore[method-assign]


def pending_updates_are_not_flushed() -> None:
    """The record of an update that could not be delivered may vanish."""

    def careless(path: str, content: bytes, mode: int = files.FILE_MODE) -> None:
        temporary = files.temporary_name(path)
        with files.open(temporary, "wb") as file:  # type: ignore[attr-defined]
            file.write(content)
        files.os.replace(temporary, path)

    files.write_atomically = careless


def one_is_a_quorum() -> None:
    """A write is acknowledged as soon as one node has it."""
    encoding.quorum_size = lambda nodes: 1  # type: ignore[attr-defined]
    put_writing.quorum_size = lambda nodes: 1  # type: ignore[attr-defined]
    put_writing.has_quorum = lambda statuses, quorum: any(status < 300 for status in statuses)  # type: ignore[attr-defined]


def checksums_are_not_checked() -> None:
    """Whatever lies on the disk is sent."""

    def read(self: Any) -> bytes:
        body: bytes = self._disk.read(self._file, self.description.data.size, 0)
        self.close()
        return body

    reading.FileObject.read = read  # type: ignore[method-assign]


def announcements_are_not_awaited() -> None:
    """Neither delivered nor put on record: a listing may lack what was acknowledged."""
    announce.Announcement.wait = _nothing  # type: ignore[method-assign]


def older_rows_win() -> None:
    """A listing keeps the oldest it has heard."""

    def reversed_merge(one: Any, other: Any) -> Any:
        return min(one, other, key=lambda row: row.timestamp)

    rows.merge_object_rows = reversed_merge


def settled_after_the_answer() -> None:
    """What a write replaces is removed before the new name is durable."""

    def settle(self: Any) -> None:
        for obsolete in fileset.judge((*self._standing.names, self._name)).obsolete:
            self._disk.unlink(f"{self._path}/{obsolete}")
        self._directory.close()

    writing.UnsettledName.settle = settle  # type: ignore[method-assign]


def pending_updates_are_dropped() -> None:
    """An update that could not be delivered is forgotten."""
    announce.save = _nothing  # type: ignore[attr-defined]
    pending.save = _nothing


def oldest_data_wins() -> None:
    """Of several versions in a directory the oldest counts."""
    real = fileset.judge

    def judge(names: Any) -> Any:
        standing = real(names)
        datas = sorted(name for name in standing.names if name.endswith(".data"))
        if standing.data is None or len(datas) < 2:
            return standing
        obsolete = set(standing.names) - {datas[0]}
        return msgspec.structs.replace(real([datas[0]]), names=standing.names, obsolete=tuple(sorted(obsolete)))

    for module in (fileset, engine, writing, suffixes):
        module.judge = judge  # type: ignore[attr-defined]


def _exchanging_all_but(ending: str) -> None:
    real = partitions.exchange  # type: ignore[attr-defined]

    def exchange(*arguments: Any) -> Any:
        plan = real(*arguments)
        push, pull = ([name for name in names if not name.endswith(ending)] for names in (plan.push, plan.pull))
        return planning.Exchange(tuple(push), tuple(pull))

    partitions.exchange = exchange  # type: ignore[attr-defined]


def metadata_is_not_replicated() -> None:
    """What a POST has stored stays where it is."""
    _exchanging_all_but(".meta")


def tombstones_are_not_replicated() -> None:
    """A deletion stays where it is."""
    _exchanging_all_but(".ts")


def handoffs_are_emptied_too_soon() -> None:
    """A handoff forgets a partition once it has tried to push it."""
    partitions.removable = lambda mine, confirmations: {digest: tuple(names) for digest, names in mine.items()}  # type: ignore[attr-defined]
    partitions.Partition.sync = lambda self, suffixes, primaries, pulls: set(suffixes)  # type: ignore[method-assign]


def tombstones_are_dropped_early() -> None:
    """A deletion is forgotten as soon as it has removed the data, though another node may still have it."""
    real = writing.UnsettledName.settle

    def settle(self: Any) -> None:
        real(self)
        if self._name.endswith(".ts"):
            self._disk.unlink(f"{self._path}/{self._name}")

    writing.UnsettledName.settle = settle  # type: ignore[method-assign]


def received_files_are_not_flushed() -> None:
    """What a peer has sent is confirmed before it is durable; then a handoff is emptied."""
    real = receiving.Receiver.receive

    def receive(self: Any, body: Any) -> Any:
        flushes = disk.Disk.flush, disk.Disk.flush_names
        disk.Disk.flush = disk.Disk.flush_names = _nothing  # type: ignore[method-assign]
        try:
            return real(self, body)
        finally:
            disk.Disk.flush, disk.Disk.flush_names = flushes  # type: ignore[method-assign]

    receiving.Receiver.receive = receive  # type: ignore[method-assign]


def rows_are_not_pushed() -> None:
    """Replicas of a database that differ are taken for equal."""
    syncing.decide = lambda mine, theirs, both_ways: db_planning.Plan()  # type: ignore[attr-defined]


MUTANTS: Final[Sequence[Mutant]] = (
    Mutant("data_is_not_flushed", data_is_not_flushed, 8),
    Mutant("names_are_not_flushed", names_are_not_flushed, 8),
    Mutant("settled_after_the_answer", settled_after_the_answer, 8),
    Mutant("one_is_a_quorum", one_is_a_quorum, 8),
    Mutant("checksums_are_not_checked", checksums_are_not_checked, 8),
    Mutant("rows_are_not_flushed", rows_are_not_flushed, 8),
    Mutant("pending_updates_are_not_flushed", pending_updates_are_not_flushed, 8),
    Mutant("pending_updates_are_dropped", pending_updates_are_dropped, 8),
    Mutant("announcements_are_not_awaited", announcements_are_not_awaited, 8),
    Mutant("older_rows_win", older_rows_win, 8),
    Mutant("oldest_data_wins", oldest_data_wins, 8),
    Mutant("metadata_is_not_replicated", metadata_is_not_replicated, 8),
    Mutant("tombstones_are_not_replicated", tombstones_are_not_replicated, 8),
    Mutant("handoffs_are_emptied_too_soon", handoffs_are_emptied_too_soon, 8),
    Mutant("tombstones_are_dropped_early", tombstones_are_dropped_early, 8),
    Mutant("received_files_are_not_flushed", received_files_are_not_flushed, 12),
    Mutant("rows_are_not_pushed", rows_are_not_pushed, 8),
)


def seeds_until_caught(mutant: Mutant, jobs: int, hours: float = HOURS) -> tuple[int, str]:
    """How many seeds it took, and what was found; 0 if it was not caught within its number."""
    plans = [make_plan(f"mutant-{number}", hours) for number in range(mutant.seeds)]
    for count, result in enumerate(run_all(plans, jobs, mutant.plant), 1):
        if result.failed:
            return count, result.violations[0]
    return 0, ""
