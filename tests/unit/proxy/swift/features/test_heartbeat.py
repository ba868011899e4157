"""QuorumResult that begin before the work is done."""

from __future__ import annotations

import json

import pytest

from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.proxy.core.info import ContainerInfo
from objstore.proxy.swift.features.heartbeat import Heartbeat, report
from objstore.system.concurrency import Event
from tests.unit.proxy.swift.features.harness import Proxy
from tests.unit.proxy.swift.features.test_copy import Pieces

TARGET = "/v1/AUTH_test/c/target"
STORED = Response(201, {"Etag": "abc", "Last-Modified": "today"})


@pytest.fixture
def source() -> Pieces:
    return Pieces(b"content", length=7)


@pytest.fixture
def asking(proxy: Proxy, source: Pieces) -> dict[str, str]:
    """The headers of a copy by the owner."""
    proxy.handlers.answers["GET", "/AUTH_test/c/o"] = Response(200, {"X-Object-Meta-A": "1"}, source)
    proxy.handlers.answers["PUT", "/AUTH_test/c/target"] = STORED
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(200)
    return {"X-Auth-Token": proxy.token("test:tester", "testing"), "X-Copy-From": "c/o"}


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


def test_a_copy_is_told_in_the_body(proxy: Proxy, asking: dict[str, str], source: Pieces) -> None:
    answer = proxy.send("PUT", TARGET, asking | {"Accept": "application/json"}, query="heartbeat=on")
    assert (answer.status, answer.headers["X-Copied-From"], answer.headers["X-Object-Meta-A"]) == (202, "c/o", "1")
    assert json.loads(answer.read_all()) == {
        "Response Status": "201 Created",
        "Response Body": "",
        "Last Modified": "today",
        "Etag": "abc",
        "Errors": [],
    }
    assert proxy.seen.environ["test.body"] == b"content"
    assert source.closed


@pytest.mark.parametrize(("error", "status"), [(HttpError(413, "full"), b"413"), (ZeroDivisionError(), b"500")])
def test_refusals_come_in_the_body(
    proxy: Proxy, asking: dict[str, str], source: Pieces, error: Exception, status: bytes
) -> None:
    begun = proxy.send("PUT", TARGET, asking, query="heartbeat=on")
    proxy.handlers.error = error
    body = begun.read_all()
    assert body.startswith(b"Response Status: " + status)
    assert b"Response Body: " + (b"full" if status == b"413" else b"Internal") in body
    assert source.closed
    assert any("unforeseen" in line for line in proxy.lines) is (status == b"500")


def test_what_cannot_be_read_is_refused_at_once(proxy: Proxy, asking: dict[str, str]) -> None:
    proxy.handlers.answers["GET", "/AUTH_test/c/o"] = Response(404)
    assert proxy.send("PUT", TARGET, asking, query="heartbeat=on").status == 404
    assert proxy.send("PUT", TARGET, asking | {"X-Copy-From": "c"}, query="heartbeat=on").status == 412
