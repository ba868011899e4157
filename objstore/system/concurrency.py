"""Greenlets, waiting and waking, for all of the program: the one place where eventlet is imported.

Everything here runs in one operating-system thread per process. `objstore.system.hub` says how its hub differs from
eventlet's own.
"""

from __future__ import annotations

import os
import select
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, TypeVar

# Host names are resolved where they are needed; the green resolver alone would cost every process 20 MB.
os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import eventlet.hubs
    from eventlet.green import socket as green_socket
    from eventlet.hubs import epolls

from objstore.errors import StoreError
from objstore.system.hub import (
    Channel,
    ChannelHub,
    GreenletExit,
    Waiter,
    WaitTimeout,
    current_hub,
    forget_hub,
    getcurrent,
    make_hubs_with,
)

__all__ = [
    "ChannelHub",
    "Event",
    "Hub",
    "Queue",
    "Semaphore",
    "Task",
    "WaitTimeout",
    "Waiter",
    "call_later",
    "call_soon",
    "call_soon_from_thread",
    "current_hub",
    "getcurrent",
    "green_socket",
    "monotonic",
    "register",
    "run_hub_in_child",
    "sleep",
    "spawn",
    "unregister",
    "wait_any_readable",
    "wait_readable",
    "wait_writable",
]

T = TypeVar("T")

_EDGES: Final = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET


class Hub(ChannelHub, epolls.Hub):  # type: ignore[misc]  # eventlet has no types
    """The hub of a process."""


def _make_hub() -> Hub:
    eventlet.hubs.use_hub(Hub)
    hub: Hub = eventlet.hubs.get_hub()
    return hub


make_hubs_with(_make_hub)


def run_hub_in_child() -> None:
    """After a fork: wait with a hub of our own, not with the parent's."""
    forget_hub()
    eventlet.hubs.use_hub(Hub)


def monotonic() -> float:
    """Seconds on the hub's clock: real, or virtual in a simulation."""
    return current_hub().clock()


def call_soon(callback: Callable[..., object], *arguments: object) -> None:
    """Run `callback` in the hub in its next round; it must not wait."""
    current_hub().ready.append((callback, arguments))


def call_later(seconds: float, callback: Callable[..., object], *arguments: object) -> Callable[[], None]:
    """Run `callback` in the hub after `seconds`; returns what cancels it."""
    timer = current_hub().schedule_call_global(seconds, callback, *arguments)
    return timer.cancel  # type: ignore[no-any-return]


def call_soon_from_thread(hub: ChannelHub, callback: Callable[..., object], *arguments: object) -> None:
    """As `call_soon`, from another thread; `hub` is the one that thread works for (`current_hub()` of its owner)."""
    hub.foreign.append((callback, arguments))
    if not hub.signalled:
        hub.signalled = True
        os.eventfd_write(hub.eventfd, 1)


def register(descriptor: int) -> None:
    """Watch an open, non-blocking descriptor until `unregister`; needed before waiting for it."""
    hub = current_hub()
    hub.channels[descriptor] = Channel()
    hub.poll.register(descriptor, _EDGES)


def unregister(descriptor: int) -> None:
    """Stop watching; call before closing. Whoever still waits gets ConnectionAbortedError."""
    hub = current_hub()
    channel = hub.channels.pop(descriptor, None)
    if channel is None:
        return
    hub.poll.unregister(descriptor)
    for waiter in (channel.reader, channel.writer):
        if waiter is not None:
            waiter.fail(ConnectionAbortedError("closed while waiting"))


def wait_readable(descriptor: int, timeout_seconds: float | None = None) -> None:
    """Wait for new data or an end; may return early, so the caller tries again on EAGAIN. Raises WaitTimeout."""
    channel = current_hub().channels[descriptor]
    if channel.readable:
        channel.readable = False
        return
    channel.reader = waiter = Waiter()
    try:
        waiter.wait(timeout_seconds)
    finally:
        channel.reader = None


def wait_writable(descriptor: int, timeout_seconds: float | None = None) -> None:
    """Wait for room in the send buffer; may return early. Raises WaitTimeout."""
    channel = current_hub().channels[descriptor]
    if channel.writable:
        channel.writable = False
        return
    channel.writer = waiter = Waiter()
    try:
        waiter.wait(timeout_seconds)
    finally:
        channel.writer = None


def wait_any_readable(descriptors: Iterable[int], events: Iterable[Event[Any]], timeout_seconds: float | None) -> None:
    """Wait until one of the descriptors has news or one of the events is set; returns quietly on timeout."""
    hub = current_hub()
    channels = [hub.channels[descriptor] for descriptor in descriptors]
    watched = list(events)
    if any(event.is_set for event in watched):
        return
    for channel in channels:
        if channel.readable:
            channel.readable = False
            return
    waiter = Waiter()
    for channel in channels:
        channel.reader = waiter
    for event in watched:
        event.add_waiter(waiter)
    try:
        waiter.wait(timeout_seconds)
    except WaitTimeout:
        return
    finally:
        for channel in channels:
            channel.reader = None
        for event in watched:
            event.remove_waiter(waiter)


