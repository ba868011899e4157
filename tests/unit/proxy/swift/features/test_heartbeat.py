"""Answers that begin before the work is done."""

from __future__ import annotations

import json

import pytest

from objstore.http.messages import Response
from objstore.proxy.swift.features.heartbeat import Heartbeat, report
from objstore.proxy.swift.reports import JSON, PLAIN, XML
from objstore.system.concurrency import Event

STORED = Response(201, {"Etag": "abc", "Last-Modified": "today"})


@pytest.mark.parametrize("at_once", [False, True])
def test_blanks_come_while_the_work_goes_on(at_once: bool) -> None:
    done: Event[bytes] = Event()
    parts = iter(Heartbeat(done.wait, at_once=at_once, beat_seconds=0.001))
    assert [next(parts), next(parts)] == [b" ", b" "]
    done.set(b"outcome")
    assert b"".join(part for part in parts if part != b" ") == b"\r\n\r\noutcome"


def test_work_that_is_quick_needs_no_blanks() -> None:
    assert list(Heartbeat(lambda: b"outcome")) == [b"outcome"]
    assert list(Heartbeat(lambda: b"outcome", at_once=True)) == [b" ", b"\r\n\r\n", b"outcome"]


def test_reports_of_a_response() -> None:
    lines = b"Response Status: 201 Created\nResponse Body: \nLast Modified: today\nEtag: abc\nErrors:\n"
    assert report(STORED, PLAIN) == lines
    assert json.loads(report(STORED, JSON)) == {
        "Response Status": "201 Created",
        "Response Body": "",
        "Last Modified": "today",
        "Etag": "abc",
        "Errors": [],
    }
    assert b"<response_status>201 Created</response_status>" in report(STORED, XML)


def test_a_client_that_leaves_ends_the_work() -> None:
    done: Event[bytes] = Event()
    left: Event[bool] = Event()

    def work() -> bytes:
        try:
            return done.wait()
        finally:
            left.set(True)

    body = Heartbeat(work, beat_seconds=0.001)
    assert next(iter(body)) == b" "
    body.close()
    assert left.wait(1)
