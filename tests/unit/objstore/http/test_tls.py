"""The server over TLS, with a certificate made here."""

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from objstore.http.server import HttpServer, ServerOptions
from objstore.http.sockets import TlsConnection
from objstore.system import concurrency
from objstore.system.workers import listen
from tests.unit.objstore.http.wire import Echo, Wire, settle


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(key, hashes.SHA256())
    )
    folder: Path = tmp_path_factory.mktemp("tls")
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    client = ssl.create_default_context(cafile=str(folder / "certificate.pem"))
    return server, client


class Served:
    """A server over TLS and what it reported."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.listener = listen("127.0.0.1", 0)
        self.reports: list[object] = []
        options = ServerOptions(tls=context, head_timeout_seconds=0.2)
        self.server = HttpServer(Echo(), [self.listener], options, lambda *report: self.reports.append(report))
        self.task = concurrency.spawn(self.server.serve)

    def dial(self) -> socket.socket:
        """A connection in the clear."""
        return socket.create_connection(self.listener.getsockname())


@pytest.fixture
def served(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Iterator[Served]:
    """A running server."""
    made = Served(contexts[0])
    yield made
    made.server.drain(0.01)
    made.task.wait()
    made.listener.close()
    assert made.reports == []


def secure(served: Served, context: ssl.SSLContext) -> Wire:
    """A connection over TLS."""
    wrapped = context.wrap_socket(served.dial(), server_hostname="localhost", do_handshake_on_connect=False)
    wire = Wire.__new__(Wire)
    wire.sock, wire.received = wrapped, b""
    connection = TlsConnection(wrapped, ("test", 0))
    wire.connection = connection
    connection.handshake(5.0)
    return wire


def test_requests_large_and_small(served: Served, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    wire = secure(served, contexts[1])
    assert not wire.connection.splices
    for content in (b"", b"small", b"large" * 1_000_000):
        sending = concurrency.spawn(
            wire.send, b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(content) + content
        )
        assert wire.answer()[2] == content
        sending.wait()
    wire.send(
        b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    assert [wire.answer()[2], wire.answer()[2]] == [b"abc", b""]
    buffer = memoryview(bytearray(12))
    wire.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert wire.connection.receive_some_into(buffer, 5.0) == 12
    assert bytes(buffer) == b"HTTP/1.1 200"
    assert wire.rest().endswith(b"\r\n\r\n")
    assert wire.connection.receive_some_into(buffer, 5.0) == 0
    wire.close()


def test_a_refused_upload_gets_its_answer(served: Served, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    wire = secure(served, contexts[1])
    wire.send(b"PUT /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
    for _ in range(30):
        wire.send(b"x" * 100000)
    assert wire.answer()[0] == 409
    wire.close()


def test_clients_that_do_not_speak_tls(served: Served) -> None:
    wires = [Wire(served.dial()) for _ in range(4)]
    wires[0].send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    wires[1].send(b"\x16\x03\x01\x02\x00")
    wires[2].close()
    assert b"200" not in wires[0].rest()
    wires[1].rest()
    wires[3].rest()
    settle(lambda: served.server.connections == 0)
    for wire in wires:
        wire.close()


def test_a_client_that_left_before_it_was_served(
    served: Served, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    sock = served.dial()
    sock.send(b"x")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()  # with a reset
    wire = secure(served, contexts[1])
    wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert wire.answer()[0] == 200
    wire.close()


def test_what_is_waiting_keeps_a_connection_from_being_idle(
    served: Served, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    wire = secure(served, contexts[1])
    wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    wire.answer()
    wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    served.server.drain()
    assert wire.answer()[1]["connection"] == "close"
    wire.close()
