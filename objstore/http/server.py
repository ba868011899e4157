"""An HTTP/1.1 server on greenlets: one per connection, requests of a connection one after the other.

It serves WSGI applications (PEP 3333). Beyond the standard, the environ holds `objstore.raw_path` (the path as it was
sent), and callables that an application appends to the list `objstore.sent` are told, after the answer, how many bytes
of its body went out and whether that was all. `wsgi.input` is a BodyReader. Chunks of a response may be memoryviews
that are valid until the next one is asked for, and a body with a `send_to(connection)` method sends itself and says how many
bytes that were.
"""

from __future__ import annotations

import errno
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Final, Protocol

from objstore.http.bodies import EMPTY_BODY, ChunkedBody, ClientDisconnected, ClientTimeout, LengthBody
from objstore.http.chunked import chunk_head, last_chunk
from objstore.http.errors import HttpError
from objstore.http.heads import HEAD_BYTES_MAX, HeadLimits, parse_request
from objstore.http.messages import Environ, WsgiApplication, error_response
from objstore.http.sockets import Connection, TlsConnection
from objstore.system import concurrency
from objstore.system.concurrency import WaitTimeout

LINGER_SECONDS: Final = 5.0
LINGER_BYTES_MAX: Final = 16 * 1024 * 1024
JOINED_BODY_MAX: Final = 32768  # bodies up to this size are copied behind their head, to leave in one call
ACCEPT_RETRY_SECONDS: Final = 0.002


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Limits and waits of a server; times in seconds."""

    client_timeout_seconds: float = 60.0
    keepalive_timeout_seconds: float = 75.0
    head_timeout_seconds: float = 30.0
    max_connections: int = 1024
    head: HeadLimits = field(default_factory=HeadLimits)
    tls: ssl.SSLContext | None = None
    backlog: int = 4096


class Balance(Protocol):
    """What workers know of each other's connections."""

    def changed(self, count: int) -> None:
        """This worker has so many now."""

    def may_accept(self, count: int) -> bool:
        """Whether a worker with so many should take the next."""


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
        self._balance = balance
        self._tasks: dict[Session, concurrency.Task[None]] = {}
        self._drained: concurrency.Event[None] = concurrency.Event()
        self.draining = False

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
        while self._tasks:
            concurrency.sleep(0.02)

    def drain(self, seconds: float = 30.0) -> None:
        """Accept no more; idle connections close now, busy ones after their answer, the rest after `seconds`."""
        if self.draining:
            return
        self.draining = True
        for session, task in list(self._tasks.items()):
            if session.idle:
                task.kill()
        concurrency.call_later(seconds, self._abandon)
        self._drained.set()

    def _abandon(self) -> None:
        for task in list(self._tasks.values()):
            task.kill()

    def _accept(self, listener: socket.socket) -> None:
        descriptor = listener.fileno()
        listener.setblocking(False)
        concurrency.register(descriptor)
        try:
            while not self.draining:
                self._accept_waiting(listener)
                concurrency.wait_readable(descriptor)
        finally:
            concurrency.unregister(descriptor)

    def _accept_waiting(self, listener: socket.socket) -> None:
        """Take connections until none is waiting."""
        while not self.draining:
            while len(self._tasks) >= self.options.max_connections:
                concurrency.sleep(ACCEPT_RETRY_SECONDS)
            if self._balance is not None and not self._balance.may_accept(len(self._tasks)):
                # Another worker has fewer: it gets a moment to take this one.
                concurrency.sleep(ACCEPT_RETRY_SECONDS)
            try:
                sock, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                    self.report("cannot accept connections", error)
                    concurrency.sleep(0.1)
                continue
            self.adopt(sock, peer)

    def adopt(self, sock: socket.socket, peer: tuple[Any, ...]) -> None:
        """Serve a connection that somebody accepted."""
        session = Session(self, sock, peer)
        self._tasks[session] = concurrency.spawn(self._run, session)
        self._count_changed()

    def _count_changed(self) -> None:
        if self._balance is not None:
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
            del self._tasks[session]
            self._count_changed()


