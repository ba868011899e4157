"""What the store does not have is refused with 501, and nothing is stored, changed or deleted."""

from __future__ import annotations

import pytest

from tests.functional.client import Client


@pytest.mark.parametrize(("version", "status"), [("none", 400), ("1700000000.00000", 404), ("0000600000000000", 404)])
def test_deleting_a_version_that_is_not_there_does_not_delete_the_object(
    client: Client, container: str, version: str, status: int
) -> None:
    assert client.put(f"{container}/o", b"content").status == 201
    answer = client.request("DELETE", f"{container}/o", **{"version-id": version})
    assert answer.status == status
    assert client.get(f"{container}/o").body == b"content"


def test_containers_do_not_promise_what_they_cannot_do(client: Client, container: str) -> None:
    assert client.post(container, {"X-Container-Sync-To": "true", "X-Container-Meta-Colour": "red"}).status == 501
    headers = client.head(container).headers
    assert "x-container-meta-colour" not in headers
    assert "x-container-sync-to" not in headers


def test_underscores_in_names_of_metadata_become_dashes(client: Client, container: str) -> None:
    assert client.put(f"{container}/o", b"", {"X-Object-Meta-Own_Name": "1"}).status == 201
    assert client.head(f"{container}/o").headers["x-object-meta-own-name"] == "1"
    assert client.post(container, {"X-Container-Meta-Own_Name": "1"}).status == 204
    assert client.head(container).headers["x-container-meta-own-name"] == "1"


@pytest.mark.parametrize(
    "header",
    ["X-Container-Read", "X-Container-Write", "X-Container-Meta-A", "X-Container-Meta-Access-Control-Allow-Origin"],
)
def test_what_is_not_utf8_locks_nobody_out(client: Client, container: str, header: str) -> None:
    answer = client.post(container, {header: "test:caf\xe9"})
    assert answer.status == 400
    assert client.get(container).status == 204
    assert client.request("POST", "", {"X-Account-Meta-A": "caf\xe9"}).status == 400


def test_copies(client: Client, container: str) -> None:
    client.put(f"{container}/s", b"0123456789", {"X-Object-Meta-A": "1", "Content-Encoding": "z"})
    copied = client.copy(f"{container}/s", f"{container}/t", {"X-Object-Meta-A": "", "Content-Encoding": ""})
    assert copied.status == 201
    target = client.get(f"{container}/t")
    assert target.headers.get("x-object-meta-a", "") == ""
    assert target.headers.get("content-encoding", "") == ""
    assert client.put(f"{container}/u", iter(()), {"X-Copy-From": f"{container}/s"}).status == 201
    assert client.get(f"{container}/u").body == b"0123456789"
    assert client.put(f"{container}/v", iter((b"x",)), {"X-Copy-From": f"{container}/s"}).status == 400
    assert client.copy(f"{container}/s", f"{container}/v", {"Range": "bytes=0-1,4-5"}).status == 400
    assert client.copy(f"{container}/s", f"{container}/w", {"Range": "bytes=4-5"}).status == 201
    assert client.get(f"{container}/w").body == b"45"
    assert client.get(f"{container}/v").status == 404
