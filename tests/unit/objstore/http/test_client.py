"""The client of storage servers against servers that misbehave."""

import socket
from typing import Any

import pytest

from objstore.devices import Device
from objstore.http import pool
from objstore.http.client import HttpTransport
from objstore.http.transport import NodeFailure, wait_any
from objstore.system import concurrency
from tests.unit.objstore.http.nodes import Script, node_at, over_the_network, request
from tests.unit.objstore.http.wire import Echo, Wire, descriptors, settle
from tests.waiting import elapse_in_hub

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def receive(sock: socket.socket, end: bytes = b"\r\n\r\n") -> bytes:
    """What the client sent, which is there already or on its way through the kernel."""
    received = b""
    while not received.endswith(end):
        part = sock.recv(65536)
        assert part
        received += part
    return received


def test_connections_are_used_again(script: Script, transport: HttpTransport) -> None:
    exchange = transport.start(request(script.node, "PUT"), b"1\r\n\r\n")
    with script.accept() as server:
        for _ in range(3):
            receive(server)
            server.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
            assert exchange.response().status == 201
            exchange = transport.start(request(script.node))
            assert b"Content-Length" not in receive(server)
            server.sendall(OK)
            assert exchange.response().read_all() == b"ok"
            exchange = transport.start(request(script.node, "PUT"), b"2\r\n\r\n")
        exchange.abandon()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"more than asked for",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
)
def test_connections_that_are_not_used_again(script: Script, transport: HttpTransport, answer: bytes) -> None:
    for _ in range(2):
        exchange = transport.start(request(script.node))
        with script.accept() as server:
            receive(server)
            server.sendall(answer)
            assert exchange.response().read_all() == b"ok"
            assert server.recv(1) == b""


def used(script: Script, transport: HttpTransport) -> socket.socket:
    """The server's side of a connection that has carried a request."""
    exchange = transport.start(request(script.node))
    server = script.accept()
    receive(server)
    server.sendall(OK)
    assert exchange.response().read_all() == b"ok"
    return server


def test_a_kept_connection_that_was_closed_meanwhile_is_noticed(script: Script, transport: HttpTransport) -> None:
    used(script, transport).close()
    used(script, transport).close()


@pytest.mark.parametrize("watch", [False, True])
def test_a_request_is_sent_once_more_if_the_kept_connection_closes(
    script: Script, transport: HttpTransport, watch: bool
) -> None:
    old = used(script, transport)
    exchange = transport.start(request(script.node, "PUT"), b"x\r\n\r\n")
    receive(old)
    old.close()
    if watch:
        assert wait_any([exchange], 0.01) == []
    else:
        task = concurrency.spawn(exchange.response)
        elapse_in_hub(0.01, "the task waits for the answer")
    with script.accept() as server:
        assert receive(server).startswith(b"PUT")
        server.sendall(OK)
        assert (exchange.response() if watch else task.wait()).read_all() == b"ok"


def test_not_more_than_once(script: Script, transport: HttpTransport) -> None:
    used(script, transport).close()
    exchange = transport.start(request(script.node))
    script.accept().close()
    with pytest.raises(NodeFailure, match="disconnect"):
        exchange.response()


def test_nor_after_a_part_of_an_answer(script: Script, transport: HttpTransport) -> None:
    old = used(script, transport)
    exchange = transport.start(request(script.node))
    receive(old)
    old.sendall(b"HTTP/1.1 200")
    old.close()
    with pytest.raises(NodeFailure, match="disconnect"):
        exchange.response()
    assert exchange.ready


