"""Whatever comes over the network instead of good frames: nothing of it is kept."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from xxhash import xxh3_64_digest, xxh3_128_hexdigest

from objstore.http.transport import BackendRequest
from objstore.object.metadata import ObjectMetadata, PostedMetadata, TombstoneMetadata
from objstore.object.replication.frames import head_of
from objstore.paths import ResourcePath
from tests.unit.object.replication.cluster import PARTITION, Replicas, at

BODY = b"x" * 100_000
NAME = at(1) + ".data"


@pytest.fixture
def replicas(tmp_path: Path) -> Replicas:
    return Replicas(tmp_path, count=3)


def digest(replicas: Replicas, name: str = "o") -> str:
    return replicas.cluster.hasher.hexdigest(ResourcePath("a", "c", name))


def metadata(**changed: object) -> ObjectMetadata:
    good = ObjectMetadata("/a/c/o", at(1), len(BODY), "0" * 32, xxh3_128_hexdigest(BODY), "text/plain")
    return msgspec.structs.replace(good, **changed)


def push(replicas: Replicas, content: bytes, partition: int = PARTITION) -> tuple[int, bytes]:
    """The status and body of the answer to a push of these bytes to server 1."""
    path = ResourcePath(".replication")
    request = BackendRequest("REPLICATE", replicas.devices[1], partition, path, {}, "step=push")
    answer = replicas.transport.request(request, content)
    return answer.status, answer.read_all(10_000)


def framed(head: bytes) -> bytes:
    """A head that is not as `head_of` makes them."""
    return struct.pack(">4sI8s", b"OBJ1", len(head), xxh3_64_digest(head)) + head


def test_a_good_frame_is_stored(replicas: Replicas) -> None:
    good = head_of(digest(replicas), NAME, len(BODY), metadata()) + BODY
    assert push(replicas, good) == (200, b'["stored"]')
    assert replicas.names(1, "o") == [NAME]


REFUSED: dict[str, Callable[[Replicas], bytes]] = {
    "body": lambda r: head_of(digest(r), NAME, len(BODY), metadata()) + b"y" * len(BODY),
    "checksum": lambda r: head_of(digest(r), NAME, len(BODY), metadata(checksum="0" * 32)) + BODY,
    "size": lambda r: head_of(digest(r), NAME, len(BODY), metadata(size=1)) + BODY,
    "another hash": lambda r: head_of(digest(r, "p"), NAME, len(BODY), metadata()) + BODY,
    "hash that leads out": lambda r: head_of("../" * 10, NAME, len(BODY), metadata()) + BODY,
    "name that leads out": lambda r: head_of(digest(r), "../../" + NAME, len(BODY), metadata()) + BODY,
    "object that leads out": lambda r: head_of(digest(r), NAME, len(BODY), metadata(name="/../../x")) + BODY,
    "no object": lambda r: head_of(digest(r), NAME, len(BODY), metadata(name="/a/c")) + BODY,
    "another moment": lambda r: head_of(digest(r), at(2) + ".data", len(BODY), metadata()) + BODY,
    "fragment": lambda r: head_of(digest(r), at(1) + "#1.data", len(BODY), metadata()) + BODY,
    "tombstone with a body": lambda r: (
        head_of(digest(r), at(1) + ".ts", len(BODY), TombstoneMetadata("/a/c/o", at(1))) + BODY
    ),
    "other metadata": lambda r: head_of(digest(r), at(1) + ".ts", 0, PostedMetadata("/a/c/o", at(1), {"X": "y"})),
    "another content type": lambda r: head_of(
        digest(r), at(2) + ".meta", 0, PostedMetadata("/a/c/o", at(2), {}, "text/plain", at(1))
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_frame_that_is_not_as_it_says_is_refused_and_the_next_one_taken(replicas: Replicas, what: str) -> None:
    good = head_of(digest(replicas, "good"), at(1) + ".ts", 0, TombstoneMetadata("/a/c/good", at(1)))
    assert push(replicas, REFUSED[what](replicas) + good) == (200, b'["failed","stored"]')
    assert len(replicas.files(1)) == 1
    assert replicas.names(1, "good") == [at(1) + ".ts"]
    assert sorted(path.name for path in (replicas.servers[1].root / "sda").iterdir()) == ["objects"]


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "no frame": lambda _good: b"GET / HTTP/1.1\r\n\r\n",
    "cut off in the prefix": lambda good: good[:10],
    "cut off in the head": lambda good: good[:40],
    "cut off in the body": lambda good: good[:-1],
    "enormous head": lambda _good: struct.pack(">4sI8s", b"OBJ1", 2**32 - 1, b"8 bytes!"),
    "damaged head": lambda good: good[:20] + b"?" + good[21:],
    "no head": lambda _good: framed(b"null"),
    "negative size": lambda _good: framed(b'{"hash":"","name":"","size":-1,"metadata":{}}'),
    "enormous size": lambda _good: framed(b'{"hash":"","name":"","size":9223372036854775807,"metadata":{}}') + BODY,
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_stream_of_frames_ends_and_leaves_nothing(replicas: Replicas, what: str) -> None:
    good = head_of(digest(replicas), NAME, len(BODY), metadata()) + BODY
    status, _ = push(replicas, BROKEN[what](good))
    assert status // 100 == 4
    assert replicas.files(1) == {}


def test_an_object_of_another_partition_is_refused(replicas: Replicas) -> None:
    good = head_of(digest(replicas), NAME, len(BODY), metadata()) + BODY
    assert push(replicas, good, partition=77) == (200, b'["failed"]')
    assert replicas.files(1) == {}
