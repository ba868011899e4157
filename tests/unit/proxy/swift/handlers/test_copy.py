"""COPY and PUT with X-Copy-From."""

from __future__ import annotations

import json
from typing import Any

import pytest

from objstore.http.bodies import BytesBody
from objstore.http.errors import HttpError
from objstore.http.transport import BackendRequest
from objstore.proxy.swift.request import SwiftRequest
from tests.unit.proxy.store import NOW, Call, Reply, ScriptedStore

SOURCE = "/v1/AUTH_a/c/söurce"
TAKING = {"X-Copy-From": "c/s%C3%B6urce"}
LATER = str(int(NOW) + 1000)
HEADERS = {
    "Content-Type": "text/x",
    "Content-Encoding": "z",
    "Etag": "abc",
    "Last-Modified": "yesterday",
    "X-Object-Meta-A": "1",
    "X-Object-Meta-B": "1",
    "X-Object-Sysmeta-Kept": "1",
    "X-Delete-At": LATER,
    "X-Timestamp": "1.0",
}


def store_of(source: Reply | None = None, target: Reply | None = None) -> ScriptedStore:
    """A store whose nodes answer so to reads, and so to writes."""
    store = ScriptedStore()
    reply = Reply(200, HEADERS, b"content", streamed=True) if source is None else source
    scripted = store.transport.script

    def script(request: BackendRequest) -> Reply:
        if not request.path.is_object:
            return scripted(request)
        return reply if request.method in ("GET", "HEAD") else target or Reply(201)

    store.transport.script = script
    return store


def written(store: ScriptedStore) -> Call:
    return next(call for call in store.calls("PUT") if call.request.path.is_object)


@pytest.mark.parametrize("by_copy", [True, False])
def test_content_and_headers_are_copied(by_copy: bool) -> None:
    store = store_of()
    own = {"X-Object-Meta-B": "2", "Content-Type": "text/y", "If-Match": "abc", "X-Open-Expired": "true"}
    if by_copy:
        answer = store.send("COPY", SOURCE, own | {"Destination": "/c/t%C3%A4rget"}, query="heartbeat=off")
    else:
        answer = store.send("PUT", "/v1/AUTH_a/c/tärget", own | TAKING, query="heartbeat=off")
    assert answer.status == 201
    reads = [call for call in store.calls() if call.request.method == "GET"]
    assert {str(call.request.path) for call in reads} == {"/AUTH_a/c/söurce"}
    assert len(reads) == 3, "the newest is copied"
    assert reads[0].headers["If-Match"] == "abc"
    writing = written(store)
    assert (str(writing.request.path), writing.body) == ("/AUTH_a/c/tärget", b"content")
    for name, value in {
        "X-Object-Meta-A": "1",
        "X-Object-Meta-B": "2",
        "X-Object-Sysmeta-Kept": "1",
        "Content-Type": "text/y",
        "Content-Encoding": "z",
        "X-Delete-At": LATER,
    }.items():
        assert writing.headers[name] == value, name
    assert not {"Range", "If-Match", "X-Copy-From", "Destination"} & writing.headers.keys()
    assert answer.headers["X-Copied-From"] == "c/s%C3%B6urce"
    assert answer.headers["X-Copied-From-Account"] == "AUTH_a"
    assert answer.headers["X-Copied-From-Last-Modified"] == "yesterday"
    assert answer.headers["X-Object-Meta-B"] == "2"


def test_a_range_is_copied() -> None:
    part = HEADERS | {"Content-Range": "bytes 0-2/7"}
    store = store_of(Reply(206, part, b"con"))
    assert store.send("PUT", "/v1/AUTH_a/c/t", TAKING | {"Range": "bytes=0-2"}).status == 201
    assert store.calls()[0].headers["Range"] == "bytes=0-2"
    assert written(store).body == b"con"


def test_an_empty_header_of_the_request_wins_over_the_source() -> None:
    store = store_of()
    given = {"X-Object-Meta-A": "", "Content-Encoding": "", "Content-Type": ""}
    assert store.send("PUT", "/v1/AUTH_a/c/t", given | TAKING).status == 201
    headers = written(store).headers
    assert (headers["X-Object-Meta-A"], headers["X-Object-Meta-B"], headers["Content-Encoding"]) == ("", "1", "")
    # Clients send an empty type when they have none to give.
    assert headers["Content-Type"] == "text/x"


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, LATER), ({"X-Delete-After": "5"}, str(int(NOW) + 5)), ({"X-Remove-Delete-At": "true"}, None)],
)
def test_the_copy_expires_as_its_source_unless_the_request_says_otherwise(
    given: dict[str, str], expected: str | None
) -> None:
    store = store_of()
    assert store.send("PUT", "/v1/AUTH_a/c/t", given | TAKING).status == 201
    assert written(store).headers.get("X-Delete-At") == expected


@pytest.mark.parametrize(("sent", "status"), [(b"", 201), (b"x", 400)])
def test_a_chunked_copy_must_have_an_empty_body(sent: bytes, status: int) -> None:
    store = store_of()
    assert store.send("PUT", "/v1/AUTH_a/c/t", TAKING, BytesBody(sent)).status == status
    assert bool(store.calls()) is (status == 201)