def test_nor_when_its_server_is_gone(script: Script, transport: HttpTransport) -> None:
    old = used(script, transport)
    exchange = transport.start(request(script.node))
    script.listener.close()
    receive(old)
    old.close()
    before = descriptors()
    with pytest.raises(NodeFailure, match="connect"):
        exchange.response()
    assert descriptors() == before - 1


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1100000,
    ],
)
def test_answers_that_make_no_sense(script: Script, transport: HttpTransport, answer: bytes) -> None:
    exchange = transport.start(request(script.node))
    server = Wire(script.accept())
    sending = concurrency.spawn(server.send, answer)
    with pytest.raises(NodeFailure):
        exchange.response()
    assert exchange.ready
    exchange.abandon()
    settle(lambda: sending.dead)
    server.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"Content-Length: 9\r\n\r\nabc", "disconnect"),
        (b"Transfer-Encoding: chunked\r\n\r\n9\r\nabc", "disconnect"),
        (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "Malformed"),
    ],
)
def test_a_body_that_breaks_off(script: Script, transport: HttpTransport, answer: bytes, reason: str) -> None:
    exchange = transport.start(request(script.node))
    with script.accept() as server:
        server.sendall(b"HTTP/1.1 200 OK\r\n" + answer)
    body = exchange.response().body
    with pytest.raises(NodeFailure, match=reason):
        while body.read(4):
            pass
    body.close()
    with pytest.raises(NodeFailure):
        body.read(4)


def test_a_body_that_stalls(script: Script, transport: HttpTransport) -> None:
    exchange = transport.start(request(script.node), b"", 0.01)
    with script.accept() as server:
        server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        with pytest.raises(NodeFailure, match="timeout"):
            exchange.response().read_all()


def test_trailers_of_answers(script: Script, transport: HttpTransport) -> None:
    exchange = transport.start(request(script.node))
    with script.accept() as server:
        server.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nEtag: x\r\n\r\n")
        body = exchange.response().body
        assert body.read() == b"ok"
        assert body.trailers == {"Etag": "x"}


