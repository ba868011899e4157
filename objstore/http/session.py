"""One connection of the HTTP server: each request is read, handed to the application and answered before the next."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from objstore.cluster_tls import FIRST_BYTE
from objstore.http.bodies import EMPTY_BODY, ClientDisconnected, ClientTimeout
from objstore.http.chunked import BadFraming
from objstore.http.errors import HttpError
from objstore.http.handshake import Reception
from objstore.http.heads import HEAD_BYTES_MAX, parse_request
from objstore.http.messages import Environ, Response, error_response
from objstore.http.received import ChunkedBody, LengthBody
from objstore.http.response_writer import ResponseWriter
from objstore.http.sockets import Connection, TlsConnection
from objstore.system import concurrency
from objstore.system.addresses import client_network

if TYPE_CHECKING:
    from objstore.http.server import HttpServer

LINGER_SECONDS: Final = 5.0
LINGER_BYTES_MAX: Final = 16 * 1024 * 1024
TURN_REQUESTS: Final = 16  # answered in a row before others get their turn, if the client keeps sending
FRESH_SECONDS: Final = 1.0  # while the server stops, a request that may be on its way is waited for so long

PROXY_LINE_MAX: Final = 107

_PROXY_LINE: Final = re.compile(
    rb"PROXY (?:UNKNOWN[^\r\n]*|TCP[46] (?P<address>[0-9a-fA-F.:]{2,39}) [0-9a-fA-F.:]{2,39} "
    rb"(?P<port>\d{1,5}) \d{1,5})\r\n"
)
_BARE_NEWLINE: Final = re.compile(rb"(?<!\r)\n")


class Session:
    """One connection and its requests."""

    __slots__ = ("_base", "_reception", "connection", "idle", "network", "server", "turns")

    def __init__(self, server: HttpServer, sock: socket.socket, peer: tuple[Any, ...]) -> None:
        self.server = server
        self.network = client_network(peer)
        self.idle = False  # nothing of the next request has come
        self.turns = 0  # requests answered
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        local = sock.getsockname() if sock.family != socket.AF_UNIX else ("unix", 0)
        self.connection = Connection(sock, peer)
        handshake = server.options.handshake
        self._reception = None if handshake is None else Reception(handshake)  # until the connection is trusted
        self._base: Environ = {
            "SCRIPT_NAME": "",
            "SERVER_NAME": local[0],
            "SERVER_PORT": str(local[1]),
            "REMOTE_ADDR": peer[0] if peer else "",
            "REMOTE_PORT": str(peer[1]) if peer else "",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http" if server.options.tls is None else "https",
            "wsgi.errors": None,
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
        }

    def run(self) -> None:
        """Answer requests until the connection ends."""
        self._begin()
        waiting = self.server.waiting
        while True:
            waiting[self] = None
            self.idle = True
            head = self._read_head()
            self.idle = False
            waiting.pop(self, None)
            if head is None or not self._answer(head):
                return
            del head  # nobody needs it while the connection is idle
            self.turns += 1
            if self.turns % TURN_REQUESTS == 0:
                concurrency.sleep()

    def _begin(self) -> None:
        """What comes before the first request. Raises ClientDisconnected, OSError, WaitTimeout."""
        options, plain = self.server.options, self.connection
        context = options.tls
        if options.proxy_protocol:
            self._base |= client_told_by_proxy(plain, options.head_timeout_seconds)
        ours = None if options.handshake is None else options.handshake.tls
        # A server of the cluster says by its first byte whether it speaks TLS.
        if ours is not None and plain.peek(options.first_byte_timeout_seconds) == FIRST_BYTE:
            context = ours.server
            if self._reception is not None:
                self._reception.is_encrypted = True
        if context is not None:
            wrapped = context.wrap_socket(plain.release(), server_side=True, do_handshake_on_connect=False)
            self.connection = encrypted = TlsConnection(wrapped, plain.peer)
            encrypted.handshake(options.head_timeout_seconds)

    def _read_head(self) -> bytes | None:
        """The next request's head, None when the client is done."""
        connection = self.connection
        try:
            received = connection.receive(65536, self._patience_seconds())
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

    def _patience_seconds(self) -> float:
        """How long the first byte of the next request is waited for."""
        server = self.server
        if server.stopping:
            return FRESH_SECONDS
        return server.options.keepalive_timeout_seconds if self.turns else server.options.first_byte_timeout_seconds

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
            return HttpError(400, "Header line too long")
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
        if self._reception is not None and (ended := self._receive(self._reception, environ)) is not None:
            return not ended
        writer = ResponseWriter(self.connection, environ, keep_alive and not self.server.draining)
        result: Iterable[bytes] = ()
        try:
            result = self._apply(environ, writer)
            if not body.ended and not body.drainable:
                writer.keep_alive = False
            if self.server.draining:  # since a moment ago, perhaps: the client is told before the connection ends
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

    def _receive(self, reception: Reception, environ: Environ) -> bool | None:
        """A request of a connection that is not trusted yet: whether that ends here; None if it is to be answered."""
        try:
            greeting = reception.receive(environ)
        except HttpError as error:
            self._refuse(error)
            return True
        if reception.trusted:
            self._reception = None
            return False
        if greeting is None:
            return None
        writer = ResponseWriter(self.connection, environ, keep_alive=True)
        writer.send_body(Response(200, greeting)(environ, writer.start))
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
        timeout, rate = self.server.options.client_timeout_seconds, self.server.options.body_bytes_per_second_min
        expects = "HTTP_EXPECT" in environ and environ["HTTP_EXPECT"].lower() == "100-continue"
        if environ["SERVER_PROTOCOL"] == "HTTP/1.0":
            expects = False  # such a client does not know interim answers
        if "HTTP_TRANSFER_ENCODING" in environ:
            return ChunkedBody(self.connection, timeout, expects, bytes_per_second_min=rate)
        length = environ.get("CONTENT_LENGTH")
        if length is None or int(length) == 0:
            if expects:
                # Nothing has to come, but aws reads all later answers on a connection wrongly if it gets no 100 here.
                self.connection.send_continue()
            return EMPTY_BODY
        return LengthBody(self.connection, int(length), timeout, expects, bytes_per_second_min=rate)

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


def client_told_by_proxy(connection: Connection, timeout_seconds: float) -> Environ:
    """What a load balancer says of the client: one line before anything else (PROXY protocol, version 1).

    https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt: it is sent in one piece. Raises ClientDisconnected for
    another beginning, WaitTimeout.
    """
    match = _PROXY_LINE.match(connection.peek(timeout_seconds, PROXY_LINE_MAX))
    if match is None:
        raise ClientDisconnected
    connection.sock.recv(match.end())
    if match["address"] is None:
        return {}  # it asks for itself
    return {"REMOTE_ADDR": match["address"].decode(), "REMOTE_PORT": match["port"].decode()}
