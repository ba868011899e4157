"""The agent of a host: it registers, pulls tasks, does them, and tells what changed. It may be killed at any moment."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

import msgspec

from objstore.client.errors import ClientError, NotFound
from objstore.compute.host.driver import DiskContent, Driver, MachineError, NotSupported
from objstore.compute.host.journal import TaskJournal
from objstore.compute.host.lease import HostLease
from objstore.compute.protocol import (
    REPORTS_MAX,
    WAIT_SECONDS_MAX,
    HostInstructions,
    HostRegistered,
    HostRegistration,
    HostReport,
    HostTask,
    MachineAction,
    MachineReport,
    MachineSpec,
    PowerState,
    TaskOutcome,
)
from objstore.errors import StoreError, reason_of
from objstore.logs import Logger

WORKERS: Final = 8
SOFT_STOP_SECONDS_MAX: Final = 60.0
DRAIN_SECONDS: Final = 20.0  # what is under way when the agent ends; the next agent does the rest
SWEEP_SECONDS: Final = 3600.0


class HostApi(Protocol):
    """services.ComputeApi."""

    def register(self, registration: HostRegistration) -> HostRegistered: ...

    def report(self, host_id: str, report: HostReport) -> HostInstructions: ...


class SnapshotTarget(Protocol):
    """services.ImageApi."""

    def fill(self, image_id: str, content: DiskContent) -> None: ...


@dataclass
class HostAgent:
    """One for each host. `run` blocks until `stop` is set."""

    registration: HostRegistration
    driver: Driver
    journal: TaskJournal
    api: HostApi
    images: SnapshotTarget
    log: Logger
    stop: threading.Event = field(default_factory=threading.Event)
    pause_seconds: float = 5.0  # between looks at the machines, and after a failure
    wait_seconds: float = WAIT_SECONDS_MAX
    _host_id: str = ""
    _told: dict[str, MachineReport] = field(default_factory=dict)
    _progress: dict[str, int] = field(default_factory=dict)
    _lanes: Lanes = field(default_factory=lambda: Lanes(WORKERS))
    _sending: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._lease = HostLease(self.driver, self.log, self._guarded, time.monotonic)

    def _guarded(self, server_id: str, work: Callable[[], None]) -> None:
        """Do something with a machine in its turn; what goes wrong is logged."""

        def logged() -> None:
            try:
                work()
            except (StoreError, OSError) as error:
                self.log.error("a machine does not do as the lease wants", server=server_id, reason=str(error))

        self._lanes.add(server_id, logged)

    def run(self) -> None:
        """Tasks of an agent before this one are gone on with. Machines go on when it ends."""
        self._register()
        for task in self.journal.unfinished():
            self._lanes.add(task.server_id, partial(self._do, task))
        for work in (self._watch, self._poll):
            threading.Thread(target=work, name=work.__name__.strip("_"), daemon=True).start()
        self.stop.wait()
        self._lanes.close(DRAIN_SECONDS)

    def _poll(self) -> None:
        while not self.stop.is_set():
            try:
                instructions = self.api.report(self._host_id, self._report(self.wait_seconds))
            except NotFound:
                self._register()
            except ClientError as error:
                self.log.repeated("the compute API does not answer", "compute", reason=str(error))
                self.stop.wait(self.pause_seconds)
            else:
                self._lease.renew()
                self._take(instructions)
                self.stop.wait(instructions.pause_seconds)

    def _register(self) -> None:
        """Until it succeeds. Machines that are no longer this host's are destroyed: others run in their place."""
        while not self.stop.is_set():
            try:
                registered = self.api.register(self.registration)
            except ClientError as error:
                self.log.repeated("the host cannot register", "compute", reason=str(error))
                self.stop.wait(self.pause_seconds)
                continue
            self._host_id = registered.host_id
            own = set(registered.machines)
            for server_id in self.driver.machines():
                if server_id not in own:
                    self.log.info("destroying a machine that is another host's", server=server_id)
                    self._lanes.add(server_id, partial(self._destroy, server_id))
            self._told.clear()
            self._lease.begin(registered.lease_seconds, registered.movable)
            self.log.info("registered", host=registered.host_id, machines=len(own))
            return

    def _take(self, instructions: HostInstructions) -> None:
        for task in instructions.tasks:
            self._lease.note(task)
            if not self.stop.is_set() and self.journal.begin(task):
                self._lanes.add(task.server_id, partial(self._do, task))

    def _report(self, wait_seconds: float) -> HostReport:
        return HostReport(holding=self.journal.holding(), progress=dict(self._progress), wait_seconds=wait_seconds)

    def _do(self, task: HostTask) -> None:
        """One task, to its outcome."""
        self.log.info("task", action=task.action.value, server=task.server_id, task=task.id)
        try:
            outcome = self._outcome(task)
        except NotSupported as error:
            outcome = TaskOutcome(task.id, False, str(error), unsupported=True)
        except StoreError as error:
            self.log.warning("a task failed", action=task.action.value, server=task.server_id, reason=str(error))
            shown = str(error) if isinstance(error, MachineError) else "a service that the host needs does not answer"
            outcome = TaskOutcome(task.id, False, shown)
        except OSError as error:
            self.log.warning("a task failed", action=task.action.value, server=task.server_id, reason=str(error))
            outcome = TaskOutcome(task.id, False, f"the host: {reason_of(error)}")
        except Exception:
            self.log.exception("a task failed unexpectedly", action=task.action.value, server=task.server_id)
            outcome = TaskOutcome(task.id, False, "the host met an error that it did not expect")
        finally:
            self._progress.pop(task.server_id, None)
        if not outcome.succeeded and task.action is MachineAction.BUILD:
            self._destroy(task.server_id)
        if task.action is not MachineAction.DELETE:
            outcome = _with_machine(outcome, self._machine(task.server_id))
        self.journal.end(outcome)
        self.tell()

    def tell(self) -> None:
        """Outcomes go at once; what cannot be told now is told later."""
        with self._sending:
            outcomes = self.journal.untold(REPORTS_MAX)
            changed = self._changes()
            if not outcomes and not changed:
                return
            report = HostReport(changed, outcomes, self.journal.holding())
            try:
                instructions = self.api.report(self._host_id, report)
            except ClientError as error:
                self.log.repeated("outcomes cannot be told", "compute", reason=str(error))
                return
            self.journal.told(outcomes)
            machines = [*changed, *(each.machine for each in outcomes if each.machine is not None)]
            self._told |= {each.server_id: each for each in machines}
        self._take(instructions)

    def _changes(self) -> list[MachineReport]:
        """Machines that are otherwise than was told, and that nothing is being done with."""
        changed = []
        for server_id in self.driver.machines():
            with self._lanes.idle(server_id) as idle:
                if idle:
                    machine = self._machine(server_id)
                    if machine.power is not PowerState.NONE and machine != self._told.get(server_id):
                        changed.append(machine)
        return changed[:REPORTS_MAX]

    def _watch(self) -> None:
        swept = time.monotonic()
        while not self.stop.wait(self.pause_seconds):
            try:
                self._lease.check()
                self.tell()
                for server_id in self.driver.machines():
                    with self._lanes.idle(server_id) as idle:
                        if idle:
                            self.driver.tend(server_id)
                if time.monotonic() - swept > SWEEP_SECONDS:
                    swept = time.monotonic()
                    self.driver.sweep()
            except (StoreError, OSError) as error:
                self.log.repeated("machines cannot be looked after", "driver", reason=str(error))
            except Exception:
                self.log.exception("machines cannot be looked after")

    def _machine(self, server_id: str) -> MachineReport:
        power = self.driver.power(server_id)
        return MachineReport(server_id, power, self.driver.addresses(server_id), self.driver.degraded(server_id))

    def _destroy(self, server_id: str) -> None:
        try:
            self.driver.destroy(server_id)
        except (StoreError, OSError) as error:
            self.log.error("a machine cannot be destroyed", server=server_id, reason=str(error))

    def _outcome(self, task: HostTask) -> TaskOutcome:
        """Raises StoreError."""
        driver, server_id = self.driver, task.server_id
        if task.action is MachineAction.CONSOLE:
            return TaskOutcome(task.id, True, output=driver.console(server_id, task.console_bytes))
        if task.action is MachineAction.DIAGNOSTICS:
            return TaskOutcome(task.id, True, diagnostics=driver.diagnostics(server_id))
        if task.action not in driver.features:
            raise NotSupported(f"machines of {driver.name} have no {task.action.value}")
        simple: dict[MachineAction, Callable[[], None]] = {
            MachineAction.BUILD: lambda: driver.build(_spec(task), self._progress_of(server_id)),
            MachineAction.REBUILD: lambda: driver.build(_spec(task), self._progress_of(server_id)),
            MachineAction.START: lambda: driver.start(server_id),
            MachineAction.STOP: lambda: driver.stop(server_id, min(task.timeout_seconds, SOFT_STOP_SECONDS_MAX)),
            MachineAction.REBOOT: lambda: driver.reboot(server_id, hard=task.hard),
            MachineAction.PAUSE: lambda: driver.pause(server_id),
            MachineAction.UNPAUSE: lambda: driver.start(server_id),
            MachineAction.SUSPEND: lambda: driver.suspend(server_id),
            MachineAction.RESUME: lambda: driver.start(server_id),
            MachineAction.DELETE: lambda: driver.destroy(server_id),
            MachineAction.SNAPSHOT: lambda: self._snapshot(task),
            MachineAction.RESIZE: lambda: driver.resize(_spec(task)),
            MachineAction.CONFIRM_RESIZE: lambda: driver.confirm_resize(server_id),
            MachineAction.REVERT_RESIZE: lambda: driver.revert_resize(_spec(task)),
            MachineAction.RESCUE: lambda: driver.rescue(server_id, task.rescue_image),
            MachineAction.UNRESCUE: lambda: driver.unrescue(server_id),
            MachineAction.UPDATE: lambda: driver.update(_spec(task)),
        }
        simple[task.action]()
        return TaskOutcome(task.id, True)

    def _snapshot(self, task: HostTask) -> None:
        if task.image_id is None:
            raise MachineError("the task names no image")
        deadline = time.monotonic() + task.timeout_seconds
        with self.driver.snapshot(task.server_id) as content:
            pieces = self._counted(task.server_id, content, deadline)
            self.images.fill(
                task.image_id, DiskContent(content.disk_format, content.length, content.virtual_size, pieces)
            )

    def _counted(self, server_id: str, content: DiskContent, deadline: float) -> Iterator[bytes]:
        """The same pieces; the progress follows them. Raises MachineError when the time is over."""
        sent = 0
        for piece in content.pieces:
            if time.monotonic() > deadline:
                raise MachineError("the snapshot was not uploaded in time")
            yield piece
            sent += len(piece)
            self._progress[server_id] = 100 * sent // content.length

    def _progress_of(self, server_id: str) -> Callable[[int], None]:
        def tell(percent: int) -> None:
            self._progress[server_id] = percent

        return tell


