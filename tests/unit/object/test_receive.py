"""Bodies that are received while they are written."""

from __future__ import annotations

from typing import Any, cast

import pytest

from objstore.http.bodies import ClientDisconnected
from objstore.http.body_chunks import LARGE_BYTES
from objstore.http.errors import HttpError
from objstore.http.local import PipeBody
from objstore.object.receive import receive
from objstore.system import concurrency
from objstore.system.concurrency import Event


class SlowUpload:
    """Writes only when it is let; an upload that is aborted must have nothing under way."""

    def __init__(self) -> None:
        self.size = 0
        self.writing = False
        self.chunk: memoryview | None = None
        self.let: Event[None] = Event()

    def write(self, chunk: memoryview) -> None:
        self.writing = True
        self.chunk = chunk
        self.let.wait()
        self.size += len(chunk)
        self.writing = False


class BrokenBody:
    """One chunk, and then the sender is gone."""

    def __init__(self) -> None:
        self.left = LARGE_BYTES

    def read(self, size: int = -1) -> bytes:
        if not self.left:
            concurrency.sleep()  # the write of the first chunk begins
            raise ClientDisconnected
        self.left -= size
        return b"x" * size

    def readinto(self, buffer: memoryview, within_seconds: float | None = None) -> int:
        self.left -= len(buffer)
        return len(buffer)


def test_an_upload_that_fails_has_no_write_under_way() -> None:
    upload = SlowUpload()
    states: list[bool] = []

    def receive_and_abort() -> None:
        try:
            receive(cast(Any, BrokenBody()), cast(Any, upload), None, 10 * LARGE_BYTES)
        finally:
            states.append(upload.writing)

    task = concurrency.spawn(receive_and_abort)
    while not upload.writing:
        concurrency.sleep()
    concurrency.sleep()
    assert not task.dead, "the write is waited for"
    upload.let.set(None)
    with pytest.raises(ClientDisconnected):
        task.wait()
    assert states == [False]


def test_pieces_of_a_server_in_this_process_are_written_where_they_lie() -> None:
    """The writer has its memory back when it is written: that is also what stops it from running ahead."""
    upload, pipe = SlowUpload(), PipeBody()
    task = concurrency.spawn(receive, cast(Any, pipe), cast(Any, upload), None, 100)
    chunk = bytearray(b"piece")
    pipe.put(memoryview(chunk), 5.0)
    next_one = concurrency.spawn(pipe.put, memoryview(b"next"), 5.0)
    while not upload.writing:
        concurrency.sleep()
    concurrency.sleep()
    assert upload.chunk is not None
    assert upload.chunk.obj is chunk
    assert not next_one.dead
    upload.let.set(None)
    next_one.wait(5.0)
    pipe.end({}, 5.0)
    task.wait(5.0)
    assert upload.size == len(b"piecenext")


def test_pieces_beyond_the_limit_are_not_written() -> None:
    upload, pipe = SlowUpload(), PipeBody()
    upload.let.set(None)
    task = concurrency.spawn(receive, cast(Any, pipe), cast(Any, upload), None, 8)
    pipe.put(memoryview(b"piece"), 5.0)
    pipe.put(memoryview(b"next"), 5.0)
    with pytest.raises(HttpError) as refusal:
        task.wait(5.0)
    assert (refusal.value.status, upload.size) == (413, 5)
