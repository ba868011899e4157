import os
import signal
from collections.abc import Callable, Iterator

import pytest

from objstore import daemon
from objstore.daemon import Job, Runner, Spread, Step, UnchangedPasses, pause_seconds, run, run_once
from objstore.logs import Logger, Sink
from objstore.runtime import Runtime
from objstore.system import concurrency
from objstore.system.concurrency import Event
from tests.doubles import ManualClock
from tests.waiting import elapse_in_hub


class Scripted:
    """A worker whose steps do what a list says, and then are done."""

    name = "scripted"

    def __init__(self, *script: Step | Callable[[], Step]) -> None:
        self.script = list(script)
        self.steps = 0

    def step(self) -> Step:
        self.steps += 1
        if not self.script:
            return Step.DONE
        action = self.script.pop(0)
        return action if isinstance(action, Step) else action()


def fail() -> Step:
    raise OSError("disk on fire")


JOB = Job(Scripted(), interval_seconds=30.0)


@pytest.mark.parametrize(
    ("outcome", "failures", "pause"),
    [
        (Step.BUSY, 0, 0.0),
        (Step.IDLE, 0, 30.0),
        (Step.DONE, 0, None),
        (Step.BUSY, 1, 1.0),
        (Step.BUSY, 2, 2.0),
        (Step.BUSY, 4, 8.0),
        (Step.BUSY, 7, 60.0),
        (Step.BUSY, 10_000, 60.0),
    ],
)
def test_pauses(outcome: Step, failures: int, pause: float | None) -> None:
    assert pause_seconds(JOB, outcome, 0.5, failures) == pause


@pytest.mark.parametrize(("took", "pause"), [(0.0, 0.25), (0.1, 0.15), (0.3, 0.0)])
def test_a_rate_counts_the_time_the_step_took(took: float, pause: float) -> None:
    job = Job(Scripted(), 30.0, steps_per_second=4.0)
    assert pause_seconds(job, Step.BUSY, took, 0) == pytest.approx(pause)


def test_run_once_stops_when_there_is_nothing_left_for_now() -> None:
    worker = Scripted(Step.BUSY, Step.BUSY, Step.IDLE, Step.BUSY)
    assert run_once(worker) is Step.IDLE
    assert worker.steps == 3
    with pytest.raises(OSError, match="disk on fire"):
        run_once(Scripted(fail))


@pytest.fixture
def lines() -> list[bytes]:
    return []


def runner(lines: list[bytes], *jobs: Job) -> Runner:
    return Runner(jobs, runtime_of(lines))


def runtime_of(lines: list[bytes]) -> Runtime:
    return Runtime(Logger("daemon", Sink("warning", write=lines.append)))


def test_runs_until_all_are_done(lines: list[bytes]) -> None:
    workers = [Scripted(*[Step.BUSY] * count) for count in (1, 5)]
    runner(lines, *(Job(worker, 30.0) for worker in workers)).run()
    assert [worker.steps for worker in workers] == [2, 6]
    assert lines == []


def test_without_jobs_it_returns(lines: list[bytes]) -> None:
    runner(lines).run()


def test_failures_are_logged_and_tried_again(lines: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "RETRY_FIRST_SECONDS", 0.0)
    worker = Scripted(fail, fail, Step.BUSY, fail)
    runner(lines, Job(worker, 30.0)).run()
    assert worker.steps == 5
    counts = [line.decode().split("failures=")[1].split()[0] for line in lines]
    assert counts == ["1", "2", "1"]
    assert b"worker=scripted" in lines[0]
    assert b"disk on fire" in lines[0]


def test_steps_are_counted(lines: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "RETRY_FIRST_SECONDS", 0.0)
    runtime = runtime_of(lines)
    Runner([Job(Scripted(Step.BUSY, fail, Step.BUSY), 30.0)], runtime).run()
    text = runtime.metrics.render().decode()
    assert 'daemon_steps_total{outcome="busy",worker="scripted"} 2.0' in text
    assert 'daemon_steps_total{outcome="failed",worker="scripted"} 1.0' in text
    assert 'daemon_steps_total{outcome="done",worker="scripted"} 1.0' in text
    assert 'daemon_step_duration_seconds_count{worker="scripted"} 4.0' in text


def test_stopping_ends_a_pause(lines: list[bytes]) -> None:
    worker = Scripted(Step.IDLE, Step.IDLE)
    daemons = runner(lines, Job(worker, interval_seconds=3600.0))
    concurrency.call_later(0.01, daemons.stop)
    daemons.run()
    assert worker.steps == 1


def test_a_step_under_way_is_finished(lines: list[bytes]) -> None:
    finished: list[bool] = []

    def slow() -> Step:
        daemons.stop()
        elapse_in_hub(0.01, "the step takes its time")
        finished.append(True)
        return Step.BUSY

    worker = Scripted(slow, Step.BUSY)
    daemons = runner(lines, Job(worker, 30.0))
    daemons.run()
    assert finished == [True]
    assert worker.steps == 1


