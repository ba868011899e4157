"""The server: keeping alive, pipelining, bodies, refusals, drains."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from objstore.http.bodies import ClientDisconnected, ClientTimeout
from objstore.http.chunked import BadFraming
from objstore.http.messages import Environ
from objstore.system import concurrency
from tests.unit.objstore.http.wire import Echo, Served, descriptors, plain, serving, settle
from tests.waiting import elapse_in_hub

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_connection_serves_many_requests() -> None:
    with serving(plain) as served:
        wire = served.connect()
        for _ in range(40):
            wire.send(GET)
            status, headers, body = wire.answer()
            assert (status, body, headers["content-length"]) == (200, b"/a", "2")
            assert "date" in headers
            assert "connection" not in headers


def test_pipelined_requests_are_answered_in_order() -> None:
    with serving(Echo()) as served:
        wire = served.connect()
        wire.send(
            b"".join(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n%02d" % number for number in range(50))
        )
        assert [wire.answer()[2] for _ in range(50)] == [b"%02d" % number for number in range(50)]


def test_what_follows_a_body_is_the_next_request() -> None:
    with serving(Echo()) as served:
        wire = served.connect()
        wire.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.answer()[2] == b"abc"
        assert wire.answer()[1]["x-method"] == "GET"


def test_a_pipelining_client_does_not_starve_others() -> None:
    turns = []

    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        turns.append(environ["PATH_INFO"])
        return plain(environ, start_response)

    with serving(application) as served:
        greedy, modest = served.connect(), served.connect()
        greedy.send(b"GET /greedy HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        modest.send(b"GET /modest HTTP/1.1\r\nHost: x\r\n\r\n")
        assert modest.answer()[2] == b"/modest"
        assert turns.index("/modest") < 100
        for _ in range(1000):
            greedy.answer()


@pytest.mark.parametrize(
    ("request_head", "stays"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: x, Close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Keep-Alive\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", False),
    ],
)
def test_the_client_says_whether_the_connection_stays(request_head: bytes, stays: bool) -> None:
    with serving(plain) as served:
        wire = served.connect()
        wire.send(request_head)
        _, headers, _ = wire.answer()
        if stays:
            assert headers.get("connection") == ("keep-alive" if b"Connection" in request_head else None)
            wire.send(GET)
            assert wire.answer()[0] == 200
        else:
            assert headers["connection"] == "close"
            assert wire.rest() == b""


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("as_tuple", [True, False])
def test_statuses_without_a_body(status: str, as_tuple: bool) -> None:
    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response(status, [])
        return (b"unwanted",) if as_tuple else [b"unwanted"]

    with serving(application) as served:
        wire = served.connect()
        wire.send(GET + GET)
        for _ in range(2):
            number, headers = wire.head()
            assert number == int(status[:3])
            assert "transfer-encoding" not in headers
            assert "content-length" not in headers
        assert wire.silent()


def test_head_is_answered_without_a_body() -> None:
    with serving(Echo()) as served:
        wire = served.connect()
        wire.send(b"HEAD /refuse HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
        status, headers = wire.head()
        assert (status, headers["content-length"]) == (409, "22")
        assert wire.answer()[0] == 200


def test_bodies_of_unknown_length_go_in_chunks_or_end_the_connection() -> None:
    def application(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"one"
        yield b""
        yield b"two" * 30000

    with serving(application) as served:
        wire = served.connect()
        wire.send(GET)
        assert wire.answer()[2] == b"one" + b"two" * 30000
        wire.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        _, headers = wire.head()
        assert headers["connection"] == "close"
        assert wire.rest() == b"one" + b"two" * 30000


@pytest.mark.parametrize(
    "content",
    [
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5\r\nhello\r\n3;x=y\r\n wo\r\n0\r\nX-T: v\r\n\r\n"
        ),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nhello wo"),
    ],
)
def test_bodies_may_come_byte_by_byte(content: bytes) -> None:
    echo = Echo()
    with serving(echo) as served:
        wire = served.connect()
        for byte in content:
            wire.send(bytes((byte,)))
            concurrency.sleep()
        assert wire.answer()[2] == b"hello wo"
        assert echo.requests[0].trailers == ({"X-T": "v"} if b"chunked" in content else {})
        wire.send(GET)
        assert wire.answer()[0] == 200


def test_continue_is_said_when_the_body_is_read() -> None:
    with serving(Echo()) as served:
        wire = served.connect()
        wire.send(b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n")
        assert wire.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(b"abc")
        assert wire.answer()[2] == b"abc"


def test_continue_is_said_even_if_nothing_has_to_come() -> None:
    with serving(Echo()) as served:
        wire = served.connect()
        wire.send(b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n")
        assert wire.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert wire.answer()[2] == b""


@pytest.mark.parametrize("framing", [b"Content-Length: 3", b"Transfer-Encoding: chunked"])
def test_continue_is_not_said_when_the_body_is_refused(framing: bytes) -> None:
    with serving(Echo()) as served:
        wire = served.connect()
        wire.send(b"PUT /refuse HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n" + framing + b"\r\n\r\n")
        status, headers, _ = wire.answer()
        assert (status, headers["connection"], headers["x-why"]) == (409, "close", "because")
        assert wire.rest() == b""


def test_clients_of_old_are_not_told_to_continue() -> None:
    with serving(Echo()) as served:
        wire = served.connect()
        wire.send(b"PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc")
        assert wire.answer()[2] == b"abc"


def test_a_short_rest_of_a_refused_body_is_skipped() -> None:
    with serving(Echo()) as served:
        wire = served.connect()
        wire.send(b"PUT /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        assert wire.answer()[0] == 409
        wire.send(b"12345" + GET)
        assert wire.answer()[0] == 200
        wire.send(b"PUT /refuse HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n" + GET)
        assert [wire.answer()[0], wire.answer()[0]] == [409, 200]


def test_a_long_rest_of_a_refused_body_ends_the_connection_but_not_the_answer() -> None:
    with serving(Echo()) as served:
        wire = served.connect()
        wire.send(b"PUT /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
        for _ in range(30):
            wire.send(b"x" * 100000)
        status, headers, _ = wire.answer()
        assert (status, headers["connection"]) == (409, "close")
        assert wire.rest() == b""


def test_malformed_chunks_end_the_connection() -> None:
    echo = Echo()
    with serving(echo) as served:
        wire = served.connect()
        wire.send(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n0\r\n\r\n" + GET)
        status, headers, _ = wire.answer()
        assert (status, headers["connection"]) == (400, "close")
        assert isinstance(echo.refused[0], BadFraming)
        wire.close()
        settle(lambda: served.server.connections == 0)
        wire = served.connect()
        wire.send(b"PUT /refuse HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n0\r\n\r\n" + GET)
        assert wire.answer()[0] == 409
        wire.connection.shutdown_sending()
        assert wire.rest() == b""


@pytest.mark.parametrize("head", [b"Content-Length: 9\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n9\r\nabc"])
def test_silent_and_leaving_clients(head: bytes) -> None:
    echo = Echo()
    with serving(echo, client_timeout_seconds=0.01) as served:
        wire = served.connect()
        wire.send(b"PUT / HTTP/1.1\r\nHost: x\r\n" + head)
        status, headers, _ = wire.answer()
        assert (status, headers["connection"]) == (408, "close")
        wire.send(b"123456" + GET)
        wire.connection.shutdown_sending()
        assert wire.rest() == b""
        wire = served.connect()
        wire.send(b"PUT / HTTP/1.1\r\nHost: x\r\n" + head)
        wire.close()
        settle(lambda: len(echo.refused) == 2)
        assert [type(error) for error in echo.refused] == [ClientTimeout, ClientDisconnected]


def test_an_idle_connection_is_closed_in_time() -> None:
    with serving(plain, keepalive_timeout_seconds=0.01) as served:
        wire = served.connect()
        wire.send(GET)
        wire.answer()
        assert wire.rest() == b""


def test_drain_lets_busy_requests_finish() -> None:
    go: concurrency.Event[None] = concurrency.Event()

    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/slow":
            go.wait()
        return plain(environ, start_response)

    served = Served(application)
    idle, busy, waiting, fresh = (served.connect() for _ in range(4))
    for wire in (idle, waiting):
        wire.send(GET)
        wire.answer()
    busy.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    elapse_in_hub(0.002, "the server reads what has come")
    waiting.send(GET)  # not read yet when the drain begins
    served.server.drain()
    assert idle.rest() == b""
    assert waiting.answer()[1]["connection"] == "close"
    fresh.send(GET)
    assert fresh.answer()[1]["connection"] == "close"
    assert busy.silent()
    go.set()
    assert busy.answer()[2] == b"/slow"
    assert busy.rest() == b""
    served.server.serve()
    served.close()


def test_a_drain_ends_in_time() -> None:
    served = Served(lambda environ, start_response: concurrency.Event[Any]().wait())
    wire = served.connect()
    wire.send(GET)
    served.server.drain(0.01)
    served.server.serve()
    assert wire.rest() == b""
    served.close()


def test_connections_leave_no_descriptors() -> None:
    with serving(plain) as served:
        served.connect().send(GET)
        before = descriptors()
        for _ in range(20):
            wire = served.connect()
            wire.send(GET)
            wire.answer()
            wire.close()
        settle(lambda: served.server.connections == 1)
        assert descriptors() == before


def remote(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Tells whom the server takes the client for."""
    start_response("200 OK", [])
    return (f"{environ['REMOTE_ADDR']} {environ['REMOTE_PORT']}".encode(),)


@pytest.mark.parametrize(
    ("line", "client"),
    [
        (b"PROXY TCP4 203.0.113.9 10.0.0.1 5555 80\r\n", b"203.0.113.9 5555"),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 5555 80\r\n", b"2001:db8::9 5555"),
        (b"PROXY UNKNOWN\r\n", b""),  # it asks for itself
        (b"PROXY UNKNOWN ffff:f...f 1 2\r\n", b""),
    ],
)
def test_a_load_balancer_says_who_the_client_is(line: bytes, client: bytes) -> None:
    with serving(remote, proxy_protocol=True) as served:
        wire = served.connect()
        wire.send(line + GET + GET)
        assert wire.answer()[2].startswith(client)
        assert wire.answer()[2].startswith(client)


@pytest.mark.parametrize(
    "beginning",
    [
        GET,
        b"PROXY \r\n",
        b"PROXY TCP4 a b c d\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2" + b" " * 100 + b"\r\n",
        b"\x16\x03",
    ],
)
def test_connections_that_begin_otherwise_are_closed(beginning: bytes) -> None:
    with serving(remote, proxy_protocol=True) as served:
        wire = served.connect()
        wire.send(beginning)
        assert wire.rest() == b""
