"""Conditions of PUT, POST, DELETE and copies: on plain objects, manifests, links, and in containers with versions."""

from __future__ import annotations

import json
import os
from email.utils import formatdate, parsedate_to_datetime
from hashlib import md5

import pytest

from tests.functional.client import Client, Wire
from tests.functional.test_legacy_versions import archive as archive
from tests.functional.test_legacy_versions import archived, keep

OTHER = "f" * 32
LARGE = os.urandom(300_000)


def etag(content: bytes) -> str:
    return md5(content).hexdigest()


@pytest.fixture
def path(client: Client, container: str) -> str:
    """An object that is there."""
    assert client.put(f"{container}/o", b"old").status == 201
    return f"{container}/o"


HOLD = (
    {"If-Match": f'"{etag(b"old")}"'},
    {"If-Match": etag(b"old")},
    {"If-Match": f'"{OTHER}", "{etag(b"old")}"'},
    {"If-Match": "*"},
    {"If-None-Match": f'"{OTHER}"'},
    {"If-Unmodified-Since": formatdate(4_000_000_000, usegmt=True)},
)
FAIL = (
    {"If-Match": f'"{OTHER}"'},
    {"If-Match": f'W/"{etag(b"old")}"'},
    {"If-None-Match": "*"},
    {"If-None-Match": f'"{OTHER}", W/"{etag(b"old")}"'},
    {"If-Unmodified-Since": formatdate(1_400_000_000, usegmt=True)},
    {"If-Match": etag(b"old"), "If-Unmodified-Since": formatdate(1_400_000_000, usegmt=True)},
)


@pytest.mark.parametrize("body", [b"new", LARGE], ids=["small", "large"])
def test_a_put_is_done_if_the_condition_holds(client: Client, path: str, body: bytes) -> None:
    for headers in HOLD:
        assert client.put(path, b"old").status == 201
        assert client.put(path, body, headers).status == 201, headers
        assert client.get(path).body == body
    assert client.put(path, b"old").status == 201
    for headers in FAIL:
        answer = client.put(path, body, headers)
        assert (answer.status, answer.text) == (412, "Precondition Failed"), headers
    assert client.get(path).body == b"old"


def test_a_post_and_a_delete_too(client: Client, path: str) -> None:
    for number, headers in enumerate(FAIL):
        assert client.post(path, {"X-Object-Meta-A": str(number), **headers}).status == 412, headers
        assert client.delete(path, headers).status == 412, headers
    assert "x-object-meta-a" not in client.head(path).headers
    for number, headers in enumerate(HOLD):
        assert client.post(path, {"X-Object-Meta-A": str(number), **headers}).status == 202, headers
        assert client.head(path).headers["x-object-meta-a"] == str(number)
        assert client.delete(path, headers).status == 204, headers
        assert client.put(path, b"old").status == 201


def test_what_has_been_read_can_be_changed(client: Client, path: str) -> None:
    """Of two clients that have read the same, one writes; its Last-Modified is no condition against itself."""
    read = client.get(path).headers
    assert client.put(path, b"1", {"If-Unmodified-Since": read["last-modified"]}).status == 201
    assert client.put(path, b"2", {"If-Match": read["etag"]}).status == 412
    second = parsedate_to_datetime(read["last-modified"]).timestamp() - 1
    assert client.put(path, b"3", {"If-Unmodified-Since": formatdate(second, usegmt=True)}).status == 412
    assert client.get(path).body == b"1"


def test_nothing_matches_what_is_absent(client: Client, container: str) -> None:
    absent = f"{container}/absent"
    for headers in ({"If-Match": "*"}, {"If-Match": OTHER}):
        assert client.put(absent, b"1", headers).status == 412
        assert client.post(absent, headers).status == 412
        assert client.delete(absent, headers).status == 412
    for headers in ({"If-None-Match": OTHER}, {"If-Unmodified-Since": formatdate(1_400_000_000, usegmt=True)}):
        assert client.put(absent, b"1", headers).status == 201
        assert client.delete(absent).status == 204


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"If-Match": ""},
        {"If-Match": "abc"},
        {"If-None-Match": '*, "a"'},
        {"If-None-Match": '"never"'},
        {"If-Unmodified-Since": "yesterday"},
    ],
)
def test_what_cannot_be_read_is_refused(client: Client, path: str, method: str, headers: dict[str, str]) -> None:
    answer = client.request(method, path, headers)
    assert answer.status == 400
    assert next(iter(headers)) in answer.text
    assert client.get(path).body == b"old"


@pytest.mark.parametrize("headers", FAIL)
def test_the_refusal_comes_before_the_body(client: Client, path: str, headers: dict[str, str]) -> None:
    lines = [f"PUT /v1/{client.account}/{path} HTTP/1.1", "Host: x", f"X-Auth-Token: {client.token}"]
    lines += ["Content-Length: 1000000", "Expect: 100-continue", *(f"{name}: {headers[name]}" for name in headers)]
    with Wire(client.host, client.port) as wire:
        wire.send("\r\n".join([*lines, "", ""]).encode())
        assert wire.answer().status == 412


