"""Kept-alive connections to servers, and one request over one of them. Blocks the thread that calls.

It stands on the standard library's http.client: docs/decisions/0014-client-library.md says why.
"""

from __future__ import annotations

import http.client
import select
import ssl
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from objstore.client.errors import BodyCutShort, ServerUnreachable
from objstore.errors import reason_of
from objstore.headers import Backend
from objstore.http.handshake import HELLO, Greeting, Handshake

CHUNK_BYTES: Final = 256 * 1024
WHOLE_BODY_MAX: Final = 64 * 1024 * 1024  # a larger body is to be read in chunks
IDLE_MAX: Final = 64  # connections kept to one server
NETWORK_ERRORS: Final = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class ServerAddress:
    """Where a server listens, and whether it speaks TLS."""

    host: str
    port: int
    tls: bool = False

    @classmethod
    def of_url(cls, url: str) -> tuple[ServerAddress, str]:
        """The server of http://HOST[:PORT]/PATH or https://..., and the path. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"no address as http://HOST:PORT/PATH: {url!r}")
        tls = parts.scheme == "https"
        return cls(parts.hostname, parts.port or (443 if tls else 80), tls), parts.path

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Timeouts:
    """How long to wait for a connection, and for each piece that is sent or received."""

    connect_seconds: float = 5.0
    silence_seconds: float = 60.0


class ClientResponse:
    """The head of a response; its body is still on the connection, and is read once.

    `headers` are by name in lower case. As a context manager it gives up what was not read.
    """

    def __init__(self, pool: KeptConnections, connection: http.client.HTTPConnection, server: ServerAddress) -> None:
        self._pool, self._connection, self._server = pool, connection, server
        self._response = connection.getresponse()
        self.status = self._response.status
        self.headers: dict[str, str] = {}
        for name, value in self._response.getheaders():
            text = value.encode("latin-1").decode("utf-8", "replace")
            known = self.headers.get(name.lower())
            self.headers[name.lower()] = text if known is None else f"{known}, {text}"
        self._open = True
        if not self._response.length and not self._response.chunked and not self._response.will_close:
            self._finish()

    def __enter__(self) -> ClientResponse:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer; 0 is the end of the body. Raises ServerUnreachable, BodyCutShort."""
        if not self._open:
            return 0
        try:
            count = 0 if self._response.isclosed() else self._response.readinto(buffer)
        except NETWORK_ERRORS as error:
            self.close()
            raise BodyCutShort(str(self._server), reason_of(error)) from error
        if not count:
            missing = self._response.length
            if missing:
                self.close()
                raise BodyCutShort(str(self._server), f"the body ended {missing} bytes early")
            self._finish()
        return count

    def chunks(self, size: int = CHUNK_BYTES) -> Iterator[bytes]:
        """The body, piece by piece. Raises ServerUnreachable, BodyCutShort."""
        buffer = memoryview(bytearray(size))
        while count := self.readinto(buffer):
            yield bytes(buffer[:count])

    def read(self, most: int = WHOLE_BODY_MAX) -> bytes:
        """The whole body. Raises ServerUnreachable, BodyCutShort; a body of more than `most` bytes is one as well."""
        pieces, size = [], 0
        for piece in self.chunks():
            size += len(piece)
            if size > most:
                self.close()
                raise BodyCutShort(str(self._server), f"the body has more than {most} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Give up the rest of the body, and the connection with it."""
        if self._open:
            self._open = False
            self._response.close()
            self._connection.close()

    def _finish(self) -> None:
        self._open = False
        self._response.close()
        if self._response.will_close:
            self._connection.close()
        else:
            self._pool.keep(self._server, self._connection)


@dataclass
class KeptConnections:
    """Connections to any number of servers, kept between requests. Threads may share it."""

    timeouts: Timeouts = field(default_factory=Timeouts)
    tls: ssl.SSLContext | None = None  # None: the system's certificate authorities
    handshake: Handshake | None = None  # servers have to prove that they are of the cluster, and we do
    _idle: dict[ServerAddress, list[http.client.HTTPConnection]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(
        self, server: ServerAddress, method: str, target: str, headers: Mapping[str, str], body: Iterable[bytes] | None
    ) -> ClientResponse:
        """One request, never repeated; `target` goes out as it stands.

        A body needs a Content-Length among the headers, or goes out in chunks. A server that answers before it has
        read everything is listened to. Raises ServerUnreachable, and whatever `body` raises.
        """
        connection = self._take(server)
        chunked = body is not None and "Content-Length" not in headers
        try:
            with _network_of(server):
                self._send_head(connection, method, target, headers, body is None, chunked)
            for piece in body or ():  # what the body raises is the caller's
                with _network_of(server):
                    if piece and not _push(connection, b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece):
                        break
            with _network_of(server):
                if chunked:
                    _push(connection, b"0\r\n\r\n")
                return ClientResponse(self, connection, server)
        except BaseException:
            connection.close()
            raise

    def keep(self, server: ServerAddress, connection: http.client.HTTPConnection) -> None:
        """Take back a connection that can be used again."""
        with self._lock:
            idle = self._idle.setdefault(server, [])
            if len(idle) < IDLE_MAX:
                idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close the connections that are not in use."""
        with self._lock:
            idle, self._idle = [each for kept in self._idle.values() for each in kept], {}
        for connection in idle:
            connection.close()

    def _send_head(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        empty: bool,
        chunked: bool,
    ) -> None:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value.encode())
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        elif empty and method in ("PUT", "POST") and "Content-Length" not in headers:
            connection.putheader("Content-Length", "0")
        connection.endheaders()

    def _take(self, server: ServerAddress) -> http.client.HTTPConnection:
        """A connection that is open, a kept one if there is one. Raises ServerUnreachable."""
        while True:
            with self._lock:
                idle = self._idle.get(server)
                kept = idle.pop() if idle else None
            if kept is None:
                return self._connect(server)
            poll = select.poll()
            poll.register(kept.sock, select.POLLIN)
            if not poll.poll(0):
                return kept
            kept.close()  # between requests, all there is to read is that the server has closed it

    def _connect(self, server: ServerAddress) -> http.client.HTTPConnection:
        patience = self.timeouts.connect_seconds
        ours = None if self.handshake is None else self.handshake.tls
        if server.tls or (ours is not None and ours.used):
            context = self.tls if ours is None else ours.client
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                server.host, server.port, timeout=patience, context=context
            )
        else:
            connection = http.client.HTTPConnection(server.host, server.port, timeout=patience)
        try:
            connection.connect()
            connection.sock.settimeout(self.timeouts.silence_seconds)
            if self.handshake is not None:
                _greet(connection, self.handshake, str(server))
        except (*NETWORK_ERRORS, ValueError) as error:
            connection.close()
            raise NotConnected(str(server), reason_of(error)) from error
        return connection


def _greet(connection: http.client.HTTPConnection, handshake: Handshake, host: str) -> None:
    """Raises ValueError if the server does not prove what it is."""
    greeting = Greeting(handshake)
    connection.request(HELLO, "/", headers={Backend.NONCE: greeting.nonce})
    with connection.getresponse() as answer:
        headers = {name.title(): value for name, value in answer.getheaders()}
        answer.read(WHOLE_BODY_MAX)
    try:
        connection.send(greeting.prove(host, answer.status, headers))
    except ValueError:
        if handshake.required:
            raise


class NotConnected(ServerUnreachable):
    """There is no connection, so the server has seen nothing of the request."""


def _push(connection: http.client.HTTPConnection, piece: bytes) -> bool:
    """Send a piece of a body; False if the server has closed: it may have refused early, and its response says why."""
    try:
        connection.send(piece)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


@contextmanager
def _network_of(server: ServerAddress) -> Iterator[None]:
    try:
        yield
    except NETWORK_ERRORS as error:
        raise ServerUnreachable(str(server), reason_of(error)) from error
