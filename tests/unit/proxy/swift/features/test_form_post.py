"""Uploads by HTML forms."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

import pytest

from objstore.http.messages import Response
from objstore.proxy.core.info import PRESENT, AccountInfo, ContainerInfo
from tests.unit.proxy.swift.harness import NOW, Proxy

PLACE = "/v1/AUTH_test/c/up-"
LATER = int(NOW) + 60
TYPE = {"Content-Type": "multipart/form-data; boundary=xx"}


@pytest.fixture(autouse=True)
def keys(proxy: Proxy) -> None:
    proxy.info.accounts["AUTH_test"] = AccountInfo(PRESENT, metadata={"Temp-Url-Key": "one"})
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(PRESENT, metadata={"Temp-Url-Key": "two"})


def fields(
    redirect: str = "", size: int = 100, count: int = 2, expires: int = LATER, key: str = "one", path: str = PLACE
) -> dict[str, str]:
    message = f"{path}\n{redirect}\n{size}\n{count}\n{expires}"
    return {
        "redirect": redirect,
        "max_file_size": str(size),
        "max_file_count": str(count),
        "expires": str(expires),
        "signature": hmac.new(key.encode(), message.encode(), "sha256").hexdigest(),
    }


def form(given: Mapping[str, str], *files: tuple[str, bytes]) -> bytes:
    parts = [
        f'--xx\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in given.items()
    ]
    body = "".join(parts).encode()
    for number, (name, content) in enumerate(files, 1):
        head = f'--xx\r\nContent-Disposition: form-data; name="file{number}"; filename="{name}"\r\n'
        body += head.encode() + b"Content-Type: a/b\r\n\r\n" + content + b"\r\n"
    return body + b"--xx--\r\n"


def post(proxy: Proxy, body: bytes, path: str = PLACE) -> Response:
    return proxy.send("POST", path, TYPE, body)


def stored(proxy: Proxy) -> dict[str, bytes]:
    return {request.path: request.environ["test.body"] for request in proxy.handlers.requests}


@pytest.mark.parametrize("key", ["one", "two"])
def test_each_file_becomes_an_object(proxy: Proxy, key: str) -> None:
    assert post(proxy, form(fields(key=key), ("a", b"first"), ("b", b"second"))).status == 201
    assert stored(proxy) == {"/v1/AUTH_test/c/up-a": b"first", "/v1/AUTH_test/c/up-b": b"second"}
    assert proxy.seen.environ["CONTENT_TYPE"] == "a/b"


@pytest.mark.parametrize(
    "given",
    [
        fields(expires=int(NOW)),
        fields(key="three"),
        fields(path="/v1/AUTH_test/c/other"),
        fields() | {"max_file_size": "1000"},
        fields() | {"signature": ""},
        fields() | {"redirect": "http://elsewhere"},
    ],
)
def test_forms_that_are_not_signed_are_refused(proxy: Proxy, given: dict[str, str]) -> None:
    assert post(proxy, form(given, ("a", b"x"))).status == 401
    assert not proxy.handlers.requests


def test_too_large_a_file_is_not_stored(proxy: Proxy) -> None:
    answer = post(proxy, form(fields(size=5), ("a", b"12345"), ("b", b"123456")))
    assert answer.status == 413
    assert stored_sizes(proxy) == {"/v1/AUTH_test/c/up-a": 5}


def stored_sizes(proxy: Proxy) -> dict[str, int]:
    return {
        request.path: len(request.environ["test.body"])
        for request in proxy.handlers.requests
        if "test.body" in request.environ
    }


def test_too_many_files(proxy: Proxy) -> None:
    assert post(proxy, form(fields(count=1), ("a", b"1"), ("b", b"2"))).status == 400
    assert stored(proxy) == {"/v1/AUTH_test/c/up-a": b"1"}


@pytest.mark.parametrize("files", [(), (("", b""),)])
def test_a_form_without_files(proxy: Proxy, files: tuple[tuple[str, bytes], ...]) -> None:
    assert post(proxy, form(fields(), *files)).status == 400


@pytest.mark.parametrize(
    ("redirect", "location"),
    [
        ("http://a.example/done", "http://a.example/done?status=201&message="),
        ("http://a.example/done?x=1", "http://a.example/done?x=1&status=201&message="),
    ],
)
def test_the_browser_is_sent_on(proxy: Proxy, redirect: str, location: str) -> None:
    answer = post(proxy, form(fields(redirect), ("a", b"x")))
    assert (answer.status, answer.headers["Location"]) == (303, location)


def test_the_browser_is_sent_on_with_what_went_wrong(proxy: Proxy) -> None:
    answer = post(proxy, form(fields("http://a.example/", size=1), ("a", b"xx")))
    expected = "http://a.example/?status=413&message=max_file_size%20exceeded"
    assert (answer.status, answer.headers["Location"]) == (303, expected)


def test_files_may_be_deleted_later(proxy: Proxy) -> None:
    assert post(proxy, form(fields() | {"x_delete_after": "60"}, ("a", b"x"))).status == 201
    assert proxy.seen.environ["HTTP_X_DELETE_AFTER"] == "60"
    assert post(proxy, form(fields() | {"x_delete_at": "soon"}, ("a", b"x"))).status == 400


@pytest.mark.parametrize(
    "body", [b"", b"--xx", b"--xx\r\n", b"--xx\r\nContent-Disposition: form-data\r\n\r\n", b"nothing of a form"]
)
def test_what_is_no_form(proxy: Proxy, body: bytes) -> None:
    assert post(proxy, body).status == 400
    assert not proxy.handlers.requests


def test_a_form_without_boundary(proxy: Proxy) -> None:
    assert proxy.send("POST", PLACE, {"Content-Type": "multipart/form-data"}, b"x").status == 400


def test_a_post_of_metadata_is_no_form(proxy: Proxy) -> None:
    token = {"X-Auth-Token": proxy.token("test:tester", "testing")}
    assert proxy.send("POST", PLACE, token | {"Content-Type": "text/plain"}).status == 200
    assert proxy.seen.method == "POST"


def test_only_a_signed_form_says_where_to_go(proxy: Proxy) -> None:
    late = form(fields(), ("a", b"1")).removesuffix(b"--xx--\r\n") + form({"redirect": "http://evil"})
    assert post(proxy, late).status == 201
    assert post(proxy, form({"redirect": "http://evil"}, ("a", b"1"))).status == 400


def test_the_type_of_a_file_is_no_way_to_other_headers(proxy: Proxy) -> None:
    body = form(fields(), ("a", b"1")).replace(b"Content-Type: a/b", b"Content-Type: a/b\rX-Other: 1")
    assert post(proxy, body).status == 201
    assert "\r" not in proxy.seen.environ.get("CONTENT_TYPE", "")
