"""Containers: verbs, metadata, policies."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.functional.client import Client


def new_name() -> str:
    return f"c-{uuid4().hex[:12]}"


def test_created_once_accepted_again(client: Client) -> None:
    name = new_name()
    assert client.put(name).status == 201
    assert client.put(name).status == 202
    assert client.head(name).status == 204
    assert client.delete(name).status == 204
    assert client.delete(name).status == 404
    assert client.head(name).status == 404
    assert client.get(name).status == 404
    assert client.post(name, {"X-Container-Meta-A": "1"}).status == 404


def test_a_deleted_container_can_come_back_empty(client: Client) -> None:
    name = new_name()
    client.put(name, headers={"X-Container-Meta-A": "1"})
    client.delete(name)
    assert client.put(name).status == 201
    assert "x-container-meta-a" not in client.head(name).headers
    client.delete(name)


def test_head_tells_counts_policy_and_times(client: Client, container: str, policy: str) -> None:
    client.put(f"{container}/o", b"12345")
    headers = client.head(container).headers
    assert headers["x-container-object-count"] == "1"
    assert headers["x-container-bytes-used"] == "5"
    assert headers["x-storage-policy"] == policy
    assert float(headers["x-timestamp"]) > 1e9
    assert "last-modified" in headers


def test_a_container_with_objects_stays(client: Client, container: str) -> None:
    client.put(f"{container}/o", b"x")
    assert client.delete(container).status == 409
    client.delete(f"{container}/o")
    assert client.delete(container).status == 204


def test_metadata_merges_and_is_removed(client: Client, container: str) -> None:
    client.put(container, headers={"X-Container-Meta-One": "1", "X-Container-Meta-Two": "2"})
    assert client.post(container, {"X-Container-Meta-Two": "zwei"}).status == 204
    assert client.post(container, {"X-Remove-Container-Meta-One": "x"}).status == 204
    headers = client.head(container).headers
    assert headers["x-container-meta-two"] == "zwei"
    assert "x-container-meta-one" not in headers


def test_metadata_keeps_utf8(client: Client, container: str) -> None:
    value = "Größe ☃".encode().decode("latin-1")
    assert client.post(container, {"X-Container-Meta-Size": value}).status == 204
    assert client.head(container).headers["x-container-meta-size"] == value


def test_policies_are_chosen_at_creation_only(client: Client) -> None:
    name = new_name()
    assert client.put(name, headers={"X-Storage-Policy": "SILVER"}).status == 201
    assert client.head(name).headers["x-storage-policy"] == "silver"
    assert client.put(name).status == 202
    assert client.put(name, headers={"X-Storage-Policy": "gold"}).status == 409
    client.put(f"{name}/o", b"silver")
    assert client.get(f"{name}/o").body == b"silver"
    client.delete(f"{name}/o")
    client.delete(name)


def test_an_unknown_policy_is_refused(client: Client) -> None:
    answer = client.put(new_name(), headers={"X-Storage-Policy": "tin"})
    assert answer.status == 400
    assert len(answer.lines) == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Container-Meta-" + "n" * 129: "v"}, 400),
        ({"X-Container-Meta-" + "n" * 128: "v"}, 204),
        ({"X-Container-Meta-A": "v" * 257}, 400),
        ({"X-Container-Meta-A": "v" * 256}, 204),
        ({f"X-Container-Meta-A{i}": "v" for i in range(91)}, 400),
        ({f"X-Container-Meta-A{i}": "v" * 250 for i in range(17)}, 400),
        ({"X-Container-Meta-": "v"}, 400),
        ({"X-Container-Read": ".r:*,.rlistings"}, 204),
        ({"X-Container-Write": ".r:*"}, 400),
        ({"X-Container-Read": ".r:"}, 400),
    ],
)
def test_metadata_limits(client: Client, container: str, headers: dict[str, str], status: int) -> None:
    assert client.post(container, headers).status == status


@pytest.mark.parametrize(("length", "status"), [(256, 201), (257, 400)])
def test_name_limits(client: Client, length: int, status: int) -> None:
    name = uuid4().hex.ljust(length, "n")
    assert client.put(name).status == status
    client.delete(name)


def test_names_of_all_kinds(client: Client) -> None:
    for name in ("Käse ☃", "with space", "a%b", "+", "q?x", "#h", "'\"<>&", "..", "."):
        full = f"{name}{uuid4().hex[:8]}"
        assert client.put(full).status == 201
        assert full in client.names(prefix=full)
        assert client.delete(full).status == 204


def test_objects_of_an_absent_container(client: Client) -> None:
    assert client.put("absent/o", b"x").status == 404
    assert client.get("absent/o").status == 404
    assert client.delete("absent/o").status == 404
    assert client.post("absent/o").status == 404


def test_unknown_verbs(client: Client, container: str) -> None:
    assert client.request("PATCH", container).status == 405
    assert client.request("UPDATE", container).status == 405
    assert client.request("COPY", container, {"Destination": "a/b"}).status == 405


def test_owners_see_what_others_do_not(client: Client, other: Client, container: str) -> None:
    client.post(container, {"X-Container-Read": "test2:*,test2:tester2", "X-Container-Write": "test:tester3"})
    mine = client.head(container).headers
    assert mine["x-container-read"] == "test2:*,test2:tester2"
    stranger = Client(client.host, client.port, account=client.account, token=other.token)
    theirs = stranger.head(container)
    assert theirs.status == 204
    assert "x-container-read" not in theirs.headers
    assert "x-container-write" not in theirs.headers
