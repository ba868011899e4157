"""Runs one seed: the plan's events at their times, then healing, then the checks."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from objstore.system import concurrency
from tests.simulation.checks import Checks
from tests.simulation.clients import Clients
from tests.simulation.faults import Faults
from tests.simulation.hub import spawn_for
from tests.simulation.model import Model
from tests.simulation.plan import SECONDS_PER_HOUR, Event, Plan
from tests.simulation.promises import Promises
from tests.simulation.services import make_services, make_token, small_cluster
from tests.simulation.stored_forms import read_metadata
from tests.simulation.world import World

HEALING_HOURS: Final = 4.5
GARBAGE_SECONDS: Final = 1200.0


@dataclass
class Result:
    """What became of a seed. `seconds` are of the processor."""

    plan: Plan
    violations: list[str]
    trace: list[str]
    trace_digest: str
    seconds: float
    answers: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    changes: int = 0

    @property
    def failed(self) -> bool:
        return bool(self.violations)


def run(plan: Plan, before_start: Callable[[World], None] = lambda world: None) -> Result:
    """Run it. The process is used up: the program stays patched."""
    began = time.process_time()
    world = World(plan.seed, plan.skews)
    gc.disable()
    try:
        before_start(world)
        with small_cluster():
            return _run(world, plan, began)
    finally:
        gc.enable()
        world.close()


def _run(world: World, plan: Plan, began: float) -> Result:
    model = Model()
    for node in world.nodes.values():
        node.start(make_services)
    clients = Clients(world, model, make_token(world.proxies[0]))
    faults = Faults(world)
    checks = Checks(world, model, clients)
    world.after_crash = checks.stored
    promises = Promises(world, model, checks.findings)
    clients.acknowledged, clients.shown = promises.acknowledged, promises.shown
    faults.damaged = lambda path: _read_again(clients, path)
    concurrency.sleep(0.5)
    if _events(world, plan, clients, faults, checks):
        world.note("==", "healed, checking")
        daemons = {name for node in world.storage for name in node.daemons}
        checks.run(daemons)
    found = clients.violations + checks.findings.violations
    return Result(
        plan,
        found,
        world.trace,
        world.trace_digest.hexdigest(),
        time.process_time() - began,
        clients.answers,
        world.network.requests,
        world.calls.changes,
    )


def _events(world: World, plan: Plan, clients: Clients, faults: Faults, checks: Checks) -> bool:
    """All that is planned, and healing. False once something has gone wrong: what follows would tell nothing more."""

    def well_until(when: float) -> bool:
        _wait_until(world, when)
        return not (clients.violations or checks.findings.violations)

    for event in plan.events:
        if not well_until(event.at):
            return False
        action = faults.run if event.is_fault else clients.run
        spawn_for(None, None, _guarded, world, clients, action, event)
    if not well_until(plan.hours * SECONDS_PER_HOUR):
        return False
    world.note("==", "the faults end")
    faults.end_all()
    return well_until((plan.hours + HEALING_HOURS) * SECONDS_PER_HOUR)


def _read_again(clients: Clients, path: str) -> None:
    """Clients happen to read what has just been damaged: else it is too seldom that they are the first to see it."""
    found = read_metadata(path)
    if found is not None:
        spawn_for(None, None, clients.curious, found[0].name.split("/", 2)[2])


def _wait_until(world: World, when: float) -> None:
    while world.hub.now < when:
        concurrency.sleep(min(when - world.hub.now, GARBAGE_SECONDS))
        if world.hub.now < when or when % GARBAGE_SECONDS == 0:
            gc.collect(1)


def _guarded(world: World, clients: Clients, action: Callable[[Event], None], event: Event) -> None:
    if event.is_fault:
        world.note("##", event)
    try:
        action(event)
    except Exception as error:
        clients.violation(f"{event}: {error!r}")
        raise
