"""An HTTP/1.1 server on greenlets: one per connection, requests of a connection one after the other.

It serves WSGI applications (PEP 3333). Beyond the standard, the environ holds `objstore.raw_path` (the path as it was
sent), and callables that an application appends to the list `objstore.sent` are told, after the answer, how many bytes
of its body went out and whether that was all. `wsgi.input` is a BodyReader. Chunks of a response may be memoryviews
that are valid until the next one is asked for, and a body with a `send_to(connection)` method sends itself and says how
many bytes that were.

A connection without a request under way never keeps another client out: when a worker is full, the connection that has
waited longest for a request is closed in favour of a new one.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from objstore.http.bodies import ClientDisconnected, ClientTimeout
from objstore.http.handshake import Handshake
from objstore.http.heads import HeadLimits
from objstore.http.messages import WsgiApplication
from objstore.http.session import FRESH_SECONDS, Session
from objstore.system import concurrency
from objstore.system.addresses import client_network
from objstore.system.concurrency import WaitTimeout

ACCEPT_RETRY_SECONDS: Final = 0.002
ACCEPT_TURN: Final = 64  # connections taken in a row before others get their turn
REFUSALS_REPORTED_SECONDS: Final = 60.0
TOO_MANY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Limits and waits of a server; times in seconds."""

    client_timeout_seconds: float = 60.0
    keepalive_timeout_seconds: float = 75.0
    head_timeout_seconds: float = 30.0
    first_byte_timeout_seconds: float = 10.0
    body_bytes_per_second_min: int = 0  # a body that comes slower ends with 408; 0: any progress will do
    max_connections: int = 1024
    max_connections_per_address: int = 0  # 0: as many as there may be
    head: HeadLimits = field(default_factory=HeadLimits)
    tls: ssl.SSLContext | None = None
    proxy_protocol: bool = False  # a load balancer says first who the client is
    handshake: Handshake | None = None  # whoever connects has to prove that it is of the cluster; None: anybody may ask
    backlog: int = 4096


class Balance(Protocol):
    """What workers know of each other's connections."""

    def changed(self, count: int) -> None:
        """This worker has `count` connections now."""

    def may_accept(self, count: int) -> bool:
        """Whether a worker with `count` connections should take the next one."""


class TooManyConnections(Exception):
    """An address has as many connections with a request under way as one address may have."""


