"""The handshake between servers of a cluster: who knows the key is served, and nobody else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import takewhile
from typing import BinaryIO

import pytest

from objstore.client.connections import KeptConnections, ServerAddress
from objstore.client.errors import ServerUnreachable
from objstore.devices import Device
from objstore.http.client import HttpTransport
from objstore.http.handshake import Greeting, Handshake
from objstore.http.server import HttpServer, ServerOptions
from objstore.http.transport import NodeFailure
from objstore.system import concurrency
from objstore.system.workers import listen
from tests.unit.objstore.http.nodes import node_at, request
from tests.unit.objstore.http.wire import Echo, Wire, serving

OURS = Handshake(b"k" * 32)
THEIRS = Handshake(b"x" * 32)
HELLO = "HELLO / HTTP/1.1\r\nHost: a\r\nX-Backend-Nonce: {}\r\n\r\n"
PROVE = "PROVE / HTTP/1.1\r\nHost: a\r\nX-Backend-Proof: {}\r\n\r\n"
GET = b"GET /d/1/a HTTP/1.1\r\nHost: a\r\n\r\n"
NONCE = "0" * 32


def greeted(wire: Wire, nonce: str = NONCE) -> tuple[str, str]:
    """The server's nonce and proof."""
    wire.send(HELLO.format(nonce).encode())
    status, headers, _ = wire.answer()
    assert status == 200
    return headers["x-backend-nonce"], headers["x-backend-proof"]


def refused(wire: Wire) -> bool:
    """Whether the next answer is a refusal, after which the connection ends."""
    status, _, _ = wire.answer()
    return status == 403 and wire.rest() == b""


def test_who_proves_to_know_the_key_is_served_from_then_on() -> None:
    with serving(Echo(), handshake=OURS) as served:
        wire = served.connect()
        nonce, proof = greeted(wire)
        assert proof == OURS.proof("server", NONCE, nonce)
        wire.send(PROVE.format(OURS.proof("client", NONCE, nonce)).encode() + GET)
        assert wire.answer()[0] == 200
        wire.send(GET)
        assert wire.answer()[0] == 200


def test_strangers_learn_whether_the_server_is_well_and_nothing_else() -> None:
    echo = Echo()
    with serving(echo, handshake=OURS) as served:
        wire = served.connect()
        wire.send(b"GET /healthcheck HTTP/1.1\r\nHost: a\r\n\r\n")
        assert wire.answer()[0] == 200
        wire.send(GET)
        assert refused(wire)
        for stranger in (GET, b"PUT /d/1/a/c/o HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"):
            wire = served.connect()
            wire.send(stranger)
            assert refused(wire)
        assert [each.path for each in echo.requests] == ["/healthcheck"]


@pytest.mark.parametrize("proof", ["", "0" * 64, "é" * 64])
def test_a_wrong_proof_ends_the_connection(proof: str) -> None:
    with serving(Echo(), handshake=OURS) as served:
        wire = served.connect()
        greeted(wire)
        wire.send(PROVE.format(proof).encode("latin-1"))
        assert refused(wire)


def test_a_proof_is_good_on_its_own_connection_and_once() -> None:
    with serving(Echo(), handshake=OURS) as served:
        wire = served.connect()
        nonce, _ = greeted(wire)
        recorded = PROVE.format(OURS.proof("client", NONCE, nonce)).encode()
        wire.send(recorded)
        other = served.connect()
        assert greeted(other)[0] != nonce
        other.send(recorded)
        assert refused(other)
        unannounced = served.connect()
        unannounced.send(recorded)
        assert refused(unannounced)


def test_a_servers_proof_sent_back_to_it_proves_nothing() -> None:
    """Who takes the server's own nonce for his gets a proof of it, but not a client's."""
    with serving(Echo(), handshake=OURS) as served:
        asked, wire = served.connect(), served.connect()
        nonce, _ = greeted(wire)
        _, proof = greeted(asked, nonce)
        wire.send(PROVE.format(proof).encode())
        assert refused(wire)


