"""Reading objects: ranges, conditions, newest."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest

from tests.functional.client import Answer, Client

CONTENT = bytes(range(256)) * 400  # 102,400 bytes: more than one block
SIZE = len(CONTENT)
ETAG = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def path(client: Client, container: str) -> str:
    """An object that holds CONTENT."""
    assert client.put(f"{container}/o", CONTENT, {"Content-Type": "text/x"}).status == 201
    return f"{container}/o"


def test_head_is_get_without_the_body(client: Client, path: str) -> None:
    head, got = client.head(path), client.get(path)
    assert head.body == b""
    moving = {"x-trans-id", "x-openstack-request-id", "date"}
    assert {k: v for k, v in head.headers.items() if k not in moving} == {
        k: v for k, v in got.headers.items() if k not in moving
    }
    assert got.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99", 0, 99),
        ("bytes=65530-65545", 65530, 65545),
        ("bytes=102000-", 102000, SIZE - 1),
        ("bytes=102000-999999", 102000, SIZE - 1),
        ("bytes=-5", SIZE - 5, SIZE - 1),
        ("bytes=-999999", 0, SIZE - 1),
    ],
)
def test_one_range(client: Client, path: str, header: str, first: int, last: int) -> None:
    answer = client.get(path, {"Range": header})
    assert answer.status == 206
    assert answer.body == CONTENT[first : last + 1]
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer.headers["content-length"] == str(last - first + 1)
    assert answer.headers["etag"] == ETAG


@pytest.mark.parametrize("header", ["bytes=102400-", "bytes=999999-9999999", "bytes=-0"])
def test_unsatisfiable_ranges(client: Client, path: str, header: str) -> None:
    answer = client.get(path, {"Range": header})
    assert answer.status == 416
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize("header", ["bytes=5-4", "bytes=a-b", "lines=1-2", "bytes=", "bytes=--5", "0-5", "bytes=1"])
def test_ranges_that_are_none(client: Client, path: str, header: str) -> None:
    answer = client.get(path, {"Range": header})
    assert (answer.status, answer.body) == (200, CONTENT)


def parts_of(answer: Answer) -> list[tuple[str, bytes]]:
    """The (Content-Range, content) of a multipart/byteranges body."""
    kind, _, boundary = answer.headers["content-type"].partition(";boundary=")
    assert kind == "multipart/byteranges"
    sections = answer.body.split(b"--" + boundary.encode())
    assert sections[-1].strip() == b"--"
    found = []
    for section in sections[1:-1]:
        head, _, content = section.partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().strip().split("\r\n"))
        assert lines["Content-Type"] == "text/x"
        found.append((lines["Content-Range"], content.removesuffix(b"\r\n")))
    return found


def test_several_ranges(client: Client, path: str) -> None:
    answer = client.get(path, {"Range": "bytes=0-9,65530-65545,-7"})
    assert answer.status == 206
    assert len(answer.body) == int(answer.headers["content-length"])
    assert parts_of(answer) == [
        (f"bytes 0-9/{SIZE}", CONTENT[:10]),
        (f"bytes 65530-65545/{SIZE}", CONTENT[65530:65546]),
        (f"bytes {SIZE - 7}-{SIZE - 1}/{SIZE}", CONTENT[-7:]),
    ]


def test_several_ranges_of_which_one_fits(client: Client, path: str) -> None:
    answer = client.get(path, {"Range": "bytes=10-19,999999-"})
    assert (answer.status, answer.body) == (206, CONTENT[10:20])
    assert answer.headers["content-range"] == f"bytes 10-19/{SIZE}"


@pytest.mark.parametrize(
    "ranges",
    [
        ",".join(f"{n}-{n}" for n in range(0, 102, 2)),  # 51 ranges
        "0-100,50-150,100-200,150-250",  # overlapping more than twice
        ",".join(f"{n}-{n}" for n in range(80, 60, -2)),  # backwards too often
    ],
    ids=["many", "overlapping", "descending"],
)
def test_abusive_ranges(client: Client, path: str, ranges: str) -> None:
    assert client.get(path, {"Range": f"bytes={ranges}"}).status == 416


def test_head_ignores_ranges(client: Client, path: str) -> None:
    answer = client.head(path, {"Range": "bytes=0-9"})
    assert answer.status == 200
    assert answer.headers["content-length"] == str(SIZE)


def test_ranges_of_an_empty_object(client: Client, container: str) -> None:
    client.put(f"{container}/empty", b"")
    assert client.get(f"{container}/empty", {"Range": "bytes=0-5"}).status == 416
    assert client.get(f"{container}/empty", {"Range": "bytes=-5"}).status == 416


def modified(client: Client, path: str, seconds: int) -> str:
    when = parsedate_to_datetime(client.head(path).headers["last-modified"])
    return format_datetime(when + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("If-Match", ETAG, 200),
        ("If-Match", f'"{ETAG}"', 200),
        ("If-Match", "*", 200),
        ("If-Match", "0" * 32, 412),
        ("If-Match", f"{'0' * 32}, {ETAG}", 200),
        ("If-None-Match", ETAG, 304),
        ("If-None-Match", f'"{ETAG}"', 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", "0" * 32, 200),
        ("If-Modified-Since", 0, 304),
        ("If-Modified-Since", -10, 200),
        ("If-Modified-Since", 10, 304),
        ("If-Unmodified-Since", 0, 200),
        ("If-Unmodified-Since", -10, 412),
        ("If-Modified-Since", "no date", 200),
        ("If-Unmodified-Since", "no date", 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions(client: Client, path: str, method: str, header: str, value: str | int, status: int) -> None:
    sent = modified(client, path, value) if isinstance(value, int) else value
    answer = client.request(method, path, {header: sent})
    assert answer.status == status
    if status == 304:
        assert answer.body == b""
        assert answer.headers["etag"] == ETAG


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_not_modified_has_the_headers_of_the_object(client: Client, container: str, method: str) -> None:
    """Caches take them over, so a header of the answer's own would spoil what they hold (RFC 9111, section 3.2)."""
    sent = {"Content-Type": "text/css", "Cache-Control": "max-age=5", "X-Object-Meta-A": "b", "X-Delete-After": "500"}
    client.put(f"{container}/o", b"abc", sent)
    whole = client.request(method, f"{container}/o").headers
    answer = client.request(method, f"{container}/o", {"If-None-Match": "*"})
    assert answer.status == 304
    names = ("content-type", "cache-control", "x-object-meta-a", "x-delete-at", "etag", "last-modified", "x-timestamp")
    assert {name: answer.headers.get(name) for name in names} == {name: whole[name] for name in names}
    assert "content-length" not in answer.headers


def test_conditions_on_what_is_not_there(client: Client, container: str) -> None:
    assert client.get(f"{container}/absent", {"If-Match": "*"}).status == 404
    assert client.get(f"{container}/absent", {"If-None-Match": "*"}).status == 404


@pytest.mark.parametrize("newest", ["true", "1", "on"])
def test_newest(client: Client, path: str, newest: str) -> None:
    client.put(path, b"newer")
    assert client.get(path, {"X-Newest": newest}).body == b"newer"
    assert client.head(path, {"X-Newest": newest}).headers["content-length"] == "5"


def test_a_range_and_a_condition(client: Client, path: str) -> None:
    assert client.get(path, {"Range": "bytes=0-4", "If-Match": ETAG}).status == 206
    assert client.get(path, {"Range": "bytes=0-4", "If-None-Match": ETAG}).status == 304