def _with_machine(outcome: TaskOutcome, machine: MachineReport) -> TaskOutcome:
    return msgspec.structs.replace(outcome, machine=machine)


def _spec(task: HostTask) -> MachineSpec:
    if task.machine is None:
        raise MachineError("the task does not say what the machine shall be")
    return task.machine


class Lanes:
    """Work by machine: of one machine in the order it came, of several side by side."""

    def __init__(self, workers: int) -> None:
        self._room = threading.BoundedSemaphore(workers)
        self._queues: dict[str, deque[Callable[[], None]]] = defaultdict(deque)
        self._changed = threading.Condition()
        self._running = 0
        self._closed = False

    def add(self, server_id: str, work: Callable[[], None]) -> None:
        with self._changed:
            self._queues[server_id].append(work)
            if len(self._queues[server_id]) == 1:
                self._begin(server_id)

    @contextmanager
    def idle(self, server_id: str) -> Iterator[bool]:
        """Whether nothing is done with the machine; if so, nothing will be begun meanwhile."""
        with self._changed:
            free = server_id not in self._queues
            if free:
                self._queues[server_id].append(_nothing)  # stands first, and is never run
        try:
            yield free
        finally:
            if free:
                self._end(server_id)

    def close(self, seconds: float) -> None:
        """What is under way ends, if it does so in time; nothing is begun any more."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._running, seconds)

    def _begin(self, server_id: str) -> None:
        # No thread that a process would wait for at its end.
        threading.Thread(target=self._do_first, args=(server_id,), name="task", daemon=True).start()

    def _do_first(self, server_id: str) -> None:
        with self._room:
            with self._changed:
                if self._closed:
                    return
                self._running += 1
                work = self._queues[server_id][0]
            try:
                work()
            finally:
                with self._changed:
                    self._running -= 1
                    self._changed.notify_all()
                self._end(server_id)

    def _end(self, server_id: str) -> None:
        """The first is over: the next one begins."""
        with self._changed:
            queue = self._queues[server_id]
            queue.popleft()
            if queue:
                self._begin(server_id)
            else:
                del self._queues[server_id]


def _nothing() -> None:
    """Work that keeps other work waiting."""
