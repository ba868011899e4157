"""The lease of a host: what was not answered for so long may run elsewhere by now, if its owner wants that.

Such machines are paused, so that none of them acts in two places; when the API answers again, those that are still this
host's go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial

from objstore.compute.host.driver import Driver
from objstore.compute.protocol import HostTask, PowerState
from objstore.logs import Logger


@dataclass
class HostLease:
    """Which machines of this host may be started elsewhere, and when the API answered last. Threads may share it."""

    driver: Driver
    log: Logger
    do: Callable[[str, Callable[[], None]], None]  # in the order of what is done with one machine
    clock: Callable[[], float]
    seconds: float = 0.0
    _answered: float = 0.0
    _movable: set[str] = field(default_factory=set)
    _paused: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, seconds: float, movable: Collection[str]) -> None:
        """The host has registered."""
        with self._lock:
            self.seconds, self._movable = seconds, set(movable)
        self.renew()

    def note(self, task: HostTask) -> None:
        """A task says what a machine shall be."""
        if task.machine is not None:
            with self._lock:
                change = self._movable.add if task.machine.restart_elsewhere else self._movable.discard
                change(task.server_id)

    def renew(self) -> None:
        """The API has answered: this host's machines are its own."""
        with self._lock:
            self._answered = self.clock()
            paused, self._paused = self._paused, set()
        for server_id in paused:
            self.log.info("the compute API answers again: a machine goes on", server=server_id)
            self.do(server_id, partial(self._go_on, server_id))

    def check(self) -> None:
        """Pause what may run elsewhere, if the lease has ended."""
        with self._lock:
            if not self.seconds or self.clock() - self._answered <= self.seconds:
                return
            waiting = self._movable - self._paused
        for server_id in waiting:
            if self.driver.power(server_id) is PowerState.RUNNING:
                self.log.warning("no answer for the time of the lease: a machine is paused", server=server_id)
                with self._lock:
                    self._paused.add(server_id)
                self.do(server_id, partial(self.driver.pause, server_id))

    def _go_on(self, server_id: str) -> None:
        if self.driver.power(server_id) is PowerState.PAUSED:
            self.driver.start(server_id)
