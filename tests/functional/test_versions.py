"""Versions by X-Versions-Enabled: written, read, removed and brought back by their ids."""

from __future__ import annotations

import pytest

from tests.functional.client import Answer, Client
from tests.functional.servers import Store

ID = "x-object-version-id"


@pytest.fixture
def kept(client: Client, policy: str, request: pytest.FixtureRequest) -> str:
    """A container that keeps versions."""
    name = f"kept-{request.node.name[:100]}".replace("[", "-").replace("]", "")
    headers = {"X-Versions-Enabled": "true", "X-Storage-Policy": policy}
    assert client.put(name, headers=headers).status == 201
    assert client.head(name).headers["x-versions-enabled"] == "True"
    return name


def write(client: Client, path: str, body: bytes) -> str:
    answer = client.put(path, body, {"X-Object-Meta-Body": body.decode()})
    assert answer.status == 201
    return answer.headers[ID]


def read(client: Client, path: str, version: str) -> Answer:
    return client.get(path, **{"version-id": version})


def test_every_write_is_kept(client: Client, kept: str) -> None:
    path = f"{kept}/o"
    first, second = write(client, path, b"one"), write(client, path, b"two!")
    assert first < second
    current = client.get(path)
    assert (current.body, current.headers[ID]) == (b"two!", second)
    assert current.headers["content-location"].endswith(f"/{path}?version-id={second}")
    for version, body in ((first, b"one"), (second, b"two!")):
        for answer in (read(client, path, version), client.head(path, **{"version-id": version})):
            assert (answer.status, answer.headers[ID], answer.headers["x-object-meta-body"]) == (
                200,
                version,
                body.decode(),
            )
            assert "content-location" not in answer.headers
        assert read(client, path, version).body == body
    assert read(client, path, "null").status == 404
    large = client.put(path, bytes(100_000)).headers[ID]
    assert (read(client, path, large).body, client.get(path).headers[ID]) == (bytes(100_000), large)
    assert client.rows(kept, versions="")[0]["version_id"] == large
    other = first[:-1] + ("1" if first.endswith("0") else "0")
    assert read(client, path, other).status == 404
    assert read(client, path, "no-id").status == 400


def test_a_delete_leaves_a_marker(client: Client, kept: str) -> None:
    path = f"{kept}/o"
    first = write(client, path, b"one")
    gone = client.delete(path)
    assert gone.status == 204
    marker = gone.headers[ID]
    again = client.delete(path)
    assert (again.status, again.headers[ID] > marker) == (404, True)
    assert client.get(path).status == 404
    shown = client.head(path, **{"version-id": marker})
    assert (shown.status, shown.headers[ID]) == (404, marker)
    assert shown.headers["content-type"] == "application/x-deleted;swift_versions_deleted=1"
    assert read(client, path, first).body == b"one"


def test_a_removed_version_is_gone_and_nothing_takes_its_place(client: Client, kept: str) -> None:
    path = f"{kept}/o"
    first, second, third = (write(client, path, body) for body in (b"1", b"2", b"3"))
    removed = client.delete(path, **{"version-id": second})
    assert (removed.status, removed.headers[ID]) == (204, second)
    assert read(client, path, second).status == 404
    assert client.get(path).body == b"3"
    assert client.delete(path, **{"version-id": third}).status == 204
    assert client.get(path).status == 404
    assert read(client, path, first).body == b"1"
    assert client.delete(path, **{"version-id": second}).status == 404


def test_a_version_is_brought_back(client: Client, kept: str) -> None:
    path = f"{kept}/o"
    first = write(client, path, b"1")
    second = write(client, path, b"2")
    marker = client.delete(path).headers[ID]
    answer = client.put(path, b"", **{"version-id": first})
    assert answer.status == 201
    current = client.get(path)
    assert (current.body, current.headers["x-object-meta-body"], current.headers[ID]) == (b"1", "1", first)
    rows = client.rows(kept, versions="")
    assert [(row["version_id"], row["is_latest"]) for row in rows] == [
        (marker, False),
        (second, False),
        (first, True),
    ]
    assert [row["name"] for row in client.rows(kept)] == ["o"]
    assert client.post(path, {"X-Object-Meta-Body": "posted"}).status == 202
    assert client.put(path, b"", **{"version-id": second}).headers[ID] == second
    assert client.get(path).body == b"2"
    assert client.put(path, b"", **{"version-id": first}).status == 201
    assert client.head(path).headers["x-object-meta-body"] == "posted"
    assert client.delete(path, **{"version-id": first}).status == 204
    assert client.get(path).status == 404
    third = write(client, path, b"3")
    assert (client.get(path).body, client.get(path).headers[ID]) == (b"3", third)
    assert client.put(path, b"", **{"version-id": first}).status == 404
    assert client.put(path, b"", **{"version-id": marker}).status == 404
    first = second
    assert client.put(path, b"", **{"version-id": "1234567890.12345"}).status == 404
    for identifier in ("null", "no-id"):
        assert client.put(path, b"", **{"version-id": identifier}).status == 400
    assert client.put(path, b"x", **{"version-id": first}).status == 400
    assert client.post(path, {"X-Object-Meta-A": "1"}, **{"version-id": first}).status == 400


