"""What the server does with heads that are slow, too large or malformed; and with applications that fail."""

import socket
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from objstore.http.bodies import ClientTimeout
from objstore.http.heads import HeadLimits
from objstore.http.messages import Environ, Response
from objstore.http.response_writer import ResponseWriter
from objstore.http.server import HttpServer, ServerOptions
from objstore.http.sockets import Connection
from objstore.system import concurrency
from objstore.system.workers import listen
from tests.unit.objstore.http.wire import Served, Wire, plain, serving, settle

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
LIMITS = HeadLimits(line_bytes=100, header_bytes=50, headers=5)


def test_a_head_may_come_byte_by_byte() -> None:
    with serving(plain) as served:
        wire = served.connect()
        for byte in b"\r\n" + GET:
            wire.send(bytes((byte,)))
            concurrency.sleep()
        assert wire.answer()[2] == b"/a"


def test_an_empty_line_before_a_request_is_ignored() -> None:
    with serving(plain) as served:
        wire = served.connect()
        wire.send(b"\r\n" + GET + b"\r\n" + GET)
        assert [wire.answer()[0], wire.answer()[0]] == [200, 200]


def test_a_slow_head_is_refused() -> None:
    with serving(plain, head_timeout_seconds=0.01) as served:
        wire = served.connect()
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        status, headers, _ = wire.answer()
        assert (status, headers["connection"]) == (408, "close")


def test_dripping_does_not_extend_the_deadline() -> None:
    with serving(plain, head_timeout_seconds=0.05) as served:
        wire = served.connect()
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        start = concurrency.monotonic()
        while wire.silent(0.005):
            wire.send(b"x")
            assert concurrency.monotonic() < start + 2
        assert wire.answer()[0] == 408


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ((b"GET /", b"a" * 200), 414),
        ((b"GET /" + b"a" * 200 + b" HTTP/1.1\r\nHost: x\r\n\r\n",), 414),
        ((b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"a" * 100), 400),
        ((b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100 + b"\r\n\r\n",), 400),
        ((b"GET / HTTP/1.1\r\nHost: x\r\n", *[b"X: y\r\n"] * 10000), 400),
        ((b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 6 + b"\r\n",), 400),
        ((b"GET / HTTP/1.1\n", b"\n"), 400),
        ((b"GET / HTTP/1.1\r\nHost: x\r\n", b"X: y\n", b"\n"), 400),
        ((b"\n",), 400),
        ((b"\x16\x03\x01\x02\x00\x01\x00\n",), 400),
        ((b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",), 505),
        ((b"GET /\r\n\r\n",), 505),
        ((b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",), 400),
        ((b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",), 501),
    ],
)
def test_refused_heads(pieces: tuple[bytes, ...], status: int) -> None:
    with serving(plain, head=LIMITS) as served:
        wire = served.connect()
        for piece in pieces:
            try:
                wire.send(piece)
            except Exception:
                break
            concurrency.sleep()
        number, headers, _ = wire.answer()
        assert (number, headers["connection"]) == (status, "close")
        wire.connection.shutdown_sending()
        assert wire.rest() == b""


def test_leaving_in_the_middle_of_a_head() -> None:
    with serving(plain) as served:
        wire = served.connect()
        wire.send(b"GET / HT")
        wire.connection.shutdown_sending()
        assert wire.rest() == b""


@pytest.mark.parametrize("smuggled", ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0b", "\u0142"])
def test_headers_with_control_characters_never_reach_the_wire(smuggled: str) -> None:
    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("X-Bad", smuggled)])
        return (b"content",)

    with serving(application) as served:
        wire = served.connect()
        wire.send(GET)
        status, headers, _ = wire.answer()
        assert (status, headers["connection"]) == (500, "close")
        assert "x-bad" not in headers
        assert wire.rest() == b""
        assert isinstance(served.reports.pop()[1], ValueError)


def failing_at_once(environ: Environ, start_response: Any) -> Iterable[bytes]:
    raise KeyError("bug")


def failing_after_the_head(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "5")])
    raise KeyError("bug")


def failing_at_the_first_chunk(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Length", "5")])
    yield environ["no such key"]


def announcing_too_much(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "5")])
    return [b""]


def giving_too_much(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "5")])
    return [b"123456"]


def never_starting(environ: Environ, start_response: Any) -> Iterable[bytes]:
    return [b"123456"]


@pytest.mark.parametrize(
    "application",
    [
        failing_at_once,
        failing_after_the_head,
        failing_at_the_first_chunk,
        announcing_too_much,
        giving_too_much,
        never_starting,
    ],
)
def test_an_application_that_fails_before_anything_was_sent(application: Any) -> None:
    with serving(application) as served:
        wire = served.connect()
        wire.send(GET)
        status, headers, body = wire.answer()
        assert (status, headers["connection"], body) == (500, "close", b"Internal Server Error\n")
        assert wire.rest() == b""
        assert len(served.reports) == 1
        served.reports.clear()


