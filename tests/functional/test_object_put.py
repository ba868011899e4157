"""Writing objects: PUT, POST, DELETE, and what is stored with them."""

from __future__ import annotations

import hashlib
import re
from email.utils import parsedate_to_datetime

import pytest

from tests.functional.client import Client


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 4096, 65535, 65536, 65537, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_what_goes_in_comes_out(client: Client, container: str, size: int, chunked: bool) -> None:
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    body = (content[at : at + 50_000] for at in range(0, size, 50_000)) if chunked else content
    created = client.put(f"{container}/o", body)
    assert created.status == 201
    assert created.headers["etag"] == md5(content)
    assert parsedate_to_datetime(created.headers["last-modified"])
    answer = client.get(f"{container}/o")
    assert (answer.status, answer.body) == (200, content)
    assert answer.headers["content-length"] == str(size)
    assert answer.headers["etag"] == md5(content)
    assert answer.headers["last-modified"] == created.headers["last-modified"]
    assert client.rows(container)[0]["bytes"] == size


def test_an_object_is_replaced(client: Client, container: str) -> None:
    client.put(f"{container}/o", b"one", {"X-Object-Meta-A": "1"})
    assert client.put(f"{container}/o", b"three").status == 201
    answer = client.get(f"{container}/o")
    assert answer.body == b"three"
    assert "x-object-meta-a" not in answer.headers
    assert client.head(container).headers["x-container-object-count"] == "1"


def test_the_etag_of_the_client_is_checked(client: Client, container: str) -> None:
    assert client.put(f"{container}/o", b"right", {"ETag": md5(b"right")}).status == 201
    assert client.put(f"{container}/o", b"right", {"ETag": f'"{md5(b"right")}"'}).status == 201
    assert client.put(f"{container}/o", b"wrong", {"ETag": md5(b"right")}).status == 422
    assert client.put(f"{container}/p", b"wrong" * 50_000, {"ETag": md5(b"right")}).status == 422
    assert client.get(f"{container}/o").body == b"right"
    assert client.names(container) == ["o"]


@pytest.mark.parametrize(
    ("name", "headers", "expected"),
    [
        ("o.txt", {}, "text/plain"),
        ("o.html", {}, "text/html"),
        ("o.unheard-of", {}, "application/octet-stream"),
        ("o", {}, "application/octet-stream"),
        ("o.txt", {"Content-Type": "image/png"}, "image/png"),
        ("o.txt", {"Content-Type": "image/png", "X-Detect-Content-Type": "true"}, "text/plain"),
        ("o", {"Content-Type": "text/plain; charset=latin-1; a=b"}, "text/plain; charset=latin-1; a=b"),
        ("o.txt", {"Content-Type": ""}, "text/plain"),
    ],
)
def test_content_types(client: Client, container: str, name: str, headers: dict[str, str], expected: str) -> None:
    client.put(f"{container}/{name}", b"x", headers)
    assert client.head(f"{container}/{name}").headers["content-type"] == expected
    assert client.rows(container)[0]["content_type"] == expected


def test_metadata_and_allowed_headers_are_stored(client: Client, container: str) -> None:
    sent = {
        "X-Object-Meta-Colour": "Grün".encode().decode("latin-1"),
        "Content-Disposition": 'attachment; filename="a"',
        "Content-Encoding": "gzip",
        "Cache-Control": "no-store",
        "Content-Language": "de",
        "Expires": "Thu, 01 Dec 2044 16:00:00 GMT",
        "X-Robots-Tag": "noindex",
    }
    client.put(f"{container}/o", b"x", {**sent, "X-Unknown": "1"})
    for answer in (client.head(f"{container}/o"), client.get(f"{container}/o")):
        for name, value in sent.items():
            assert answer.headers[name.lower()] == value
        assert "x-unknown" not in answer.headers


