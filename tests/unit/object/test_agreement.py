"""The table of floors: what it promises, to whom, and what is left of it after a process or the machine has died."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore.http.errors import HttpError
from objstore.object import agreement
from objstore.object.agreement import AGREED_SECONDS, DEFERRED_SECONDS, PREPARED_MAX, SLOTS, AgreementTable
from objstore.system import concurrency
from objstore.system.threads import ThreadGroup
from tests.doubles import ManualClock
from tests.unit.object.harness import at

OBJECT = "00000000000000050123456789abcdef"


class Machine:
    """A device, and processes that use its table; `boot` tells starts of the machine apart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock(running=True)
        self.boot = "first"
        self.clock.boot_id = lambda: self.boot  # type: ignore[method-assign]
        self.flushed = b""

    def process(self) -> AgreementTable:
        return AgreementTable(str(self.folder), self.clock, ThreadGroup())

    @property
    def file(self) -> Path:
        return self.folder / agreement.FILE_NAME

    def crash(self) -> None:
        """The machine is started anew, with nothing but what was flushed."""
        self.file.write_bytes(self.flushed)
        self.boot += "+"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = Machine(tmp_path)
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        if made.file.exists() and os.path.samestat(os.fstat(descriptor), made.file.stat()):
            made.flushed = made.file.read_bytes()

    monkeypatch.setattr(os, "fsync", fsync)
    yield made


def promise(table: AgreementTable, second: int, digest: str = OBJECT) -> None:
    with table.held(digest) as slot:
        slot.promise(at(second))


def floor_of(table: AgreementTable, digest: str = OBJECT) -> str:
    with table.held(digest) as slot:
        return slot.floor


def other(number: int) -> str:
    """The hash of another object of the same slot."""
    return f"{5 + SLOTS * number:016x}" + "0" * 16


def test_without_promises_every_write_is_taken(machine: Machine) -> None:
    with machine.process().held(OBJECT) as slot:
        assert slot.floor == ""
        assert slot.takes(at(-(10**9)), agreed=False)
        assert not slot.takes(at(1), agreed=True), "nothing was prepared"


def test_a_promise_refuses_older_writes_and_takes_the_one_it_is_for(machine: Machine) -> None:
    table = machine.process()
    promise(table, 5)
    with table.held(OBJECT) as slot:
        assert not slot.takes(at(4), agreed=False)
        assert not slot.takes(at(5), agreed=False), "only who has prepared it"
        assert slot.takes(at(5), agreed=True)
        assert not slot.takes(at(6), agreed=True)
        assert slot.takes(at(6), agreed=False)


def test_a_write_is_agreed_on_for_a_while_only(machine: Machine) -> None:
    table = machine.process()
    promise(table, 5)
    machine.clock.elapsed += AGREED_SECONDS
    with table.held(OBJECT) as slot:
        assert not slot.takes(at(5), agreed=True)
        assert not slot.takes(at(4), agreed=False), "the floor itself stays"


def test_older_versions_from_other_devices_wait_unless_they_are_agreed_on(machine: Machine) -> None:
    table = machine.process()
    promise(table, 5)
    with table.held(OBJECT) as slot:
        assert slot.defers(at(4), agreed="")
        assert not slot.defers(at(4), agreed=at(5))
        assert slot.defers(at(4), agreed=at(3)), "of an older preparation"
        assert not slot.defers(at(6), agreed="")
    machine.clock.elapsed += DEFERRED_SECONDS
    with table.held(OBJECT) as slot:
        assert not slot.defers(at(4), agreed="")


def test_objects_that_share_a_slot_hold_up_no_replication_of_each_other(machine: Machine) -> None:
    table = machine.process()
    promise(table, 5)
    with table.held(other(1)) as slot:
        assert slot.floor == at(5)
        assert not slot.defers(at(4), agreed="")


def test_an_object_that_is_forgotten_among_many_is_still_held_up(machine: Machine) -> None:
    table = machine.process()
    for number in range(PREPARED_MAX + 1):
        promise(table, 5 + number, other(number))
    with table.held(OBJECT) as slot:
        assert slot.defers(at(4), agreed="")


def test_processes_share_floors_and_a_killed_one_loses_nothing(machine: Machine) -> None:
    promise(machine.process(), 5)
    assert floor_of(machine.process()) == at(5)


def test_a_slot_is_held_by_one_process_at_a_time(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = machine.process(), machine.process()
    floor_of(two)
    order = []

    def second() -> None:
        with two.held(OBJECT) as slot:
            order.append(slot.floor)

    with one.held(OBJECT) as slot:
        task = concurrency.spawn(second)
        concurrency.sleep(0)
        slot.promise(at(5))
        order.append("first")
    task.wait()
    assert order == ["first", at(5)]
    monkeypatch.setattr(agreement, "LOCK_SECONDS", 0.01)
    with one.held(OBJECT), pytest.raises(HttpError, match="too long"), two.held(OBJECT):
        pass


def test_who_reads_waits_until_a_write_is_durable(machine: Machine) -> None:
    one, two = machine.process(), machine.process()
    floor_of(two)
    order = []

    def read(table: AgreementTable) -> None:
        table.wait_until_durable(OBJECT)
        order.append("read")

    with one.held(OBJECT):
        tasks = [concurrency.spawn(read, table) for table in (one, two)]
        concurrency.sleep(0)
        order.append("durable")
    for task in tasks:
        task.wait()
    assert order == ["durable", "read", "read"]


def test_after_a_crash_of_the_machine_no_promise_is_broken(machine: Machine) -> None:
    table = machine.process()
    for second in range(0, 25, 5):
        promise(table, second)
        machine.flushed, kept = machine.flushed, machine.file.read_bytes()
        machine.crash()
        again = machine.process()
        assert floor_of(again) >= at(second)
        with again.held(OBJECT) as slot:
            assert slot.defers(at(second), agreed=""), "nothing older may come in meanwhile"
            assert slot.pushed >= at(second), "it cannot say what came before"
        machine.file.write_bytes(kept)
        machine.boot = "first"


def test_floors_are_given_without_a_flush_each(machine: Machine) -> None:
    table, seen = machine.process(), set()
    for second in range(9):
        promise(table, second)
        seen.add(machine.flushed[:256])
    assert len(seen) == 1


def test_a_floor_is_not_given_if_the_limit_cannot_be_flushed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    table = machine.process()
    promise(table, 5)

    def fails(_descriptor: int) -> None:
        raise OSError(5, "no")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="no"):
        promise(table, 500)
    assert floor_of(table) == at(5)


def test_it_remembers_lately_pushed_versions(machine: Machine) -> None:
    table = machine.process()
    with table.held(OBJECT) as slot:
        assert slot.pushed == ""
        slot.note_push(at(7))
        slot.note_push(at(3))
    with machine.process().held(OBJECT) as slot:
        assert slot.pushed == at(7)
    machine.clock.elapsed += agreement.PUSHED_SECONDS
    with table.held(OBJECT) as slot:
        assert slot.pushed == ""


def test_a_file_of_something_else_is_refused(machine: Machine) -> None:
    machine.file.write_bytes(b"x" * 4096)
    with pytest.raises(OSError, match="not a table"):
        floor_of(machine.process())


def test_a_closed_table_opens_again(machine: Machine) -> None:
    table = machine.process()
    promise(table, 5)
    table.close()
    assert floor_of(table) == at(5)
