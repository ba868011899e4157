"""The transport to storage servers over the network: HTTP/1.1 on pooled, kept-alive connections.

A small request leaves in one send, and no greenlet is spent on it: the caller that wants the answer reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from objstore.devices import Device
from objstore.http.bodies import BytesBody
from objstore.http.chunked import chunk_head, last_chunk
from objstore.http.handshake import Greeting, Handshake
from objstore.http.heads import ResponseHead, parse_response
from objstore.http.pool import TIMEOUT, ConnectionPool
from objstore.http.received import ChunkedBody, LengthBody
from objstore.http.sockets import NOTHING_YET
from objstore.http.transport import (
    NODE_TIMEOUT_SECONDS,
    BackendBody,
    BackendRequest,
    BackendResponse,
    BackendUpload,
    Exchange,
    NodeFailure,
    Transport,
)
from objstore.system import concurrency
from objstore.system.concurrency import Event, WaitTimeout

RESPONSE_HEAD_MAX: Final = 1024 * 1024
JOINED_BODY_MAX: Final = 65536


class HttpTransport(Transport):
    def __init__(self, connect_timeout_seconds: float = 0.5, handshake: Handshake | None = None) -> None:
        """Nodes have to prove that they are of the cluster, and we do, if there is a handshake."""
        self._pool = ConnectionPool(connect_timeout_seconds, handshake)

    def close(self) -> None:
        """Close the connections that are kept for later requests."""
        self._pool.close()

    def is_unresponsive(self, node: Device) -> bool:
        """Whether the server lately answered nothing: a request to it fails at once, or is a probe."""
        return self._pool.unresponsive.is_unresponsive(node)

    def start(
        self, request: BackendRequest, body: bytes = b"", timeout_seconds: float = NODE_TIMEOUT_SECONDS
    ) -> Exchange:
        """Send a whole request without waiting for its answer. Raises NodeFailure."""
        if body or request.method not in ("GET", "HEAD"):
            head = request.head(f"Content-Length: {len(body)}")
        else:
            head = request.head()
        exchange = HttpExchange(self._pool, request, timeout_seconds)
        exchange.send(head + body if len(body) <= JOINED_BODY_MAX else head, body)
        return exchange

    def start_upload(
        self, request: BackendRequest, length: int | None, timeout_seconds: float = NODE_TIMEOUT_SECONDS
    ) -> BackendUpload:
        """Send the head of a request whose body follows. Raises NodeFailure."""
        framing = ["Transfer-Encoding: chunked", "Expect: 100-continue"]
        if length is not None:
            framing.append(f"X-Backend-Obj-Content-Length: {length}")
        head = request.head(*framing)
        upload = HttpUpload(self._pool, request, timeout_seconds)
        upload.send(head, b"")
        return upload


class HttpExchange(Exchange):
    """A request on its way over a connection."""

    __slots__ = (
        "_answer",
        "_bodiless",
        "_connection",
        "_failure",
        "_head",
        "_held",
        "_pool",
        "_received",
        "_sent",
        "_timeout",
        "node",
    )

    def __init__(self, pool: ConnectionPool, request: BackendRequest, timeout_seconds: float) -> None:
        self.node = request.node
        self._pool = pool
        self._bodiless = request.method == "HEAD"
        self._timeout = timeout_seconds
        self._head = b""  # what was sent in one piece, and may so be sent once more
        self._held: tuple[bytes, bytes] | None = None  # what is sent as soon as the node has proved what it is
        self._sent = True  # the request is whole: after its answer comes the next one's
        self._received = b""
        self._answer: BackendResponse | None = None
        self._failure: NodeFailure | None = None
        self._connection = pool.take(request.node, timeout_seconds)

    def send(self, head: bytes, body: bytes) -> None:
        """Send the request; a connection that the server had just closed is replaced once. Raises NodeFailure."""
        separate = body if len(body) > JOINED_BODY_MAX else b""
        try:
            try:
                self._send(head, separate)
            except NodeFailure as failure:
                if self._answered_early():
                    return
                self._note_timeout(failure)
                if failure.reason != "disconnect" or not self._connection.used:
                    raise
                self._replace_connection()
                self._send(head, separate)
        except BaseException:
            self._connection.close()
            raise
        if not separate:
            self._head = head

    def _send(self, head: bytes, separate: bytes) -> None:
        if self._connection.greeting is not None:
            self._held = head, separate
        elif separate:
            self._connection.send_parts((head, separate), self._timeout)
        else:
            self._connection.send(head, self._timeout)

    def _answered_early(self) -> bool:
        """Sending has failed: whether the server had answered before, as it does when it does not want the rest."""
        sent, self._sent = self._sent, False
        try:
            return self._take_head(0.0) is not None
        except NodeFailure:
            return False
        finally:
            self._sent = sent

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

    def ready_within(self, seconds: float) -> bool:
        """Wait until it is ready; False if it is not within that time."""
        deadline = concurrency.monotonic() + seconds
        while not self.ready:
            left = deadline - concurrency.monotonic()
            if left <= 0:
                return False
            try:
                concurrency.wait_readable(self._connection.descriptor, left)
            except WaitTimeout:
                return False
        return True

    def watched(self) -> int | Event[None]:
        return self._connection.descriptor

    def response(self) -> BackendResponse:
        """Wait for the answer. Raises NodeFailure."""
        if self._failure is not None:
            raise self._failure
        while self._answer is None:
            try:
                self._take_head(self._timeout)
            except NodeFailure as failure:
                self._failure = failure
                raise
        return self._answer

    def _take_head(self, timeout_seconds: float) -> BackendResponse | None:
        """Read until the head is complete; None if there is nothing to read now and `timeout_seconds` is 0."""
        connection = self._connection
        while True:
            end = self._received.find(b"\r\n\r\n")
            if end >= 0:
                head = self._parse(self._received[: end + 4])
                self._received = self._received[end + 4 :]
                self._pool.unresponsive.answered(self.node)
                if connection.greeting is not None:
                    self._prove(connection.greeting, head)
                    connection = self._connection
                    continue
                if head.status >= 200:
                    self._answer = self._respond(head)
                    return self._answer
                if self._continued():
                    return None
                continue
            try:
                part = connection.sock.recv(65536)
            except NOTHING_YET:
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

    def _prove(self, greeting: Greeting, answer: ResponseHead) -> None:
        """The node has answered a greeting: prove what we are, and send what is held. Raises NodeFailure."""
        connection, held = self._connection, self._held
        assert held is not None
        connection.greeting = self._held = None
        try:
            proof = greeting.prove(self.node.address, answer.status, answer.headers)
        except ValueError as error:
            if greeting.required:
                raise self._fail(str(error)) from None
            connection.close()
            self._received, proof = b"", b""
            self._connection = self._pool.connect(self.node, greets=False)
        self._send_again(proof + held[0], held[1])

    def _wait(self, timeout_seconds: float) -> None:
        try:
            concurrency.wait_readable(self._connection.descriptor, timeout_seconds)
        except WaitTimeout:
            self._pool.timed_out(self._connection)
            raise self._fail(TIMEOUT) from None

    def _note_timeout(self, failure: NodeFailure) -> None:
        """Sending has failed; remember the server if it took nothing for too long."""
        if failure.reason == TIMEOUT:
            self._pool.timed_out(self._connection)

    @property
    def _is_owed(self) -> bool:
        """Whether it is the server's turn."""
        return True

    def _parse(self, head: bytes) -> ResponseHead:
        try:
            return parse_response(head)
        except ValueError as error:
            raise self._fail(str(error)) from None

    def _continued(self) -> bool:
        """An interim answer, such as 100 Continue, has come: whether the caller waits for that."""
        return False

    def _lost(self) -> None:
        """The server has closed: if that was a kept connection on which nothing came, try once more on a new one."""
        if not self._connection.used or self._received or not self._head:
            raise self._fail("disconnect")
        self._replace_connection()
        self._send_again(self._head, b"")

    def _send_again(self, head: bytes, separate: bytes) -> None:
        try:
            self._send(head, separate)
        except BaseException:
            self._connection.close()
            raise

    def _fail(self, reason: str) -> NodeFailure:
        self._connection.close()
        return NodeFailure(self.node, reason)

    def _respond(self, head: ResponseHead) -> BackendResponse:
        connection, received = self._connection, self._received
        self._received = b""
        headers = head.headers
        keep = head.keep_alive and self._sent
        if self._bodiless or head.status in (204, 304):
            return BackendResponse(head.status, headers, self._whole(b"", keep and not received))
        release = self._release if keep else connection.close
        coding = headers.get("Transfer-Encoding")
        if coding is None:
            length = headers.get("Content-Length", "")
            if not (length.isascii() and length.isdecimal()):
                raise self._fail("the answer has no length")
            size = int(length)
            if size <= len(received):
                whole = self._whole(received[:size], keep and size == len(received))
                return BackendResponse(head.status, headers, whole)
            body: LengthBody | ChunkedBody = LengthBody(connection, size, self._timeout, release=release)
        elif coding.lower() == "chunked":
            body = ChunkedBody(connection, self._timeout, release=release)
        else:
            raise self._fail("the answer has an unknown Transfer-Encoding")
        if received:
            connection.push_back(received)
        return BackendResponse(head.status, headers, body)

    def _whole(self, content: bytes, keep: bool) -> BackendBody:
        if keep:
            self._release()
        else:
            self._connection.close()
        return BytesBody(content)

    def _release(self) -> None:
        self._pool.give_back(self._connection)

    def abandon(self) -> None:
        """Give up on the answer."""
        if self._answer is not None:
            self._answer.close()
        elif self._failure is None:
            if self._is_owed:
                self._pool.unresponsive.unanswered(self.node, self._connection.asked_at)
            self._failure = self._fail("given up")


