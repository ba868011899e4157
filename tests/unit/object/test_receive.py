"""Bodies that are received while they are written."""

from __future__ import annotations

from typing import Any, cast

import pytest

from objstore.http.bodies import ClientDisconnected
from objstore.object.receive import CHUNK_BYTES, receive
from objstore.system import concurrency
from objstore.system.concurrency import Event


class SlowUpload:
    """Writes only when it is let; an upload that is aborted must have nothing under way."""

    def __init__(self) -> None:
        self.size = 0
        self.writing = False
        self.let: Event[None] = Event()

    def write(self, chunk: memoryview) -> None:
        self.writing = True
        self.let.wait()
        self.size += len(chunk)
        self.writing = False


class BrokenBody:
    """One chunk, and then the sender is gone."""

    def __init__(self) -> None:
        self.left = CHUNK_BYTES

    def readinto(self, buffer: memoryview) -> int:
        if not self.left:
            concurrency.sleep()  # the write of the first chunk begins
            raise ClientDisconnected
        count = min(len(buffer), self.left)
        self.left -= count
        return count


def test_an_upload_that_fails_has_no_write_under_way() -> None:
    upload = SlowUpload()
    states: list[bool] = []

    def receive_and_abort() -> None:
        try:
            receive(cast(Any, BrokenBody()), cast(Any, upload), None, 10 * CHUNK_BYTES)
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
