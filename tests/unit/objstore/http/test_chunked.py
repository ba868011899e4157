"""The chunked coding."""

import pytest

from objstore.http.chunked import (
    CHUNK_LINE_MAX,
    TRAILER_BYTES_MAX,
    TRAILERS_MAX,
    BadFraming,
    ChunkedDecoder,
    chunk_head,
    last_chunk,
)


def test_a_body_with_extensions_and_trailers() -> None:
    decoder = ChunkedDecoder()
    wire = b"5 ;name=value\r\nhello\r\n00A\r\n, world...\r\n0\r\nx-a: 1 \r\nX-B:\r\n\r\nnext"
    assert decoder.feed(wire) == (b"hello, world...", len(wire) - 4)
    assert decoder.ended
    assert decoder.trailers == {"X-A": "1", "X-B": ""}
    assert decoder.feed(b"next") == (b"", 0)


@pytest.mark.parametrize(
    "wire",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+5\r\n",
        b"0x5\r\n",
        b" 5\r\n",
        b"5\n",
        b"5\r\r\n",
        b"5;a\x00b\r\n",
        b"5;a\rb\r\n",
        b"5 5\r\n",
        b"1_0\r\n",
        b"\xc2\xb2\r\n",
        b"fffffffffff\r\n",
        b"2\r\nabc",
        b"2\r\nab\n",
        b"2\r\nab\rx",
        b"0\r\nno colon\r\n",
        b"0\r\nX : 1\r\n",
        b"0\r\n X: 1\r\n",
        b"0\r\n: 1\r\n",
        b"0\r\nX: a\x01b\r\n",
        b"0\r\nX: a\rb\r\n",
        b"0\r\nX: 1\n",
        b"0\r\n\n",
        b"5" + b" " * (CHUNK_LINE_MAX + 3),
        b"0\r\nX: " + b"a" * CHUNK_LINE_MAX,
    ],
)
def test_what_is_malformed_is_refused(wire: bytes) -> None:
    with pytest.raises(BadFraming, match="Malformed chunked body"):
        ChunkedDecoder().feed(wire)
    decoder = ChunkedDecoder()
    with pytest.raises(BadFraming):
        for byte in wire:
            decoder.feed(bytes((byte,)))


def test_trailers_are_limited() -> None:
    decoder = ChunkedDecoder()
    fields = b"".join(b"X-%d: y\r\n" % number for number in range(TRAILERS_MAX))
    decoder.feed(b"0\r\n" + fields)
    assert len(decoder.trailers) == TRAILERS_MAX
    with pytest.raises(BadFraming):
        decoder.feed(b"X-Another: y\r\n")
    decoder = ChunkedDecoder()
    line = b"X: " + b"a" * 4000 + b"\r\n"
    with pytest.raises(BadFraming):
        decoder.feed(b"0\r\n" + line * (TRAILER_BYTES_MAX // 4000 + 1))


def test_content_taken_by_others_is_skipped() -> None:
    decoder = ChunkedDecoder()
    assert decoder.feed(b"a\r\n12") == (b"12", 5)
    assert decoder.chunk_left == 8
    decoder.skip(5)
    assert decoder.feed(b"890\r\n0\r\n\r\n") == (b"890", 10)
    assert decoder.ended
    decoder = ChunkedDecoder()
    decoder.feed(b"a\r\n")
    decoder.skip(10)
    assert decoder.feed(b"\r\n0\r\n\r\n") == (b"", 7)
    assert decoder.ended


def test_encoding() -> None:
    assert chunk_head(255) == b"ff\r\n"
    assert last_chunk({}) == b"0\r\n\r\n"
    assert last_chunk({"Etag": "x", "X-A": "\xe9"}) == b"0\r\nEtag: x\r\nX-A: \xe9\r\n\r\n"


@pytest.mark.parametrize("value", ["a\r\nX: b", "a\nb", "a\rb", "a\0b", "\u0142"])
def test_trailers_cannot_smuggle(value: str) -> None:
    with pytest.raises(ValueError):
        last_chunk({"X": value})