def test_a_version_that_is_a_link_is_followed(client: Client, kept: str) -> None:
    write(client, f"{kept}/target", b"1")
    made = client.put(f"{kept}/link", b"", {"X-Symlink-Target": f"{kept}/target"})
    write(client, f"{kept}/link", b"no link")
    write(client, f"{kept}/target", b"2")
    assert read(client, f"{kept}/link", made.headers[ID]).body == b"2"


def test_a_version_of_a_large_object_is_read_as_it_was(client: Client, kept: str) -> None:
    path, large = f"{kept}/large", {"multipart-manifest": "put"}
    for name in ("a", "b"):
        write(client, f"{kept}/{name}", name.encode())
    first = client.put(path, f'[{{"path": "/{kept}/a"}}]'.encode(), **large).headers[ID]
    client.put(path, f'[{{"path": "/{kept}/b"}}]'.encode(), **large)
    assert (client.get(path).body, read(client, path, first).body) == (b"b", b"a")
    beyond = client.get(path, **{"version-id": first, "part-number": "2"})
    assert (beyond.status, beyond.headers[ID], beyond.headers["x-parts-count"]) == (416, first, "1")
    write(client, f"{kept}/a", b"changed")
    assert read(client, path, first).status == 409  # and not what the newest version makes


def test_a_version_is_copied(client: Client, kept: str) -> None:
    path = f"{kept}/o"
    first = write(client, path, b"1")
    write(client, path, b"2")
    assert client.copy(path, f"{kept}/t", **{"version-id": first}).status == 201
    assert client.get(f"{kept}/t").body == b"1"


def test_suspended(client: Client, kept: str) -> None:
    path = f"{kept}/o"
    first = write(client, path, b"1")
    assert client.post(kept, {"X-Versions-Enabled": "false"}).status == 204
    assert client.head(kept).headers["x-versions-enabled"] == "False"
    for body in (b"2", b"3"):
        assert ID not in client.put(path, body).headers
        assert client.get(path).body == body
    assert ID not in client.get(path).headers
    assert read(client, path, "null").body == b"3"
    assert client.delete(path).status == 204
    assert client.get(path).status == 404
    assert read(client, path, first).body == b"1"


def test_metadata_changes_the_current_version(client: Client, kept: str) -> None:
    path = f"{kept}/o"
    first = write(client, path, b"1")
    second = write(client, path, b"2")
    assert client.post(path, {"X-Object-Meta-A": "new"}).status == 202
    assert read(client, path, second).headers["x-object-meta-a"] == "new"
    assert "x-object-meta-a" not in read(client, path, first).headers


def test_versions_are_for_owners(client: Client, store: Store, kept: str) -> None:
    path = f"{kept}/o"
    first = write(client, path, b"1")
    client.post(kept, {"X-Container-Read": "test:tester3", "X-Container-Write": "test:tester3"})
    member = Client.login(store.host, store.port, "test:tester3", "testing3")
    assert member.get(path).body == b"1"
    assert read(member, path, first).status == 403
    assert member.delete(path, **{"version-id": first}).status == 403
    assert member.put(path, b"", **{"version-id": first}).status == 403
    assert read(client, path, first).body == b"1"


def test_what_excludes_versions(client: Client, kept: str) -> None:
    assert client.post(kept, {"X-Versions-Location": "a"}).status == 400
    assert client.post(kept, {"X-History-Location": "a"}).status == 400
    plain = f"{kept}-plain"
    client.put(plain, headers={"X-Versions-Location": "a"})
    assert client.post(plain, {"X-Versions-Enabled": "true"}).status == 400


def test_listings_of_versions_are_json(client: Client, kept: str) -> None:
    assert client.get(kept, versions="", format="xml").status == 406
    assert client.get(kept, {"Accept": "text/plain"}, versions="").status == 406
    assert client.get(kept, versions="", version_marker="null").status == 400
    assert client.get(kept, versions="", marker="a", version_marker="no-id").status == 400
