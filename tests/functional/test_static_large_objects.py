"""Static large objects on real servers, by hand and by the clients that people use."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from hashlib import md5
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.functional.client import Client
from tests.functional.conftest import run
from tests.functional.servers import Store
from tests.functional.test_clients import same, swift_command

# Longer than what object servers send in one piece, and than what they verify before.
SEGMENTS = [os.urandom(size) for size in (300_000, 1, 70_000, 65_536, 200_000)]
WHOLE = b"".join(SEGMENTS)


def put_manifest(client: Client, path: str, parts: list[dict[str, Any]]) -> None:
    answer = client.request("PUT", path, body=json.dumps(parts).encode(), **{"multipart-manifest": "put"})
    assert answer.status == 201, answer.text


@pytest.fixture
def whole(client: Client, container: str) -> Iterator[str]:
    """The path of a large object whose segments are beside it."""
    parts = []
    for number, content in enumerate(SEGMENTS):
        assert client.put(f"{container}/s/{number}", content).status == 201
        parts.append({"path": f"{container}/s/{number}", "etag": md5(content).hexdigest(), "size_bytes": len(content)})
    put_manifest(client, f"{container}/whole", parts)
    yield f"{container}/whole"
    client.request("DELETE", f"{container}/whole", **{"multipart-manifest": "delete"})


def test_the_whole_and_its_ranges(client: Client, container: str, whole: str) -> None:
    etag = md5("".join(md5(content).hexdigest() for content in SEGMENTS).encode()).hexdigest()
    answer = client.get(whole)
    assert (answer.status, answer.body, answer.headers["etag"]) == (200, WHOLE, f'"{etag}"')
    for first, last in ((0, 0), (299_990, 300_010), (250_000, 500_000), (len(WHOLE) - 1, len(WHOLE) + 5)):
        answer = client.get(whole, headers={"Range": f"bytes={first}-{last}"})
        assert (answer.status, answer.body) == (206, WHOLE[first : last + 1])
    (row,) = [row for row in client.rows(container) if row["name"] == "whole"]
    assert (row["bytes"], row["slo_etag"]) == (len(WHOLE), f'"{etag}"')
    put_manifest(
        client, f"{container}/outer", [{"path": whole, "range": "299999-300001"}, {"path": f"{container}/s/1"}]
    )
    assert client.get(f"{container}/outer").body == WHOLE[299_999:300_002] + SEGMENTS[1]
    assert client.post(whole, {"X-Object-Meta-A": "1", "Content-Type": "text/z"}).status == 202
    answer = client.get(whole)
    assert (answer.body, answer.headers["content-type"]) == (WHOLE, "text/z")
    (row,) = [row for row in client.rows(container) if row["name"] == "whole"]
    assert (row["bytes"], row["content_type"]) == (len(WHOLE), "text/z")


def test_a_segment_that_has_changed_is_never_sent(store: Store, client: Client, container: str, whole: str) -> None:
    client.put(f"{container}/s/2", b"x" * len(SEGMENTS[2]))
    with socket.create_connection((store.host, store.port), timeout=20) as connection:
        head = f"GET /v1/{client.account}/{whole} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {client.token}\r\n\r\n"
        connection.sendall(head.encode())
        received = b""
        while part := connection.recv(65536):
            received += part
    assert received.partition(b"\r\n\r\n")[2] == SEGMENTS[0] + SEGMENTS[1]
    client.put(f"{container}/s/0", b"x" * len(SEGMENTS[0]))
    assert client.get(whole).status == 409


def test_it_goes_with_its_segments(client: Client, container: str, whole: str) -> None:
    answer = client.request("DELETE", whole, **{"multipart-manifest": "delete"})
    assert answer.status == 200
    assert "Number Deleted: 6\n" in answer.text
    assert client.names(container) == []


def test_the_swift_command_uploads_in_segments(store: Store, client: Client, tmp_path: Path) -> None:
    content = os.urandom(3_500_000)
    (tmp_path / "large").write_bytes(content)
    name, swift = f"s-{uuid4().hex[:8]}", swift_command(store)
    run(*swift, "upload", name, "--use-slo", "-S", "1048576", "large", cwd=tmp_path)
    assert client.head(f"{name}/large").headers["x-static-large-object"] == "True"
    run(*swift, "download", name, "large", "-o", "back", cwd=tmp_path)
    assert (tmp_path / "back").read_bytes() == content
    segments = client.rows(f"{name}_segments")
    run(*swift, "upload", name, "--use-slo", "-S", "1048576", "--skip-identical", "large", cwd=tmp_path)
    assert client.rows(f"{name}_segments") == segments
    run(*swift, "delete", name, "large")
    assert client.names(f"{name}_segments") == []
    for container in (name, f"{name}_segments"):
        client.request("DELETE", container)


def test_many_objects_are_deleted_at_once(client: Client) -> None:
    name = f"b-{uuid4().hex[:8]}"
    client.put(name)
    for each in ("a", "b ö", "c"):
        client.put(f"{name}/{each}", b"x")
    lines = [f"/{name}/a", f"{name}/b%20%C3%B6", f"/{name}/none", f"/{name}", f"/{name}/c", "/b-none/x"]
    body = "\n".join(lines).encode()
    answer = client.request("POST", "", {"Accept": "application/json"}, body, **{"bulk-delete": ""})
    told = answer.json()
    assert (answer.status, told["Number Deleted"], told["Number Not Found"]) == (200, 4, 2), told
    assert (told["Response Status"], told["Errors"]) == ("200 OK", [])
    assert client.head(name).status == 404


def test_rclone_uploads_in_chunks(rclone: Callable[..., None], client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "large").write_bytes(os.urandom(3_500_000))
    name, chunks = f"r-{uuid4().hex[:8]}", {"CHUNK_SIZE": "1M"}
    rclone("sync", str(folder), f"store:{name}", **chunks)
    rclone("check", "--download", str(folder), f"store:{name}", **chunks)
    rclone("sync", f"store:{name}", str(tmp_path / "back"), **chunks)
    assert same(folder, tmp_path / "back")
    rclone("delete", "--retries", "1", f"store:{name}", **chunks)
    assert client.names(f"{name}_segments") == []
    for container in (name, f"{name}_segments"):
        client.request("DELETE", container)