def test_post_replaces_all_metadata(client: Client, container: str) -> None:
    client.put(f"{container}/o", b"x", {"X-Object-Meta-A": "1", "Content-Type": "text/a", "Content-Encoding": "z"})
    assert client.post(f"{container}/o", {"X-Object-Meta-B": "2"}).status == 202
    headers = client.head(f"{container}/o").headers
    assert headers["x-object-meta-b"] == "2"
    assert "x-object-meta-a" not in headers
    assert "content-encoding" not in headers
    assert headers["content-type"] == "text/a"
    assert headers["etag"] == md5(b"x")
    assert client.post(f"{container}/o", {"Content-Type": "text/b"}).status == 202
    assert client.head(f"{container}/o").headers["content-type"] == "text/b"
    assert client.rows(container)[0]["content_type"] == "text/b"
    assert client.post(f"{container}/absent", {"X-Object-Meta-B": "2"}).status == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Object-Meta-" + "n" * 128: "v"}, 201),
        ({"X-Object-Meta-" + "n" * 129: "v"}, 400),
        ({"X-Object-Meta-A": "v" * 256}, 201),
        ({"X-Object-Meta-A": "v" * 257}, 400),
        ({f"X-Object-Meta-{i}": "v" for i in range(90)}, 201),
        ({f"X-Object-Meta-{i}": "v" for i in range(91)}, 400),
        ({f"X-Object-Meta-{i}": "v" * 240 for i in range(17)}, 400),
        ({"X-Object-Meta-": "v"}, 400),
    ],
)
def test_metadata_limits(client: Client, container: str, headers: dict[str, str], status: int) -> None:
    assert client.put(f"{container}/o", b"x", headers).status == status
    client.put(f"{container}/o", b"x")
    assert client.post(f"{container}/o", headers).status == (202 if status == 201 else status)


@pytest.mark.parametrize(("length", "status"), [(1024, 201), (1025, 400)])
def test_name_limits(client: Client, container: str, length: int, status: int) -> None:
    assert client.put(f"{container}/{'n' * length}", b"x").status == status


def test_names_of_all_kinds(client: Client, container: str) -> None:
    names = [
        "Käse ☃",
        "a b",
        "a%20b",
        "+",
        "q?x=1",
        "#",
        "a//b",
        "/lead",
        "trail/",
        "..",
        "../..",
        ".",
        "\\",
        "<>&'",
        "\t",
    ]
    for name in names:
        assert client.put(f"{container}/{name}", name.encode()).status == 201, name
    assert sorted(client.names(container)) == sorted(names)
    for name in names:
        assert client.get(f"{container}/{name}").body == name.encode()
        assert client.delete(f"{container}/{name}").status == 204


def test_delete(client: Client, container: str) -> None:
    client.put(f"{container}/o", b"x")
    assert client.delete(f"{container}/o").status == 204
    assert client.delete(f"{container}/o").status == 404
    assert client.get(f"{container}/o").status == 404
    assert client.put(f"{container}/o", b"again").status == 201
    assert client.get(f"{container}/o").body == b"again"


def test_if_none_match_on_put(client: Client, container: str) -> None:
    assert client.put(f"{container}/o", b"1", {"If-None-Match": "*"}).status == 201
    assert client.put(f"{container}/o", b"2", {"If-None-Match": "*"}).status == 412
    assert client.put(f"{container}/o", b"3", {"If-None-Match": "somethingelse"}).status == 400
    assert client.get(f"{container}/o").body == b"1"
    client.delete(f"{container}/o")
    assert client.put(f"{container}/o", b"4", {"If-None-Match": "*"}).status == 201


def test_sizes_that_cannot_be(client: Client, container: str) -> None:
    assert client.put(f"{container}/o", None, {"Content-Length": str(5 * 1024**3 + 3)}).status == 413
    client.close()
    assert client.raw("PUT", f"/v1/{client.account}/{container}/o", {"Content-Length": "-1"}).status == 400
    client.close()
    assert client.names(container) == []


def test_internal_headers_stay_inside(client: Client, container: str) -> None:
    sent = {
        "X-Object-Sysmeta-A": "1",
        "X-Backend-Storage-Policy-Index": "1",
        "X-Timestamp": "1.00000",
        "X-Object-Transient-Sysmeta-B": "2",
    }
    assert client.put(f"{container}/o", b"x", sent).status == 201
    headers = client.get(f"{container}/o").headers
    assert not [name for name in headers if "sysmeta" in name or name.startswith("x-backend")]
    assert float(headers["x-timestamp"]) > 1e9


def test_the_object_timestamp_is_that_of_the_put(client: Client, container: str) -> None:
    client.put(f"{container}/o", b"x")
    stamp = client.head(f"{container}/o").headers["x-timestamp"]
    assert re.fullmatch(r"\d{10}\.\d{5}", stamp)
    listed = client.rows(container)[0]["last_modified"]
    assert listed.endswith(stamp[-5:] + "0")