@pytest.mark.parametrize("rest", [[KeyError("bug")], [b"too long"], []])
def test_an_application_that_fails_in_mid_body_cuts_the_connection(rest: list[Any]) -> None:
    closed = []
    told = []

    class Chunks:
        def __init__(self) -> None:
            self.chunks: list[Any] = [b"123", *rest]

        def __iter__(self) -> Iterator[bytes]:
            for chunk in self.chunks:
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk

        def close(self) -> None:
            closed.append(True)

    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        environ["objstore.sent"] = [lambda size, complete: told.append((size, complete))]
        start_response("200 OK", [("Content-Length", "5")])
        return Chunks()

    with serving(application) as served:
        wire = served.connect()
        wire.send(GET)
        assert wire.head()[0] == 200
        assert wire.rest() == b"123"
        assert closed == [True]
        assert not told[0][1]
        assert len(served.reports) == len(rest)
        served.reports.clear()


def test_bodies_are_told_what_was_sent_and_closed() -> None:
    told = []

    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        environ["objstore.sent"] = [lambda size, complete: told.append((size, complete))]
        start_response("200 OK", [])
        return (b"12", b"3") if environ["PATH_INFO"] == "/tuple" else iter((b"12", memoryview(b"3456")))  # type: ignore[return-value]

    with serving(application) as served:
        wire = served.connect()
        for method, path in ((b"GET", b"/tuple"), (b"GET", b"/parts"), (b"HEAD", b"/tuple")):
            wire.send(method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            if method == b"GET":
                wire.answer()
            else:
                wire.head()
        wire.send(GET)
        wire.answer()
        assert told[:3] == [(3, True), (6, True), (0, True)]


def test_a_body_may_send_itself() -> None:
    class SelfSender:
        def __iter__(self) -> Iterator[bytes]:
            raise AssertionError("it sends itself")

        def send_to(self, connection: Connection) -> int:
            connection.send(b"12345")
            return 5

    with serving(lambda environ, start: (start("200 OK", [("Content-Length", "5")]), SelfSender())[1]) as served:
        wire = served.connect()
        wire.send(GET + GET)
        assert [wire.answer()[2], wire.answer()[2]] == [b"12345", b"12345"]


def test_large_tuples_leave_behind_their_head() -> None:
    with serving(Response(200, {}, b"x" * 5_000_000)) as served:
        wire = served.connect()
        wire.send(GET)
        assert wire.answer()[2] == b"x" * 5_000_000


def test_a_client_that_does_not_read_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Served(Response(200, {}, b"x" * 5_000_000))
    wire = here.connect()
    session = next(iter(here.server._tasks))
    monkeypatch.setattr(Connection.send_parts, "__defaults__", (0.01,))
    wire.send(GET)
    with pytest.raises(ClientTimeout):
        concurrency.spawn(session.connection.send_parts, (b"x" * 5_000_000,)).wait()
    here.close()


def test_start_response_may_be_called_again_until_something_was_sent() -> None:
    def application(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        start_response("404 Not Found", [], (KeyError, KeyError("first"), None))
        yield b"gone"
        start_response("500 Oops", [], (KeyError, KeyError("second"), None))

    with serving(application) as served:
        wire = served.connect()
        wire.send(GET)
        assert wire.head()[0] == 404
        assert wire.rest() == b"4\r\ngone\r\n"
        assert str(served.reports.pop()[1]) == "'second'"


def test_write_of_old_is_refused() -> None:
    writer = ResponseWriter(None, {"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.1"}, True)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError):
        writer.start("200 OK", [])(b"")


class Balanced:
    """Counts, and lets every second connection wait a moment."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def changed(self, count: int) -> None:
        self.counts.append(count)

    def may_accept(self, count: int) -> bool:
        return count % 2 == 0


def test_accepting_over_the_network_within_limits() -> None:
    """A new connection takes the place of one that waits for a request, and waits while all have one under way."""
    go: concurrency.Event[None] = concurrency.Event()

    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/slow":
            go.wait()
        return plain(environ, start_response)

    listener = listen("127.0.0.1", 0)
    balance = Balanced()
    reports: list[Any] = []
    server = HttpServer(
        application, [listener], ServerOptions(max_connections=2), lambda *report: reports.append(report), balance
    )
    task = concurrency.spawn(server.serve)
    wires = []
    for path in (b"/slow", b"/", b"/slow", b"/"):
        wires.append(Wire(socket.create_connection(listener.getsockname())))
        wires[-1].send(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
        if path == b"/":
            assert wires[-1].silent() is (len(wires) == 4)
    assert wires[1].rest().endswith(b"\r\n/")  # answered, and closed in favour of the third
    go.set()
    assert [wires[index].answer()[2] for index in (0, 2, 3)] == [b"/slow", b"/slow", b"/"]
    settle(lambda: server.connections == 2)
    server.drain()
    assert wires[3].rest() == b""
    task.wait(5)
    assert listener.fileno() not in concurrency.current_hub().channels
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(listener.getsockname())
    assert reports == []
    for wire in wires:
        wire.close()
    listener.close()
