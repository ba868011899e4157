"""An HTTP/1.1 server on greenlets: one per connection, requests of a connection one after the other.

It serves WSGI applications (PEP 3333). Beyond the standard, the environ holds `objstore.raw_path` (the path as it was
sent), and callables that an application appends to the list `objstore.sent` are told, after the answer, how many bytes
of its body went out and whether that was all. `wsgi.input` is a BodyReader. Chunks of a response may be memoryviews
that are valid until the next one is asked for, and a body with a `send_to(connection)` method sends itself and says how
many bytes that were.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from objstore.http.bodies import EMPTY_BODY, ClientDisconnected, ClientTimeout
from objstore.http.chunked import BadFraming
from objstore.http.errors import HttpError
from objstore.http.heads import HEAD_BYTES_MAX, HeadLimits, parse_request
from objstore.http.messages import Environ, WsgiApplication, error_response
from objstore.http.received import ChunkedBody, LengthBody
from objstore.http.response_writer import ResponseWriter
from objstore.http.sockets import Connection, TlsConnection
from objstore.system import concurrency
from objstore.system.concurrency import WaitTimeout

LINGER_SECONDS: Final = 5.0
LINGER_BYTES_MAX: Final = 16 * 1024 * 1024
ACCEPT_RETRY_SECONDS: Final = 0.002
TURN_REQUESTS: Final = 16  # answered in a row before others get their turn, if the client keeps sending
FRESH_SECONDS: Final = 1.0  # the first request of a connection opened just before a drain is waited for so long


_BARE_NEWLINE: Final = re.compile(rb"(?<!\r)\n")


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
        """This worker has `count` connections now."""

    def may_accept(self, count: int) -> bool:
        """Whether a worker with `count` connections should take the next one."""


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
        # A socket may be closed only when no greenlet waits on it: its number could be that of another one by then.
        while self._tasks or not all(acceptor.dead for acceptor in acceptors):
            concurrency.sleep(0.02)

    def drain(self, seconds: float = 30.0) -> None:
        """Accept no more; idle connections close now, busy ones after their answer, the rest after `seconds`."""
        if self.draining:
            return
        self.draining = True
        # A request may be on its way already: it came to this process, so this process answers it.
        self._close_idle(lambda session: session.turns == 0 or session.connection.peer_has_closed())
        concurrency.call_later(FRESH_SECONDS, self._close_idle, lambda _: False)
        concurrency.call_later(seconds, self._abandon)
        self._drained.set()

    def _close_idle(self, spared: Callable[[Session], bool]) -> None:
        for session, task in list(self._tasks.items()):
            if session.idle and not spared(session):
                task.kill()

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
        waited = False
        while not self.draining:  # looked at after every sleep: `serve` may have seen the last connection end
            if len(self._tasks) >= self.options.max_connections:
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
                if error.errno != errno.ECONNABORTED:
                    self.report("cannot accept connections", error)
                    concurrency.sleep(0.1)
                continue
            self.adopt(sock, peer)

    def adopt(self, sock: socket.socket, peer: tuple[Any, ...]) -> None:
        """Serve a connection that somebody accepted."""
        try:
            session = Session(self, sock, peer)
        except OSError:
            sock.close()  # the client has left already
            return
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
            del self._tasks[session]
            self._count_changed()


class Session:
    """One connection and its requests."""

    __slots__ = ("_base", "connection", "idle", "server", "turns")

    def __init__(self, server: HttpServer, sock: socket.socket, peer: tuple[Any, ...]) -> None:
        self.server = server
        self.idle = False
        self.turns = 0  # requests answered
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        local = sock.getsockname() if sock.family != socket.AF_UNIX else ("unix", 0)
        tls = server.options.tls
        if tls is None:
            self.connection = Connection(sock, peer)
        else:
            wrapped = tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self.connection = TlsConnection(wrapped, peer)
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
            del head  # nobody needs it while the connection is idle
            self.turns += 1
            if self.turns % TURN_REQUESTS == 0:
                concurrency.sleep()

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
        if received[:2] == b"\r\n":
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
        searched = 0  # a head may come byte by byte: none of it is looked at twice
        lines = 0
        while (end := whole.find(b"\r\n\r\n", max(0, searched - 3))) < 0:
            left = deadline - concurrency.monotonic()
            lines += whole.count(b"\n", searched)
            refusal = self._refusal_of_partial(whole, searched, lines, left)
            searched = len(whole)
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
            if whole.startswith(b"\r\n"):
                del whole[:2]  # the stray empty line again
                searched = 0
        return bytes(whole), end

    def _refusal_of_partial(self, whole: bytearray, searched: int, lines: int, seconds_left: float) -> HttpError | None:
        """Why a head that is not complete yet need not be waited for; what is new in it begins at `searched`."""
        limits = self.server.options.head
        if seconds_left <= 0:
            return HttpError(408)
        line_end = whole.find(b"\n", 0, limits.line_bytes + 2)
        if line_end < 0:
            return HttpError(414, "Request line too long") if len(whole) > limits.line_bytes else None
        if _BARE_NEWLINE.search(whole, searched):
            return HttpError(400, "Malformed request: a line of the head does not end in CRLF")
        last = whole.rfind(b"\n")
        if len(whole) - last > limits.header_bytes + 2:
            return HttpError(431, "Header line too long")
        if len(whole) > HEAD_BYTES_MAX or lines > limits.headers + 1:
            return HttpError(400, "Too many headers")
        return None

    def _refuse(self, error: HttpError) -> None:
        """Answer what could not even be parsed, and end the connection."""
        writer = ResponseWriter(self.connection, {"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.1"}, False)
        writer.send_body(error_response(error)({}, writer.start))
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
        writer = ResponseWriter(self.connection, environ, keep_alive and not self.server.draining)
        result: Iterable[bytes] = ()
        try:
            result = self._apply(environ, writer)
            if not body.ended and not body.drainable:
                writer.keep_alive = False
            try:
                writer.send_body(result)
            except Exception as error:
                if writer.started:
                    raise
                self._excuse(error, environ, writer)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()
            # Taken out, since they refer to the environ: a cycle would keep the response until the next collection.
            for told in environ.pop("objstore.sent", ()):
                told(writer.body_sent, writer.complete)
        if body.ended:
            return writer.keep_alive
        try:
            if writer.keep_alive and body.drain():
                return True
        except BadFraming:
            pass
        self._linger()
        return False

    def _apply(self, environ: Environ, writer: ResponseWriter) -> Iterable[bytes]:
        """Call the application; its bugs become a 500."""
        try:
            return self.server.application(environ, writer.start)
        except Exception as error:
            self.server.report("the application failed", error)
            writer.keep_alive = False
            return error_response(HttpError(500))(environ, writer.start)

    def _excuse(self, error: Exception, environ: Environ, writer: ResponseWriter) -> None:
        """The application's answer turned out wrong before any of it was sent."""
        self.server.report("the application's answer is wrong", error)
        writer.keep_alive = False
        writer.body_sent = 0
        writer.send_body(error_response(HttpError(500))(environ, writer.start))

    def _body_of(self, environ: Environ) -> Any:
        timeout = self.server.options.client_timeout_seconds
        expects = "HTTP_EXPECT" in environ and environ["HTTP_EXPECT"].lower() == "100-continue"
        if environ["SERVER_PROTOCOL"] == "HTTP/1.0":
            expects = False  # such a client does not know interim answers
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
