from __future__ import annotations

import gzip
import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from objstore.ring.errors import RingFileError
from objstore.ring.format import parse_ring, read_ring

DEVICE = {"id": 0, "region": 1, "zone": 1, "ip": "10.0.0.1", "port": 6200, "device": "sda", "weight": 1.0}
DEVICES = [DEVICE, None, DEVICE | {"id": 2, "device": "sdb"}]
METADATA = {"part_shift": 31, "dev_id_bytes": 2, "version": 4}


def compressed(content: bytes) -> bytes:
    """Without the time of day: test processes must agree on the names of tests, which hold these bytes."""
    return gzip.compress(content, mtime=0)


def sections(**changes: bytes) -> dict[str, bytes]:
    parts = {
        "swift/ring/metadata": json.dumps(METADATA).encode(),
        "swift/ring/devices": json.dumps(DEVICES).encode(),
        "swift/ring/assignments": struct.pack(">HHH", 0, 2, 2),
        "other/extension": b"whatever",
    }
    return parts | {f"swift/ring/{name}": content for name, content in changes.items()}


def ring_bytes(parts: dict[str, bytes], **wrong: Any) -> bytes:
    """A version 2 file; `wrong` replaces values of the index entry of the assignments by position, or the tail."""
    content, index = b"R1NG\0\2", {}
    for name, part in parts.items():
        blob = struct.pack(">Q", len(part)) + part
        index[name] = [0, len(content), None, len(content) + len(blob), "sha256", hashlib.sha256(blob).hexdigest()]
        content += blob
    for place in (1, 3, 4, 5):
        if f"entry{place}" in wrong:
            index["swift/ring/assignments"][place] = wrong[f"entry{place}"]
    text = json.dumps(index).encode()
    tail = struct.pack(">QQ", wrong.get("index_at", len(content)), 0)
    return compressed(content + struct.pack(">Q", len(text)) + text + tail)


def test_a_ring_of_version_2() -> None:
    ring = parse_ring(ring_bytes(sections()))
    assert (ring.part_power, ring.version, ring.replica_count) == (1, 4, 1.5)
    assert [[device.id for device in ring.primaries(partition)] for partition in (0, 1)] == [[0, 2], [2]]


@pytest.mark.parametrize(("id_bytes", "code"), [(4, "I"), (8, "Q")])
def test_wide_device_ids(id_bytes: int, code: str) -> None:
    metadata = json.dumps(METADATA | {"dev_id_bytes": id_bytes}).encode()
    ring = parse_ring(ring_bytes(sections(metadata=metadata, assignments=struct.pack(f">2{code}", 2, 0))))
    assert [device.id for device in ring.primaries(0)] == [2]


def test_unknown_and_absent_checksums_are_not_checked() -> None:
    assert parse_ring(ring_bytes(sections(), entry4="blake9", entry5="?")).part_power == 1
    assert parse_ring(ring_bytes(sections(), entry3=None, entry5=None)).part_power == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (ring_bytes({}), "swift/ring/metadata is missing"),
        (ring_bytes(sections(), entry5="00"), "checksum of the section swift/ring/assignments is wrong"),
        (ring_bytes(sections(), entry1=10**6), "not where it is said to be"),
        (ring_bytes(sections(), entry1=0), "not where it is said to be"),
        (ring_bytes(sections(), entry3=7), "does not end where"),
        (ring_bytes(sections(), index_at=2**63), "not where it is said to be"),
        (ring_bytes(sections(assignments=b"")), "0 bytes of device ids"),
        (ring_bytes(sections(assignments=b"\0\0\0")), "3 bytes of device ids"),
        (ring_bytes(sections(assignments=b"\0\1\0\0")), "device id 1, which does not exist"),
        (ring_bytes(sections(metadata=b"{}")), "required field"),
        (ring_bytes(sections(devices=b'[{"id": 1}]')), "required field"),
        (compressed(b"R1NG\0\2"), "ends before its index"),
        (ring_bytes(sections())[:-20], "truncated"),
    ],
)
def test_bad_files_are_refused_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "object.ring.gz"
    path.write_bytes(content)
    with pytest.raises(RingFileError, match=reason):
        read_ring(str(path))