def test_a_step_that_does_not_end_is_cut_off(lines: list[bytes]) -> None:
    def endless() -> Step:
        daemons.stop()
        Event[None]().wait()
        return Step.BUSY

    daemons = runner(lines, Job(Scripted(endless), 30.0))
    daemons.run(drain_seconds=0.0)
    assert b"cut off" in lines[-1]


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_it(lines: list[bytes], handlers: None, number: signal.Signals) -> None:
    def signalled() -> Step:
        os.kill(os.getpid(), number)
        return Step.IDLE

    worker = Scripted(signalled, Step.IDLE)
    run([Job(worker, interval_seconds=3600.0)], runtime_of(lines))
    assert worker.steps == 1


def test_a_spread_pass_lasts_so_long() -> None:
    done = [0.25]
    spread = Spread(1000.0, lambda: done[0])
    assert spread.pause_seconds(50.0, Step.BUSY) == 0.0  # goes on at a quarter: three quarters of the time are left
    done[0] = 0.5
    assert spread.pause_seconds(60.0, Step.BUSY) == 240.0
    done[0] = 0.6
    assert spread.pause_seconds(900.0, Step.BUSY) == 0.0  # behind
    assert spread.pause_seconds(950.0, Step.IDLE) == 0.0
    done[0] = 0.0
    assert spread.pause_seconds(2000.0, Step.BUSY) == 0.0
    done[0] = 0.1
    assert spread.pause_seconds(2000.0, Step.BUSY) == 100.0


def test_the_runner_waits_for_a_spread_pass(lines: list[bytes]) -> None:
    worker = Scripted(*[Step.BUSY] * 10)
    daemons = runner(lines, Job(worker, 30.0, spread=Spread(3600.0, lambda: worker.steps / 10)))
    concurrency.call_later(0.01, daemons.stop)
    daemons.run()
    assert worker.steps == 1 + 1  # the first says where the pass begins


LOOKS = 10  # at the surface, until the runner is stopped


class Comparing(Scripted):
    """A worker whose passes are one step, over contents that a test changes."""

    def __init__(self) -> None:
        super().__init__(*[Step.IDLE] * 100)
        self.clock = ManualClock(0.0)
        self.contents: object = "contents"
        self.outside: object = "surface"
        self.looks = 0
        self.stop: Callable[[], None] = lambda: None

    def surface(self) -> object:
        self.looks += 1
        if self.looks == LOOKS:
            self.stop()
        return self.outside


def passes(worker: Comparing, unchanged: UnchangedPasses, seconds: float, interval: float = 30.0) -> list[float]:
    """When passes begin, if the daemon wakes up at these intervals."""
    begun = []
    end = worker.clock.seconds + seconds
    while worker.clock.seconds < end:
        if not unchanged.may_skip():
            begun.append(worker.clock.seconds)
            unchanged.ended()
        worker.clock.seconds += interval
    return begun


@pytest.fixture
def comparing() -> Comparing:
    return Comparing()


def test_passes_over_what_does_not_change_come_less_often(comparing: Comparing) -> None:
    unchanged = UnchangedPasses(comparing, 30.0, comparing.clock)
    assert passes(comparing, unchanged, 1200.0) == [0.0, 30.0, 90.0, 210.0, 450.0, 750.0, 1050.0]


def test_a_change_of_the_contents_brings_the_interval_back(comparing: Comparing) -> None:
    unchanged = UnchangedPasses(comparing, 30.0, comparing.clock)
    passes(comparing, unchanged, 750.0)
    comparing.contents = "others"
    assert passes(comparing, unchanged, 150.0) == [750.0, 780.0, 840.0]


@pytest.mark.parametrize("is_surface", [True, False])
def test_no_pass_is_left_out_when_something_is_to_be_done(comparing: Comparing, is_surface: bool) -> None:
    unchanged = UnchangedPasses(comparing, 30.0, comparing.clock)
    for number in range(20):
        if is_surface:
            comparing.outside = number
        else:
            comparing.contents = None
        assert len(passes(comparing, unchanged, 30.0)) == 1


def test_a_long_interval_stays_as_it_is(comparing: Comparing) -> None:
    unchanged = UnchangedPasses(comparing, 3600.0, comparing.clock)
    assert len(passes(comparing, unchanged, 36_000.0, 3600.0)) == 10


def test_the_runner_leaves_out_passes(lines: list[bytes], comparing: Comparing) -> None:
    daemons = runner(lines, Job(comparing, 0.001, unchanged=UnchangedPasses(comparing, 30.0, comparing.clock)))
    comparing.stop = daemons.stop
    daemons.run()
    assert comparing.looks == LOOKS
    assert comparing.steps == 2  # the second finds what the first has found, and time stands still
