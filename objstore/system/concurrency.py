"""Greenlets, waiting and waking: the one place where eventlet is imported.

Everything here runs in one operating-system thread per process. A greenlet that has to wait registers a
`Waiter`, switches to the hub, and comes back when somebody wakes it, when its deadline has passed, or when it is
killed. Two things differ from eventlet's own primitives, both for speed:

* sockets are registered with epoll once, edge-triggered, for as long as they are open (`register`), so a request
  costs no epoll_ctl calls;
* deadlines are kept in one dictionary that is swept every `SWEEP_SECONDS`, so that a wait that ends in time, as nearly
  all do, creates no timer. A timeout may therefore come that much late.

Nothing is monkey-patched: `threading`, `time` and `socket` are the real ones everywhere.
"""

from __future__ import annotations

import os
import select
import sys
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

import greenlet

from objstore.errors import StoreError

__all__ = [
    "Event",
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

SWEEP_SECONDS: Final = 0.1
IDLE_GREENLETS_MAX: Final = 128
_READABLE: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_WRITABLE: Final = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
_EDGES: Final = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET

getcurrent = greenlet.getcurrent


class WaitTimeout(StoreError):
    """What was waited for did not come in time."""

    def __str__(self) -> str:
        return "timed out"


class Waiter:
    """One greenlet waiting once. Waking it a second time does nothing."""

    __slots__ = ("granted", "greenlet", "over", "woken")

    def __init__(self) -> None:
        self.greenlet = greenlet.getcurrent()
        self.woken = False
        self.over = False
        self.granted = False

    def wake(self, value: object = None) -> None:
        """Let the greenlet go on, in the hub's next round, with `value` as the result of its wait."""
        if not self.woken:
            self.woken = True
            _hub().ready.append((self._resume, (self.greenlet.switch, value)))

    def fail(self, error: BaseException) -> None:
        """Let the greenlet go on with an exception."""
        if not self.woken:
            self.woken = True
            _hub().ready.append((self._resume, (self.greenlet.throw, error)))

    def _resume(self, resume: Callable[..., object], value: object) -> None:
        # A greenlet killed after it was woken may wait for something else by now.
        if not self.over:
            resume(value)

    def wait(self, timeout_seconds: float | None = None) -> Any:
        """Wait until woken; raises WaitTimeout after `timeout_seconds`."""
        hub = _hub()
        try:
            if timeout_seconds is None:
                return hub.park()
            hub.deadlines[self] = hub.clock() + timeout_seconds
            if not hub.sweeping:
                hub.start_sweeping()
            try:
                return hub.park()
            finally:
                del hub.deadlines[self]
        finally:
            self.woken = self.over = True


class _Channel:
    """An open descriptor: who waits for it, and which edges came while nobody did."""

    __slots__ = ("readable", "reader", "writable", "writer")

    def __init__(self) -> None:
        self.reader: Waiter | None = None
        self.writer: Waiter | None = None
        self.readable = False
        self.writable = False


class Hub(epolls.Hub):  # type: ignore[misc]  # eventlet has no types
    """eventlet's epoll hub with edge-triggered channels, a queue of callbacks and swept deadlines."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        super().__init__(clock)
        self.ready: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self.channels: dict[int, _Channel] = {}
        self.deadlines: dict[Waiter, float] = {}
        self.sweeping = False
        self.idle_greenlets: list[greenlet.greenlet] = []
        self.foreign: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self.signalled = False
        self.eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.poll.register(self.eventfd, select.EPOLLIN | select.EPOLLET)

    @staticmethod
    def is_available() -> bool:
        """Asked by eventlet of a hub it is told to use."""
        return True

    def park(self) -> Any:
        """Give the processor away until somebody switches back."""
        current = greenlet.getcurrent()
        hub = self.greenlet
        if hub.dead:
            self.ensure_greenlet()
            hub = self.greenlet
        if current.parent is not hub and hub.parent is not current:
            if current is hub:
                raise RuntimeError("a callback of the hub must not wait")
            current.parent = hub
        return hub.switch()

    def wait(self, seconds: float | None = None) -> None:
        """One round: collect the edges, wake who waited for them, then run the callbacks queued until now."""
        ready = self.ready
        try:
            events = self.poll.poll(0 if ready else seconds)
        except InterruptedError:
            return
        channels = self.channels
        for descriptor, mask in events:
            channel = channels.get(descriptor)
            if channel is None:
                self._other_event(descriptor, mask)
                continue
            # A waiter woken already by something else tries again by itself: the edge is not lost on it.
            if mask & _READABLE:
                waiter = channel.reader
                if waiter is None:
                    channel.readable = True
                elif not waiter.woken:
                    waiter.woken = True
                    waiter.greenlet.switch(descriptor)
            if mask & _WRITABLE:
                waiter = channel.writer
                if waiter is None:
                    channel.writable = True
                elif not waiter.woken:
                    waiter.woken = True
                    waiter.greenlet.switch(descriptor)
        for _ in range(len(ready)):
            callback, arguments = ready.popleft()
            try:
                callback(*arguments)
            except self.SYSTEM_EXCEPTIONS:
                raise
            except BaseException:
                self.squelch_generic_exception(sys.exc_info())

    def _other_event(self, descriptor: int, mask: int) -> None:
        """A thread has called, or a socket of a library that waits in eventlet's way (memcached's, DNS's)."""
        if descriptor == self.eventfd:
            # In this order: a thread that calls from here on either finds its call taken below, or signals anew.
            os.eventfd_read(self.eventfd)
            self.signalled = False
            while self.foreign:
                self.ready.append(self.foreign.popleft())
            return
        for bucket, wanted in ((self.listeners[self.READ], _READABLE), (self.listeners[self.WRITE], _WRITABLE)):
            if mask & wanted and descriptor in bucket:
                try:
                    bucket[descriptor].cb(descriptor)
                except self.SYSTEM_EXCEPTIONS:
                    raise
                except BaseException:
                    self.squelch_exception(descriptor, sys.exc_info())

    def start_sweeping(self) -> None:
        """See to it that deadlines are looked at."""
        self.sweeping = True
        self.schedule_call_global(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        now = self.clock()
        late = [waiter for waiter, deadline in self.deadlines.items() if deadline <= now]
        for waiter in late:
            waiter.fail(WaitTimeout())
        self.sweeping = bool(self.deadlines)
        if self.sweeping:
            self.schedule_call_global(SWEEP_SECONDS, self._sweep)


_current_hub: Hub | None = None


def _hub() -> Hub:
    global _current_hub
    if _current_hub is None:
        eventlet.hubs.use_hub(Hub)
        _current_hub = eventlet.hubs.get_hub()
    return _current_hub


def run_hub_in_child() -> None:
    """After a fork: forget the parent's hub, whose epoll descriptor the processes would share."""
    global _current_hub
    if _current_hub is not None:
        _current_hub.poll.close()
        os.close(_current_hub.eventfd)
        _current_hub = None
    eventlet.hubs.use_hub(Hub)


def monotonic() -> float:
    """Seconds on the hub's clock: real, or virtual in a simulation."""
    return _hub().clock()  # type: ignore[no-any-return]


def call_soon(callback: Callable[..., object], *arguments: object) -> None:
    """Run `callback` in the hub in its next round; it must not wait."""
    _hub().ready.append((callback, arguments))


def call_later(seconds: float, callback: Callable[..., object], *arguments: object) -> Callable[[], None]:
    """Run `callback` in the hub after `seconds`; returns what cancels it."""
    timer = _hub().schedule_call_global(seconds, callback, *arguments)
    return timer.cancel  # type: ignore[no-any-return]


def call_soon_from_thread(hub: Hub, callback: Callable[..., object], *arguments: object) -> None:
    """The same from another thread; `hub` is the one that thread works for (`current_hub()` of its owner)."""
    hub.foreign.append((callback, arguments))
    if not hub.signalled:
        hub.signalled = True
        os.eventfd_write(hub.eventfd, 1)


def current_hub() -> Hub:
    """The hub of this process, for threads that report back to it."""
    return _hub()


def register(descriptor: int) -> None:
    """Watch an open, non-blocking descriptor until `unregister`; needed before waiting for it."""
    hub = _hub()
    hub.channels[descriptor] = _Channel()
    hub.poll.register(descriptor, _EDGES)


def unregister(descriptor: int) -> None:
    """Stop watching; call before closing. Whoever still waits gets ConnectionAbortedError."""
    hub = _hub()
    channel = hub.channels.pop(descriptor, None)
    if channel is None:
        return
    hub.poll.unregister(descriptor)
    for waiter in (channel.reader, channel.writer):
        if waiter is not None:
            waiter.fail(ConnectionAbortedError("closed while waiting"))


def wait_readable(descriptor: int, timeout_seconds: float | None = None) -> None:
    """Wait for new data or an end; may return early, so the caller tries again on EAGAIN. Raises WaitTimeout."""
    channel = _hub().channels[descriptor]
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
    channel = _hub().channels[descriptor]
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
    hub = _hub()
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
        """Forget `waiter`, if it is still known."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)


class Task(Generic[T]):
    """What a greenlet was spawned to do, and its outcome."""

    __slots__ = ("_greenlet", "done", "outcome_read")

    def __init__(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
        self.done: Event[T] = Event()
        self.outcome_read = False
        hub = _hub()
        self._greenlet = hub.idle_greenlets.pop() if hub.idle_greenlets else greenlet.greenlet(_work, hub.greenlet)
        hub.ready.append((self._greenlet.switch, (self, function, arguments)))

    def run(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
        """Do it, in the greenlet that was chosen."""
        try:
            self.done.set(function(*arguments))
        except greenlet.GreenletExit as stopped:
            self.done.fail(stopped)
        except BaseException as error:
            self.done.fail(error)
            if not isinstance(error, Exception):
                raise
            if not self.outcome_read and not isinstance(error, StoreError | OSError):
                traceback.print_exc()  # nobody may ever wait for it, and a bug must not pass in silence

    @property
    def dead(self) -> bool:
        """Whether it has ended."""
        return self.done.is_set

    def wait(self, timeout_seconds: float | None = None) -> T:
        """Its return value; raises what it raised, or WaitTimeout."""
        self.outcome_read = True
        return self.done.wait(timeout_seconds)

    def kill(self) -> None:
        """Raise GreenletExit in it at its next wait; does nothing once it has ended."""
        if not self.done.is_set:
            call_soon(_throw_exit, self)


def _work(task: Task[Any], function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """What greenlets do: one task after the other. A new one would cost the interpreter a stack, mapped and cleared."""
    hub, current = _hub(), greenlet.getcurrent()
    while True:
        task.run(function, arguments)
        if len(hub.idle_greenlets) >= IDLE_GREENLETS_MAX:
            return
        del task, function, arguments  # an idle greenlet keeps nothing of its last task alive
        hub.idle_greenlets.append(current)
        task, function, arguments = hub.park()


def _throw_exit(task: Task[Any]) -> None:
    if not task.done.is_set:
        task._greenlet.throw(greenlet.GreenletExit)


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
