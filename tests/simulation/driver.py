"""Runs simulations in processes of their own, many at a time, and shrinks those that fail to a short trace."""

from __future__ import annotations

import dataclasses
import io
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

import msgspec

from tests.simulation.patching import load_program
from tests.simulation.plan import Event, Plan
from tests.simulation.run import Result, run

HANGING_SECONDS: Final = 240.0  # of the processor: how long it takes by the clock depends on who else is at work
ASLEEP_SECONDS: Final = 3600.0
TRACE_LINES: Final = 400
SHRINKING_RUNS_MAX: Final = 120
Before = Callable[[], object]
T = TypeVar("T")


def _nothing() -> None:
    """No mutation."""


@dataclasses.dataclass
class _Child:
    plan: Plan
    process: int
    descriptor: int
    began: float
    received: bytearray = dataclasses.field(default_factory=bytearray)

    @property
    def hangs(self) -> bool:
        """Whether it has run for longer than any simulation does, or waits for what never comes."""
        with open(f"/proc/{self.process}/stat", encoding="ascii") as file:
            figures = file.read().rpartition(")")[2].split()
        ticks = int(figures[11]) + int(figures[12])  # user and system
        used = ticks / os.sysconf("SC_CLK_TCK")
        return used > HANGING_SECONDS or time.monotonic() - self.began > ASLEEP_SECONDS


def run_all(plans: Iterable[Plan], jobs: int, before: Before = _nothing) -> Iterator[Result]:
    """The results as they come. Each plan has a child process, in which `before` is called first."""
    load_program()
    waiting = iter(plans)
    children: dict[int, _Child] = {}
    try:
        while True:
            while len(children) < jobs and (plan := next(waiting, None)) is not None:
                child = _start(plan, before)
                children[child.descriptor] = child
            if not children:
                return
            ready, _, _ = select.select(list(children), [], [], 1.0)
            for descriptor in ready:
                child = children[descriptor]
                if part := os.read(descriptor, 1 << 20):
                    child.received += part
                    continue
                del children[descriptor]
                yield _ended(child)
            for child in list(children.values()):
                if child.hangs:
                    os.kill(child.process, signal.SIGKILL)
    finally:
        for child in children.values():
            os.kill(child.process, signal.SIGKILL)
            os.waitpid(child.process, 0)
            os.close(child.descriptor)


def run_one(plan: Plan, before: Before = _nothing) -> Result:
    """One of them."""
    (result,) = run_all([plan], 1, before)
    return result


def _start(plan: Plan, before: Before) -> _Child:
    reading, writing = os.pipe()
    sys.stdout.flush()
    process = os.fork()
    if process:
        os.close(writing)
        return _Child(plan, process, reading, time.monotonic())
    os.close(reading)
    content = b""
    try:
        # What a killed greenlet leaves says nothing; what matters is in the trace.
        sys.stderr = io.StringIO()
        before()
        content = msgspec.msgpack.encode(run(plan))
    except BaseException:
        content = msgspec.msgpack.encode(Result(plan, [f"the simulation failed: {traceback.format_exc()}"], [], "", 0))
    finally:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(content)
        os._exit(0)


def _ended(child: _Child) -> Result:
    os.close(child.descriptor)
    os.waitpid(child.process, 0)
    if not child.received:
        return Result(child.plan, ["the simulation died, or hung"], [], "", time.monotonic() - child.began)
    return msgspec.msgpack.decode(child.received, type=Result)


# Shrinking


def shrink(plan: Plan, jobs: int, say: Callable[[str], object]) -> Result:
    """The shortest plan found that still fails: faults are dropped first, then operations, half by half."""
    runs = 0

    def failing(events: Sequence[Event]) -> Result | None:
        nonlocal runs
        runs += 1
        result = run_one(dataclasses.replace(plan, events=tuple(events)))
        return result if result.failed else None

    best = failing(plan.events)
    if best is None:
        raise ValueError(f"seed {plan.seed} does not fail")
    for is_fault in (True, False):
        size = len(best.plan.events)
        while size >= 1 and runs < SHRINKING_RUNS_MAX:
            events = best.plan.events
            chosen = [event for event in events if event.is_fault is is_fault]
            size = min(size, len(chosen))
            shorter = None
            for start in range(0, len(chosen), max(size, 1)):
                dropped = {event.number for event in chosen[start : start + size]}
                shorter = failing([event for event in events if event.number not in dropped])
                if shorter is not None or runs >= SHRINKING_RUNS_MAX:
                    break
            if shorter is not None:
                best = shorter
                say(f"{len(best.plan.events)} events left after {runs} runs")
            else:
                size //= 2
    return best


def report(result: Result, whole_trace: bool = False) -> str:
    """What happened, for people."""
    lines = result.trace if whole_trace else result.trace[-TRACE_LINES:]
    state = "fails" if result.failed else "is fine"
    head = (
        f"seed {result.plan.seed} over {result.plan.hours:g} hours {state}: {result.seconds:.1f} s,"
        f" {result.requests} requests, {result.changes} changes of disks, trace digest {result.trace_digest}"
    )
    return "\n".join([*lines, head, *(f"  * {violation}" for violation in result.violations)])
