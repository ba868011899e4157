"""The older kinds of versions: X-Versions-Location and X-History-Location copy into another container."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.functional.client import Client
from tests.functional.conftest import remove

MARKER = "application/x-deleted;swift_versions_deleted=1"
STACK, HISTORY = "X-Versions-Location", "X-History-Location"


@pytest.fixture
def archive(client: Client, container: str) -> Iterator[str]:
    """A second container, removed with the first one's versions."""
    name = f"{container}-ärchive"
    assert client.put(name).status == 201
    yield name
    client.post(container, {STACK: ""})
    remove(client, name)


def archived(client: Client, archive: str) -> list[bytes]:
    """The bodies of what is archived, oldest first."""
    return [client.get(f"{archive}/{name}").body for name in client.names(archive)]


def keep(client: Client, container: str, header: str, archive: str) -> None:
    assert client.post(container, {header: quote(archive)}).status == 204
    assert client.head(container).headers[header.lower()] == quote(archive)


@pytest.mark.parametrize("header", [STACK, HISTORY])
def test_what_is_replaced_goes_to_the_archive(client: Client, container: str, archive: str, header: str) -> None:
    keep(client, container, header, archive)
    path = f"{container}/ö"
    client.put(path, b"1", {"Content-Type": "text/x", "X-Object-Meta-A": "1", "Content-Encoding": "z"})
    first = client.head(path).headers["x-timestamp"]
    assert archived(client, archive) == []
    assert client.put(path, b"2").status == 201
    assert client.names(archive) == [f"002ö/{first}"]
    kept = client.get(f"{archive}/002ö/{first}")
    assert (kept.body, kept.headers["content-type"], kept.headers["content-encoding"]) == (b"1", "text/x", "z")
    assert kept.headers["x-object-meta-a"] == "1"
    client.put(f"{container}/s", b"3")
    assert client.copy(f"{container}/s", path).status == 201
    assert archived(client, archive) == [b"1", b"2"]
    assert client.post(path, {"X-Object-Meta-A": "2"}).status == 202
    assert len(client.names(archive)) == 2


def test_a_stack_gives_back_what_was_replaced(client: Client, container: str, archive: str) -> None:
    keep(client, container, STACK, archive)
    for body in (b"1", b"2", b"3"):
        client.put(f"{container}/o", body)
    for body in (b"2", b"1"):
        assert client.delete(f"{container}/o").status == 204
        assert client.get(f"{container}/o").body == body
    assert client.delete(f"{container}/o").status == 204
    assert client.get(f"{container}/o").status == 404
    assert client.delete(f"{container}/o").status == 404
    assert client.names(archive) == []


def test_a_history_keeps_all(client: Client, container: str, archive: str) -> None:
    keep(client, container, HISTORY, archive)
    client.put(f"{container}/o", b"1")
    assert [client.delete(f"{container}/o").status for _ in range(2)] == [204, 404]
    assert archived(client, archive) == [b"1", b"", b""]
    assert [row["content_type"] for row in client.rows(archive)][1:] == [MARKER, MARKER]
    # Two markers: a stack takes one away, then the other and brings back what is below.
    keep(client, container, STACK, archive)
    assert client.delete(f"{container}/o").status == 204
    assert client.get(f"{container}/o").status == 404
    assert client.delete(f"{container}/o").status == 204
    assert client.get(f"{container}/o").body == b"1"
    assert client.names(archive) == []


def test_an_object_written_above_a_marker_just_goes(client: Client, container: str, archive: str) -> None:
    keep(client, container, HISTORY, archive)
    client.put(f"{container}/o", b"1")
    client.delete(f"{container}/o")
    client.put(f"{container}/o", b"2")
    keep(client, container, STACK, archive)
    assert client.delete(f"{container}/o").status == 204
    assert client.get(f"{container}/o").status == 404
    assert archived(client, archive) == [b"1", b""]


def test_without_the_archive_nothing_is_replaced(client: Client, container: str) -> None:
    assert client.post(container, {STACK: f"{container}-none"}).status == 204
    assert client.put(f"{container}/o", b"1").status == 201
    assert client.put(f"{container}/o", b"2").status == 412
    assert client.get(f"{container}/o").body == b"1"
    assert client.post(container, {"X-Remove-Versions-Location": "x"}).status == 204
    assert STACK.lower() not in client.head(container).headers
    assert client.put(f"{container}/o", b"2").status == 201


def test_refusals(client: Client, container: str) -> None:
    assert client.post(container, {STACK: "a", HISTORY: "b"}).status == 400
    assert client.post(container, {STACK: "a/b"}).status == 412
    assert client.post(container, {STACK: "a", "X-Remove-Versions-Location": "a"}).status == 204
    assert client.head(container).headers[STACK.lower()] == "a"
    assert client.post(container, {"X-Versions-Enabled": "true"}).status == 400


def test_the_right_to_write_is_enough(client: Client, member: Client, container: str, archive: str) -> None:
    keep(client, container, STACK, archive)
    assert member.post(container, {STACK: ""}).status == 403
    client.put(f"{container}/o", b"1")
    assert member.put(f"{container}/o", b"2").status == 403
    assert archived(client, archive) == []
    client.post(container, {"X-Container-Write": "test:tester3"})
    assert member.put(f"{container}/o", b"2").status == 201
    assert archived(client, archive) == [b"1"]
    assert member.delete(f"{container}/o").status == 204
    assert client.get(f"{container}/o").body == b"1"
