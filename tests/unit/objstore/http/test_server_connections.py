"""Which connections a server keeps, closes and refuses."""

import socket
from collections.abc import Iterable
from typing import Any

import pytest

from objstore.http.messages import Environ
from objstore.http.server import HttpServer, ServerOptions, TooManyConnections
from objstore.system import concurrency
from objstore.system.addresses import client_network
from objstore.system.workers import listen
from tests.unit.objstore.http.wire import Echo, Served, Wire, plain, serving, settle
from tests.waiting import elapse_in_hub

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD_BEGUN = b"GET / HTTP/1.1\r\nHo"


class Gate:
    """Answers "/slow" once `go` is set."""

    def __init__(self) -> None:
        self.go: concurrency.Event[None] = concurrency.Event()

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/slow":
            self.go.wait()
        return plain(environ, start_response)


def connect(served: Served, address: str) -> Wire:
    """A connection that a client of this address opens."""
    here, there = socket.socketpair()
    served.server._admit(there, (address, 1234))
    served.wires.append(Wire(here))
    elapse_in_hub(0.001, "the connection is served")
    return served.wires[-1]


def test_the_connection_that_waits_longest_is_closed_for_a_new_one() -> None:
    gate = Gate()
    with serving(gate, max_connections=4) as served:
        busy, used, fresh, begun = (connect(served, f"192.0.2.{number}") for number in range(4))
        busy.send(SLOW)
        begun.send(HEAD_BEGUN)
        elapse_in_hub(0.002, "the server reads what has come")
        used.send(GET)
        used.answer()  # waits again from now on
        for number, closed in enumerate((fresh, begun, used)):
            newest = connect(served, f"198.51.100.{number}")
            newest.send(SLOW)
            assert closed.rest() == b""
        gate.go.set()
        assert busy.answer()[2] == newest.answer()[2] == b"/slow"


def test_one_address_cannot_take_all() -> None:
    gate = Gate()
    with serving(gate, max_connections=10, max_connections_per_address=2) as served:
        idle, busy, other = (connect(served, address) for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2"))
        busy.send(SLOW)
        second = connect(served, "192.0.2.1")
        assert idle.rest() == b""
        second.send(SLOW)
        elapse_in_hub(0.002, "the server reads it")
        for _ in range(3):
            refused = connect(served, "192.0.2.1")
            assert refused.answer()[0] == 503
            assert refused.rest() == b""
        ((_, error),) = served.reports  # not one line for each
        served.reports.clear()
        assert isinstance(error, TooManyConnections)
        assert error.args == ("192.0.2.1",)
        other.send(GET)
        assert other.answer()[0] == 200
        gate.go.set()
        assert busy.answer()[0] == second.answer()[0] == 200
        busy.close()
        settle(lambda: served.server.connections == 2)
        connect(served, "192.0.2.1").send(GET)
        assert served.wires[-1].answer()[0] == 200


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::1", True),
    ],
)
def test_what_counts_as_one_client(first: str, second: str, same: bool) -> None:
    assert (client_network((first, 1)) == client_network((second, 2))) is same
    assert client_network("") == client_network(("a name", 1)) == b""


def test_the_first_byte_of_a_new_connection_is_not_waited_for_as_long_as_the_next_request() -> None:
    with serving(plain, first_byte_timeout_seconds=0.01, keepalive_timeout_seconds=5.0) as served:
        used, silent = served.connect(), served.connect()
        used.send(GET)
        used.answer()
        assert silent.rest() == b""
        used.send(GET)
        assert used.answer()[0] == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_drips_ends_with_408(chunked: bool) -> None:
    framing = b"Transfer-Encoding: chunked\r\n\r\n7d0\r\n" if chunked else b"Content-Length: 2000\r\n\r\n"
    with serving(Echo(), client_timeout_seconds=0.3, body_bytes_per_second_min=1000) as served:
        slow, fast = served.connect(), served.connect()
        for wire in (slow, fast):
            wire.send(b"PUT / HTTP/1.1\r\nHost: x\r\n" + framing)
        for _ in range(20):
            slow.send(b"x")
            fast.send(b"x" * 100)
            elapse_in_hub(0.03, "a client that sends a little now and then")
        assert not slow.silent()  # answered while it still sent
        if chunked:
            fast.send(b"\r\n0\r\n\r\n")
        assert fast.answer()[2] == b"x" * 2000
        assert slow.head()[0] == 408


def test_a_successor_costs_no_request() -> None:
    gate = Gate()
    served = Served(gate, keepalive_timeout_seconds=0.2)
    idle, busy, silent = (served.connect() for _ in range(3))
    for wire in (idle, silent):
        wire.send(GET)
        wire.answer()
    busy.send(SLOW)
    elapse_in_hub(0.002, "the server reads what has come")
    served.server.drain(10.0, successor=True)
    idle.send(GET)
    assert idle.answer()[1]["connection"] == "close"
    assert idle.rest() == b""
    gate.go.set()
    assert busy.answer()[1]["connection"] == "close"
    assert silent.silent()
    assert silent.rest() == b""
    served.server.serve()
    served.close()


def test_a_stop_serves_who_waits_and_refuses_who_comes_later() -> None:
    listener = listen("127.0.0.1", 0)
    server = HttpServer(plain, [listener], ServerOptions(), lambda *_: None)
    waiting = Wire(socket.create_connection(listener.getsockname()))
    waiting.send(GET)
    server.drain(10.0, successor=True)
    assert waiting.silent()
    server.drain(10.0)
    assert waiting.answer()[1]["connection"] == "close"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(listener.getsockname())
    server.serve()
    waiting.close()
    listener.close()
