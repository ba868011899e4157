"""One way to read bodies, wherever their bytes come from."""

from collections.abc import Iterator

import pytest

from objstore.http.bodies import EMPTY_BODY, BytesBody, IterableBody


def test_no_body() -> None:
    assert EMPTY_BODY.read() == b""
    assert EMPTY_BODY.readinto(memoryview(bytearray(3))) == 0
    assert EMPTY_BODY.drain()


def test_bytes_at_hand() -> None:
    body = BytesBody(b"0123456789")
    buffer = memoryview(bytearray(4))
    assert body.read(3) == b"012"
    assert (body.readinto(buffer), bytes(buffer)) == (4, b"3456")
    assert not body.ended
    assert (body.read(), body.read(), body.ended) == (b"789", b"", True)
    assert body.readinto(buffer) == 0
    whole = BytesBody(b"abc", {"Etag": "x"})
    assert (whole.read(100), whole.trailers) == (b"abc", {"Etag": "x"})


class Pieces:
    """A body that comes in parts, and notices when it is closed."""

    def __init__(self, *parts: bytes, length: int | None = None) -> None:
        self.parts = parts
        self.length = length
        self.closed = False

    def __iter__(self) -> Iterator[bytes | memoryview]:
        # Each part is gone once the next is asked for, as with a buffer that is used again.
        buffer = bytearray(max(map(len, self.parts), default=0))
        for part in self.parts:
            buffer[: len(part)] = part
            yield memoryview(buffer)[: len(part)]

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("size", [-1, 1, 2, 100])
def test_pieces_are_read_in_any_size(size: int) -> None:
    reader = IterableBody(Pieces(b"abc", b"", b"defg"))
    content = b""
    while part := reader.read(size):
        content += part
    assert content == b"abcdefg"
    assert reader.read() == b""


def test_pieces_fill_buffers() -> None:
    reader = IterableBody(Pieces(b"abc", b"defg"))
    buffer = bytearray(5)
    assert reader.readinto(memoryview(buffer)) == 5
    assert bytes(buffer) == b"abcde"
    assert reader.readinto(memoryview(buffer)) == 2
    assert reader.readinto(memoryview(buffer)) == 0


def test_pieces_are_iterated_over_as_they_come() -> None:
    pieces = Pieces(b"abc", b"", b"defg")
    reader = IterableBody(pieces, 7, pieces.close)
    assert reader.read(1) == b"a"
    assert [bytes(part) for part in reader] == [b"bc", b"defg"]
    assert (reader.length, pieces.closed) == (7, False)


def test_closing_a_body_closes_what_makes_it_once() -> None:
    closed: list[bool] = []
    reader = IterableBody([b"abc", b"def"], None, lambda: closed.append(True))
    assert reader.read(2) == b"ab"
    reader.close()
    reader.close()
    assert (reader.read(), closed) == (b"", [True])
