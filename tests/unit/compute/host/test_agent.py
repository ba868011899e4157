"""The agent against an API in memory: what it does, tells and destroys, also when it was killed in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore.compute.host.agent import HostAgent, Lanes
from objstore.compute.host.driver import DiskContent, MachineError
from objstore.compute.host.fake import FakeDriver
from objstore.compute.host.journal import TaskJournal
from objstore.compute.protocol import (
    HostRegistration,
    HostTask,
    MachineAction,
    MachineReport,
    PowerState,
    TaskOutcome,
)
from objstore.logs import get_logger
from tests.unit.compute.host.machines import SERVER, Compute, machine
from tests.waiting import wait_until

OTHER = "99999999-2222-3333-4444-555555555555"


class Uploads:
    """An image service that takes what it is given."""

    def __init__(self) -> None:
        self.images: dict[str, bytes] = {}

    def fill(self, image_id: str, content: DiskContent) -> None:
        self.images[image_id] = b"".join(content.pieces)


class Host:
    """An agent in a thread."""

    def __init__(self, folder: Path, compute: Compute, driver: FakeDriver | None = None) -> None:
        self.driver = driver or FakeDriver(folder)
        self.images = Uploads()
        self.journal = TaskJournal(folder / "journal")
        registration = HostRegistration("one", "fake", 4, 1000, 10)
        self.agent = HostAgent(
            registration, self.driver, self.journal, compute, self.images, get_logger("host"), pause_seconds=0.01,
            wait_seconds=0.2,
        )  # fmt: skip
        self.thread = threading.Thread(target=self.agent.run, daemon=True)
        self.thread.start()

    def end(self) -> None:
        self.agent.stop.set()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def compute() -> Compute:
    return Compute()


@pytest.fixture
def host(tmp_path: Path, compute: Compute) -> Iterator[Host]:
    running = Host(tmp_path, compute)
    yield running
    running.end()


def test_tasks_of_a_machine_are_done_in_order_and_told(host: Host, compute: Compute) -> None:
    build = compute.add(MachineAction.BUILD, machine=machine())
    stop = compute.add(MachineAction.STOP)
    snapshot = compute.add(MachineAction.SNAPSHOT, image_id="snap")
    console = compute.add(MachineAction.CONSOLE, console_bytes=5)
    assert compute.outcome(build).machine == MachineReport(SERVER, PowerState.RUNNING, host.driver.addresses(SERVER))
    machine_after = compute.outcome(stop).machine
    assert machine_after is not None
    assert machine_after.power is PowerState.SHUTDOWN
    assert compute.outcome(snapshot).succeeded
    assert host.images.images["snap"].startswith(SERVER.encode())
    assert len(compute.outcome(console).output) == 5
    wait_until(lambda: host.journal.holding() == [], "the journal is empty")


def test_a_delete_leaves_nothing_and_may_find_nothing(host: Host, compute: Compute) -> None:
    compute.outcome(compute.add(MachineAction.BUILD, machine=machine()))
    assert compute.outcome(compute.add(MachineAction.DELETE)).succeeded
    assert compute.outcome(compute.add(MachineAction.DELETE)).succeeded
    assert host.driver.machines() == []


def test_what_a_driver_lacks_is_the_requests_fault(host: Host, compute: Compute) -> None:
    host.driver.features = frozenset()
    outcome = compute.outcome(compute.add(MachineAction.PAUSE))
    assert (outcome.succeeded, outcome.unsupported) == (False, True)
    assert outcome.error == "machines of fake have no pause"


def test_a_build_that_fails_leaves_nothing(tmp_path: Path, compute: Compute) -> None:
    host = Host(tmp_path, compute, FakeDriver(tmp_path, faults=1.0))
    try:
        outcome = compute.outcome(compute.add(MachineAction.BUILD, machine=machine()))
        assert (outcome.succeeded, outcome.error) == (False, "the machine does not start")
        assert outcome.machine is not None
        assert outcome.machine.power is PowerState.NONE
        assert host.driver.machines() == []
    finally:
        host.end()


def test_a_task_that_an_agent_was_killed_in_is_done_again(tmp_path: Path, compute: Compute) -> None:
    task = compute.add(MachineAction.BUILD, machine=machine())
    TaskJournal(tmp_path / "journal").begin(compute.tasks[task])
    host = Host(tmp_path, compute)
    try:
        assert compute.outcome(task).succeeded
        assert host.driver.power(SERVER) is PowerState.RUNNING
    finally:
        host.end()


def test_an_outcome_that_was_not_told_is_told_and_nothing_is_done_twice(tmp_path: Path, compute: Compute) -> None:
    task = compute.add(MachineAction.BUILD, machine=machine())
    journal = TaskJournal(tmp_path / "journal")
    journal.begin(compute.tasks[task])
    journal.end(TaskOutcome(task, False, "no room"))
    host = Host(tmp_path, compute)
    try:
        assert compute.outcome(task).error == "no room"
        assert host.driver.machines() == []
    finally:
        host.end()


def test_outcomes_wait_for_the_api(host: Host, compute: Compute) -> None:
    task = compute.add(MachineAction.BUILD, machine=machine())
    wait_until(lambda: host.journal.holding() == [task] or compute.outcomes, "the task is taken")
    compute.away = True
    second = compute.add(MachineAction.STOP)
    compute.away = False
    assert compute.outcome(task).succeeded
    assert compute.outcome(second).succeeded


def test_machines_that_are_not_the_hosts_are_destroyed(tmp_path: Path, compute: Compute) -> None:
    driver = FakeDriver(tmp_path)
    for server_id in (SERVER, OTHER):
        driver.build(machine(server_id), lambda percent: None)
    host = Host(tmp_path, compute, driver)
    try:
        wait_until(lambda: driver.machines() == [SERVER], "the other's machine is destroyed")
        wait_until(lambda: [each.server_id for each in compute.reports] == [SERVER], "its own is reported")
        compute.fence()
        wait_until(lambda: driver.machines() == [], "a fenced host lets go of its machines")
        assert compute.registrations == 2
    finally:
        host.end()


def test_a_machine_that_goes_off_by_itself_is_reported_once(host: Host, compute: Compute) -> None:
    compute.outcome(compute.add(MachineAction.BUILD, machine=machine()))
    host.driver.stop(SERVER, 0)
    wait_until(lambda: any(each.power is PowerState.SHUTDOWN for each in compute.reports), "the change is told")
    host.agent.tell()
    assert len([each for each in compute.reports if each.power is PowerState.SHUTDOWN]) == 1


def test_an_unexpected_error_ends_the_task_and_not_the_agent(host: Host, compute: Compute) -> None:
    host.driver.pause = lambda server_id: 1 / 0  # type: ignore[method-assign,assignment]
    assert compute.outcome(compute.add(MachineAction.PAUSE)).error == "the host met an error that it did not expect"
    assert compute.outcome(compute.add(MachineAction.BUILD, machine=machine())).succeeded


def test_a_task_without_its_machine_is_refused(host: Host, compute: Compute) -> None:
    assert "does not say" in compute.outcome(compute.add(MachineAction.BUILD)).error
    assert "names no image" in compute.outcome(compute.add(MachineAction.SNAPSHOT)).error


def test_a_snapshot_has_a_limit_of_time(host: Host, compute: Compute) -> None:
    compute.outcome(compute.add(MachineAction.BUILD, machine=machine()))
    outcome = compute.outcome(compute.add(MachineAction.SNAPSHOT, image_id="late", timeout_seconds=-1.0))
    assert outcome.error == "the snapshot was not uploaded in time"


def test_nothing_begins_while_a_lane_is_held() -> None:
    lanes, done = Lanes(2), threading.Event()
    with lanes.idle("a") as free:
        assert free
        lanes.add("a", done.set)
        with lanes.idle("a") as again:
            assert not again
        assert not done.is_set()
    assert done.wait(10)
    lanes.close(10)


def test_an_agent_that_ends_waits_for_a_task_and_not_for_ever() -> None:
    lanes, begun, going_on = Lanes(1), threading.Event(), threading.Event()
    lanes.add("a", lambda: (begun.set(), going_on.wait(20)))  # type: ignore[arg-type,return-value]
    lanes.add("a", lambda: pytest.fail("begun after the end"))
    assert begun.wait(10)
    lanes.close(0.01)
    going_on.set()
    lanes.close(10)


def test_journals_come_back_in_order(tmp_path: Path) -> None:
    journal = TaskJournal(tmp_path)
    tasks = [HostTask(f"../{number}", SERVER, MachineAction.START) for number in range(3)]
    assert [journal.begin(task) for task in [*tasks, tasks[0]]] == [True, True, True, False]
    journal.end(TaskOutcome(tasks[1].id, True))
    (tmp_path / "half.json.1.1.tmp").write_bytes(b"{")
    again = TaskJournal(tmp_path)
    assert again.unfinished() == [tasks[0], tasks[2]]
    assert again.untold(10) == [TaskOutcome(tasks[1].id, True)]
    again.told(again.untold(10))
    assert TaskJournal(tmp_path).holding() == again.holding()
    assert not again.begin(tasks[1]), "an answer that is late brings it again"
    assert not (tmp_path.parent / "0.json").exists()


def test_errors_of_the_driver_have_a_reason() -> None:
    with pytest.raises(MachineError, match="no such machine"):
        FakeDriver().start(SERVER)


def test_machines_that_may_run_elsewhere_pause_while_nobody_answers(tmp_path: Path) -> None:
    compute = Compute(machines=[SERVER, OTHER])
    host = Host(tmp_path, compute)
    try:
        for server_id, moves in ((SERVER, True), (OTHER, False)):
            spec = machine(server_id, restart_elsewhere=moves)
            assert compute.outcome(compute.add(MachineAction.BUILD, server_id, machine=spec)).succeeded
        compute.away = True
        wait_until(lambda: host.driver.power(SERVER) is PowerState.PAUSED, "the machine to be paused")
        assert host.driver.power(OTHER) is PowerState.RUNNING
        compute.away = False
        wait_until(lambda: host.driver.power(SERVER) is PowerState.RUNNING, "the machine to go on")
    finally:
        host.end()
