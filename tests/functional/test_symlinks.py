"""Symbolic links: made, followed, shown, copied, and what happens when their targets change."""

from __future__ import annotations

import json
from hashlib import md5
from urllib.parse import quote

import pytest

from tests.functional.client import Client

CONTENT = b"0123456789"
ETAG = md5(CONTENT).hexdigest()
EMPTY = md5(b"").hexdigest()


@pytest.fixture
def target(client: Client, container: str) -> str:
    """An object for links to lead to."""
    path = f"{container}/tärget o"
    headers = {"Content-Type": "text/x", "X-Object-Meta-Of": "target"}
    assert client.put(path, CONTENT, headers).status == 201
    return path


def link(client: Client, path: str, to: str, **more: str) -> None:
    headers = {"X-Symlink-Target": quote(to)} | {
        f"X-Symlink-Target-{name.title()}": value for name, value in more.items()
    }
    answer = client.put(path, b"", headers | {"X-Object-Meta-Of": "link"})
    assert (answer.status, answer.headers["etag"]) == (201, EMPTY)


def location(client: Client, path: str) -> str:
    return quote(f"/v1/{client.account}/{path}")


@pytest.mark.parametrize("static", [{}, {"etag": ETAG}])
def test_readers_get_the_target(client: Client, container: str, target: str, static: dict[str, str]) -> None:
    link(client, f"{container}/link", target, **static)
    for answer in (client.get(f"{container}/link"), client.head(f"{container}/link")):
        assert answer.status == 200
        assert answer.headers["content-location"] == location(client, target)
        assert answer.headers["etag"] == ETAG
        assert answer.headers["content-type"] == "text/x"
        assert answer.headers["x-object-meta-of"] == "target"
        assert answer.headers["content-length"] == "10"
        assert not [name for name in answer.headers if "symlink" in name or "sysmeta" in name]
    assert client.get(f"{container}/link").body == CONTENT


def test_conditions_and_ranges_are_about_the_target(client: Client, container: str, target: str) -> None:
    path = f"{container}/link"
    link(client, path, target)
    assert client.get(path, headers={"Range": "bytes=2-3"}).body == b"23"
    several = client.get(path, headers={"Range": "bytes=0-0,9-9"})
    assert (several.status, several.headers["content-type"][:20]) == (206, "multipart/byteranges")
    for header, value, status in (
        ("Range", "bytes=10-", 416),
        ("If-Match", EMPTY, 412),
        ("If-Match", ETAG, 200),
        ("If-None-Match", ETAG, 304),
        ("If-None-Match", EMPTY, 200),
    ):
        answer = client.get(path, headers={header: value})
        assert (answer.status, answer.headers["content-location"]) == (status, location(client, target))
    itself = client.get(path, headers={"If-None-Match": EMPTY}, symlink="get")
    assert itself.status == 304


@pytest.mark.parametrize("static", [{}, {"etag": ETAG}])
def test_the_link_itself(client: Client, container: str, target: str, static: dict[str, str]) -> None:
    path = f"{container}/link"
    link(client, path, target, **static)
    shown = client.get(path, symlink="get")
    assert (shown.status, shown.body) == (200, b"")
    assert shown.headers["x-symlink-target"] == quote(target)
    assert shown.headers.get("x-symlink-target-etag") == static.get("etag")
    assert shown.headers.get("x-symlink-target-bytes") == ("10" if static else None)
    assert shown.headers["content-type"] == ("text/x" if static else "application/symlink")
    assert shown.headers["x-object-meta-of"] == "link"
    assert "content-location" not in shown.headers
    assert client.head(path, symlink="get").headers["x-symlink-target"] == quote(target)
    assert client.get(target, symlink="get").body == CONTENT


def test_listings_show_links(client: Client, container: str, target: str) -> None:
    link(client, f"{container}/a", target)
    link(client, f"{container}/b", target, etag=ETAG)
    dynamic, static, plain = client.get(container, format="json").json()
    path = {"symlink_path": location(client, target)}
    assert dynamic.items() >= ({"name": "a", "hash": EMPTY, "bytes": 0} | path).items()
    assert (
        static.items()
        >= ({"name": "b", "hash": EMPTY, "bytes": 0, "symlink_etag": ETAG, "symlink_bytes": 10} | path).items()
    )
    assert "symlink_etag" not in dynamic
    assert "slo_etag" not in static
    assert "symlink_path" not in plain
    assert client.head(container).headers["x-container-bytes-used"] == "10"


def test_a_link_needs_no_target_a_static_one_does(client: Client, container: str) -> None:
    link(client, f"{container}/link", f"{container}/none")
    assert client.get(f"{container}/link").status == 404
    static = {"X-Symlink-Target": f"{container}/none", "X-Symlink-Target-Etag": ETAG}
    assert client.put(f"{container}/static", b"", static).status == 409
    assert client.get(f"{container}/static", symlink="get").status == 404
    client.put(f"{container}/none", b"now it is there")
    assert client.get(f"{container}/link").body == b"now it is there"
    assert client.put(f"{container}/static", b"", static).status == 409


def test_a_static_link_does_not_give_what_replaced_its_target(client: Client, container: str, target: str) -> None:
    path = f"{container}/link"
    link(client, path, target, etag=f'"{ETAG}"')
    client.post(target, {"X-Object-Meta-Of": "the same bytes"})
    assert client.get(path).headers["x-object-meta-of"] == "the same bytes"
    client.put(target, b"other bytes")
    answer = client.get(path)
    assert (answer.status, answer.headers["content-location"]) == (409, location(client, target))
    assert client.head(path).status == 409
    assert client.get(path, headers={"If-None-Match": "*"}).status == 409
    assert client.copy(path, f"{container}/copy").status == 409