def refused() -> Device:
    """A node on whose port nobody listens."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    sock.close()
    return Device(0, 1, 1, "127.0.0.1", port, "", 0, "sda", 1.0)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "not an address"])
def test_nodes_that_cannot_be_reached(transport: HttpTransport, address: str) -> None:
    node = Device(0, 1, 1, address, refused().port, "", 0, "sda", 1.0)
    before = descriptors()
    with pytest.raises(NodeFailure, match="connect"):
        transport.start(request(node))
    with pytest.raises(NodeFailure, match="connect"):
        transport.start_upload(request(node, "PUT"), 1)
    assert descriptors() == before


def test_a_node_that_does_not_take_the_connection(transport: HttpTransport) -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    node = node_at(listener)
    fillers = [socket.create_connection(listener.getsockname())]
    with pytest.raises(NodeFailure, match="connect: timeout"):
        for _ in range(5):
            fillers.append(transport._pool.connect(node).sock)
    for filler in fillers[1:]:
        concurrency.unregister(filler.fileno())
    for filler in (*fillers, listener):
        filler.close()


def test_headers_that_smuggle_are_not_sent(transport: HttpTransport) -> None:
    for value in ("a\r\nX-B: c", "a\nb", "a\rb", "a\0b", "\u0142"):
        with pytest.raises(ValueError):
            transport.start(request(refused(), "PUT", {"X-A": value}))
        with pytest.raises(ValueError):
            transport.start_upload(request(refused(), "PUT", {"X-A": value}), None)


@pytest.mark.parametrize("whole", [False, True])
def test_the_answer_to_a_body_not_wanted_is_read_though_sending_fails(
    script: Script, transport: HttpTransport, whole: bool
) -> None:
    def answer(server: socket.socket) -> None:
        wire = Wire(server)
        wire.until(b"\r\n\r\n")
        wire.send(b"HTTP/1.1 507 Full\r\nContent-Length: 4\r\n\r\nfull")
        elapse_in_hub(0.005, "the client sees the answer before the end")
        wire.close()

    if whole:
        task = concurrency.spawn(transport.start, request(script.node, "PUT"), b"x" * 50_000_000)
        elapse_in_hub(0.005, "the client is in the middle of its body")
        concurrency.spawn(answer, script.accept())
        exchange = task.wait()
    else:
        upload = exchange = transport.start_upload(request(script.node, "PUT"), None)
        concurrency.spawn(answer, script.accept())
        for _ in range(100):
            upload.write(b"x" * 1_000_000)
        upload.finish({})
    assert (exchange.response().status, exchange.response().read_all()) == (507, b"full")
    assert transport._pool._idle == {}


def test_interim_answers_are_passed_over(script: Script, transport: HttpTransport) -> None:
    upload = transport.start_upload(request(script.node, "PUT"), None)
    with script.accept() as server:
        server.sendall(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK)
        upload.finish({})
        assert upload.response().read_all() == b"ok"
    exchange = transport.start(request(script.node))
    with script.accept() as server:
        server.sendall(b"HTTP/1.1 103 Early\r\n\r\n" + OK)
        assert exchange.response().read_all() == b"ok"


def test_a_body_on_its_way_is_not_sent_again_on_a_new_connection(script: Script, transport: HttpTransport) -> None:
    old = used(script, transport)
    upload = transport.start_upload(request(script.node, "PUT"), None)
    upload.write(b"first")
    receive(old, b"first\r\n")
    old.close()
    with pytest.raises(NodeFailure, match="disconnect"):
        upload.response()


def test_idle_connections_are_few_and_fresh(
    script: Script, transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "IDLE_CONNECTIONS_MAX", 2)
    kept = transport._pool
    connections = [kept.connect(script.node) for _ in range(3)]
    for connection in connections:
        kept.give_back(connection)
    assert [connection.descriptor >= 0 for connection in connections] == [False, True, True]
    assert kept.take(script.node, 1.0) is connections[2]
    kept.give_back(connections[2])
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.0)
    newest = kept.take(script.node, 1.0)
    assert newest not in connections
    assert connections[1].descriptor == connections[2].descriptor == -1
    newest.close()


def test_a_child_process_does_not_use_its_parents_connections(script: Script, transport: HttpTransport) -> None:
    kept = transport._pool
    connection = kept.connect(script.node)
    kept.give_back(connection)
    kept._owner = 0
    other = kept.take(script.node, 1.0)
    assert other is not connection
    connection.close()
    other.close()


class TestSplicing:
    """Moving an answer's body from socket to socket in the kernel."""

    def test_a_body_is_moved(self) -> None:
        content = bytes(range(256)) * 20000
        with over_the_network(Echo()) as (transport, node):
            here, there = socket.socketpair()
            client, target = Wire(here), Wire(there)
            for _ in range(2):
                body: Any = transport.request(request(node, "PUT"), content).body
                assert body.read(10) == content[:10]
                task = concurrency.spawn(body.splice_to, target.connection, 5.0)
                assert client.exactly(len(content) - 10) == content[10:]
                assert task.wait() == len(content) - 10
            assert len(transport._pool._idle) == 1  # type: ignore[attr-defined]
            client.close()
            target.close()

    def test_chunked_bodies_are_not(self, script: Script, transport: HttpTransport) -> None:
        exchange = transport.start(request(script.node))
        with script.accept() as server:
            server.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
            body = exchange.response().body
            assert not hasattr(body, "splice_to")
            assert body.read() == b"ok"

    def test_a_source_that_breaks_off(self, script: Script, transport: HttpTransport) -> None:
        before = descriptors()
        exchange = transport.start(request(script.node))
        with script.accept() as server:
            server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        body: Any = exchange.response().body
        here, there = socket.socketpair()
        target = Wire(there)
        assert body.splice_to(target.connection, 5.0) == 3
        assert here.recv(10) == b"abc"
        here.close()
        target.close()
        settle(lambda: descriptors() == before)

    def test_a_target_that_leaves(self) -> None:
        with over_the_network(Echo()) as (transport, node):
            here, there = socket.socketpair()
            target = Wire(there)
            here.close()
            body: Any = transport.request(request(node, "PUT"), b"x" * 1_000_000).body
            with pytest.raises(Exception, match="left"):
                body.splice_to(target.connection, 5.0)
            target.close()
