"""Temporary URLs."""

from __future__ import annotations

import hmac
from base64 import b64encode
from urllib.parse import quote

import msgspec
import pytest

from objstore.http.messages import Response
from objstore.paths import ResourcePath
from objstore.proxy.core.info import PRESENT, AccountInfo, ContainerInfo
from objstore.proxy.swift.features.temp_url import parse_time
from objstore.proxy.swift.request import SwiftRequest
from tests.unit.proxy.swift.harness import NOW, Proxy

OBJECT = "/v1/AUTH_test/c/a/o"
LATER = int(NOW) + 60


@pytest.fixture(autouse=True)
def keys(proxy: Proxy) -> None:
    proxy.info.accounts["AUTH_test"] = AccountInfo(PRESENT, metadata={"Temp-Url-Key": "one", "Temp-Url-Key-2": "two"})
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(PRESENT, metadata={"Temp-Url-Key": "three"})
    proxy.info.containers["/AUTH_test/other"] = ContainerInfo(PRESENT)


def sign(message: str, key: str = "one", digest: str = "sha256") -> str:
    return hmac.new(key.encode(), message.encode(), digest).hexdigest()


def signed(
    method: str = "GET", path: str = OBJECT, key: str = "one", digest: str = "sha256", expires: int = LATER
) -> str:
    message = f"{method}\n{expires}\n{path}"
    return f"temp_url_sig={sign(message, key, digest)}&temp_url_expires={expires}"


@pytest.mark.parametrize("key", ["one", "two", "three"])
@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
def test_whoever_has_the_url_needs_no_token(proxy: Proxy, key: str, digest: str) -> None:
    assert proxy.send("GET", OBJECT, query=signed(key=key, digest=digest)).status == 200
    assert proxy.handlers.requests


def test_a_signature_may_be_base64_with_its_digest(proxy: Proxy) -> None:
    digest = hmac.digest(b"one", f"GET\n{LATER}\n{OBJECT}".encode(), "sha256")
    query = f"temp_url_sig=sha256:{quote(b64encode(digest).decode(), safe='')}&temp_url_expires={LATER}"
    assert proxy.send("GET", OBJECT, query=query).status == 200


@pytest.mark.parametrize(
    "query",
    [
        signed(expires=int(NOW) - 1),
        signed(expires=int(NOW)),
        signed(key="four"),
        signed(path="/v1/AUTH_test/c/a/other"),
        signed(method="PUT"),
        signed() + "0",
        signed().partition("&")[0],
        signed().partition("&")[2],
        signed().replace("temp_url_sig=", "temp_url_sig=sha256:"),
        "temp_url_sig=&temp_url_expires=" + str(LATER),
        "temp_url_prefix=a",
    ],
)
def test_other_urls_are_refused(proxy: Proxy, query: str) -> None:
    assert proxy.send("GET", OBJECT, query=query).status == 401
    assert not proxy.handlers.requests


@pytest.mark.parametrize(
    ("signed_method", "method", "status"),
    [
        ("GET", "HEAD", 200),
        ("PUT", "HEAD", 200),
        ("POST", "HEAD", 200),
        ("HEAD", "HEAD", 200),
        ("DELETE", "HEAD", 401),
        ("GET", "PUT", 401),
        ("PUT", "PUT", 201),
        ("PUT", "GET", 401),
        ("DELETE", "DELETE", 200),
    ],
)
def test_a_signature_is_for_one_method_and_for_head(proxy: Proxy, signed_method: str, method: str, status: int) -> None:
    assert proxy.send(method, OBJECT, query=signed(signed_method)).status == status


@pytest.mark.parametrize(("prefix", "status"), [("a/", 200), ("", 200), ("b", 401)])
def test_a_prefix_opens_all_names_that_begin_so(proxy: Proxy, prefix: str, status: int) -> None:
    signature = sign(f"GET\n{LATER}\nprefix:/v1/AUTH_test/c/{prefix}")
    query = f"temp_url_sig={signature}&temp_url_expires={LATER}&temp_url_prefix={quote(prefix, safe='')}"
    assert proxy.send("GET", OBJECT, query=query).status == status


@pytest.mark.parametrize(("addresses", "status"), [("127.0.0.0/28", 200), ("10.0.0.0/8", 401), ("none", 401)])
def test_a_url_may_be_for_some_addresses(proxy: Proxy, addresses: str, status: int) -> None:
    signature = sign(f"ip={addresses}\nGET\n{LATER}\n{OBJECT}")
    query = f"temp_url_sig={signature}&temp_url_expires={LATER}&temp_url_ip_range={quote(addresses, safe='')}"
    assert proxy.send("GET", OBJECT, query=query).status == status


