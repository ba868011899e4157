"""One runner for all background work: it owns loops, pauses, rates, retries and signals.

A worker only says what one step is, and after each step whether there is more to do. What has not changed costs next to
nothing: a pass over it is spread over a longer time (`Spread`), or left out (`UnchangedPasses`).
"""

import enum
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Final, Protocol

from objstore.runtime import Runtime
from objstore.system import concurrency
from objstore.system.clock import Clock
from objstore.system.concurrency import Event, WaitTimeout

RETRY_FIRST_SECONDS: Final = 1.0
RETRY_LONGEST_SECONDS: Final = 60.0
# Passes over what does not change are never farther apart, unless the interval between two passes is.
LONGEST_REST_SECONDS: Final = 300.0
# How long a step may go on once the process has been told to stop.
DRAIN_SECONDS: Final = 30.0
# The outcome, in metrics, of a step that raised.
FAILED: Final = "failed"


class Step(enum.Enum):
    BUSY = "busy"  # there is more to do at once
    IDLE = "idle"  # nothing left for now: look again after the interval
    DONE = "done"  # nothing left ever


class Worker(Protocol):
    """Background work, cut into steps short enough to stop between."""

    name: str

    def step(self) -> Step:
        """Do the next piece. An exception is logged and the step tried again later."""
        ...


class Spread:
    """Makes each pass of a worker last at least `seconds`, so that a pass over little data costs little."""

    def __init__(self, seconds: float, progress: Callable[[], float]) -> None:
        """`progress` says how much of the pass is over, from 0 to 1."""
        self._seconds = seconds
        self._progress = progress
        self._began: tuple[float, float] | None = None

    def pause_seconds(self, now: float, outcome: Step) -> float:
        """How long the next step has to wait, after a step with this outcome; `now` is of a monotonic clock."""
        if outcome is not Step.BUSY:
            self._began = None
            return 0.0
        progress = self._progress()
        if self._began is None:  # a pass that goes on where an earlier process ended does not begin at 0
            self._began = now, progress
        began, first = self._began
        return max(began + (progress - first) * self._seconds - now, 0.0)


class ComparingWorker(Worker, Protocol):
    """A worker that can tell whether a pass found what the pass before has found."""

    def surface(self) -> object:
        """What shows without a pass that there is something to do, at next to no cost. Raises OSError."""
        ...

    @property
    def contents(self) -> object:
        """A digest of all that the last pass has found; None if there was something to do."""
        ...


class UnchangedPasses:
    """Decides which passes of a worker are left out because nothing changes.

    The pause between two passes doubles with each pass that finds the contents of the one before and nothing to do, up
    to LONGEST_REST_SECONDS. A pass that finds anything else, or a change of the surface, ends that.
    """

    def __init__(self, worker: ComparingWorker, interval_seconds: float, clock: Clock) -> None:
        self._worker = worker
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._surface: object = None
        self._contents: object = None
        self._unchanged = 0
        self._due = 0.0

    def may_skip(self) -> bool:
        """Whether the pass that would begin now may be left out. Raises OSError."""
        surface = self._worker.surface()
        is_same, self._surface = surface == self._surface, surface
        # A wake-up up to half an interval early counts as due.
        is_due = self._clock.monotonic() + self._interval_seconds / 2 >= self._due
        return is_same and self._unchanged > 0 and not is_due

    def ended(self) -> None:
        contents = self._worker.contents
        is_same, self._contents = contents is not None and contents == self._contents, contents
        self._unchanged = self._unchanged + 1 if is_same else 0
        rest = min(self._interval_seconds * 2.0 ** min(self._unchanged, 10), LONGEST_REST_SECONDS)
        self._due = self._clock.monotonic() + max(rest, self._interval_seconds)


@dataclass(frozen=True, slots=True)
class Job:
    """A worker and its pace: the pause when it is idle, and how many steps a second it may take (0 = any)."""

    worker: Worker
    interval_seconds: float
    steps_per_second: float = 0.0
    spread: Spread | None = None
    unchanged: UnchangedPasses | None = None


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
        outcome = Step.IDLE
        while not self._stop.is_set:
            started = self._monotonic()
            try:
                outcome = self._step(job, outcome)
                failures = 0
            except Exception:
                outcome = Step.BUSY
                failures += 1
                self._log.exception("step failed", worker=job.worker.name, failures=failures)
            took = self._monotonic() - started
            self._steps.add(job.worker.name, FAILED if failures else outcome.value)
            self._durations.observe(took, job.worker.name)
            pause = pause_seconds(job, outcome, took, failures)
            if pause is None:
                return
            if job.spread is not None and not failures:
                pause = max(pause, job.spread.pause_seconds(self._monotonic(), outcome))
            self._pause(pause)

    @staticmethod
    def _step(job: Job, before: Step) -> Step:
        """The next step; where a pass begins that may be left out, none."""
        if job.unchanged is None:
            return job.worker.step()
        if before is Step.IDLE and job.unchanged.may_skip():
            return Step.IDLE
        outcome = job.worker.step()
        if outcome is Step.IDLE:
            job.unchanged.ended()
        return outcome

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
