"""Real threads for calls that block: disk reads that miss the cache, large writes, database transactions.

Each device has a few threads of its own: calls that hang on one disk take no thread from calls to the others.
"""

from __future__ import annotations

import errno
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from objstore.system import concurrency
from objstore.system.concurrency import Event, WaitTimeout

T = TypeVar("T")

QUEUED_CALLS_MAX: Final = 4096
# A disk that does not answer for so long will not: the request fails, though its thread may hang on.
CALL_TIMEOUT_SECONDS: Final = 300.0
HUNG_SECONDS: Final = 30.0  # a short call that has not returned by then hangs on its disk
DEVICE_THREADS: Final = 4
# A device with a call that runs for longer than this is stalled: whatever may block on it is kept out of the hub.
STALLED_SECONDS: Final = 1.0


class CallTimeout(WaitTimeout, TimeoutError):
    """A call has not returned in time: to callers an error of the disk (ETIMEDOUT) like others."""

    def __init__(self) -> None:
        super().__init__(errno.ETIMEDOUT, "the disk does not answer")

    def __str__(self) -> str:
        return "the disk does not answer"


class ThreadGroup:
    """A few threads that run what greenlets hand them. Threads start with the first call, so after a fork."""

    def __init__(self, count: int = 16, name: str = "worker") -> None:
        self._count = count
        self._name = name
        self._calls: queue.SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...], Event[Any]]] = queue.SimpleQueue()
        self._places = concurrency.Semaphore(QUEUED_CALLS_MAX)
        self._hub: concurrency.ChannelHub | None = None
        self._running: dict[int, float] = {}  # a thread -> since when it runs a call
        self._devices: dict[str, ThreadGroup] = {}

    def of(self, device: str) -> ThreadGroup:
        """The threads of the device whose folder this is."""
        group = self._devices.get(device)
        if group is None:
            group = self._devices[device] = ThreadGroup(DEVICE_THREADS, device.rpartition("/")[2])
        return group

    @property
    def is_stalled(self) -> bool:
        """Whether a call hangs, or takes long."""
        if not self._running:
            return False
        oldest = min([*self._running.values()], default=0.0)
        return bool(oldest) and time.monotonic() - oldest > STALLED_SECONDS

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run `function` on a thread while this greenlet waits; its result, or what it raised.

        Raises CallTimeout when it takes too long; it then goes on all the same, so what it uses must not be used again.
        """
        return self.call_within(CALL_TIMEOUT_SECONDS, function, *arguments)

    def call_within(self, seconds: float, function: Callable[..., T], *arguments: Any) -> T:
        """`call` with a patience of its own."""
        hub = concurrency.current_hub()
        if self._hub is not hub:
            self._start(hub)
        outcome: Event[T] = Event()
        try:
            self._places.acquire(seconds)
            try:
                self._calls.put((function, arguments, outcome))
                return outcome.wait(seconds)
            finally:
                self._places.release()
        except WaitTimeout:
            if outcome.is_set:
                raise  # it is the function's own
            raise CallTimeout from None

    def _start(self, hub: concurrency.ChannelHub) -> None:
        self._hub = hub
        self._calls, self._running = queue.SimpleQueue(), {}
        for number in range(self._count):
            threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True).start()

    def _work(self) -> None:
        hub, calls = self._hub, self._calls
        assert hub is not None
        thread, running = threading.get_ident(), self._running
        while True:
            waiting = calls.get()
            running[thread] = time.monotonic()
            _run(hub, *waiting)
            del waiting, running[thread]


def _run(
    hub: concurrency.ChannelHub, function: Callable[..., Any], arguments: tuple[Any, ...], outcome: Event[Any]
) -> None:
    # In a function of its own, so that an idle thread keeps nothing of its last call alive.
    try:
        result = function(*arguments)
    except BaseException as error:
        concurrency.call_soon_from_thread(hub, outcome.fail, error)
    else:
        concurrency.call_soon_from_thread(hub, outcome.set, result)