class Session:
    """One connection and its requests."""

    __slots__ = ("_base", "connection", "idle", "server")

    def __init__(self, server: HttpServer, sock: socket.socket, peer: tuple[Any, ...]) -> None:
        self.server = server
        self.idle = False
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls = server.options.tls
        if tls is None:
            self.connection = Connection(sock, peer)
        else:
            wrapped = tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self.connection = TlsConnection(wrapped, peer)
        local = sock.getsockname() if sock.family != socket.AF_UNIX else ("unix", 0)
        self._base: Environ = {
            "SCRIPT_NAME": "",
            "SERVER_NAME": local[0],
            "SERVER_PORT": str(local[1]),
            "REMOTE_ADDR": peer[0] if peer else "",
            "REMOTE_PORT": str(peer[1]) if peer else "",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http" if tls is None else "https",
            "wsgi.errors": None,
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
        }

    def run(self) -> None:
        """Answer requests until the connection ends."""
        if isinstance(self.connection, TlsConnection):
            self.connection.handshake(self.server.options.head_timeout_seconds)
        while True:
            self.idle = True
            head = self._read_head()
            self.idle = False
            if head is None or not self._answer(head) or self.server.draining:
                return

    def _read_head(self) -> bytes | None:
        """The next request's head, None when the client is done."""
        connection, options = self.connection, self.server.options
        try:
            received = connection.receive(65536, options.keepalive_timeout_seconds)
        except ClientTimeout:
            return None
        self.idle = False
        if not received:
            return None
        while received[:2] == b"\r\n":
            received = received[2:]  # a stray empty line before a request is ignored (RFC 9112, section 2.2)
        end = received.find(b"\r\n\r\n")
        if end < 0:
            received, end = self._read_long_head(received)
        end += 4
        if end < len(received):
            connection.push_back(received[end:])
            return received[:end]
        return received

    def _read_long_head(self, received: bytes) -> tuple[bytes, int]:
        """A head that did not come in one piece; it must be complete within head_timeout_seconds."""
        connection, options = self.connection, self.server.options
        deadline = concurrency.monotonic() + options.head_timeout_seconds
        whole = bytearray(received)
        while (end := whole.find(b"\r\n\r\n")) < 0:
            left = deadline - concurrency.monotonic()
            refusal = self._refusal_of_partial(whole, left)
            if refusal is not None:
                self._refuse(refusal)
                raise ClientDisconnected
            try:
                more = connection.receive(65536, left)
            except ClientTimeout:
                continue
            if not more:
                raise ClientDisconnected
            whole += more
        return bytes(whole), end

    def _refusal_of_partial(self, whole: bytearray, seconds_left: float) -> HttpError | None:
        """Why a head that is not complete yet need not be waited for."""
        limits = self.server.options.head
        if seconds_left <= 0:
            return HttpError(408)
        line_end = whole.find(b"\n", 0, limits.line_bytes + 2)
        if line_end < 0:
            return HttpError(414, "Request line too long") if len(whole) > limits.line_bytes else None
        if whole.find(b"\n\n", 0, line_end + 2) >= 0 or whole[line_end - 1 : line_end] != b"\r":
            return HttpError(400, "Malformed request")
        last = whole.rfind(b"\n")
        if len(whole) - last > limits.header_bytes + 2:
            return HttpError(400, "Header line too long")
        if len(whole) > HEAD_BYTES_MAX or whole.count(b"\n") > limits.headers + 1:
            return HttpError(400, "Too many headers")
        return None

    def _refuse(self, error: HttpError) -> None:
        """Answer what could not even be parsed, and end the connection."""
        reply = _Reply(self.connection, {"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.1"}, False)
        reply.send_body(error_response(error)({}, reply.start))
        self._linger()

    def _answer(self, head: bytes) -> bool:
        """One request; False when the connection ends with it."""
        environ = self._base.copy()
        try:
            keep_alive = parse_request(head, environ, self.server.options.head)
        except HttpError as error:
            self._refuse(error)
            return False
        body = self._body_of(environ)
        environ["wsgi.input"] = body
        reply = _Reply(self.connection, environ, keep_alive and not self.server.draining)
        result: Iterable[bytes] = ()
        try:
            result = self._apply(environ, reply)
            if not body.ended and not body.drainable:
                reply.keep_alive = False
            reply.send_body(result)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()
            for told in environ.get("objstore.sent", ()):
                told(reply.body_sent, reply.complete)
        if body.ended:
            return reply.keep_alive
        if reply.keep_alive and body.drain():
            return True
        self._linger()
        return False

    def _apply(self, environ: Environ, reply: _Reply) -> Iterable[bytes]:
        """Call the application; its bugs become a 500."""
        try:
            return self.server.application(environ, reply.start)
        except Exception as error:
            self.server.report("the application failed", error)
            reply.keep_alive = False
            return error_response(HttpError(500))(environ, reply.start)

    def _body_of(self, environ: Environ) -> Any:
        timeout = self.server.options.client_timeout_seconds
        expects = environ.get("HTTP_EXPECT", "").lower() == "100-continue"
        if "HTTP_TRANSFER_ENCODING" in environ:
            return ChunkedBody(self.connection, timeout, expects)
        length = environ.get("CONTENT_LENGTH")
        if length is None or int(length) == 0:
            return EMPTY_BODY
        return LengthBody(self.connection, int(length), timeout, expects)

    def _linger(self) -> None:
        """Read what the client still sends for a moment: closing at once could destroy the answer on its way."""
        connection = self.connection
        connection.shutdown_sending()
        deadline = concurrency.monotonic() + LINGER_SECONDS
        read = 0
        while read < LINGER_BYTES_MAX and (left := deadline - concurrency.monotonic()) > 0:
            part = connection.receive(65536, left)
            if not part:
                return
            read += len(part)