@pytest.mark.parametrize("nonce", ["", "0" * 31, "G" * 32, "0" * 33])
def test_a_malformed_greeting(nonce: str) -> None:
    with serving(Echo(), handshake=OURS) as served:
        wire = served.connect()
        wire.send(HELLO.format(nonce).encode())
        assert wire.answer()[0] == 400
        assert wire.rest() == b""


@contextmanager
def listening(handshake: Handshake | None) -> Iterator[Device]:
    listener = listen("127.0.0.1", 0)
    server = HttpServer(Echo(), [listener], ServerOptions(handshake=handshake), lambda *_: None)
    task = concurrency.spawn(server.serve)
    try:
        yield node_at(listener)
    finally:
        server.drain(0.01)
        task.wait()
        listener.close()


def test_servers_of_a_cluster_serve_each_other() -> None:
    with listening(OURS) as node:
        transport = HttpTransport(handshake=OURS)
        body = b"x" * 200_000  # more than leaves with the head
        for _ in range(2):
            assert transport.request(request(node, "PUT"), body).read_all() == body
        assert transport.request(request(node)).status == 200
        upload = transport.start_upload(request(node, "PUT"), None)
        assert upload.expect() is None
        upload.write(b"piece")
        upload.finish({})
        assert upload.response().read_all() == b"piece"
        transport.close()


def test_a_server_of_another_cluster_is_told_nothing() -> None:
    echo = Echo()
    with listening(THEIRS) as node:
        transport = HttpTransport(handshake=OURS)
        with pytest.raises(NodeFailure, match="does not prove"):
            transport.request(request(node, "PUT"), b"secret")
        transport.close()
    assert echo.requests == []


def test_a_client_of_another_cluster_is_refused() -> None:
    with listening(OURS) as node:
        transport = HttpTransport(handshake=replace(THEIRS, required=False))
        with pytest.raises(NodeFailure):
            assert transport.request(request(node)).status == 403
            raise NodeFailure(node, "refused")
        transport.close()


def test_while_it_is_not_required_releases_without_it_are_served_and_asked() -> None:
    lenient = replace(OURS, required=False)
    with listening(lenient) as node:
        for handshake in (None, OURS, lenient):
            transport = HttpTransport(handshake=handshake)
            assert transport.request(request(node)).status == 200
            transport.close()
    with listening(None) as node:
        transport = HttpTransport(handshake=lenient)
        for _ in range(2):
            assert transport.request(request(node)).status == 200
        transport.close()


def head_of(lines: BinaryIO) -> dict[str, str]:
    """The headers of the next request; none when the client has left."""
    head = takewhile(str.strip, (line.decode() for line in lines))
    return dict(line.strip().split(": ", 1) for line in head if ": " in line)


@contextmanager
def blocking_server(handshake: Handshake, answer: Handshake) -> Iterator[ServerAddress]:
    """A server on a thread, for a client that blocks: it greets with `answer`, and takes what proves `handshake`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        sock, _ = listener.accept()
        with sock, sock.makefile("rb") as lines:
            nonce = head_of(lines)["X-Backend-Nonce"]
            proof = answer.proof("server", nonce, NONCE)
            head = f"X-Backend-Nonce: {NONCE}\r\nX-Backend-Proof: {proof}\r\nContent-Length: 0\r\n\r\n"
            sock.sendall(f"HTTP/1.1 200 OK\r\n{head}".encode())
            good = head_of(lines).get("X-Backend-Proof") == handshake.proof("client", nonce, NONCE)
            if good and head_of(lines):
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield ServerAddress("127.0.0.1", listener.getsockname()[1])
    finally:
        thread.join(5)
        listener.close()


def test_programs_of_operators_greet_too() -> None:
    with blocking_server(OURS, OURS) as address:
        connections = KeptConnections(handshake=OURS)
        with connections.send(address, "GET", "/recon/mem", {}, None) as response:
            assert response.status == 200
        connections.close()


def test_programs_of_operators_ask_no_other_cluster() -> None:
    with blocking_server(OURS, THEIRS) as address, pytest.raises(ServerUnreachable, match="does not prove"):
        KeptConnections(handshake=OURS).send(address, "GET", "/recon/mem", {}, None)


def test_greetings_differ() -> None:
    assert Greeting(OURS).nonce != Greeting(OURS).nonce