def test_several_ranges_are_not_copied() -> None:
    store = store_of(Reply(200, HEADERS, b"content"))
    assert store.send("PUT", "/v1/AUTH_a/c/t", TAKING | {"Range": "bytes=0-1,3-4"}).status == 400
    assert not store.calls("PUT")


def test_fresh_metadata() -> None:
    store = store_of()
    assert (
        store.send("PUT", "/v1/AUTH_a/c/t", TAKING | {"X-Fresh-Metadata": "true", "X-Object-Meta-C": "3"}).status == 201
    )
    headers = written(store).headers
    assert {name: headers[name] for name in headers if name.startswith("X-Object-")} == {"X-Object-Meta-C": "3"}
    assert not {"Content-Encoding", "X-Delete-At"} & headers.keys()
    assert headers["Content-Type"] == "text/x"


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("COPY", {}, 412),
        ("COPY", {"Destination": ""}, 412),
        ("COPY", {"Destination": "c"}, 412),
        ("COPY", {"Destination": "/c/"}, 412),
        ("COPY", {"Destination": "//o"}, 412),
        ("COPY", {"Destination": "c/%FF"}, 412),
        ("COPY", {"Destination": "c/%00"}, 412),
        ("COPY", {"Destination": "c/o", "Destination-Account": "a/b"}, 412),
        ("COPY", {"Destination": "c/o", "Destination-Account": ""}, 412),
        ("PUT", {"X-Copy-From": ""}, 412),
        ("PUT", {"X-Copy-From": "c"}, 412),
        ("PUT", {"X-Copy-From": "c/o", "X-Copy-From-Account": "a/b"}, 412),
        ("PUT", {"X-Copy-From": "c/o", "Content-Length": "1"}, 400),
    ],
)
def test_refusals(method: str, headers: dict[str, str], status: int) -> None:
    store = store_of()
    assert store.send(method, "/v1/AUTH_a/c/o", headers).status == status
    assert not store.calls()


@pytest.mark.parametrize("status", [304, 404, 412, 416, 503])
def test_what_the_source_answers_is_the_answer(status: int) -> None:
    store = store_of(Reply(status))
    assert store.send("PUT", "/v1/AUTH_a/c/t", TAKING).status == status
    assert not store.calls("PUT")


def test_rights_to_both_ends_are_needed() -> None:
    asked: list[tuple[str, str, str | None]] = []
    granted = 0

    def watch(request: SwiftRequest) -> None:
        asked.append((str(request.accessed), request.access_method, request.acl))
        if len(asked) > granted:
            raise HttpError(403)

    for granted, status in ((0, 403), (1, 403), (2, 201)):  # noqa: B007  # `watch` reads it
        asked.clear()
        store = store_of()
        store.container = Reply(204, {"X-Container-Read": "readers", "X-Container-Write": "writers"})
        assert store.send("COPY", SOURCE, {"Destination": "c2/t"}, authorize=watch).status == status
        assert bool(store.calls("PUT")) is (status == 201)
    assert asked == [("/AUTH_a/c/söurce", "GET", "readers"), ("/AUTH_a/c2/t", "PUT", "writers")]


def test_copies_count_for_quotas() -> None:
    store = store_of()
    store.container = Reply(204, {"X-Container-Meta-Quota-Bytes": "6"})
    assert store.send("PUT", "/v1/AUTH_a/c/t", TAKING).status == 413
    store = store_of()
    store.container = Reply(204, {"X-Container-Meta-Quota-Bytes": "7"})
    assert store.send("PUT", "/v1/AUTH_a/c/t", TAKING).status == 201


def test_containers_are_not_copied() -> None:
    assert store_of().send("COPY", "/v1/AUTH_a/c", {"Destination": "c/t"}).status == 405


def told(answer: Any) -> Any:
    return json.loads(answer.read_all())


def test_a_copy_is_told_in_the_body() -> None:
    store = store_of()
    given = TAKING | {"Accept": "application/json"}
    answer = store.send("PUT", "/v1/AUTH_a/c/t", given, query="heartbeat=on")
    assert (answer.status, answer.headers["X-Copied-From"]) == (202, "c/s%C3%B6urce")
    outcome = told(answer)
    assert (outcome["Response Status"], outcome["Errors"]) == ("201 Created", [])
    assert written(store).body == b"content"


@pytest.mark.parametrize(("reply", "status"), [(Reply(422), "422"), (Reply(503), "503")])
def test_refusals_come_in_the_body(reply: Reply, status: str) -> None:
    given = TAKING | {"Accept": "application/json"}
    answer = store_of(target=reply).send("PUT", "/v1/AUTH_a/c/t", given, query="heartbeat=on")
    assert answer.status == 202
    assert told(answer)["Response Status"].startswith(status)


def test_what_cannot_be_read_is_refused_at_once() -> None:
    assert store_of(Reply(404)).send("PUT", "/v1/AUTH_a/c/t", TAKING, query="heartbeat=on").status == 404
    assert store_of().send("PUT", "/v1/AUTH_a/c/t", {"X-Copy-From": "c"}, query="heartbeat=on").status == 412
