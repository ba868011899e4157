"""Serves a cloud service over HTTP with threads, until it is told to stop."""

from __future__ import annotations

import signal
import ssl
import threading
from collections.abc import Callable
from typing import Any, Final

from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Gateway_10, Server

from objstore.config.sections import CloudServerConfig
from objstore.config.units import Address
from objstore.logs import Logger
from objstore.system.processes import give_memory_back

HEADER_MAX: Final = 64 * 1024  # bytes of a request's head
CHUNK_LINE_MAX: Final = 1024  # bytes of the line before a chunk, and of a trailer's
TRAILERS_MAX: Final = 64
BACKLOG: Final = 1024
IDLE_CONNECTIONS_MAX: Final = 1000
WAITING_MAX: Final = 1000  # connections that have a request and no thread yet
DISCARDED_MAX: Final = 64 * 1024  # bytes of a body that nobody wants; for more the connection is closed
SERVER_NAME: Final = "objstore"


def stop_on_signals(stop: threading.Event) -> None:
    """SIGTERM and SIGINT set the event. Called by the main thread."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())


def serve(
    application: Callable[..., Any],
    config: CloudServerConfig,
    log: Logger,
    stop: threading.Event,
    listening: Callable[[Address], object] = lambda _: None,
) -> None:
    """Answer requests until `stop` is set; those under way may end within the drain timeout.

    `listening` learns the address, whose port the system may have chosen. Raises OSError when it cannot be had.
    """
    give_memory_back()  # each login takes 16 MiB for a moment, on whatever thread
    server = _Server(application, config, log)
    server.prepare()
    address = Address(config.bind.host, server.socket.getsockname()[1])
    failed: list[BaseException] = []
    thread = threading.Thread(target=_run, args=(server, failed, stop), name="accept", daemon=True)
    thread.start()
    log.info("started", address=address, threads=config.threads)
    listening(address)
    stop.wait()
    server.stop()
    thread.join(config.drain_timeout)
    log.info("stopped")
    if failed:
        raise failed[0]


def _run(server: Any, failed: list[BaseException], stop: threading.Event) -> None:
    try:
        server.serve()
    except BaseException as error:
        failed.append(error)
        stop.set()


class _Server(Server):  # type: ignore[misc]
    max_request_header_size = HEADER_MAX
    keep_alive_conn_limit = IDLE_CONNECTIONS_MAX

    def __init__(self, application: Callable[..., Any], config: CloudServerConfig, log: Logger) -> None:
        super().__init__(
            (config.bind.host, config.bind.port),
            application,
            numthreads=config.threads,
            max=config.threads,
            server_name=SERVER_NAME,
            request_queue_size=BACKLOG,
            timeout=config.client_timeout,
            shutdown_timeout=config.drain_timeout,
            accepted_queue_size=WAITING_MAX,
        )
        self.gateway = _Gateway
        self._log = log
        if config.tls_cert:
            self.ssl_adapter = BuiltinSSLAdapter(config.tls_cert, config.tls_key)
            self.ssl_adapter.context.minimum_version = ssl.TLSVersion.TLSv1_2

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """The server's own words, in the form of the store's logs."""
        if traceback and level >= 40:
            self._log.exception("a connection failed", reason=msg)
        else:
            self._log.warning("a connection failed", reason=msg)


class _Gateway(Gateway_10):  # type: ignore[misc]
    def get_environ(self) -> dict[str, Any]:
        """With a body in chunks that is read piece by piece, however large its chunks are."""
        request = self.req
        if request.chunked_read:
            request.rfile = ChunkedInput(request.conn.rfile)
        environ: dict[str, Any] = super().get_environ()
        return environ

    def start_response(self, *arguments: Any, **options: Any) -> Any:
        """Close the connection after this answer if the client still sends: what comes is no request."""
        body = self.req.rfile
        unread = not body.ended if self.req.chunked_read else body.remaining > DISCARDED_MAX
        if unread:
            self.req.close_connection = True
        return super().start_response(*arguments, **options)


class ChunkedInput:
    """The content of a body that comes in chunks (RFC 9112, section 7.1), as a file that is read.

    `read` raises ConnectionError when the body is cut short or malformed.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._left = 0  # bytes of the chunk that is being read
        self._started = False
        self.ended = False

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, fewer where a chunk ends; all of it for -1. b"" at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(DISCARDED_MAX), b""))
        if not self._left and not self.ended:
            self._next_chunk()
        if self.ended or not size:
            return b""
        piece: bytes = self._connection.read(min(size, self._left))
        if not piece:
            raise ConnectionError("the body ends inside a chunk")
        self._left -= len(piece)
        return piece

    def _next_chunk(self) -> None:
        if self._started and self._line():
            raise ConnectionError("a chunk is longer than it says")
        self._started = True
        digits = self._line().partition(b";")[0].strip()
        try:
            if not digits.isalnum():
                raise ValueError
            self._left = int(digits, 16)
        except ValueError:
            raise ConnectionError("a chunk does not say how long it is") from None
        if not self._left:
            for _ in range(TRAILERS_MAX):
                if not self._line():
                    self.ended = True
                    return
            raise ConnectionError("too many trailers")

    def _line(self) -> bytes:
        line: bytes = self._connection.readline(CHUNK_LINE_MAX)
        if not line.endswith(b"\r\n"):
            raise ConnectionError("a line of the body is cut short, or too long")
        return line[:-2]
