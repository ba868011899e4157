"""Connections to storage servers, kept open between requests."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Final

from objstore.devices import Device
from objstore.http.chunked import BadFraming
from objstore.http.handshake import Greeting, Handshake
from objstore.http.sockets import Connection, OverTls
from objstore.http.transport import NodeFailure
from objstore.http.unresponsive import UnresponsiveServers
from objstore.system import concurrency
from objstore.system.concurrency import WaitTimeout

IDLE_CONNECTIONS_MAX: Final = 64  # kept for each node
IDLE_SECONDS: Final = 30.0  # less than a server keeps one, so that we are the ones who close
TLS_SECONDS: Final = 5.0  # for both sides to agree on keys
TIMEOUT: Final = "timeout"  # the reason of a NodeFailure


class NodeConnection(Connection):
    __slots__ = ("asked_at", "greeting", "idle_since", "node", "used")

    def __init__(self, sock: socket.socket, node: Device) -> None:
        super().__init__(sock, (node.ip, node.port))
        self.node = node
        self.asked_at = concurrency.monotonic()  # when the node began to owe an answer
        self.idle_since = 0.0
        self.used = False  # has carried a request before
        self.greeting: Greeting | None = None  # which the node has not answered yet

    def left(self) -> Exception:
        return NodeFailure(self.node, "disconnect")

    def stalled(self) -> Exception:
        return NodeFailure(self.node, TIMEOUT)

    def malformed(self, error: BadFraming) -> Exception:
        return NodeFailure(self.node, error.reason)


class TlsNodeConnection(OverTls, NodeConnection):
    """One over TLS."""

    __slots__ = ()


class ConnectionPool:
    """Idle connections by address; the one used last is taken first."""

    def __init__(self, connect_timeout_seconds: float, handshake: Handshake | None = None) -> None:
        self._connect_timeout = connect_timeout_seconds
        self.handshake: Final = handshake
        self._idle: dict[tuple[str, int], list[NodeConnection]] = {}
        self._owner = os.getpid()
        self.unresponsive: Final = UnresponsiveServers()

    def take(self, node: Device, timeout_seconds: float) -> NodeConnection:
        """A connection to the node, kept alive or new, for a request that is answered within a time.

        Raises NodeFailure, at once if the server is unresponsive.
        """
        if (reason := self.unresponsive.refusal(node, timeout_seconds)) is not None:
            raise NodeFailure(node, reason)
        if self._owner != os.getpid():
            self._idle, self._owner = {}, os.getpid()
        idle = self._idle.get((node.ip, node.port))
        while idle:
            connection, now = idle.pop(), concurrency.monotonic()
            if now - connection.idle_since < IDLE_SECONDS and not connection.peer_has_closed():
                connection.node, connection.asked_at = node, now
                return connection
            connection.close()
        return self.connect(node)

    def give_back(self, connection: NodeConnection) -> None:
        """Keep a connection whose answer has been read to its end."""
        idle = self._idle.setdefault((connection.node.ip, connection.node.port), [])
        connection.idle_since = concurrency.monotonic()
        connection.used = True
        idle.append(connection)
        if len(idle) > IDLE_CONNECTIONS_MAX or connection.idle_since - idle[0].idle_since > IDLE_SECONDS:
            idle.pop(0).close()

    def timed_out(self, connection: NodeConnection) -> None:
        """The server owes an answer: also those connections are closed that it has taken before."""
        node = connection.node
        self.unresponsive.unanswered(node, connection.asked_at)
        for idle in self._idle.pop((node.ip, node.port), ()):
            idle.close()

    def close(self) -> None:
        for idle in self._idle.values():
            while idle:
                idle.pop().close()

    def connect(self, node: Device, *, greets: bool = True) -> NodeConnection:
        """A new connection, on which the node has been greeted if it has to be; raises NodeFailure."""
        try:
            family = socket.AF_INET6 if ":" in node.ip else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise NodeFailure(node, f"connect: {error.strerror}") from None
        connection = NodeConnection(sock, node)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connect(sock, connection)
            if self.handshake is not None and self.handshake.tls is not None and self.handshake.tls.used:
                connection = self._encrypted(connection, self.handshake.tls.client)
            if greets and self.handshake is not None:
                connection.greeting = Greeting(self.handshake)
                connection.send(connection.greeting.hello(node.address), self._connect_timeout)
        except NodeFailure:
            connection.close()
            raise
        except WaitTimeout:
            self.timed_out(connection)
            connection.close()
            raise NodeFailure(node, f"connect: {TIMEOUT}") from None
        except OSError as error:
            connection.close()
            raise NodeFailure(node, f"connect: {error.strerror}") from None
        except BaseException:
            connection.close()
            raise
        return connection

    def _encrypted(self, plain: NodeConnection, context: ssl.SSLContext) -> NodeConnection:
        """The same connection over TLS. Raises OSError, WaitTimeout."""
        host = plain.node.ip
        wrapped = context.wrap_socket(plain.release(), do_handshake_on_connect=False, server_hostname=host)
        connection = TlsNodeConnection(wrapped, plain.node)
        try:
            connection.handshake(TLS_SECONDS)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self, sock: socket.socket, connection: NodeConnection) -> None:
        number = sock.connect_ex(connection.peer)
        while number in (errno.EINPROGRESS, errno.EALREADY):
            concurrency.wait_writable(connection.descriptor, self._connect_timeout)
            number = sock.connect_ex(connection.peer)
        if number not in (0, errno.EISCONN):
            raise OSError(number, os.strerror(number))
