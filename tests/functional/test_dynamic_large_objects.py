"""Dynamic large objects: made of what a container lists, read, copied and changed."""

from __future__ import annotations

import os
import subprocess
from hashlib import md5
from pathlib import Path
from uuid import uuid4

import pytest

from tests.functional.client import Client
from tests.functional.servers import Store
from tests.functional.test_clients import swift_command

SEGMENTS = {name: name.encode() * 100 for name in ("a", "b", "c d", "ö")}
WHOLE = b"".join(SEGMENTS.values())
ETAG = md5("".join(md5(content).hexdigest() for content in SEGMENTS.values()).encode()).hexdigest()


@pytest.fixture
def manifest(client: Client, container: str) -> str:
    """The path of a manifest, which has a few bytes of its own."""
    for name, content in SEGMENTS.items():
        assert client.put(f"{container}/segments %/{name}", content).status == 201
    path = f"{container}/manifest"
    headers = {"X-Object-Manifest": f"{container}/segments%20%25/", "Content-Type": "text/x", "X-Object-Meta-A": "1"}
    assert client.put(path, b"own", headers).status == 201
    return path


def test_readers_get_the_segments(client: Client, container: str, manifest: str) -> None:
    for answer in (client.get(manifest), client.head(manifest)):
        assert (answer.status, answer.headers["content-length"]) == (200, str(len(WHOLE)))
        assert answer.headers["etag"] == f'"{ETAG}"'
        assert answer.headers["content-type"] == "text/x"
        assert answer.headers["x-object-meta-a"] == "1"
        assert answer.headers["x-object-manifest"] == f"{container}/segments%20%25/"
    assert client.get(manifest).body == WHOLE
    client.put(f"{container}/segments %/aa", b"more")
    assert client.get(manifest).body == WHOLE[:100] + b"more" + WHOLE[100:]


def test_the_manifest_itself(client: Client, manifest: str) -> None:
    answer = client.get(manifest, **{"multipart-manifest": "get"})
    assert (answer.body, answer.headers["etag"]) == (b"own", md5(b"own").hexdigest())
    assert "x-object-manifest" in answer.headers
    assert client.head(manifest, **{"multipart-manifest": "get"}).headers["content-length"] == "3"
    part = client.get(manifest, headers={"Range": "bytes=1-1"}, **{"multipart-manifest": "get"})
    assert (part.status, part.body) == (206, b"w")
    several = client.get(manifest, headers={"Range": "bytes=0-0,2-2"}, **{"multipart-manifest": "get"})
    assert several.headers["content-type"].startswith("multipart/byteranges")
    assert (b"\r\n\r\no\r\n" in several.body, b"\r\n\r\nn\r\n" in several.body) == (True, True)


def test_ranges_and_conditions_are_about_the_whole(client: Client, manifest: str) -> None:
    part = client.get(manifest, headers={"Range": "bytes=95-305"})
    assert (part.status, part.body) == (206, WHOLE[95:306])
    assert part.headers["content-range"] == f"bytes 95-305/{len(WHOLE)}"
    assert client.get(manifest, headers={"Range": "bytes=100000-"}).status == 416
    several = client.get(manifest, headers={"Range": "bytes=0-1,5-6"})
    assert (several.status, several.body) == (200, WHOLE)
    for method in ("GET", "HEAD"):
        same = client.request(method, manifest, {"If-None-Match": f'"{ETAG}"'})
        assert (same.status, same.headers["etag"]) == (304, f'"{ETAG}"')
    assert client.get(manifest, headers={"If-Match": md5(b"own").hexdigest()}).status == 412
    assert client.get(manifest, headers={"If-Match": f'"{ETAG}"'}).body == WHOLE


def test_a_post_says_anew_whether_it_is_a_manifest(client: Client, container: str, manifest: str) -> None:
    client.post(manifest, {"X-Object-Manifest": f"{container}/segments%20%25/a"})
    assert client.get(manifest).body == SEGMENTS["a"]
    client.post(manifest, {"X-Object-Meta-A": "2"})
    answer = client.get(manifest)
    assert (answer.body, "x-object-manifest" in answer.headers) == (b"own", False)
    client.post(manifest, {"X-Object-Manifest": f"{container}/segments%20%25/b"})
    assert client.get(manifest).body == SEGMENTS["b"]


def test_copies(client: Client, container: str, manifest: str) -> None:
    assert client.copy(manifest, f"{container}/content").status == 201
    copied = client.get(f"{container}/content")
    assert (copied.body, "x-object-manifest" in copied.headers) == (WHOLE, False)
    assert copied.headers["etag"] == md5(WHOLE).hexdigest()
    answer = client.request("COPY", manifest, {"Destination": f"{container}/again"}, **{"multipart-manifest": "get"})
    assert answer.status == 201
    assert client.get(f"{container}/again").body == WHOLE
    assert client.get(f"{container}/again", **{"multipart-manifest": "get"}).body == b"own"


def test_links_to_manifests_and_among_segments(client: Client, container: str, manifest: str) -> None:
    client.put(f"{container}/link", b"", {"X-Symlink-Target": manifest})
    answer = client.get(f"{container}/link")
    assert (answer.body, answer.headers["content-location"]) == (WHOLE, f"/v1/{client.account}/{manifest}")
    same = client.get(f"{container}/link", headers={"If-None-Match": ETAG})
    assert (same.status, same.headers["content-location"]) == (304, answer.headers["content-location"])
    client.put(f"{container}/far", b"far away")
    client.put(f"{container}/segments %/aa", b"", {"X-Symlink-Target": f"{container}/far"})
    answer = client.get(manifest, headers={"Range": "bytes=100-109"})
    assert answer.body == b"far away" + WHOLE[100:102]


def test_a_reader_needs_the_right_to_list_the_segments(client: Client, member: Client, manifest: str) -> None:
    container, others = manifest.partition("/")[0], f"{manifest.partition('/')[0]}-manifests"
    assert client.put(others, headers={"X-Container-Read": "test:tester3"}).status == 201
    try:
        client.put(f"{others}/m", b"", {"X-Object-Manifest": f"{container}/segments%20%25/"})
        assert member.get(f"{others}/m").status == 403
        client.post(container, {"X-Container-Read": ".r:*"})
        assert member.get(f"{others}/m").status == 403
        client.post(container, {"X-Container-Read": ".r:*,.rlistings"})
        assert member.get(f"{others}/m").body == WHOLE
    finally:
        client.request("DELETE", f"{others}/m")
        client.request("DELETE", others)


@pytest.mark.parametrize("value", ["c", "c/", "/p", "c//p", "c/p?x=y"])
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_bad_manifests(client: Client, container: str, method: str, value: str) -> None:
    client.put(f"{container}/o", b"content")
    assert client.request(method, f"{container}/o", {"X-Object-Manifest": value}).status == 400
    assert client.get(f"{container}/o").body == b"content"


def test_a_segmented_upload_of_a_client(store: Store, client: Client, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "large").write_bytes(content)
    name, swift = f"s-{uuid4().hex[:8]}", swift_command(store)
    for command in (["upload", name, "-S", "1048576", "large"], ["download", name, "large", "-o", "back"]):
        done = subprocess.run([*swift, *command], capture_output=True, text=True, cwd=tmp_path, timeout=100)
        assert done.returncode == 0, done.stderr + done.stdout
    assert (tmp_path / "back").read_bytes() == client.get(f"{name}/large").body == content
    assert len(client.names(f"{name}_segments")) == 3