@pytest.mark.parametrize(
    ("key", "path", "status"),
    [
        ("one", ResourcePath("AUTH_test", "other", "o"), 200),
        ("one", ResourcePath("AUTH_test2", "c", "o"), 401),
        ("three", ResourcePath("AUTH_test", "c", "p"), 200),
        ("three", ResourcePath("AUTH_test", "other", "o"), 401),
    ],
)
def test_what_else_the_request_reads_lies_where_the_key_opens(
    proxy: Proxy, key: str, path: ResourcePath, status: int
) -> None:
    """A link, or a segment of a large object."""

    def follow(request: SwiftRequest) -> Response:
        request.check_access(None, path, "GET")
        return Response(200)

    proxy.handlers.follow = follow
    assert proxy.send("GET", OBJECT, query=signed(key=key)).status == status


def test_a_writer_does_not_read(proxy: Proxy) -> None:
    """The source of a copy is read with the signature's rights."""

    def copy(request: SwiftRequest) -> Response:
        request.check_access(None, ResourcePath("AUTH_test", "c", "secret"), "GET")
        return Response(201)

    proxy.handlers.follow = copy
    sent = {"X-Copy-From": "c/secret"}
    assert proxy.send("PUT", OBJECT, sent, query=signed("PUT")).status == 401


def test_a_version_is_not_signed(proxy: Proxy) -> None:
    """Reading gives what is current; nothing else is done with it."""
    assert proxy.send("GET", OBJECT, query=signed() + "&version-id=1").status == 200
    assert "version-id" not in proxy.seen.params
    assert proxy.send("DELETE", OBJECT, query=signed("DELETE") + "&version-id=1").status == 400


@pytest.mark.parametrize("header", ["X-Object-Manifest", "X-Symlink-Target"])
def test_a_writer_makes_nothing_that_shows_other_objects(proxy: Proxy, header: str) -> None:
    assert proxy.send("PUT", OBJECT, {header: "c/secret"}, query=signed("PUT")).status == 400
    assert not proxy.handlers.requests


@pytest.mark.parametrize("query", ["multipart-manifest=put", "extract-archive=tar"])
def test_a_writer_makes_no_manifest_and_no_other_objects(proxy: Proxy, query: str) -> None:
    assert proxy.send("PUT", OBJECT, query=f"{signed('PUT')}&{query}").status == 400
    assert not proxy.handlers.requests


def test_what_is_shown(proxy: Proxy) -> None:
    headers = {"X-Object-Meta-Color": "red", "X-Object-Meta-Public-Size": "big", "Etag": "e"}
    proxy.handlers.answers["GET", "/AUTH_test/c/a/o"] = Response(200, headers)
    shown = proxy.send("GET", OBJECT, query=signed()).headers
    assert "X-Object-Meta-Color" not in shown
    assert shown["X-Object-Meta-Public-Size"] == "big"
    assert shown["Expires"] == "Tue, 14 Nov 2023 22:14:20 GMT"
    assert shown["Content-Disposition"] == "attachment; filename=\"o\"; filename*=UTF-8''o"


@pytest.mark.parametrize(
    ("query", "own", "shown"),
    [
        ("&inline", "", "inline"),
        ("&filename=a%20b", "", "attachment; filename=\"a b\"; filename*=UTF-8''a%20b"),
        ("&filename=a&inline", "", "inline; filename=\"a\"; filename*=UTF-8''a"),
        ("", "fancy", "fancy"),
        ("&filename=%0D%0AX:%20y%22", "", "attachment; filename=\"X: y\"; filename*=UTF-8''%0D%0AX%3A%20y%22"),
    ],
)
def test_how_browsers_show_it(proxy: Proxy, query: str, own: str, shown: str) -> None:
    stored = {"Content-Disposition": own} if own else {}
    proxy.handlers.answers["GET", "/AUTH_test/c/a/o"] = Response(200, stored)
    assert proxy.send("GET", OBJECT, query=signed() + query).headers["Content-Disposition"] == shown


def test_a_container_is_not_listed(proxy: Proxy) -> None:
    path = "/v1/AUTH_test/c"
    assert proxy.send("GET", path, query=signed(path=path)).status == 401
    signature = sign(f"GET\n{LATER}\nprefix:/v1/AUTH_test/c/")
    query = f"temp_url_sig={signature}&temp_url_expires={LATER}&temp_url_prefix="
    assert proxy.send("GET", path, query=query).status == 401


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1700000000", 1700000000),
        ("2023-11-14T22:13:20Z", 1700000000),
        ("2023-11-14T22:13:20", 1700000000),
        ("2023-11-14", 1699920000),
        ("-1", 0),
        ("²", 0),
        ("9" * 30, 0),
        ("soon", 0),
        ("", 0),
    ],
)
def test_times(text: str, time: int) -> None:
    assert parse_time(text) == time


def test_info_tells_of_them(proxy: Proxy) -> None:
    section = msgspec.json.decode(proxy.send("GET", "/info").read_all())["tempurl"]
    assert section["methods"] == ["GET", "HEAD", "PUT", "POST", "DELETE"]
    assert section["allowed_digests"] == ["sha1", "sha256", "sha512"]
    assert section["deprecated_digests"] == ["sha1"]
