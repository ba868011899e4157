"""What the hub is that all greenlets of a process switch to when they wait.

The rest of the program uses `objstore.system.concurrency`, which puts this on top of eventlet's hub.

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
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import greenlet

from objstore.errors import StoreError

__all__ = [
    "Channel",
    "ChannelHub",
    "Greenlet",
    "GreenletExit",
    "WaitTimeout",
    "Waiter",
    "current_hub",
    "forget_hub",
    "getcurrent",
    "make_hubs_with",
]

SWEEP_SECONDS: Final = 0.1
IDLE_GREENLETS_MAX: Final = 128
_READABLE: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_WRITABLE: Final = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR

Greenlet = greenlet.greenlet
GreenletExit = greenlet.GreenletExit
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
            current_hub().ready.append((self._resume, (self.greenlet.switch, value)))

    def fail(self, error: BaseException) -> None:
        """Let the greenlet go on with an exception."""
        if not self.woken:
            self.woken = True
            current_hub().ready.append((self._resume, (self.greenlet.throw, error)))

    def _resume(self, resume: Callable[..., object], value: object) -> None:
        # A greenlet killed after it was woken may wait for something else by now.
        if not self.over:
            resume(value)

    def wait(self, timeout_seconds: float | None = None) -> Any:
        """Wait until woken; raises WaitTimeout after `timeout_seconds`."""
        hub = current_hub()
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


class Channel:
    """An open descriptor: who waits for it, and which edges came while nobody did."""

    __slots__ = ("readable", "reader", "writable", "writer")

    def __init__(self) -> None:
        self.reader: Waiter | None = None
        self.writer: Waiter | None = None
        self.readable = False
        self.writable = False


class ChannelHub:
    """What an epoll hub of eventlet's gets in addition: edge-triggered channels, callbacks, swept deadlines.

    To be inherited from before eventlet's class, whose attributes it names below.
    """

    poll: Any  # the epoll object
    clock: Callable[[], float]
    greenlet: Any  # the one that runs the hub
    listeners: dict[str, dict[int, Any]]  # by READ and WRITE, then by descriptor
    ensure_greenlet: Callable[[], None]
    schedule_call_global: Callable[..., Any]
    squelch_exception: Callable[..., None]
    squelch_generic_exception: Callable[..., None]
    READ: str
    WRITE: str
    SYSTEM_EXCEPTIONS: tuple[type[BaseException], ...]

    greenlet_class = Greenlet  # of tasks; a simulation knows whose each one is
    idle_greenlets_max = IDLE_GREENLETS_MAX

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        super().__init__(clock)  # type: ignore[call-arg]  # eventlet's
        self.ready: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self.channels: dict[int, Channel] = {}
        self.deadlines: dict[Waiter, float] = {}
        self.sweeping = False
        self.idle_greenlets: list[Any] = []  # greenlets that have done their task
        self.foreign: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self.signalled = False
        self.begin: Callable[[], None] = _nothing  # after each round: has threads begin what they were given
        self.collect: Callable[[], None] = _nothing  # when the eventfd is signalled: takes what they have done
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
        self.begin()
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
            self.collect()
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
        """Begin to look at deadlines regularly."""
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


def _nothing() -> None: ...


_current_hub: ChannelHub | None = None
_make_hub: Callable[[], ChannelHub]


def make_hubs_with(make: Callable[[], ChannelHub]) -> None:
    """Say how hubs are made; once, before the first is."""
    global _make_hub
    _make_hub = make


def current_hub() -> ChannelHub:
    """The hub of this process, made when it is first asked for; threads report back to it."""
    global _current_hub
    if _current_hub is None:
        _current_hub = _make_hub()
    return _current_hub


def forget_hub() -> None:
    """After a fork: the parent's hub, whose epoll descriptor the processes would share, is not ours."""
    global _current_hub
    if _current_hub is not None:
        _current_hub.poll.close()
        os.close(_current_hub.eventfd)
        _current_hub = None
