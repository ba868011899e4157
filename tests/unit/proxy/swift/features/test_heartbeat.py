"""Answers that begin before the work is done."""

from __future__ import annotations

import pytest

from objstore.http.messages import Response
from objstore.proxy.swift.features.heartbeat import Heartbeat, report
from objstore.system.concurrency import Event

STORED = Response(201, {"Etag": "abc", "Last-Modified": "today"})


@pytest.mark.parametrize("as_json", [False, True])
def test_blanks_come_while_the_work_goes_on(as_json: bool) -> None:
    done: Event[Response] = Event()
    parts = iter(Heartbeat(done.wait, as_json=as_json, beat_seconds=0.001))
    assert [next(parts), next(parts)] == [b" ", b" "]
    done.set(STORED)
    rest = b"".join(part for part in parts if part != b" ")
    assert rest == (b"" if as_json else b"\r\n\r\n") + report(STORED, as_json=as_json)


def test_work_that_is_quick_needs_no_blanks() -> None:
    lines = b"Response Status: 201 Created\nResponse Body: \nLast Modified: today\nEtag: abc\nErrors:\n"
    assert list(Heartbeat(lambda: STORED, as_json=False)) == [lines]


def test_a_client_that_leaves_ends_the_work() -> None:
    done: Event[Response] = Event()
    left: Event[bool] = Event()

    def work() -> Response:
        try:
            return done.wait()
        finally:
            left.set(True)

    body = Heartbeat(work, as_json=True, beat_seconds=0.001)
    assert next(iter(body)) == b" "
    body.close()
    assert left.wait(1)
