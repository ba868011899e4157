"""Bodies read from connections."""

import socket
from collections.abc import Iterator
from functools import partial

import pytest

from objstore.http.bodies import ClientDisconnected, ClientTimeout
from objstore.http.chunked import BadFraming
from objstore.http.received import DRAIN_MAX, ChunkedBody, LengthBody
from objstore.http.sockets import CONTINUE, Connection
from objstore.system import concurrency

Pair = tuple[Connection, Connection]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Both ends of a connection."""
    here, there = socket.socketpair()
    near, far = Connection(here, ()), Connection(there, ())
    yield near, far
    near.close()
    far.close()


def test_a_body_of_announced_length(pair: Pair) -> None:
    near, far = pair
    body = LengthBody(near, 10, 1.0)
    far.send(b"0123456789next")
    assert (body.read(0), body.read(3), body.ended) == (b"", b"012", False)
    buffer = memoryview(bytearray(4))
    assert (body.readinto(buffer), bytes(buffer)) == (4, b"3456")
    assert (body.readinto(buffer), bytes(buffer[:3]), body.ended) == (3, b"789", True)
    assert (body.read(), body.read(5), body.readinto(buffer)) == (b"", b"", 0)
    assert near.receive(100, 1.0) == b"next"


def test_all_of_a_body_in_pieces(pair: Pair) -> None:
    near, far = pair
    near.push_back(b"ab")
    far.send(b"cdef")
    assert LengthBody(near, 2, 1.0).read() == b"ab"
    near.push_back(b"c")
    assert near.receive(10, 1.0) == b"c"
    near.push_back(b"ab")
    assert LengthBody(near, 5, 1.0).read() == b"abcde"


@pytest.mark.parametrize("framing", ["length", "small chunks", "large chunk"])
def test_a_buffer_is_filled_with_what_comes_in_time(pair: Pair, framing: str) -> None:
    near, far = pair
    head = {"length": b"", "small chunks": b"2\r\nab\r\n", "large chunk": b"%x\r\n" % 200_000}[framing]
    body = LengthBody(near, 200_000, 5.0) if framing == "length" else ChunkedBody(near, 5.0)
    far.send(head + b"cd" if framing == "large chunk" else head or b"ab")
    buffer = memoryview(bytearray(100_000))
    came = body.readinto(buffer, 0.01)
    assert bytes(buffer[:came]) == (b"cd" if framing == "large chunk" else b"ab")
    assert body.readinto(buffer, 0.01) == 0
    assert not body.ended
    far.send({"length": b"ef", "small chunks": b"2\r\nef\r\n", "large chunk": b"ef"}[framing])
    assert body.read(1) == b"e"


CHUNKED = b"5\r\nhello\r\n2\r\n, \r\n0\r\nX-T: v\r\n\r\nnext"


def test_a_chunked_body(pair: Pair) -> None:
    near, far = pair
    far.send(CHUNKED)
    body = ChunkedBody(near, 1.0)
    assert (body.read(0), body.read(3)) == (b"", b"hel")
    buffer = memoryview(bytearray(10))
    assert (body.readinto(buffer), bytes(buffer[:4])) == (4, b"lo, ")
    assert body.ended
    assert (body.trailers, body.read(), body.read(4)) == ({"X-T": "v"}, b"", b"")
    assert near.receive(100, 1.0) == b"next"


def test_a_chunked_body_as_a_whole(pair: Pair) -> None:
    near, far = pair
    far.send(CHUNKED)
    body = ChunkedBody(near, 1.0)
    assert (body.read(), body.trailers) == (b"hello, ", {"X-T": "v"})


def test_large_chunks_go_straight_to_the_buffer(pair: Pair) -> None:
    near, far = pair
    content = bytes(range(256)) * 4000

    def send() -> None:
        for start in range(0, len(content), 500000):
            part = content[start : start + 500000]
            far.send(b"%x\r\n" % len(part) + part + b"\r\n")
        far.send(b"0\r\nX: y\r\n\r\n")

    concurrency.spawn(send)
    body = ChunkedBody(near, 1.0)
    buffer = memoryview(bytearray(300000))
    received = b""
    while count := body.readinto(buffer):
        received += buffer[:count]
        assert count == len(buffer) or body.ended
    assert received == content
    assert body.trailers == {"X": "y"}


@pytest.mark.parametrize("chunked", [False, True])
def test_continue_is_said_once_when_the_body_is_first_read(pair: Pair, chunked: bool) -> None:
    near, far = pair
    for read_into in (False, True):
        body = ChunkedBody(near, 1.0, True) if chunked else LengthBody(near, 2, 1.0, True)
        assert not body.drainable
        assert not body.drain()
        far.send(b"2\r\nab\r\n0\r\n\r\n" if chunked else b"ab")
        if read_into:
            assert body.readinto(memoryview(bytearray(9))) == 2
        else:
            assert body.read() == b"ab"
        assert body.ended
        assert body.drain()
        assert far.receive(1000, 1.0) == CONTINUE


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("into", [False, True])
def test_a_body_that_broke_off_is_not_drained(pair: Pair, chunked: bool, into: bool) -> None:
    near, far = pair
    far.send(b"30000\r\nabc" if chunked else b"abc")
    body = ChunkedBody(near, 0.01) if chunked else LengthBody(near, 10, 0.01)
    if chunked:
        assert body.read(1) == b"a"
    with pytest.raises(ClientTimeout):
        body.readinto(memoryview(bytearray(200000))) if into else body.read()
    assert not body.drainable
    assert not body.drain()
    far.close()
    body = ChunkedBody(near, 1.0) if chunked else LengthBody(near, 10, 1.0)
    with pytest.raises(ClientDisconnected):
        body.readinto(memoryview(bytearray(20))) if into else body.read()
    assert not body.drainable


def test_a_large_chunk_that_breaks_off(pair: Pair) -> None:
    near, far = pair
    near.push_back(b"30000\r\na")
    body = ChunkedBody(near, 0.01)
    assert body.read(1) == b"a"
    far.send(b"bc")
    with pytest.raises(ClientTimeout):
        body.readinto(memoryview(bytearray(200000)))
    assert not body.drainable
    near.push_back(b"30000\r\na")
    body = ChunkedBody(near, 1.0)
    assert body.read(1) == b"a"
    far.close()
    with pytest.raises(ClientDisconnected):
        body.readinto(memoryview(bytearray(200000)))


def test_malformed_chunks(pair: Pair) -> None:
    near, far = pair
    far.send(b"zz\r\n0\r\n\r\n")
    body = ChunkedBody(near, 1.0)
    with pytest.raises(BadFraming):
        body.read()
    assert not body.drain()


def test_draining(pair: Pair) -> None:
    near, far = pair
    far.send(b"0123456789" + CHUNKED)
    body = LengthBody(near, 10, 1.0)
    body.read(1)
    assert body.drain()
    chunked = ChunkedBody(near, 1.0)
    assert chunked.read(1) == b"h"
    assert chunked.drain()
    assert near.receive(100, 1.0) == b"next"
    assert not LengthBody(near, DRAIN_MAX + 1, 1.0).drain()
    far.send(b"".join(b"4000\r\n" + b"x" * 0x4000 + b"\r\n" for _ in range(6)))
    assert not ChunkedBody(near, 1.0).drain()


def test_errors_say_what_happened() -> None:
    assert (ClientDisconnected().status, ClientTimeout().status, BadFraming().status) == (499, 408, 400)
    assert str(ClientTimeout()) == "the peer stalled"


@pytest.mark.parametrize("chunked", [False, True])
def test_the_connection_of_a_response_is_given_back_at_the_end_or_closed(pair: Pair, chunked: bool) -> None:
    near, far = pair
    given_back: list[bool] = []

    def body() -> ChunkedBody | LengthBody:
        far.send(b"3\r\nabc\r\n0\r\n\r\n" if chunked else b"abc")
        release = partial(given_back.append, True)
        return ChunkedBody(near, 1.0, release=release) if chunked else LengthBody(near, 3, 1.0, release=release)

    assert body().read() == b"abc"
    assert [bytes(part) for part in body()] == [b"abc"]
    into = body()
    assert into.readinto(memoryview(bytearray(3))) == 3
    into.close()
    assert given_back == [True, True, True]
    unread = body()
    assert unread.read(1) == b"a"
    unread.close()
    assert given_back == [True, True, True]
    with pytest.raises(ClientDisconnected):
        near.send(b"x", 1.0)