def test_links_to_links(client: Client, container: str, target: str) -> None:
    before = target
    for number in range(3):
        link(client, f"{container}/{number}", before)
        before = f"{container}/{number}"
    assert client.get(f"{container}/1").body == CONTENT
    assert client.get(f"{container}/2").status == 409
    link(client, f"{container}/0", f"{container}/1")
    assert client.get(f"{container}/0").status == 409


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"X-Symlink-Target": "c/o"}, b"x", 400),
        ({"X-Symlink-Target": "{container}/self"}, b"", 400),
        ({"X-Symlink-Target": "c"}, b"", 412),
        ({"X-Symlink-Target": "c/o", "X-Symlink-Target-Account": "a/b"}, b"", 412),
        ({"X-Symlink-Target": "c%FF/o"}, b"", 412),
        ({"X-Symlink-Target": "c/" + "o" * 1025}, b"", 400),
    ],
)
def test_bad_links(client: Client, container: str, headers: dict[str, str], body: bytes, status: int) -> None:
    sent = {name: value.replace("{container}", container) for name, value in headers.items()}
    assert client.put(f"{container}/self", body, sent).status == status
    assert client.get(f"{container}/self", symlink="get").status == 404


def test_a_post_changes_the_link_and_says_where_the_target_is(client: Client, container: str, target: str) -> None:
    path = f"{container}/link"
    link(client, path, target, etag=ETAG)
    answer = client.post(path, {"X-Object-Meta-Of": "posted"})
    assert (answer.status, answer.headers["location"]) == (307, location(client, target))
    shown = client.head(path, symlink="get").headers
    assert (shown["x-object-meta-of"], shown["x-symlink-target"]) == ("posted", quote(target))
    assert client.get(path).headers["x-object-meta-of"] == "target"
    assert client.post(target, {"X-Symlink-Target": "c/o"}).status == 400


def test_deleting_and_replacing_a_link_leaves_the_target(client: Client, container: str, target: str) -> None:
    path = f"{container}/link"
    link(client, path, target)
    assert client.request("DELETE", path).status == 204
    assert client.get(path).status == 404
    link(client, path, target)
    client.put(path, b"an object")
    assert client.get(path).body == b"an object"
    assert client.get(target).body == CONTENT


def test_copies(client: Client, container: str, target: str) -> None:
    path = f"{container}/link"
    link(client, path, target, etag=ETAG)
    assert client.copy(path, f"{container}/content").status == 201
    copied = client.get(f"{container}/content", symlink="get")
    assert (copied.body, "x-symlink-target" in copied.headers) == (CONTENT, False)
    answer = client.request("COPY", path, {"Destination": f"{container}/again"}, symlink="get")
    assert answer.status == 201
    again = client.get(f"{container}/again", symlink="get")
    assert (again.body, again.headers["x-symlink-target-etag"]) == (b"", ETAG)
    assert client.get(f"{container}/again").body == CONTENT
    assert client.copy(target, f"{container}/bad", {"X-Symlink-Target": "c/o"}).status == 400


def test_a_reader_needs_rights_on_both(client: Client, member: Client, container: str, target: str) -> None:
    links = f"{container}-links"
    assert client.put(links).status == 201
    try:
        link(client, f"{links}/link", target)
        client.post(links, {"X-Container-Read": "test:tester3"})
        refused = member.get(f"{links}/link")
        assert (refused.status, refused.headers["content-location"]) == (403, location(client, target))
        assert member.get(f"{links}/link", symlink="get").status == 200
        client.post(container, {"X-Container-Read": "test:tester3"})
        assert member.get(f"{links}/link").body == CONTENT
        client.post(links, {"X-Remove-Container-Read": "x"})
        assert member.get(f"{links}/link").status == 403
    finally:
        client.request("DELETE", f"{links}/link")
        client.request("DELETE", links)


def test_links_between_accounts(client: Client, other: Client, container: str, target: str) -> None:
    client.post(container, {"X-Container-Read": "test2"})
    assert other.put(container).status == 201
    try:
        link(other, f"{container}/link", target, account=client.account)
        assert other.get(f"{container}/link").body == CONTENT
        assert other.head(f"{container}/link", symlink="get").headers["x-symlink-target-account"] == client.account
    finally:
        other.request("DELETE", f"{container}/link")
        other.request("DELETE", container)


def test_a_static_link_to_a_large_object_is_listed_with_its_etag(client: Client, container: str, target: str) -> None:
    manifest, path = json.dumps([{"path": f"/{target}"}, {"path": f"/{target}"}]), f"{container}/large"
    assert client.request("PUT", path, body=manifest.encode(), **{"multipart-manifest": "put"}).status == 201
    large = client.head(path).headers
    link(client, f"{container}/link", path, etag=large["x-manifest-etag"])
    (listed,) = client.get(container, format="json", prefix="link").json()
    shown = {"slo_etag": large["etag"], "symlink_etag": large["x-manifest-etag"], "symlink_bytes": 20}
    assert listed.items() >= shown.items()
    client.request("DELETE", path)


def test_info(client: Client) -> None:
    assert client.raw("GET", "/info").json()["symlink"] == {"symloop_max": 2, "static_links": True}
