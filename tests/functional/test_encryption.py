"""A policy whose objects are encrypted at rest: no file of any device has anything as it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

import pytest

from tests.functional.client import Client
from tests.functional.servers import Store

MARKER = b"a-marker-that-no-device-may-have"
LARGE = MARKER * 10_000


@pytest.fixture(scope="module", params=[(), ("gold=ec:2+2",)], ids=["replication", "fragments"])
def encrypting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store whose default policy encrypts."""
    store = Store(tmp_path_factory.mktemp("encrypting") / "data", ("--workers", "0"))
    store.make("default = true", "default = true\nencrypted = true", request.param)
    store.start()
    yield store
    assert store.stop() == 0


def files_with(folder: Path, needles: list[bytes]) -> set[bytes]:
    """Which of these any file of the devices has, in its content or its attributes."""
    found = set()
    for path in folder.glob("d*/**/*"):
        if path.is_file():
            content = path.read_bytes() + b"".join(os.getxattr(path, name) for name in os.listxattr(path))
            found |= {needle for needle in needles if needle in content}
    return found


def test_a_policy_that_encrypts(encrypting: Store) -> None:
    client = Client.login(encrypting.host, encrypting.port)
    etag = md5(LARGE).hexdigest()
    client.put("c")
    assert client.put("c/o", body=LARGE, headers={"X-Object-Meta-A": MARKER.decode()}).headers["etag"] == etag
    assert client.put("c/small", body=MARKER).status == 201
    assert client.post("c/o", headers={"X-Object-Meta-B": MARKER.decode()}).status == 202
    link = {"X-Symlink-Target": "c/o", "X-Symlink-Target-Etag": etag}
    assert client.put("c/link", body=b"", headers=link).status == 201
    for name in ("o", "link"):
        got = client.get(f"c/{name}")
        assert (got.body, got.headers["etag"]) == (LARGE, etag)
        assert client.get(f"c/{name}", headers={"Range": "bytes=100000-100031"}).body == LARGE[100_000:100_032]
    assert client.head("c/o").headers["x-object-meta-b"] == MARKER.decode()
    assert [(row["name"], row["hash"], row["bytes"]) for row in client.rows("c") if row["name"] != "link"] == [
        ("o", etag, len(LARGE)),
        ("small", md5(MARKER).hexdigest(), len(MARKER)),
    ]
    client.post("c", headers={"X-Versions-Enabled": "true"})
    version = client.put("c/small", body=LARGE).headers["x-object-version-id"]
    client.delete("c/small")
    assert client.get("c/small", **{"version-id": version}).body == LARGE
    assert client.put("c/small", **{"version-id": version}).status == 201
    assert client.get("c/small").body == LARGE
    assert files_with(encrypting.folder, [MARKER, etag.encode(), md5(MARKER).hexdigest().encode()]) == set()
