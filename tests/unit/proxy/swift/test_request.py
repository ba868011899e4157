"""Requests at the edge."""

from __future__ import annotations

from typing import Any

import pytest

from objstore.errors import StoreError
from objstore.http.bodies import EMPTY_BODY
from objstore.http.errors import HttpError, http_error_of
from objstore.paths import ResourcePath
from objstore.proxy.swift.request import SwiftRequest


def request(path: str = "/v1/a/c/o", method: str = "GET", **variables: Any) -> SwiftRequest:
    return SwiftRequest({"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": EMPTY_BODY, **variables})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/a", ResourcePath("a")),
        ("/v1/a/", ResourcePath("a")),
        ("/v1/a/c", ResourcePath("a", "c")),
        ("/v1.0/a/c/", ResourcePath("a", "c")),
        ("/v1/a/c/o", ResourcePath("a", "c", "o")),
        ("/v1/a/c/o/p/", ResourcePath("a", "c", "o/p/")),
        ("/v1/a/c//o", ResourcePath("a", "c", "/o")),
        ("/v1/\xc3\xa4/c/\xe2\x98\x83", ResourcePath("ä", "c", "☃")),
        ("/v1", None),
        ("/v1/", None),
        ("/", None),
        ("/*", None),
        ("/healthcheck", None),
        ("/bucket/key", None),
        ("/v1x/a", None),
    ],
)
def test_resource(path: str, expected: ResourcePath | None) -> None:
    assert request(path).resource == expected


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/a", 412),
        ("//v1/a", 404),
        ("//", 404),
        ("/v1//c", 404),
        ("/v1/a//o", 404),
        ("/v1//", 404),
        ("/v1/a/\xff", 412),
        ("/v1/a/c/\0o", 412),
    ],
)
def test_bad_paths(path: str, status: int) -> None:
    bad = request(path)
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            assert bad.resource
        answer = http_error_of(caught.value)
        assert answer is not None
        assert answer.status == status
    assert bad.kind == "other"


def test_reserved_names_are_for_internal_callers() -> None:
    internal = request("/v1/a/\0c/\0o", HTTP_X_BACKEND_ALLOW_RESERVED_NAMES="true")
    assert internal.storage_resource.object == "\0o"


def test_a_resource_may_be_demanded() -> None:
    with pytest.raises(HttpError) as caught:
        assert request("/v1").storage_resource
    assert caught.value.status == 412


def test_parameters_can_be_changed() -> None:
    given = request(QUERY_STRING="a=%C3%A4&b=1+2")
    assert given.params == {"a": "ä", "b": "1 2"}
    given.params = given.params | {"c": "☃"}
    assert given.params["c"] == "☃"
    assert given.environ["QUERY_STRING"] == "a=%C3%A4&b=1+2&c=%E2%98%83"


def test_headers_can_be_changed() -> None:
    given = request(HTTP_X_A="1")
    given.set_header("X-B", "2")
    given.set_header("X-A", None)
    given.set_header("X-Absent", None)
    assert given.headers_with_prefix("X-") == {"X-B": "2"}


def test_webob_parses_what_is_seldom_asked_for() -> None:
    given = request(HTTP_ACCEPT="text/plain;q=0.5, application/json")
    assert given.accept.acceptable_offers(["text/plain", "application/json"])[0][0] == "application/json"