class HttpUpload(HttpExchange, BackendUpload):
    """A request whose body goes out in chunks, with trailers."""

    __slots__ = ("_leave",)

    def __init__(self, pool: ConnectionPool, request: BackendRequest, timeout_seconds: float) -> None:
        super().__init__(pool, request, timeout_seconds)
        self._leave = False  # whether the server has said 100 Continue
        self._sent = False  # `finish` makes it whole

    @property
    def _is_owed(self) -> bool:
        return self._sent or not self._leave

    def _continued(self) -> bool:
        awaited, self._leave = not self._leave, True
        return awaited

    @property
    def ready(self) -> bool:
        """Whether `expect` (before the body) or `response` (after it) would not wait."""
        return super().ready or (self._leave and bool(self._head))

    def expect(self) -> BackendResponse | None:
        """Wait for leave to send the body, or the final answer if the node refuses. Raises NodeFailure."""
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
        """Send a piece of the body. Raises NodeFailure."""
        if len(chunk):
            self._write((chunk_head(len(chunk)), chunk, b"\r\n"))

    def finish(self, trailers: Mapping[str, str]) -> None:
        """End the body with its trailers. Raises NodeFailure."""
        self._write((last_chunk(trailers),))
        self._connection.asked_at = concurrency.monotonic()
        self._sent = True

    def _write(self, parts: tuple[bytes | memoryview, ...]) -> None:
        if self._failure is not None:
            raise self._failure
        if self._answer is not None:
            return  # the server has refused meanwhile: `response` says so
        self._head = b""
        try:
            self._connection.send_parts(parts, self._timeout)
        except NodeFailure as failure:
            if self._answered_early():
                return
            self._note_timeout(failure)
            self._connection.close()
            self._failure = failure
            raise
