"""COPY and PUT with X-Copy-From."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from objstore.http.messages import Response
from objstore.proxy.core.info import ContainerInfo
from objstore.proxy.swift.features.response_body import ResponseReader
from objstore.proxy.swift.request import SwiftRequest
from tests.unit.proxy.swift.features.harness import Proxy, environ_of


class Pieces:
    """A body that comes in parts, and notices when it is closed."""

    def __init__(self, *parts: bytes, length: int | None = None) -> None:
        self.parts = parts
        self.length = length
        self.closed = False

    def __iter__(self) -> Iterator[bytes | memoryview]:
        # Each part is gone once the next is asked for, as with a buffer that is used again.
        buffer = bytearray(max(map(len, self.parts), default=0))
        for part in self.parts:
            buffer[: len(part)] = part
            yield memoryview(buffer)[: len(part)]

    def close(self) -> None:
        self.closed = True


SOURCE = {
    "Content-Type": "text/x",
    "Content-Encoding": "z",
    "Etag": "abc",
    "Last-Modified": "yesterday",
    "X-Object-Meta-A": "1",
    "X-Object-Meta-B": "1",
    "X-Object-Sysmeta-Kept": "1",
    "X-Delete-At": "1800000000",
    "X-Timestamp": "1.0",
}


@pytest.fixture
def body() -> Pieces:
    return Pieces(b"con", b"", b"tent", length=7)


@pytest.fixture
def owner(proxy: Proxy, body: Pieces) -> dict[str, str]:
    proxy.handlers.answers["GET", "/AUTH_test/c/söurce"] = Response(200, dict(SOURCE), body)
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(200)
    return {"X-Auth-Token": proxy.token("test:tester", "testing")}


@pytest.mark.parametrize("by_copy", [True, False])
def test_content_and_headers_are_copied(proxy: Proxy, owner: dict[str, str], body: Pieces, by_copy: bool) -> None:
    own = {"X-Object-Meta-B": "2", "Content-Type": "text/y", "Range": "bytes=0-9", "If-Match": "abc"}
    if by_copy:
        sent = owner | own | {"Destination": "/c/t%C3%A4rget"}
        answer = proxy.send("COPY", "/v1/AUTH_test/c/s\xc3\xb6urce", sent, query="heartbeat=off")
    else:
        sent = owner | own | {"X-Copy-From": "c/s%C3%B6urce"}
        answer = proxy.send("PUT", "/v1/AUTH_test/c/t\xc3\xa4rget", sent, query="heartbeat=off")
    assert answer.status == 201
    reading, writing = proxy.handlers.requests
    assert (reading.method, str(reading.resource)) == ("GET", "/AUTH_test/c/söurce")
    assert reading.header("Range") == "bytes=0-9"
    assert reading.header("If-Match") == "abc"
    assert reading.header("X-Newest") == "true"
    assert reading.params == {"heartbeat": "off"}
    assert (writing.method, str(writing.resource)) == ("PUT", "/AUTH_test/c/tärget")
    assert writing.environ["test.body"] == b"content"
    assert writing.content_length == 7
    assert writing.params == {}
    for name, value in {
        "X-Object-Meta-A": "1",
        "X-Object-Meta-B": "2",
        "X-Object-Sysmeta-Kept": "1",
        "Content-Type": "text/y",
        "Content-Encoding": "z",
        "X-Delete-At": "1800000000",
        "Range": None,
        "If-Match": None,
        "Etag": None,
        "X-Timestamp": None,
        "X-Copy-From": None,
        "Destination": None,
    }.items():
        assert writing.header(name) == value, name
    assert answer.headers["X-Copied-From"] == "c/s%C3%B6urce"
    assert answer.headers["X-Copied-From-Account"] == "AUTH_test"
    assert answer.headers["X-Copied-From-Last-Modified"] == "yesterday"
    assert answer.headers["X-Object-Meta-B"] == "2"
    assert body.closed


def test_an_empty_header_of_the_request_wins_over_the_source(proxy: Proxy, owner: dict[str, str]) -> None:
    given = {"X-Object-Meta-A": "", "Content-Encoding": "", "Content-Type": ""}
    assert proxy.send("COPY", "/v1/AUTH_test/c/s\xc3\xb6urce", owner | given | {"Destination": "c/t"}).status == 201
    assert proxy.seen.header("X-Object-Meta-A") == ""
    assert proxy.seen.header("X-Object-Meta-B") == "1"
    assert proxy.seen.header("Content-Encoding") == ""
    # Clients send an empty type when they have none to give.
    assert proxy.seen.header("Content-Type") == "text/x"


@pytest.mark.parametrize(("sent", "status"), [(b"", 201), (b"x", 400)])
def test_a_chunked_copy_must_have_an_empty_body(proxy: Proxy, owner: dict[str, str], sent: bytes, status: int) -> None:
    given = owner | {"X-Copy-From": "c/s%C3%B6urce", "Transfer-Encoding": "chunked"}
    request = environ_of("PUT", "/v1/AUTH_test/c/t", given, sent)
    del request["CONTENT_LENGTH"]
    answer = proxy.handle(SwiftRequest(request, proxy.context.cluster.limits))
    assert answer.status == status
    assert len(proxy.handlers.requests) == (2 if status == 201 else 0)


def test_several_ranges_are_not_copied(proxy: Proxy, owner: dict[str, str], body: Pieces) -> None:
    several = {"Content-Type": "multipart/byteranges;boundary=x"}
    proxy.handlers.answers["GET", "/AUTH_test/c/söurce"] = Response(206, several, body)
    sent = owner | {"Destination": "c/t", "Range": "bytes=0-1,3-4"}
    assert proxy.send("COPY", "/v1/AUTH_test/c/s\xc3\xb6urce", sent).status == 400
    assert [request.method for request in proxy.handlers.requests] == ["GET"]
    assert body.closed


def test_fresh_metadata(proxy: Proxy, owner: dict[str, str]) -> None:
    sent = owner | {"Destination": "c/t", "X-Fresh-Metadata": "true", "X-Object-Meta-C": "3"}
    assert proxy.send("COPY", "/v1/AUTH_test/c/s\xc3\xb6urce", sent).status == 201
    assert proxy.seen.headers_with_prefix("X-Object-") == {"X-Object-Meta-C": "3"}
    assert proxy.seen.header("Content-Encoding") is None
    assert proxy.seen.header("Content-Type") == "text/x"


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
def test_refusals(proxy: Proxy, owner: dict[str, str], method: str, headers: dict[str, str], status: int) -> None:
    assert proxy.send(method, "/v1/AUTH_test/c/o", owner | headers).status == status
    assert not proxy.handlers.requests


@pytest.mark.parametrize("status", [304, 404, 412, 416])
def test_what_the_source_answers_is_the_answer(proxy: Proxy, owner: dict[str, str], status: int) -> None:
    proxy.handlers.answers["GET", "/AUTH_test/c/o"] = Response(status, {}, b"why")
    answer = proxy.send("COPY", "/v1/AUTH_test/c/o", owner | {"Destination": "c/t"})
    assert (answer.status, answer.read_all()) == (status, b"why")
    assert len(proxy.handlers.requests) == 1


@pytest.mark.parametrize("length", [None, 5368709123])
def test_too_large(proxy: Proxy, owner: dict[str, str], length: int | None) -> None:
    body = Pieces(b"x", length=length)
    proxy.handlers.answers["GET", "/AUTH_test/c/o"] = Response(200, {}, body)
    assert proxy.send("COPY", "/v1/AUTH_test/c/o", owner | {"Destination": "c/t"}).status == 413
    assert body.closed


def test_rights_to_both_ends_are_needed(proxy: Proxy, owner: dict[str, str], body: Pieces) -> None:
    theirs = {"Destination": "c/t", "Destination-Account": "AUTH_test2"}
    assert proxy.send("COPY", "/v1/AUTH_test/c/s\xc3\xb6urce", owner | theirs).status == 403
    assert body.closed
    stranger = {"X-Auth-Token": proxy.token("test2:tester2", "testing2")}
    taking = {"X-Copy-From": "c/s%C3%B6urce", "X-Copy-From-Account": "AUTH_test"}
    assert proxy.send("PUT", "/v1/AUTH_test2/c/t", stranger | taking).status == 403
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(200, read_acl="test2")
    assert proxy.send("PUT", "/v1/AUTH_test2/c/t", stranger | taking).status == 201


def test_copies_count_for_quotas(proxy: Proxy, owner: dict[str, str]) -> None:
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(200, metadata={"Quota-Bytes": "6"})
    answer = proxy.send("COPY", "/v1/AUTH_test/c/s\xc3\xb6urce", owner | {"Destination": "c/t"})
    assert answer.status == 413


def test_containers_are_not_copied(proxy: Proxy, owner: dict[str, str]) -> None:
    proxy.send("COPY", "/v1/AUTH_test/c", owner | {"Destination": "c/t"})
    assert proxy.seen.method == "COPY"


@pytest.mark.parametrize("size", [-1, 1, 2, 100])
def test_bodies_are_read_in_any_size(size: int) -> None:
    reader = ResponseReader(Pieces(b"abc", b"", b"defg"))
    content = b""
    while part := reader.read(size):
        content += part
    assert content == b"abcdefg"
    assert reader.ended


def test_bodies_fill_buffers() -> None:
    reader = ResponseReader(Pieces(b"abc", b"defg"))
    buffer = bytearray(5)
    assert reader.readinto(memoryview(buffer)) == 5
    assert bytes(buffer) == b"abcde"
    assert reader.readinto(memoryview(buffer)) == 2
    assert reader.readinto(memoryview(buffer)) == 0
    assert ResponseReader(b"whole").read() == b"whole"
