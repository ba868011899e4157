"""What every answer looks like, whatever it is about: types, lengths, reasons, connections."""

from __future__ import annotations

import time

import pytest

from tests.functional.client import Client

PAGE = "text/html; charset=UTF-8"


def test_answers_without_a_body_of_their_own_have_a_type(client: Client, container: str) -> None:
    for method, path, status in (
        ("PUT", f"{container}/o", 201),
        ("POST", f"{container}/o", 202),
        ("DELETE", f"{container}/o", 204),
        ("PUT", container, 202),
        ("POST", container, 204),
        ("POST", "", 204),
        ("GET", f"{container}/o", 404),
        ("HEAD", f"{container}/o", 404),
    ):
        answer = client.request(method, path)
        assert (answer.status, answer.headers["content-type"]) == (status, PAGE)


@pytest.mark.parametrize(
    ("query", "content_type"),
    [
        ({}, "text/plain; charset=utf-8"),
        ({"format": "json"}, "application/json; charset=utf-8"),
        ({"format": "xml"}, "application/xml; charset=utf-8"),
    ],
)
def test_head_tells_the_type_of_the_listing(
    client: Client, container: str, query: dict[str, str], content_type: str
) -> None:
    for path in ("", container):
        answer = client.head(path, **query)
        assert (answer.status, answer.headers["content-length"]) == (204, "0")
        assert answer.headers["content-type"] == content_type


@pytest.mark.parametrize(
    ("target", "status", "reason"),
    [
        ("/v1", 412, "Bad URL"),
        ("/v1/{account}/a%00b", 412, "Invalid UTF8 or contains NULL"),
        ("/v1/{account}/{container}/a%00b", 412, "Invalid UTF8 or contains NULL"),
        ("/v1/{account}/{container}/%E2%98", 412, "Invalid UTF8 or contains NULL"),
        ("//v1/{account}", 404, "Not Found"),
    ],
)
def test_refusals_say_why_and_nothing_else(
    client: Client, container: str, target: str, status: int, reason: str
) -> None:
    answer = client.raw("PUT", target.format(account=client.account, container=container))
    assert (answer.status, answer.text) == (status, reason)
    assert answer.headers["content-type"] == PAGE


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"X-Delete-At": "*"}, "Non-integer X-Delete-At"),
        ({"X-Delete-After": "*"}, "Non-integer X-Delete-After"),
        ({"X-Delete-At": "0"}, "X-Delete-At in past"),
    ],
)
def test_refused_times(client: Client, container: str, headers: dict[str, str], reason: str) -> None:
    answer = client.put(f"{container}/o", b"", headers)
    assert (answer.status, answer.text) == (400, reason)


def test_a_delete_may_be_meant_for_one_expiry(client: Client, container: str) -> None:
    at = str(int(time.time()) + 1000)
    client.put(f"{container}/o", b"x", {"X-Delete-At": at})
    assert client.delete(f"{container}/o", {"X-If-Delete-At": "soon"}).status == 400
    assert client.delete(f"{container}/o", {"X-If-Delete-At": "1"}).status == 412
    assert client.delete(f"{container}/o", {"X-If-Delete-At": at}).status == 204


def test_the_connection_is_spoken_of_when_asked(client: Client, container: str) -> None:
    client.put(f"{container}/o", b"x")
    assert "connection" not in client.get(f"{container}/o").headers
    assert client.get(f"{container}/o", {"Connection": "keep-alive"}).headers["connection"] == "keep-alive"


def test_an_unmet_condition_names_the_object(client: Client, container: str) -> None:
    stored = client.put(f"{container}/o", b"body").headers
    for headers, status in (
        ({"If-Match": '"other"'}, 412),
        ({"If-Unmodified-Since": "Sun Nov  6 08:49:37 1994"}, 412),
        ({"If-Match": stored["etag"], "If-Unmodified-Since": "Sunday, 06-Nov-94 08:49:37 GMT"}, 412),
        ({"If-None-Match": f'"other", "{stored["etag"]}"'}, 304),
        ({"Range": "bytes=9-"}, 416),
    ):
        answer = client.get(f"{container}/o", headers)
        assert answer.status == status
        assert answer.headers["etag"] == stored["etag"]
        assert answer.headers["accept-ranges"] == "bytes"