_date: tuple[int, str] = (0, "")


def _http_date() -> str:
    """The time for the Date header, made once a second."""
    global _date
    now = int(time.time())
    if now != _date[0]:
        _date = (now, formatdate(now, usegmt=True))
    return _date[1]


class _Reply:
    """A response on its way out."""

    __slots__ = (
        "_bodiless",
        "_connection",
        "_head",
        "_length",
        "_old",
        "body_sent",
        "complete",
        "keep_alive",
        "started",
    )

    def __init__(self, connection: Connection, environ: Environ, keep_alive: bool) -> None:
        self._connection = connection
        self._bodiless = environ["REQUEST_METHOD"] == "HEAD"
        self._old = environ["SERVER_PROTOCOL"] == "HTTP/1.0"
        self._head: tuple[str, list[tuple[str, str]]] | None = None
        self._length: int | None = None
        self.keep_alive = keep_alive
        self.body_sent = 0
        self.complete = False
        self.started = False

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        """WSGI's start_response."""
        if exc_info is not None and self.started:
            raise exc_info[1].with_traceback(exc_info[2])
        self._head = (status, headers)
        return self._write

    def _write(self, content: bytes) -> None:
        raise NotImplementedError("write() of PEP 3333 is for applications older than it; return an iterable")

    def _make_head(self, bodiless: bool, whole: int | None) -> tuple[bytes, bool]:
        """The head on the wire, and whether the body goes out in chunks; `whole` is the body's length if known."""
        assert self._head is not None, "the application did not call start_response"
        status, headers = self._head
        lines = ["HTTP/1.1 ", status, "\r\n"]
        length: int | None = None
        dated = False
        expected = len(headers) + 2  # line ends, which tell whether a value smuggles one in
        for name, value in headers:
            lines += (name, ": ", value, "\r\n")
            lowered = name.lower()
            if lowered == "content-length":
                length = int(value)
            elif lowered == "date":
                dated = True
        chunked = False
        if length is None and not bodiless:
            if whole is not None:
                length = whole
                lines += ("Content-Length: ", str(whole), "\r\n")
                expected += 1
            elif self._old:
                self.keep_alive = False
            else:
                chunked = True
                lines.append("Transfer-Encoding: chunked\r\n")
                expected += 1
        self._length = length
        if not dated:
            lines += ("Date: ", _http_date(), "\r\n")
            expected += 1
        if not self.keep_alive:
            lines.append("Connection: close\r\n\r\n")
            expected += 1
        elif self._old:
            lines.append("Connection: keep-alive\r\n\r\n")
            expected += 1
        else:
            lines.append("\r\n")
        text = "".join(lines)
        if text.count("\n") != expected or text.count("\r") != expected or "\0" in text:
            raise ValueError("a response header holds a control character")
        return text.encode("latin-1"), chunked

    def send_body(self, result: Iterable[bytes | memoryview]) -> None:
        """Send head and body."""
        status = int(self._head[0][:3]) if self._head else 0
        bodiless = self._bodiless or status in (204, 304)
        connection = self._connection
        if isinstance(result, tuple):
            content = b"".join(result)
            head, _ = self._make_head(bodiless, len(content))
            self.started = True
            if bodiless or not content:
                connection.send(head)
            elif len(content) <= JOINED_BODY_MAX:
                connection.send(head + content)
            else:
                connection.send_parts((head, content))
            self.body_sent = 0 if bodiless else len(content)
            self.complete = True
            return
        head, chunked = self._make_head(bodiless, None)
        self.started = True
        if bodiless:
            connection.send(head)
            self.complete = True
            return
        self._stream(head, result, chunked)

    def _stream(self, head: bytes, result: Iterable[bytes | memoryview], chunked: bool) -> None:
        connection = self._connection
        send_to = getattr(result, "send_to", None)
        if send_to is not None and not chunked:
            connection.send(head)
            self.body_sent = send_to(connection)
        else:
            for chunk in result:
                size = len(chunk)
                if size == 0:
                    continue
                self.body_sent += size
                if self._length is not None and self.body_sent > self._length:
                    raise ValueError("the body is longer than its Content-Length")
                if chunked:
                    connection.send_parts((head, chunk_head(size), chunk, b"\r\n"))
                elif head:
                    connection.send_parts((head, chunk))
                else:
                    connection.send(chunk)
                head = b""
            end = last_chunk({}) if chunked else b""
            if head or end:
                connection.send(head + end)
        if self._length is not None and self.body_sent < self._length:
            # Too late for an error status: a connection cut short is how the client learns of it.
            self.keep_alive = False
            raise ClientDisconnected(reason="the body was shorter than announced")
        self.complete = True
