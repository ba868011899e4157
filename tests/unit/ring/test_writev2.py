from __future__ import annotations

import gzip
import json
import struct
import zlib
from array import array
from pathlib import Path

import pytest

from objstore.ring.builder import build_ring
from objstore.ring.format import RingForm, format_version, parse_ring
from objstore.ring.ring import Ring
from tests.unit.ring.factories import make_device, make_devices


@pytest.mark.parametrize("id_bytes", [2, 4, None])
@pytest.mark.parametrize("replicas", [1, 2.5, 3])
def test_what_is_written_is_read(replicas: float, id_bytes: int | None) -> None:
    ring = build_ring(make_devices(8), part_power=6, replicas=replicas, seed=1)
    content = RingForm(2, id_bytes).content(ring)
    read = parse_ring(content)
    assert (read.devices, read.version, read.part_power) == (ring.devices, ring.version, ring.part_power)
    assert [row.tolist() for row in read.rows] == [row.tolist() for row in ring.rows]
    assert read.rows[0].itemsize == (id_bytes or 2)
    assert gzip.decompress(content)[:6] == b"R1NG\x00\x02"


def test_the_same_ring_gives_the_same_bytes() -> None:
    one, other = (build_ring(make_devices(8), part_power=6, replicas=3, seed=1) for _ in range(2))
    assert RingForm(2).content(one) == RingForm(2).content(other)


def test_more_devices_than_two_bytes_can_number() -> None:
    devices = [make_device(3), make_device(70_000)]
    ring = Ring(1, devices, [array("I", [3, 70_000])], version=5, next_part_power=2)
    read = parse_ring(RingForm(2).content(ring))
    assert (read.devices, read.rows, read.version, read.next_part_power) == (ring.devices, ring.rows, 5, 2)
    for form in (RingForm(1), RingForm(2, 2)):
        with pytest.raises(ValueError, match="device id 70000 does not fit"):
            form.content(ring)


def test_version_1_knows_ids_of_two_bytes_only() -> None:
    ring = build_ring(make_devices(8), part_power=6, replicas=3, seed=1)
    with pytest.raises(ValueError, match="need a ring file of version 2"):
        RingForm(1, 4).content(ring)
    assert parse_ring(RingForm(1, 2).content(ring)).rows == ring.rows


@pytest.mark.parametrize("version", [1, 2])
def test_the_version_is_told(version: int, tmp_path: Path) -> None:
    path = tmp_path / "x.ring.gz"
    path.write_bytes(RingForm(version).content(build_ring(make_devices(8), part_power=6, replicas=3, seed=1)))
    assert format_version(str(path)) == version


def test_the_index_finds_every_section_by_its_compressed_place() -> None:
    ring = build_ring(make_devices(8), part_power=6, replicas=3, seed=1)
    content = RingForm(2).content(ring)
    (index_place,) = struct.unpack_from(">Q", content, len(content) - 31 + 5)

    def section_at(place: int) -> bytes:
        piece = zlib.decompressobj(-15).decompress(content[place:])
        (length,) = struct.unpack_from(">Q", piece)
        return piece[8 : 8 + length]

    index = json.loads(section_at(index_place))
    assert set(index) == {"swift/ring/metadata", "swift/ring/devices", "swift/ring/assignments"}
    assert json.loads(section_at(index["swift/ring/metadata"][0]))["dev_id_bytes"] == 2
    assert len(section_at(index["swift/ring/assignments"][0])) == 64 * 3 * 2
