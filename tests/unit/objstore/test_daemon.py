import os
import signal
from collections.abc import Callable, Iterator

import pytest

from objstore import daemon
from objstore.daemon import Job, Runner, Step, pause_seconds, run, run_once
from objstore.logs import Logger, Sink
from objstore.runtime import Runtime
from objstore.system import concurrency


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
        concurrency.sleep(0.01)
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
        concurrency.sleep(3600)
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
