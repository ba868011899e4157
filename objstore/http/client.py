"""The transport to storage servers over the network: HTTP/1.1 on pooled, kept-alive connections.

A small request leaves in one send, and no greenlet is spent on it: whoever wants the answer reads it.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from objstore.devices import Device
from objstore.http.bodies import ChunkedBody, LengthBody
from objstore.http.chunked import chunk_head, last_chunk
from objstore.http.heads import ResponseHead, parse_response
from objstore.http.local import WholeBody
from objstore.http.sockets import Connection
from objstore.http.transport import (
    NODE_TIMEOUT_SECONDS,
    BackendBody,
    BackendRequest,
    BackendResponse,
    Exchange,
    NodeFailure,
    Transport,
    Upload,
)
from objstore.system import concurrency
from objstore.system.concurrency import Event, WaitTimeout

IDLE_CONNECTIONS_MAX: Final = 64  # kept for each node
IDLE_SECONDS: Final = 30.0  # less than a server keeps one, so that we are the ones who close
RESPONSE_HEAD_MAX: Final = 1024 * 1024
CHUNK_BYTES: Final = 262144
JOINED_BODY_MAX: Final = 65536


class NodeConnection(Connection):
    """A connection to a storage server."""

    __slots__ = ("idle_since", "node", "used")

    def __init__(self, sock: socket.socket, node: Device) -> None:
        super().__init__(sock, (node.ip, node.port))
        self.node = node
        self.idle_since = 0.0
        self.used = False  # has carried a request before

    def left(self) -> Exception:
        """The error for a server that closed."""
        return NodeFailure(self.node, "disconnect")

    def stalled(self) -> Exception:
        """The error for a server that is silent."""
        return NodeFailure(self.node, "timeout")


class ConnectionPool:
    """Idle connections by address; the one used last is taken first."""

    def __init__(self, connect_timeout_seconds: float) -> None:
        self._connect_timeout = connect_timeout_seconds
        self._idle: dict[tuple[str, int], list[NodeConnection]] = {}
        self._owner = os.getpid()

    def take(self, node: Device) -> NodeConnection:
        """A connection to the node, kept alive or new; raises NodeFailure."""
        if self._owner != os.getpid():
            self._idle, self._owner = {}, os.getpid()
        idle = self._idle.get((node.ip, node.port))
        while idle:
            connection = idle.pop()
            if concurrency.monotonic() - connection.idle_since < IDLE_SECONDS and not connection.peer_has_closed():
                connection.node = node
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

    def connect(self, node: Device) -> NodeConnection:
        """A new connection; raises NodeFailure."""
        family = socket.AF_INET6 if ":" in node.ip else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = NodeConnection(sock, node)
        try:
            number = sock.connect_ex((node.ip, node.port))
            if number == errno.EINPROGRESS:
                concurrency.wait_writable(connection.descriptor, self._connect_timeout)
                while (number := sock.connect_ex((node.ip, node.port))) == errno.EALREADY:
                    concurrency.wait_writable(connection.descriptor, self._connect_timeout)
            if number not in (0, errno.EISCONN):
                raise NodeFailure(node, f"connect: {os.strerror(number)}")
        except WaitTimeout:
            connection.close()
            raise NodeFailure(node, "connect: timeout") from None
        except BaseException:
            connection.close()
            raise
        return connection


class HttpTransport(Transport):
    """Speaks HTTP/1.1 to storage servers."""

    def __init__(self, connect_timeout_seconds: float = 0.5) -> None:
        self._pool = ConnectionPool(connect_timeout_seconds)

    def start(
        self, request: BackendRequest, body: bytes = b"", timeout_seconds: float = NODE_TIMEOUT_SECONDS
    ) -> Exchange:
        """See Transport."""
        lines = _head_lines(request)
        if body or request.method not in ("GET", "HEAD"):
            lines += ("Content-Length: ", str(len(body)), "\r\n")
        head = _encode_head(lines, request)
        exchange = HttpExchange(self._pool, request, timeout_seconds)
        exchange.send(head + body if len(body) <= JOINED_BODY_MAX else head, body)
        return exchange

    def start_upload(
        self, request: BackendRequest, length: int | None, timeout_seconds: float = NODE_TIMEOUT_SECONDS
    ) -> Upload:
        """See Transport."""
        lines = _head_lines(request)
        lines.append("Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n")
        if length is not None:
            lines += ("X-Backend-Obj-Content-Length: ", str(length), "\r\n")
        upload = HttpUpload(self._pool, request, timeout_seconds)
        upload.send(_encode_head(lines, request), b"")
        return upload


def _head_lines(request: BackendRequest) -> list[str]:
    lines = [request.method, " ", request.target, " HTTP/1.1\r\nHost: ", request.node.address, "\r\n"]
    for name, value in request.headers.items():
        lines += (name, ": ", value, "\r\n")
    return lines


def _encode_head(lines: list[str], request: BackendRequest) -> bytes:
    """The head on the wire; ValueError if a header smuggles in a line of its own."""
    lines.append("\r\n")
    text = "".join(lines)
    ends = text.count("\r\n")
    if text.count("\n") != ends or text.count("\r") != ends or "\0" in text or ends > len(request.headers) + 6:
        raise ValueError("a request header holds a control character")
    return text.encode("latin-1")


class HttpExchange(Exchange):
    """A request on its way over a connection."""

    __slots__ = ("_answer", "_bodiless", "_connection", "_failure", "_head", "_pool", "_received", "_timeout", "node")

    def __init__(self, pool: ConnectionPool, request: BackendRequest, timeout_seconds: float) -> None:
        self.node = request.node
        self._pool = pool
        self._bodiless = request.method == "HEAD"
        self._timeout = timeout_seconds
        self._head = b""  # what was sent in one piece, and may so be sent once more
        self._received = b""
        self._answer: BackendResponse | None = None
        self._failure: NodeFailure | None = None
        self._connection = pool.take(request.node)

    def send(self, head: bytes, body: bytes) -> None:
        """Send the request; a connection that the server had just closed is replaced once. Raises NodeFailure."""
        separate = body if len(body) > JOINED_BODY_MAX else b""
        self._head = head if not separate else b""
        try:
            self._send(head, separate)
        except NodeFailure:
            if not self._connection.used:
                self._connection.close()
                raise
            self._replace_connection()
            self._send(head, separate)

    def _send(self, head: bytes, separate: bytes) -> None:
        if separate:
            self._connection.send_parts((head, separate), self._timeout)
        else:
            self._connection.send(head, self._timeout)

    def _replace_connection(self) -> None:
        self._connection.close()
        self._connection = self._pool.connect(self.node)

    @property
    def ready(self) -> bool:
        """Whether the head of the answer is complete, or the exchange has failed."""
        if self._answer is not None or self._failure is not None:
            return True
        try:
            return self._take_head(0.0) is not None
        except NodeFailure as failure:
            self._failure = failure
            return True

    def watched(self) -> int | Event[None]:
        """The socket."""
        return self._connection.descriptor

    def response(self) -> BackendResponse:
        """See Exchange."""
        if self._failure is not None:
            raise self._failure
        if self._answer is None:
            try:
                self._answer = self._take_head(self._timeout)
            except NodeFailure as failure:
                self._failure = failure
                raise
        assert self._answer is not None
        return self._answer

    def _take_head(self, timeout_seconds: float) -> BackendResponse | None:
        """Read until the head is complete; None if there is nothing to read now and `timeout_seconds` is 0."""
        connection = self._connection
        while True:
            end = self._received.find(b"\r\n\r\n")
            if end >= 0:
                head = self._parse(self._received[: end + 4])
                self._received = self._received[end + 4 :]
                if head.status >= 200:
                    self._answer = self._respond(head)
                    return self._answer
                if self._continued():
                    return None
                continue
            try:
                part = connection.sock.recv(65536)
            except BlockingIOError:
                if timeout_seconds == 0.0:
                    return None
                self._wait(timeout_seconds)
                continue
            except OSError:
                part = b""
            if not part:
                self._lost()
                connection = self._connection
                continue
            self._received += part
            if len(self._received) > RESPONSE_HEAD_MAX:
                raise self._fail("the head of the answer is too long")

    def _wait(self, timeout_seconds: float) -> None:
        try:
            concurrency.wait_readable(self._connection.descriptor, timeout_seconds)
        except WaitTimeout:
            raise self._fail("timeout") from None

    def _parse(self, head: bytes) -> ResponseHead:
        try:
            return parse_response(head)
        except ValueError as error:
            raise self._fail(str(error)) from None

    def _continued(self) -> bool:
        """A 100 Continue has come: whether that is what the caller waits for."""
        return False

    def _lost(self) -> None:
        """The server has closed: if that was a kept connection on which nothing came, try once more on a new one."""
        if not self._connection.used or self._received or not self._head:
            raise self._fail("disconnect")
        self._replace_connection()
        self._connection.send(self._head, self._timeout)

    def _fail(self, reason: str) -> NodeFailure:
        self._connection.close()
        return NodeFailure(self.node, reason)

    def _respond(self, head: ResponseHead) -> BackendResponse:
        connection, received = self._connection, self._received
        self._received = b""
        headers = head.headers
        if self._bodiless or head.status in (204, 304):
            return BackendResponse(head.status, headers, self._whole(b"", head.keep_alive and not received))
        coding = headers.get("Transfer-Encoding")
        if coding is None:
            length = headers.get("Content-Length", "")
            if not (length.isascii() and length.isdecimal()):
                raise self._fail("the answer has no length")
            size = int(length)
            if size <= len(received):
                whole = self._whole(received[:size], head.keep_alive and size == len(received))
                return BackendResponse(head.status, headers, whole)
            body: Any = LengthBody(connection, size, self._timeout)
        elif coding.lower() == "chunked":
            size = None
            body = ChunkedBody(connection, self._timeout)
        else:
            raise self._fail("the answer has an unknown Transfer-Encoding")
        if received:
            connection.push_back(received)
        release = self._release if head.keep_alive else connection.close
        return BackendResponse(head.status, headers, StreamedBody(connection, body, size, release))

    def _whole(self, content: bytes, keep: bool) -> BackendBody:
        if keep:
            self._release()
        else:
            self._connection.close()
        return WholeBody(content)

    def _release(self) -> None:
        self._pool.give_back(self._connection)

    def abandon(self) -> None:
        """See Exchange."""
        if self._answer is not None:
            self._answer.close()
        elif self._failure is None:
            self._failure = self._fail("given up")


class StreamedBody:
    """The body of an answer, read from its connection, which goes back to the pool at the end."""

    __slots__ = ("_body", "_buffer", "_connection", "_release", "length", "trailers")

    def __init__(
        self,
        connection: NodeConnection,
        body: LengthBody | ChunkedBody,
        length: int | None,
        release: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._body = body
        self._release: Callable[[], None] | None = release
        self._buffer: memoryview | None = None
        self.length = length
        self.trailers: dict[str, str] = {}

    def _guard(self, read: Callable[..., Any], argument: Any) -> Any:
        try:
            result = read(argument)
        except BaseException:
            self.close()
            raise
        if self._body.ended:
            self.trailers = self._body.trailers
            self.close()
        return result

    def read(self, size: int = -1) -> bytes:
        """See BodyReader; raises NodeFailure."""
        content: bytes = self._guard(self._body.read, size)
        return content

    def readinto(self, buffer: memoryview) -> int:
        """See BodyReader; raises NodeFailure."""
        count: int = self._guard(self._body.readinto, buffer)
        return count

    def __iter__(self) -> Iterator[bytes | memoryview]:
        if self._buffer is None:
            self._buffer = memoryview(bytearray(min(CHUNK_BYTES, self.length or CHUNK_BYTES)))
        while count := self.readinto(self._buffer):
            yield self._buffer[:count]

    def splice_to(self, connection: Connection, timeout_seconds: float) -> int:
        """Move the rest to another connection without copying it; returns how many bytes went over.

        Fewer than were left when the server broke off. Chunked bodies and TLS cannot be spliced: nothing is moved.
        """
        body = self._body
        if not isinstance(body, LengthBody) or not connection.splices or not self._connection.splices:
            return 0
        moved = 0
        try:
            if self._connection.buffered:
                first = body.read(body.remaining)
                connection.send(first, timeout_seconds)
                moved = len(first)
            count = connection.splice_from(self._connection, body.remaining, timeout_seconds)
            body.remaining -= count
            return moved + count
        finally:
            self.close()

    def close(self) -> None:
        """Give the connection back if the body has been read, else close it."""
        release, self._release = self._release, None
        if release is not None:
            if self._body.ended:
                release()
            else:
                self._connection.close()


class HttpUpload(HttpExchange, Upload):
    """A request whose body goes out in chunks, with trailers."""

    __slots__ = ("_leave",)

    def __init__(self, pool: ConnectionPool, request: BackendRequest, timeout_seconds: float) -> None:
        super().__init__(pool, request, timeout_seconds)
        self._leave = False  # whether the server has said 100 Continue

    def _continued(self) -> bool:
        self._leave = True
        return True

    @property
    def ready(self) -> bool:
        """Whether `expect` (before the body) or `response` (after it) would not wait."""
        return super().ready or (self._leave and bool(self._head))

    def expect(self) -> BackendResponse | None:
        """See Upload."""
        if self._failure is not None:
            raise self._failure
        while not self._leave and self._answer is None:
            try:
                self._take_head(self._timeout)
            except NodeFailure as failure:
                self._failure = failure
                raise
        self._head = b""
        return self._answer

    def write(self, chunk: bytes | memoryview) -> None:
        """See Upload."""
        if len(chunk):
            self._write((chunk_head(len(chunk)), chunk, b"\r\n"))

    def finish(self, trailers: Mapping[str, str]) -> None:
        """See Upload."""
        self._write((last_chunk(trailers),))

    def _write(self, parts: tuple[bytes | memoryview, ...]) -> None:
        if self._failure is not None:
            raise self._failure
        if self._answer is not None:
            return  # the server has refused meanwhile: `response` says so
        try:
            self._connection.send_parts(parts, self._timeout)
        except NodeFailure as failure:
            self._connection.close()
            self._failure = failure
            raise