class HttpServer:
    """Answers on listening sockets until it is drained."""

    def __init__(
        self,
        application: WsgiApplication,
        sockets: Iterable[socket.socket],
        options: ServerOptions,
        report: Callable[[str, BaseException], None],
        balance: Balance | None = None,
    ) -> None:
        """`report` logs an unforeseen error; `balance` spreads connections over several workers."""
        self.application = application
        self.options = options
        self.report = report
        self._sockets = list(sockets)
        for listener in self._sockets:
            listener.setblocking(False)
        self._balance = balance
        self._tasks: dict[Session, concurrency.Task[None]] = {}
        self._by_network: Counter[bytes] = Counter()  # connections of each client network
        self._refusals_reported = -REFUSALS_REPORTED_SECONDS
        self.waiting: dict[Session, None] = {}  # without a complete request, the longest waiting first
        self._drained: concurrency.Event[None] = concurrency.Event()
        self.draining = False
        self.stopping = False  # no successor answers on these sockets

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._tasks)

    def serve(self) -> None:
        """Accept and answer until `drain`, then until the last request has been answered."""
        acceptors = [concurrency.spawn(self._accept, sock) for sock in self._sockets]
        self._drained.wait()
        for acceptor in acceptors:
            acceptor.kill()
        # A socket may be closed only when no greenlet waits on it: its number could be that of another one by then.
        while self._tasks or not all(acceptor.dead for acceptor in acceptors):
            concurrency.sleep(0.02)

    def drain(self, seconds: float = 30.0, successor: bool = False) -> None:
        """Accept no more, and end every connection after one more answer; what is left after `seconds` is cut off.

        If a `successor` accepts on the same sockets, idle connections stay for as long as they always may, so that no
        client loses a request it sends just now. Otherwise they are closed, and the sockets no longer listen.
        """
        concurrency.call_later(seconds, self._abandon)
        if not successor and not self.stopping:
            self.stopping = True
            for listener in self._sockets:
                self._stop_listening(listener)
            # A request may be on its way already: it came to this process, so this process answers it.
            self._close_idle(lambda session: session.turns == 0 or session.connection.peer_has_closed())
            concurrency.call_later(FRESH_SECONDS, self._close_idle, lambda _: False)
        self.draining = True
        self._drained.set()

    def _close_idle(self, spared: Callable[[Session], bool]) -> None:
        for session, task in list(self._tasks.items()):
            if session.idle and not spared(session):
                task.kill()

    def _abandon(self) -> None:
        for task in list(self._tasks.values()):
            task.kill()

    def _stop_listening(self, listener: socket.socket) -> None:
        """Serve the connections that wait in the queue; the kernel refuses later ones, in all processes."""
        try:
            while len(self._tasks) < self.options.max_connections:
                self._admit(*listener.accept())
        except OSError:
            pass  # the queue is empty, or another worker has come first
        try:
            listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _accept(self, listener: socket.socket) -> None:
        descriptor = listener.fileno()
        concurrency.register(descriptor)
        try:
            while not self.draining:
                self._accept_waiting(listener)
                concurrency.wait_readable(descriptor)
        finally:
            concurrency.unregister(descriptor)

    def _accept_waiting(self, listener: socket.socket) -> None:
        """Take connections until none is waiting."""
        waited = False
        accepted = 0
        while not self.draining:  # looked at after every sleep: `serve` may have seen the last connection end
            if len(self._tasks) >= self.options.max_connections and not self.waiting:
                concurrency.sleep(ACCEPT_RETRY_SECONDS)
                continue
            if not waited and self._balance is not None and not self._balance.may_accept(len(self._tasks)):
                # Another worker has fewer: it gets a moment to take this one.
                waited = True
                concurrency.sleep(ACCEPT_RETRY_SECONDS)
                continue
            waited = False
            try:
                sock, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.EINVAL:
                    return  # another worker has stopped listening: this one will be told to stop as well
                if error.errno != errno.ECONNABORTED:
                    self.report("cannot accept connections", error)
                    concurrency.sleep(0.1)
                continue
            self._admit(sock, peer)
            accepted += 1
            if accepted % ACCEPT_TURN == 0:
                concurrency.sleep()

    def _admit(self, sock: socket.socket, peer: tuple[Any, ...]) -> None:
        """Serve a new connection; at a limit, in the place of the one that has waited longest for a request."""
        limit, network = self.options.max_connections_per_address, client_network(peer)
        if limit and network and self._by_network[network] >= limit:
            # Only in the place of one of its own.
            waiting = next((session for session in self.waiting if session.network == network), None)
            if waiting is None:
                self._refuse(sock, peer)
                return
            self._close_waiting(waiting)
        elif len(self._tasks) >= self.options.max_connections and self.waiting:
            self._close_waiting(next(iter(self.waiting)))
        self.adopt(sock, peer)

    def _close_waiting(self, session: Session) -> None:
        """Close a connection that waits for a request; its greenlet ends when its turn comes."""
        del self.waiting[session]
        session.connection.close()

    def _refuse(self, sock: socket.socket, peer: tuple[Any, ...]) -> None:
        now = concurrency.monotonic()
        if now - self._refusals_reported >= REFUSALS_REPORTED_SECONDS:
            self._refusals_reported = now
            self.report("connections are refused", TooManyConnections(peer[0]))
        try:
            if self.options.tls is None:
                sock.setblocking(False)
                sock.send(TOO_MANY)
        except OSError:
            pass
        sock.close()

    def adopt(self, sock: socket.socket, peer: tuple[Any, ...]) -> None:
        """Serve a connection that somebody accepted."""
        try:
            session = Session(self, sock, peer)
        except OSError:
            sock.close()  # the client has left already
            return
        self._by_network[session.network] += 1
        self.waiting[session] = None
        self._tasks[session] = concurrency.spawn(self._run, session)
        self._count_changed()

    def _count_changed(self) -> None:
        if self._balance is not None and not self.draining:  # a successor may count in our place by now
            self._balance.changed(len(self._tasks))

    def _run(self, session: Session) -> None:
        try:
            session.run()
        except (ClientDisconnected, ClientTimeout, OSError, WaitTimeout):
            pass
        except Exception as error:
            self.report("a connection failed", error)
        finally:
            session.connection.close()
            self.waiting.pop(session, None)
            del self._tasks[session]
            self._by_network[session.network] -= 1
            if not self._by_network[session.network]:
                del self._by_network[session.network]
            self._count_changed()
