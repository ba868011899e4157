"""Properties of the chunked coding."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from objstore.http.chunked import BadFraming, ChunkedDecoder, chunk_head, last_chunk

contents = st.lists(st.binary(min_size=1, max_size=50), max_size=6)
names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,10}", fullmatch=True).map(str.title)
values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=10)
trailers = st.dictionaries(names, values, max_size=4)


def encoded(chunks: list[bytes], fields: dict[str, str]) -> bytes:
    """A body on the wire."""
    return b"".join(chunk_head(len(chunk)) + chunk + b"\r\n" for chunk in chunks) + last_chunk(fields)


def decoded(wire: bytes, cuts: list[int]) -> tuple[ChunkedDecoder, bytes, bytes]:
    """The decoder fed in pieces, the content, and what it left over."""
    decoder = ChunkedDecoder()
    content = b""
    edges = [0, *sorted(cut % (len(wire) + 1) for cut in cuts), len(wire)]
    for start, end in pairwise(edges):
        part, used = decoder.feed(wire[start:end])
        content += part
        if decoder.ended:
            return decoder, content, wire[start + used :]
        assert used == end - start
    return decoder, content, b""


@given(contents, trailers, st.lists(st.integers(0, 1000), max_size=20), st.binary(max_size=20))
def test_any_split_of_the_wire_gives_the_same(
    chunks: list[bytes], fields: dict[str, str], cuts: list[int], rest: bytes
) -> None:
    decoder, content, left = decoded(encoded(chunks, fields) + rest, cuts)
    assert decoder.ended
    assert content == b"".join(chunks)
    assert decoder.trailers == fields
    assert left == rest


@given(contents, trailers, st.integers(0, 1000), st.binary(min_size=1, max_size=3), st.lists(st.integers(0, 1000)))
def test_a_damaged_body_is_refused_incomplete_or_read_alike_in_any_split(
    chunks: list[bytes], fields: dict[str, str], place: int, damage: bytes, cuts: list[int]
) -> None:
    wire = encoded(chunks, fields)
    place %= len(wire)
    wire = wire[:place] + damage + wire[place + len(damage) :]

    def outcome(pieces: list[int]) -> object:
        try:
            decoder, content, left = decoded(wire, pieces)
        except BadFraming as error:
            assert error.status == 400
            return BadFraming
        return (content, decoder.trailers, left) if decoder.ended else None

    whole = outcome([])
    split = outcome(cuts)
    assert whole == split


@given(st.binary(max_size=200))
def test_garbage_ends_or_waits_but_never_hangs(wire: bytes) -> None:
    decoder = ChunkedDecoder()
    try:
        content, used = decoder.feed(wire)
    except BadFraming:
        return
    assert len(content) <= used <= len(wire)
    assert decoder.ended or used == len(wire)
