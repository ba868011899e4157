"""A hub whose clock is virtual: when nothing is ready, time jumps to the next timer or deadline."""

from __future__ import annotations

import heapq
import sys
import traceback
from collections.abc import Callable
from random import Random
from typing import Any, Final

from objstore.system import concurrency, hub
from objstore.system.concurrency import Task, Waiter, WaitTimeout
from objstore.system.hub import Greenlet, GreenletExit, getcurrent

# A round of callbacks takes this long: whoever polls without pause sees time pass.
ROUND_SECONDS: Final = 1e-6


class Crashed(GreenletExit):
    """The node that the greenlet belongs to is no more."""


class Owner:
    """One life of a node: its greenlets, all of which end with it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.greenlets: dict[OwnedGreenlet, None] = {}

    def adopt(self, one: OwnedGreenlet) -> None:
        self.greenlets[one] = None
        if len(self.greenlets) > 256 and len(self.greenlets) % 256 == 0:
            self.greenlets = {each: None for each in self.greenlets if not each.dead}

    def check(self) -> None:
        """Raises Crashed in what outlives the crash by an instruction or two."""
        if self.dead:
            raise Crashed

    def die(self) -> None:
        """Kill all greenlets, each when the hub comes to it."""
        self.dead = True
        current = getcurrent()
        for each in self.greenlets:
            if each is not current and not each.dead:
                concurrency.call_soon(_kill, each)
        self.greenlets = {}


def _kill(one: OwnedGreenlet) -> None:
    if not one.dead:
        one.throw(Crashed)


class OwnedGreenlet(Greenlet):
    """Belongs to whoever started it, and works for the same operation of a client."""

    def __init__(self, run: Callable[..., Any], parent: Any) -> None:
        super().__init__(run, parent)
        current = getcurrent()
        self.owner: Owner | None = getattr(current, "owner", None)
        self.operation: int | None = getattr(current, "operation", None)
        if self.owner is not None:
            self.owner.adopt(self)


def current_owner() -> Owner | None:
    """Whose greenlet this is; None for the simulation's own."""
    return getattr(getcurrent(), "owner", None)


def current_operation() -> int | None:
    """Which operation of a client this greenlet works for."""
    return getattr(getcurrent(), "operation", None)


def spawn_for(owner: Owner | None, operation: int | None, function: Callable[..., Any], *arguments: Any) -> Task[Any]:
    """Start a greenlet that belongs to somebody else."""
    current: Any = getcurrent()
    before = getattr(current, "owner", None), getattr(current, "operation", None)
    current.owner, current.operation = owner, operation
    try:
        return concurrency.spawn(function, *arguments)
    finally:
        current.owner, current.operation = before


class _Timer:
    __slots__ = ("arguments", "callback")

    def __init__(self, callback: Callable[..., Any] | None, arguments: tuple[Any, ...]) -> None:
        self.callback = callback
        self.arguments = arguments

    def cancel(self) -> None:
        self.callback = None

    def __call__(self) -> None:
        if self.callback is not None:
            self.callback(*self.arguments)


class _Deadlines(dict[Waiter, float]):
    """Wakes waiters at exactly their time."""

    def __init__(self, owner: VirtualHub) -> None:
        super().__init__()
        self._hub = owner

    def __setitem__(self, waiter: Waiter, when: float) -> None:
        self._hub.push(when, _expire, waiter)

    def __delitem__(self, waiter: Waiter) -> None:
        """It looks for itself whether it is over."""


def _expire(waiter: Waiter) -> None:
    if not waiter.over:
        waiter.fail(WaitTimeout())


class VirtualHub(concurrency.Hub):
    """Ties between timers are broken by the seed; everything else is in order of arrival."""

    greenlet_class = OwnedGreenlet
    idle_greenlets_max = 0

    def __init__(self, random: Random) -> None:
        self.now = 0.0
        self.rounds = 0
        self.errors: list[str] = []
        self._random = random
        self._count = 0
        self._events: list[tuple[float, float, int, Callable[..., Any], Any]] = []
        super().__init__(lambda: self.now)
        self.deadlines = _Deadlines(self)
        self.sweeping = True

    def push(self, when: float, callback: Callable[..., Any], argument: Any) -> None:
        """Call `callback` with `argument` at a time."""
        self._count += 1
        heapq.heappush(self._events, (when, self._random.random(), self._count, callback, argument))

    def schedule_call_global(self, seconds: float, callback: Callable[..., Any], *arguments: Any) -> _Timer:
        """See eventlet's hub."""
        timer = _Timer(callback, arguments)
        self.push(self.now + seconds, _Timer.__call__, timer)
        return timer

    def run(self, *_: Any) -> None:
        """The loop. Ends by raising in the main greenlet, when nothing is left to happen."""
        ready, events = self.ready, self._events
        while True:
            while ready:
                self.now += ROUND_SECONDS
                self.rounds += 1
                for _round in range(len(ready)):
                    callback, arguments = ready.popleft()
                    self._call(callback, arguments)
            if not events:
                raise RuntimeError("nothing is left to happen, and somebody waits")
            when, _tie, _number, callback, argument = heapq.heappop(events)
            if when > self.now:
                self.now = when
            self._call(callback, (argument,))

    def _call(self, callback: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            callback(*arguments)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            self.errors.append(traceback.format_exc())
            sys.stderr.write(self.errors[-1])


def install(random: Random) -> VirtualHub:
    """Make a virtual hub the one of this process."""
    made = VirtualHub(random)
    hub.forget_hub()
    hub.make_hubs_with(lambda: made)
    hub.current_hub()
    return made
