"""A cloud service on a real socket: bodies in chunks, answers before the body's end, and stopping."""

from __future__ import annotations

import http.client
import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from objstore.cloud.serving import DISCARDED_MAX, ChunkedInput, serve
from objstore.config.sections import CloudServerConfig
from objstore.config.units import Address
from objstore.logs import Logger, Sink


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    if environ["PATH_INFO"] == "/refuse":
        start_response("403 Forbidden", [("Content-Length", "0")])
        return []
    size = 0
    while piece := environ["wsgi.input"].read(1000):
        size += len(piece)
    content = str(size).encode()
    start_response("200 OK", [("Content-Length", str(len(content)))])
    return [content]


@contextmanager
def served() -> Iterator[http.client.HTTPConnection]:
    stop, found, told = threading.Event(), threading.Event(), []
    log = Logger("test", Sink(write=lambda _line: None))

    def listening(address: Address) -> None:
        told.append(address)
        found.set()

    config = CloudServerConfig(Address("127.0.0.1", 0), threads=2, drain_timeout=5)
    thread = threading.Thread(target=serve, args=(application, config, log, stop, listening))
    thread.start()
    assert found.wait(20)
    connection = http.client.HTTPConnection("127.0.0.1", told[0].port, timeout=20)
    try:
        yield connection
    finally:
        connection.close()
        stop.set()
        thread.join(20)
    assert not thread.is_alive()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", told[0].port), timeout=5)


def test_bodies_and_answers_over_one_connection() -> None:
    with served() as connection:
        for body, chunked in ((b"x" * 100_000, False), (iter([b"a" * 70_000, b"b"]), True)):
            connection.request("PUT", "/", body, encode_chunked=chunked)
            answer = connection.getresponse()
            assert answer.read() == (b"70001" if chunked else b"100000")


@pytest.mark.parametrize("size", [10, DISCARDED_MAX + 1])
def test_a_large_body_that_is_refused_is_not_waited_for(size: int) -> None:
    with served() as connection:
        connection.putrequest("PUT", "/refuse")
        connection.putheader("Content-Length", str(size))
        connection.endheaders(b"x" * 10)
        answer = connection.getresponse()
        assert answer.status == 403
        assert answer.getheader("Connection") == ("close" if size > DISCARDED_MAX else None)


def test_what_follows_a_refused_body_in_chunks_is_no_request() -> None:
    with served() as connection:
        connection.putrequest("PUT", "/refuse")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders(b"5\r\nhello\r\n0\r\n\r\n")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Connection")) == (403, "close")


def chunked(content: bytes) -> ChunkedInput:
    return ChunkedInput(io.BufferedReader(io.BytesIO(content)))  # type: ignore[arg-type]


def test_a_chunk_is_read_in_pieces() -> None:
    body = chunked(b"a;extension=1\r\n0123456789\r\n3\r\nabc\r\n0\r\nTrailer: 1\r\n\r\nGET /next")
    assert [body.read(4) for _ in range(5)] == [b"0123", b"4567", b"89", b"abc", b""]
    assert body.ended
    assert body.read(4) == b""


def test_all_of_a_body_in_chunks() -> None:
    assert chunked(b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n").read() == b"abc"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"5\r\nhel",
        b"5\r\nhello",
        b"5\r\nhelloX\r\n",
        b"-5\r\nhello",
        b"0x5\r\nhello",
        b"z\r\n",
        b"5\nhello",
        b"0\r\n" + b"a: b\r\n" * 100,
        b"1" * 2000,
    ],
)
def test_malformed_bodies_in_chunks(content: bytes) -> None:
    with pytest.raises(ConnectionError):
        chunked(content).read()
