"""One runner for all background work: it owns loops, pauses, rates, retries and signals.

A worker only says what one step is, and after each step whether there is more to do.
"""

import enum
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Final, Protocol

from objstore.runtime import Runtime
from objstore.system import concurrency
from objstore.system.concurrency import Event, WaitTimeout

RETRY_FIRST_SECONDS: Final = 1.0
RETRY_LONGEST_SECONDS: Final = 60.0
# How long a step may go on once the process has been told to stop.
DRAIN_SECONDS: Final = 30.0
# The outcome, in metrics, of a step that raised.
FAILED: Final = "failed"


class Step(enum.Enum):
    """What a step found."""

    BUSY = "busy"  # there is more to do at once
    IDLE = "idle"  # nothing left for now: look again after the interval
    DONE = "done"  # nothing left ever


class Worker(Protocol):
    """Background work, cut into steps short enough to stop between."""

    name: str

    def step(self) -> Step:
        """Do the next piece. An exception is logged and the step tried again later."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """A worker and its pace: the pause when it is idle, and how many steps a second it may take (0 = any)."""

    worker: Worker
    interval_seconds: float
    steps_per_second: float = 0.0


def pause_seconds(job: Job, outcome: Step, took_seconds: float, failures: int) -> float | None:
    """How long to wait before the next step, None for no next step.

    `failures` counts the exceptions since the last step that went well; each doubles the pause.
    """
    if failures:
        return min(RETRY_FIRST_SECONDS * 2.0 ** min(failures - 1, 10), RETRY_LONGEST_SECONDS)
    if outcome is Step.DONE:
        return None
    if outcome is Step.IDLE:
        return job.interval_seconds
    return max(1 / job.steps_per_second - took_seconds, 0.0) if job.steps_per_second else 0.0


def run_once(worker: Worker) -> Step:
    """Step until there is nothing left for now, without pauses; exceptions pass through."""
    while (outcome := worker.step()) is Step.BUSY:
        concurrency.sleep(0)
    return outcome


class Runner:
    """Runs jobs side by side until they are done or it is told to stop."""

    def __init__(self, jobs: Sequence[Job], runtime: Runtime) -> None:
        self._jobs = jobs
        self._log = runtime.log
        self._monotonic = runtime.clock.monotonic
        metrics = runtime.metrics
        self._steps = metrics.counter("daemon_steps", "Steps of background work", ("worker", "outcome"))
        self._durations = metrics.histogram("daemon_step_duration_seconds", "How long a step took", ("worker",))
        self._stop: Event[None] = Event()
        self._ended: Event[None] = Event()
        self._running = 0

    def stop(self) -> None:
        """Let every worker finish its step and start no other."""
        self._stop.set()

    def run(self, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Returns when all workers are done, or at most `drain_seconds` after `stop`."""
        if not self._jobs:
            return
        self._running = len(self._jobs)
        tasks = [concurrency.spawn(self._loop, job) for job in self._jobs]
        watcher = concurrency.spawn(self._cut_off, tasks, drain_seconds)
        self._ended.wait()
        watcher.kill()

    def _cut_off(self, tasks: list[concurrency.Task[None]], seconds: float) -> None:
        self._stop.wait()
        try:
            self._ended.wait(seconds)
        except WaitTimeout:
            self._log.warning("steps still running were cut off", drain_seconds=seconds)
            for task in tasks:
                task.kill()

    def _loop(self, job: Job) -> None:
        try:
            self._step_until_stopped(job)
        finally:
            self._running -= 1
            if self._running == 0:
                self._ended.set()

    def _step_until_stopped(self, job: Job) -> None:
        failures = 0
        while not self._stop.is_set:
            started = self._monotonic()
            outcome = Step.BUSY
            try:
                outcome = job.worker.step()
                failures = 0
            except Exception:
                failures += 1
                self._log.exception("step failed", worker=job.worker.name, failures=failures)
            took = self._monotonic() - started
            self._steps.add(job.worker.name, FAILED if failures else outcome.value)
            self._durations.observe(took, job.worker.name)
            pause = pause_seconds(job, outcome, took, failures)
            if pause is None:
                return
            self._pause(pause)

    def _pause(self, seconds: float) -> None:
        if seconds == 0:
            concurrency.sleep(0)
            return
        try:
            self._stop.wait(seconds)
        except WaitTimeout:
            pass


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call `stop` in the hub on SIGTERM and SIGINT, so that a step under way can finish."""
    hub = concurrency.current_hub()

    def handle(_number: int, _frame: FrameType | None) -> None:
        # A handler runs between any two instructions: only the hub's own round may touch its queues.
        concurrency.call_soon_from_thread(hub, stop)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def run(jobs: Sequence[Job], runtime: Runtime) -> None:
    """The main function of a process of daemons: runs until done, SIGTERM or SIGINT."""
    runner = Runner(jobs, runtime)
    stop_on_signals(runner.stop)
    runtime.log.info("started", workers=",".join(job.worker.name for job in jobs))
    runner.run()
    runtime.metrics.share()
    runtime.log.info("stopped")