def test_a_large_object_is_known_by_its_own_etag(client: Client, container: str) -> None:
    whole, parts = f"{container}/whole", []
    for number, content in enumerate((b"a" * 10, b"b" * 10)):
        client.put(f"{container}/s{number}", content)
        parts.append({"path": f"{container}/s{number}"})
    made = {"body": json.dumps(parts).encode(), "multipart-manifest": "put"}

    def put(headers: dict[str, str]) -> int:
        return client.request("PUT", whole, headers, **made).status  # type: ignore[arg-type]

    assert put({"If-Match": "*"}) == 412
    assert put({"If-None-Match": "*"}) == 201
    own = client.head(whole).headers["etag"]
    assert put({"If-None-Match": own}) == 412
    assert put({"If-Match": own}) == 201
    assert client.post(whole, {"If-Match": f'"{OTHER}"'}).status == 412
    assert client.post(whole, {"If-Match": own}).status == 202
    refused = client.delete(whole, {"If-Match": f'"{OTHER}"'}, **{"multipart-manifest": "delete"})
    assert "412 Precondition Failed" in refused.text
    assert client.delete(whole, {"If-None-Match": own}, **{"multipart-manifest": "delete", "async": "on"}).status == 412
    assert client.get(whole).body == b"a" * 10 + b"b" * 10
    assert "Number Deleted: 3" in client.delete(whole, {"If-Match": own}, **{"multipart-manifest": "delete"}).text


def test_a_link_is_known_by_its_own_etag(client: Client, container: str, path: str) -> None:
    link, to = f"{container}/link", {"X-Symlink-Target": path}
    assert client.put(link, b"", to).status == 201
    assert client.put(link, b"", {**to, "If-None-Match": "*"}).status == 412
    assert client.put(link, b"", {**to, "If-Match": etag(b"old")}).status == 412
    assert client.put(link, b"", {**to, "If-Match": etag(b"")}).status == 201
    assert client.delete(link, {"If-Match": etag(b"old")}).status == 412
    assert client.delete(link, {"If-Match": etag(b"")}).status == 204


def test_conditions_are_about_the_current_version(client: Client, container: str, path: str) -> None:
    assert client.post(container, {"X-Versions-Enabled": "true"}).status == 204
    first = client.put(path, b"1").headers["x-object-version-id"]
    assert client.put(path, b"2", {"If-Match": etag(b"old")}).status == 412
    assert client.put(path, b"2", {"If-Match": etag(b"1")}).status == 201
    assert client.delete(path, {"If-Match": etag(b"1")}).status == 412
    client.put(path, b"3")
    assert client.put(path, None, {"If-Match": etag(b"2")}, **{"version-id": first}).status == 412
    assert client.put(path, None, {"If-Match": etag(b"3")}, **{"version-id": first}).status == 201
    assert client.delete(path, {"If-Match": etag(b"3")}, **{"version-id": first}).status == 412
    assert client.delete(path, {"If-Match": etag(b"1")}).status == 204
    assert client.put(path, b"4", {"If-Match": "*"}).status == 412, "a delete marker is no object"
    assert client.put(path, b"4", {"If-None-Match": "*"}).status == 201
    assert client.get(path, **{"version-id": first}).body == b"1"
    client.post(container, {"X-Versions-Enabled": "false"})


@pytest.mark.parametrize("header", ["X-Versions-Location", "X-History-Location"])
def test_what_is_refused_is_not_archived(client: Client, container: str, archive: str, path: str, header: str) -> None:
    keep(client, container, header, archive)
    assert client.put(path, b"new", {"If-Match": f'"{OTHER}"'}).status == 412
    assert client.delete(path, {"If-Match": f'"{OTHER}"'}).status == 412
    assert archived(client, archive) == []
    assert client.put(path, b"new", {"If-Match": etag(b"old")}).status == 201
    assert archived(client, archive) == [b"old"]
    assert client.delete(path, {"If-None-Match": f'"{etag(b"new")}"'}).status == 412
    assert client.delete(path, {"If-Match": etag(b"new")}).status == 204
    assert client.get(path).status == (200 if header == "X-Versions-Location" else 404)


def test_a_copy_that_replaces_nothing(client: Client, container: str, path: str) -> None:
    target = f"{container}/t"
    assert client.copy(path, target, {"If-None-Match": "*"}).status == 201
    assert client.copy(path, target, {"If-None-Match": "*"}).status == 412
    assert client.put(target, None, {"X-Copy-From": f"/{path}", "If-None-Match": "*"}).status == 412
    assert client.copy(path, f"{container}/u", {"If-None-Match": "*", "If-Match": OTHER}).status == 412
    assert client.copy(path, target, {"If-Match": etag(b"old")}).status == 201
