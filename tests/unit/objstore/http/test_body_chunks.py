"""Bodies of uploads in chunks, within a budget of memory."""

from __future__ import annotations

import pytest

from objstore.http.bodies import BytesBody, ClientDisconnected
from objstore.http.body_chunks import GATHER_SECONDS, LARGE_BYTES, SMALL_BYTES, BodyChunks, UploadBuffers

CONTENT = bytes(range(256)) * 10_000


class SlowBody(BytesBody):
    """Gives ten bytes and says that the time is up, or fails."""

    def __init__(self, content: bytes, error: Exception | None = None) -> None:
        super().__init__(content)
        self.error = error

    def readinto(self, buffer: memoryview, within_seconds: float | None = None) -> int:
        assert within_seconds == GATHER_SECONDS
        if self.error is not None:
            raise self.error
        return super().readinto(buffer[:10], within_seconds)


def sizes(body: BytesBody, buffers: UploadBuffers) -> list[int]:
    """How long the chunks of a body are; together they have to be its content."""
    with BodyChunks(body, buffers) as chunks:
        found = [bytes(chunk) for chunk in chunks]
    assert b"".join(found) == body._content
    return [len(chunk) for chunk in found]


def large_left(buffers: UploadBuffers) -> int:
    """How many large buffers may be taken, as one who takes them finds out; gives them back."""
    taken = [buffer for buffer in (buffers.take(large=True) for _ in range(10)) if len(buffer) == LARGE_BYTES]
    for buffer in taken:
        buffers.give_back(buffer, reusable=False)
    return len(taken)


def test_a_fast_body_comes_in_large_chunks() -> None:
    buffers = UploadBuffers(2)
    assert sizes(BytesBody(CONTENT), buffers) == [LARGE_BYTES, LARGE_BYTES, len(CONTENT) - 2 * LARGE_BYTES]
    assert sizes(BytesBody(b""), buffers) == []
    assert large_left(buffers) == 2


def test_beyond_the_budget_chunks_are_small_and_nobody_waits() -> None:
    buffers = UploadBuffers(1)
    with BodyChunks(BytesBody(CONTENT), buffers) as stalled:
        assert len(next(iter(stalled))) == LARGE_BYTES
        assert set(sizes(BytesBody(CONTENT), buffers)) == {SMALL_BYTES, len(CONTENT) % SMALL_BYTES}
    assert sizes(BytesBody(CONTENT), buffers)[0] == LARGE_BYTES


def test_a_slow_body_leaves_the_large_buffers_to_others() -> None:
    buffers = UploadBuffers(2)
    with BodyChunks(SlowBody(CONTENT), buffers) as chunks:
        iterator = iter(chunks)
        assert [len(next(iterator)) for _ in range(3)] == [4106] * 3
        assert large_left(buffers) == 2


def test_a_chunk_is_valid_until_the_next_but_one_is_asked_for() -> None:
    buffers = UploadBuffers(2)
    sizes(BytesBody(CONTENT), buffers)  # its buffers are used again
    with BodyChunks(BytesBody(CONTENT), buffers) as chunks:
        before: bytes | memoryview = b""
        position = 0
        for chunk in chunks:
            assert before == CONTENT[position - len(before) : position]
            position += len(chunk)
            before = chunk


def test_after_an_error_no_buffer_is_used_again() -> None:
    buffers = UploadBuffers(2)
    kept: list[bytes | memoryview] = []
    with pytest.raises(ClientDisconnected), BodyChunks(SlowBody(CONTENT, ClientDisconnected()), buffers) as chunks:
        kept.extend(chunks)
    with pytest.raises(ClientDisconnected), BodyChunks(BytesBody(CONTENT), buffers) as chunks:
        kept.append(next(iter(chunks)))
        raise ClientDisconnected
    assert large_left(buffers) == 2
    sizes(BytesBody(b"\0" * len(CONTENT)), buffers)
    assert kept == [CONTENT[:LARGE_BYTES]]
