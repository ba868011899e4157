from __future__ import annotations

import gzip
import json
import os
import re
import struct
from array import array
from pathlib import Path
from typing import Any

import pytest

from objstore.ring.builder import build_ring
from objstore.ring.errors import RingFileError, RingMissing
from objstore.ring.format import format_ring, parse_ring, read_ring, write_ring
from objstore.ring.ring import Ring
from tests.unit.ring.factories import make_device, make_devices


def compressed(content: bytes) -> bytes:
    """Without the time of day: test processes must agree on the names of tests, which hold these bytes."""
    return gzip.compress(content, mtime=0)


def header(**changes: Any) -> dict[str, Any]:
    device = {"id": 0, "zone": 1, "ip": "10.0.0.1", "port": 6200, "device": "sda", "weight": 1.0}
    return {"devs": [device], "part_shift": 31, "replica_count": 1, "byteorder": "little"} | changes


def ring_bytes(head: dict[str, Any], rows: bytes = b"\0\0\0\0", version: int = 1) -> bytes:
    text = json.dumps(head).encode()
    return compressed(b"R1NG" + struct.pack(">HI", version, len(text)) + text + rows)


def bad(tmp_path: Path, content: bytes) -> str:
    """The reason given for a bad file."""
    path = tmp_path / "object.ring.gz"
    path.write_bytes(content)
    with pytest.raises(RingFileError) as caught:
        read_ring(str(path))
    assert caught.value.path == str(path)
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    return caught.value.reason


def same(left: Ring, right: Ring) -> bool:
    return (left.devices, left.rows, left.part_power, left.version, left.next_part_power) == (
        right.devices,
        right.rows,
        right.part_power,
        right.version,
        right.next_part_power,
    )


@pytest.mark.parametrize("replicas", [1, 2.5, 3])
def test_what_is_written_is_read(tmp_path: Path, replicas: float) -> None:
    ring = build_ring(make_devices(7), part_power=6, replicas=replicas, seed=1)
    path = str(tmp_path / "object.ring.gz")
    write_ring(ring, path)
    assert same(read_ring(path), ring)


def test_the_next_part_power_is_kept() -> None:
    ring = Ring(1, [make_device(0)], [array("H", [0, 0])], version=7, next_part_power=2)
    assert same(parse_ring(format_ring(ring)), ring)


def test_the_same_ring_gives_the_same_bytes() -> None:
    first, second = (build_ring(make_devices(7), part_power=6, replicas=3, seed=1) for _ in range(2))
    assert format_ring(first) == format_ring(second)


def test_gaps_between_device_ids_are_kept() -> None:
    ring = Ring(1, [make_device(1), make_device(5)], [array("H", [5, 1])])
    assert same(parse_ring(format_ring(ring)), ring)


def test_old_files_without_regions_and_replication_addresses() -> None:
    (device,) = parse_ring(ring_bytes(header())).devices
    assert (device.region, device.replication_ip, device.replication_port, device.meta) == (1, "10.0.0.1", 6200, "")


def test_big_endian_files() -> None:
    devs = [header()["devs"][0] | {"id": number} for number in range(2)]
    ring = parse_ring(ring_bytes(header(byteorder="big", devs=devs), b"\0\1\0\0"))
    assert [device.id for device in ring.primaries(0)] == [1]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RingMissing, match="no such ring file"):
        read_ring(str(tmp_path / "account.ring.gz"))


def test_a_directory_is_no_ring(tmp_path: Path) -> None:
    with pytest.raises(RingFileError, match="cannot be read"):
        read_ring(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated"),
        (b"R1NG", "compressed data are broken"),
        (compressed(b"R1NX\0\1"), "begin with R1NG"),
        (compressed(b"R1N"), "ends within the magic"),
        (ring_bytes(header(), version=9), "version 9 is not supported"),
        (compressed(b"R1NG\0\1" + struct.pack(">I", 1 << 31)), "header of 2147483648 bytes"),
        (compressed(b"R1NG\0\1" + struct.pack(">I", 100) + b"{"), "ends within the header"),
        (ring_bytes({}), "missing required field"),
        (ring_bytes(header(part_shift=33)), "part_shift"),
        (ring_bytes(header(replica_count=0)), "replica_count"),
        (ring_bytes(header(replica_count=10_000)), "replica_count"),
        (ring_bytes(header(part_shift=0)), "replica 0 ends|more than a ring"),
        (ring_bytes(header(), b"\0\0\0"), "replica 0 ends"),
        (ring_bytes(header(), b""), "replica 0 ends"),
        (ring_bytes(header(replica_count=2), b"\0\0"), "ends within replica 0"),
        (ring_bytes(header(), b"\0\0\0\0\0\0"), "bytes after the last replica"),
        (ring_bytes(header(), b"\0\0\1\0"), "names the device id 1"),
        (ring_bytes(header(devs=[None])), "names the device id 0"),
        (ring_bytes(header(devs=[header()["devs"][0] | {"id": 3}])), "place 0 has the id 3"),
        (ring_bytes(header(devs=[header()["devs"][0] | {"device": "../x"}])), "device"),
        (ring_bytes(header(devs=[header()["devs"][0] | {"weight": -1}])), "weight"),
        (ring_bytes(header(byteorder="middle")), "byteorder"),
        (ring_bytes(header()) + b"more", "after the compressed data"),
    ],
)
def test_bad_files_are_refused_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    assert re.search(reason, bad(tmp_path, content))


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    content = format_ring(build_ring(make_devices(4), part_power=2, replicas=2.5, seed=1))
    for length in range(len(content)):
        assert bad(tmp_path, content[:length])


def test_a_ring_whose_ids_need_it_is_written_in_version_2(tmp_path: Path) -> None:
    path = str(tmp_path / "object.ring.gz")
    ring = Ring(0, [make_device(70_000)], [array("I", [70_000])])
    with pytest.raises(ValueError, match="version 1"):
        format_ring(ring)
    write_ring(ring, path)
    assert same(read_ring(path), ring)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = str(tmp_path / "object.ring.gz")
    write_ring(build_ring(make_devices(4), part_power=2, replicas=2, seed=1), path)
    before = Path(path).read_bytes()
    with pytest.raises(RingFileError, match="cannot be written"):
        write_ring(parse_ring(before), str(tmp_path / "absent" / "object.ring.gz"))
    assert Path(path).read_bytes() == before
    assert os.listdir(tmp_path) == ["object.ring.gz"]
