"""The stored form of what is encrypted: any range of any body comes back, and nothing that was changed."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from objstore.http.ranges import ByteRange
from objstore.proxy.core.encryption.format import (
    CHUNK_BYTES,
    KEY_BYTES,
    SEALED_CHUNK_BYTES,
    ChunkOpener,
    ChunkSealer,
    covering,
    new_key,
    open_whole,
    opened_size,
    seal,
    seal_whole,
    sealed_size,
    unseal,
)
from objstore.proxy.core.errors import SealBroken

KEY = bytes(range(KEY_BYTES))
SIZES = st.one_of(
    st.integers(0, 5 * CHUNK_BYTES), st.builds(lambda n, d: n * CHUNK_BYTES + d, st.integers(1, 4), st.integers(-2, 2))
)


def content_of(size: int) -> bytes:
    return (b"%07d\n" * (size // 8 + 1) % tuple(range(size // 8 + 1)))[:size]


@settings(max_examples=60, deadline=None)
@given(SIZES, st.data())
@example(0, None)
def test_any_range_of_any_size_is_the_plain_slice(size: int, data: st.DataObject | None) -> None:
    content = content_of(size)
    stored = seal_whole(KEY, content)
    assert len(stored) == sealed_size(size) and opened_size(len(stored)) == size
    assert open_whole(KEY, stored) == content
    if not size or data is None:
        return
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first, size - 1))
    read = covering(ByteRange(first, last), size)
    assert read.length <= last - first + 2 * SEALED_CHUNK_BYTES
    opener = ChunkOpener(KEY, size, first)
    piece = stored[read.first : read.last + 1]
    cut = data.draw(st.integers(0, len(piece)))
    opened = opener.update(piece[:cut]) + opener.update(piece[cut:]) + opener.finish()
    assert opened[: last - first + 1] == content[first : last + 1]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2 * CHUNK_BYTES), max_size=6))
def test_the_stored_form_of_pieces_is_that_of_the_whole(sizes: list[int]) -> None:
    content, sealer, stored = content_of(sum(sizes)), ChunkSealer(KEY), b""
    at = 0
    for size in sizes:
        stored += sealer.update(content[at : at + size])
        at += size
    assert stored + sealer.finish() == seal_whole(KEY, content)
    assert sealer.size == len(content)


@settings(max_examples=60, deadline=None)
@given(SIZES.filter(lambda size: size < 3 * CHUNK_BYTES), st.data())
def test_any_changed_byte_is_found_out(size: int, data: st.DataObject) -> None:
    stored = bytearray(seal_whole(KEY, content_of(size)))
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealBroken):
        open_whole(KEY, bytes(stored))


def test_what_is_cut_off_or_swapped_is_found_out() -> None:
    stored = seal_whole(KEY, content_of(3 * CHUNK_BYTES))
    chunks = [stored[at : at + SEALED_CHUNK_BYTES] for at in range(0, len(stored), SEALED_CHUNK_BYTES)]
    for broken in (chunks[:2], chunks[1:], [chunks[1], chunks[0], chunks[2]], [*chunks, chunks[2]]):
        with pytest.raises(SealBroken):
            open_whole(KEY, b"".join(broken))
    with pytest.raises(SealBroken):
        open_whole(KEY, stored[:-1])
    with pytest.raises(SealBroken):
        open_whole(new_key(), stored)


@pytest.mark.parametrize("size", [-1, 0, 15, SEALED_CHUNK_BYTES + 15])
def test_sizes_that_no_body_has(size: int) -> None:
    with pytest.raises(SealBroken):
        opened_size(size)


@given(st.binary(max_size=200), st.binary(max_size=20), st.data())
def test_sealed_values(value: bytes, context: bytes, data: st.DataObject) -> None:
    sealed = seal(KEY, value, context)
    assert unseal(KEY, sealed, context) == value
    assert seal(KEY, value, context) != sealed
    changed = bytearray(sealed)
    changed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1
    for key, stored, bound in (
        (KEY, bytes(changed), context),
        (KEY, sealed, context + b"x"),
        (bytes(KEY_BYTES), sealed, context),
        (KEY, sealed[:20], context),
    ):
        with pytest.raises(SealBroken):
            unseal(key, stored, bound)
