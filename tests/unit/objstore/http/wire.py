"""A server at one end of a pair of sockets, and the raw bytes at the other."""

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from objstore.http.bodies import ClientTimeout
from objstore.http.errors import HttpError
from objstore.http.messages import Environ, Request, Response, WsgiApplication, WsgiServer
from objstore.http.server import HttpServer, ServerOptions
from objstore.http.sockets import Connection
from tests.waiting import wait_in_hub

PATIENCE_SECONDS = 5.0


class Wire:
    """The client's end of a connection, in bytes."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.connection = Connection(sock, ("test", 0))
        self.received = b""

    def send(self, content: bytes) -> None:
        """Send it."""
        self.connection.send(content, PATIENCE_SECONDS)

    def until(self, end: bytes) -> bytes:
        """What comes, up to and with `end`."""
        while end not in self.received:
            part = self.connection.receive(65536, PATIENCE_SECONDS)
            assert part, f"closed after {self.received!r}"
            self.received += part
        head, _, self.received = self.received.partition(end)
        return head + end

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes."""
        while len(self.received) < size:
            part = self.connection.receive(65536, PATIENCE_SECONDS)
            assert part, f"closed after {self.received!r}"
            self.received += part
        content, self.received = self.received[:size], self.received[size:]
        return content

    def rest(self) -> bytes:
        """All that comes until the server closes."""
        while part := self.connection.receive(65536, PATIENCE_SECONDS):
            self.received += part
        content, self.received = self.received, b""
        return content

    def silent(self, seconds: float = 0.02) -> bool:
        """Whether nothing comes for a moment."""
        try:
            self.received += self.connection.receive(65536, seconds)
        except ClientTimeout:
            return not self.received
        return False

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers by lower-case name, and body of the next answer."""
        status, headers = self.head()
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.until(b"\r\n"), 16):
                body += self.exactly(size)
                assert self.exactly(2) == b"\r\n"
            assert self.until(b"\r\n") == b"\r\n"
            return status, headers, body
        return status, headers, self.exactly(int(headers.get("content-length", 0)))

    def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer."""
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")[:-2]
        return int(lines[0].split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}

    def close(self) -> None:
        """Leave."""
        self.connection.close()


class Served:
    """A server and its connections."""

    def __init__(self, application: WsgiApplication, **options: Any) -> None:
        self.reports: list[tuple[str, BaseException]] = []
        self.server = HttpServer(application, [], ServerOptions(**options), lambda *report: self.reports.append(report))
        self.wires: list[Wire] = []

    def connect(self) -> Wire:
        """A new connection."""
        here, there = socket.socketpair()
        self.server.adopt(there, ("192.0.2.1", 1234))
        self.wires.append(Wire(here))
        return self.wires[-1]

    def close(self) -> None:
        """Close all, and see that the server is done with them."""
        for wire in self.wires:
            wire.close()
        settle(lambda: self.server.connections == 0)


def settle(condition: Callable[[], bool]) -> None:
    """Let the others run until it holds."""
    wait_in_hub(condition, "what the others bring about")


@contextmanager
def serving(application: WsgiApplication, **options: Any) -> Iterator[Served]:
    """A server for the length of a test; it has reported nothing unless the test takes the reports away."""
    served = Served(application, **options)
    try:
        yield served
    finally:
        served.close()
    assert served.reports == []


class Echo(WsgiServer):
    """Answers with what it got; other paths than "/" choose other ways to answer."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.refused: list[HttpError] = []

    def handle(self, request: Request) -> Response:
        """See above."""
        self.requests.append(request)
        if request.path == "/refuse":
            raise HttpError(409, "Conflict of some kind", {"X-Why": "because"})
        try:
            body = request.body.read()
        except HttpError as error:
            self.refused.append(error)
            raise
        return Response(200, {"Content-Type": "text/plain", "X-Method": request.method}, body)

    def report(self, request: Request, error: Exception) -> None:
        """Tests want to see it."""
        raise AssertionError(f"{request.method} {request.path}") from error


def plain(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Says which path was asked for, in a tuple."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (environ["PATH_INFO"].encode("latin-1"),)


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))