def sleep(seconds: float = 0.0) -> None:
    """Let others run for `seconds`; 0 gives every other ready greenlet one turn."""
    waiter = Waiter()
    if seconds <= 0:
        waiter.wake()
        waiter.wait()
        return
    cancel = call_later(seconds, waiter.wake)
    try:
        waiter.wait()
    finally:
        cancel()


class Event(Generic[T]):
    """Something that happens once and has a value, or an error."""

    __slots__ = ("_error", "_value", "_waiters", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._waiters: list[Waiter] = []

    def set(self, value: T | None = None) -> None:
        """It has happened: wake all who wait. A second call does nothing."""
        if not self.is_set:
            self.is_set = True
            self._value = value
            self._wake_all()

    def fail(self, error: BaseException) -> None:
        """It will not happen: raise `error` in all who wait."""
        if not self.is_set:
            self.is_set = True
            self._error = error
            self._wake_all()

    def _wake_all(self) -> None:
        for waiter in self._waiters:
            waiter.wake()
        self._waiters.clear()

    def wait(self, timeout_seconds: float | None = None) -> T:
        """The value, waited for; raises the error it failed with, or WaitTimeout."""
        if not self.is_set:
            waiter = Waiter()
            self._waiters.append(waiter)
            try:
                waiter.wait(timeout_seconds)
            finally:
                self.remove_waiter(waiter)
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[no-any-return]

    def add_waiter(self, waiter: Waiter) -> None:
        """Wake `waiter` too when it happens."""
        self._waiters.append(waiter)

    def remove_waiter(self, waiter: Waiter) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)


def happened() -> Event[Any]:
    """An event that has happened."""
    event: Event[Any] = Event()
    event.set()
    return event


class Task(Generic[T]):
    """What a greenlet was spawned to do, and its outcome."""

    __slots__ = ("_greenlet", "done", "outcome_read")

    def __init__(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
        self.done: Event[T] = Event()
        self.outcome_read = False
        hub = current_hub()
        self._greenlet = hub.idle_greenlets.pop() if hub.idle_greenlets else hub.greenlet_class(_work, hub.greenlet)
        hub.ready.append((self._greenlet.switch, ([self, function, arguments],)))

    def run(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
        """Do it, in the greenlet that was chosen."""
        try:
            self.done.set(function(*arguments))
        except GreenletExit as stopped:
            self.done.fail(stopped)
        except BaseException as error:
            self.done.fail(error)
            if not isinstance(error, Exception):
                raise
            if not self.outcome_read and not isinstance(error, StoreError | OSError):
                traceback.print_exc()  # nobody may ever wait for it, and a bug must not pass in silence

    @property
    def dead(self) -> bool:
        return self.done.is_set

    def wait(self, timeout_seconds: float | None = None) -> T:
        """Its return value; raises what it raised, or WaitTimeout."""
        self.outcome_read = True
        return self.done.wait(timeout_seconds)

    def kill(self) -> None:
        """Raise GreenletExit in it at its next wait; does nothing once it has ended."""
        if not self.done.is_set:
            call_soon(_throw_exit, self)


def _work(given: list[Any]) -> None:
    """What greenlets do: one task after the other. A new one would cost the interpreter a stack, mapped and cleared."""
    hub, current = current_hub(), getcurrent()
    while True:
        task, function, arguments = given
        given.clear()  # an idle greenlet keeps nothing of its tasks alive, though it holds what it was begun with
        task.run(function, arguments)
        if len(hub.idle_greenlets) >= hub.idle_greenlets_max:
            return
        del task, function, arguments
        hub.idle_greenlets.append(current)
        given = hub.park()


def _throw_exit(task: Task[Any]) -> None:
    if not task.done.is_set:
        task._greenlet.throw(GreenletExit)


def spawn(function: Callable[..., T], *arguments: Any) -> Task[T]:
    """Run `function` in a greenlet of its own, from the hub's next round on."""
    return Task(function, arguments)


class Semaphore:
    """At most `count` holders at a time; the others wait in order."""

    __slots__ = ("_free", "_waiters")

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiters: deque[Waiter] = deque()

    def acquire(self, timeout_seconds: float | None = None) -> None:
        """Take a place; raises WaitTimeout."""
        if self._free > 0:
            self._free -= 1
            return
        waiter = Waiter()
        self._waiters.append(waiter)
        try:
            waiter.wait(timeout_seconds)
        except BaseException:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif waiter.granted:
                self.release()  # the place had been handed over just before
            raise

    def release(self) -> None:
        """Give the place to the longest waiting, or back."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.woken:
                waiter.granted = True
                waiter.wake()
                return
        self._free += 1

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Queue(Generic[T]):
    """First in, first out, of bounded length."""

    __slots__ = ("_free", "_items", "_used")

    def __init__(self, maximum: int) -> None:
        self._items: deque[T] = deque()
        self._free = Semaphore(maximum)
        self._used = Semaphore(0)

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, timeout_seconds: float | None = None) -> None:
        """Append; waits while the queue is full. Raises WaitTimeout."""
        self._free.acquire(timeout_seconds)
        self._items.append(item)
        self._used.release()

    def get(self, timeout_seconds: float | None = None) -> T:
        """Take the oldest; waits while there is none. Raises WaitTimeout."""
        self._used.acquire(timeout_seconds)
        item = self._items.popleft()
        self._free.release()
        return item
