"""Prefork: a master that holds the listening sockets, and workers that serve them.

The master does nothing but look after its workers: it starts a new one for each that dies, replaces all of them without
dropping a request on SIGHUP, and lets them finish their requests on SIGTERM and SIGINT. It tells a worker that a
successor accepts connections in its place with SIGUSR1, and to stop with SIGTERM.
"""

from __future__ import annotations

import gc
import mmap
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from objstore.system import concurrency
from objstore.system.processes import end_with_parent

RESTART_PAUSE_SECONDS: Final = 1.0  # before the successor of a worker that died sooner than this after its start
KILL_AFTER_SECONDS: Final = 5.0  # beyond the time to drain
WORKERS_MAX: Final = 256
# Requests leave next to no cycles behind, so looking for them after every 700 objects is time lost.
GARBAGE_THRESHOLD: Final = 20_000
_ABSENT: Final = 0xFFFFFFFF
_WATCHED: Final = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

Report = Callable[[str, BaseException], None]
StartServers = Callable[[int], Sequence["Server"]]


class Server(Protocol):
    """What a worker does: answer requests, or work in the background."""

    def serve(self) -> None:
        """Work until `drain`, then finish what is under way."""

    def drain(self, seconds: float, successor: bool) -> None:
        """Begin nothing new; after `seconds` what is under way is cut off.

        A `successor` does from now on what this one did. One who drains for a successor may be told later to stop.
        """


def listen(host: str, port: int, backlog: int = 4096) -> socket.socket:
    """A listening socket; port 0 picks a free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


class ConnectionBalance:
    """How many connections each worker has, in memory they share, so that the one with the fewest takes the next.

    Without it the worker that wakes first takes all of a burst, and the other cores idle. Made before the fork; each
    worker then calls `join`.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 4 * WORKERS_MAX)
        self._counts = memoryview(self._memory).cast("I")
        for index in range(WORKERS_MAX):
            self._counts[index] = _ABSENT
        self._index = 0

    def join(self, index: int) -> None:
        """This process is worker `index`, without connections yet."""
        self._index = index
        self._counts[index] = 0

    def leave(self, index: int) -> None:
        """Worker `index` is no more."""
        self._counts[index] = _ABSENT

    def changed(self, count: int) -> None:
        """This worker has `count` connections now."""
        self._counts[self._index] = count

    def may_accept(self, count: int) -> bool:
        """Whether no other worker has fewer."""
        return all(other >= count for other in self._counts[: self._index + 64])


class Master:
    def __init__(
        self,
        start: StartServers,
        count: int,
        report: Report,
        balance: ConnectionBalance | None = None,
        reload: Callable[[], None] = lambda: None,
        drain_seconds: float = 30.0,
        stop_seconds: float = 30.0,
        finish: Callable[[], None] = lambda: None,
        ended: Callable[[int, bool], None] = lambda _process, _expected: None,
    ) -> None:
        """`start(index)` runs in each new worker and gives its servers, `finish` there when they have drained.

        What is under way may take `drain_seconds` after a reload, `stop_seconds` after the signal to stop.
        `reload` runs here before all are replaced, `ended` for each process that is no more, whether it was told to
        end or not.
        """
        self._start = start
        self._count = count
        self._report = report
        self._balance = balance
        self._reload = reload
        self._drain_seconds = drain_seconds
        self._stop_seconds = stop_seconds
        self._finish = finish
        self._ended = ended
        self._workers: dict[int, tuple[int, float]] = {}  # process id: index, time of start
        self._leaving: set[int] = set()

    def run(self) -> None:
        """Look after workers until told to stop; returns when all have ended."""
        gc.collect()
        gc.freeze()  # what exists now stays shared with the workers: no collection touches it
        # A worker that is told of its successor before it is ready hears of it then.
        signal.pthread_sigmask(signal.SIG_BLOCK, (*_WATCHED, signal.SIGUSR1))
        for index in range(self._count):
            self._fork(index)
        while True:
            number = signal.sigwait(_WATCHED)
            if number == signal.SIGCHLD:
                self._replace_dead()
            elif number == signal.SIGHUP:
                self._replace_all()
            else:
                break
        self._stop_all()

    def _fork(self, index: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        master = os.getpid()
        process = os.fork()
        if process == 0:
            self._become_worker(index, master)
        self._workers[process] = (index, time.monotonic())

    def _become_worker(self, index: int, master: int) -> None:
        code = 1
        try:
            # Workers without a master would keep the address and the data from whoever is started next.
            end_with_parent(master)
            if self._balance is not None:
                self._balance.join(index)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the master decides
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
            concurrency.run_hub_in_child()
            servers = self._start(index)
            run_servers(servers, (signal.SIGTERM,), self._stop_seconds, self._drain_seconds)
            self._finish()
            code = 0
        except BaseException as error:
            self._report("a worker failed", error)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _replace_dead(self) -> None:
        for process in self._reap():
            index, started = self._workers.pop(process)
            self._tell_ended(process, process in self._leaving)
            if process in self._leaving:
                self._leaving.discard(process)
                continue
            if self._balance is not None:
                self._balance.leave(index)
            if time.monotonic() - started < RESTART_PAUSE_SECONDS:
                time.sleep(RESTART_PAUSE_SECONDS)
            self._fork(index)

    def _tell_ended(self, process: int, expected: bool) -> None:
        try:
            self._ended(process, expected)
        except Exception as error:
            self._report("the end of a worker is not accounted for", error)

    def _reap(self) -> list[int]:
        ended = []
        for process in list(self._workers):
            try:
                if os.waitpid(process, os.WNOHANG)[0]:
                    ended.append(process)
            except ChildProcessError:
                ended.append(process)
        return ended

    def _replace_all(self) -> None:
        try:
            self._reload()
        except Exception as error:
            self._report("the configuration is not reloaded; the old one stays", error)
            return
        old = [process for process in self._workers if process not in self._leaving]
        for process in old:
            self._leaving.add(process)
        for index in range(self._count):
            self._fork(index)
        for process in old:
            os.kill(process, signal.SIGUSR1)

    def _stop_all(self) -> None:
        for process in self._workers:
            os.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + self._stop_seconds + KILL_AFTER_SECONDS
        while self._workers:
            for process in self._reap():
                del self._workers[process]
                self._tell_ended(process, True)
            left = deadline - time.monotonic()
            if left <= 0:
                for process in self._workers:
                    os.kill(process, signal.SIGKILL)
                deadline = float("inf")
            if self._workers:
                signal.sigtimedwait((signal.SIGCHLD,), min(1.0, max(0.01, left)))


def run_servers(
    servers: Sequence[Server], stop_signals: Sequence[signal.Signals], stop_seconds: float, drain_seconds: float = 0.0
) -> None:
    """Serve in this process until one of the signals comes, or SIGUSR1 tells of a successor; then drain."""
    hub = concurrency.current_hub()
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 50)

    def drain(number: int, _frame: object) -> None:
        successor = number == signal.SIGUSR1
        for server in servers:
            seconds = drain_seconds if successor else stop_seconds
            concurrency.call_soon_from_thread(hub, server.drain, seconds, successor)

    for number in (*stop_signals, signal.SIGUSR1):
        signal.signal(number, drain)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGUSR1,))
    for task in [concurrency.spawn(server.serve) for server in servers]:
        task.wait()
