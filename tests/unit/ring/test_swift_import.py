from __future__ import annotations

import pickle  # noqa: TID251  (makes the files that are read)
from array import array
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from objstore.devices import Device
from objstore.ring import swift_import
from objstore.ring.builder import SECONDS_PER_HOUR
from objstore.ring.errors import RingFileError, RingMissing
from objstore.ring.settings import RingSettings
from objstore.ring.swift_import import convert_swift_builder

NOW = 1_700_000_000


def row_of(device_id: int, **changes: Any) -> dict[str, Any]:
    """A device as such files have it."""
    row = {
        "id": device_id,
        "region": 1,
        "zone": device_id,
        "ip": f"10.0.0.{device_id}",
        "port": 6200,
        "replication_ip": f"10.1.0.{device_id}",
        "replication_port": 6300,
        "device": "sda",
        "weight": 100.0,
        "meta": "there",
        "parts": 5,
        "parts_wanted": -1,
    }
    return row | changes


def content_of(**changes: Any) -> dict[str, Any]:
    """A file's content: four partitions with two replicas on devices 0, 1 and 3."""
    content = {
        "part_power": 2,
        "replicas": 2.0,
        "min_part_hours": 3,
        "parts": 4,
        "devs": [row_of(0), row_of(1), None, row_of(3)],
        "devs_changed": False,
        "version": 17,
        "overload": 0.1,
        "_replica2part2dev": [array("H", [0, 1, 3, 0]), array("H", [1, 3, 0, 3])],
        "_last_part_moves_epoch": NOW,
        "_last_part_moves": array("B", [0, 1, 2, 255]),
        "_last_part_gather_start": 2,
        "_dispersion_graph": {(1,): [0, 4, 0], (1, 0, "10.0.0.0", 0): [0, 4, 0]},
        "dispersion": 0.0,
        "_remove_devs": [],
        "id": "0123456789abcdef",
        "next_part_power": None,
        "dev_id_bytes": 2,
    }
    return content | changes


def written(path: Path, **changes: Any) -> str:
    file = path / "swift.builder"
    file.write_bytes(pickle.dumps(content_of(**changes), 2))
    return str(file)


def test_everything_is_taken_over(tmp_path: Path) -> None:
    builder = convert_swift_builder(written(tmp_path))
    assert builder.settings == RingSettings(2, 2.0, 3.0, 0.1)
    assert builder.devices[3] == Device(3, 1, 3, "10.0.0.3", 6200, "10.1.0.3", 6300, "sda", 100.0, "there")
    assert list(builder.devices) == [0, 1, 3]
    assert (builder.version, builder.next_part_power, builder.removed, builder.next_id) == (17, None, set(), 4)
    assert builder.layout is not None
    assert builder.layout.ids.tolist() == [[0, 1, 3, 0], [1, 3, 0, 3]]
    assert builder.moved_at is not None
    assert builder.moved_at.tolist() == [NOW, NOW - SECONDS_PER_HOUR, NOW - 2 * SECONDS_PER_HOUR, 0]
    assert builder.ring().version == 17


def test_removed_devices_have_no_weight_and_no_place(tmp_path: Path) -> None:
    builder = convert_swift_builder(written(tmp_path, _remove_devs=[row_of(1, weight=0)]))
    assert builder.removed == {1}
    assert builder.devices[1].weight == 0
    builder.add(Device(4, 1, 1, "10.0.0.1", 6200, "10.1.0.1", 6300, "sda", 1.0))


def test_a_builder_that_was_never_balanced(tmp_path: Path) -> None:
    changes = {"_replica2part2dev": None, "_last_part_moves": None, "_last_part_moves_epoch": None}
    builder = convert_swift_builder(written(tmp_path, **changes))
    assert (builder.layout, builder.moved_at, builder.next_id) == (None, None, 4)


def test_a_short_last_row(tmp_path: Path) -> None:
    builder = convert_swift_builder(
        written(
            tmp_path, replicas=2.3, _replica2part2dev=[array("H", [0, 1, 3, 0]), array("H", [1] * 4), array("H", [3])]
        )
    )
    assert builder.ring().replica_count == 2.25
    assert builder.settings.replicas == 2.3


def test_hours_below_zero_lock_nothing(tmp_path: Path) -> None:
    builder = convert_swift_builder(written(tmp_path, min_part_hours=-1))
    assert builder.settings.min_part_hours == 0
    assert builder.plan(1, 2e9).before is not None


@pytest.mark.parametrize("power", [2, 3])
def test_a_part_power_increase_under_way(tmp_path: Path, power: int) -> None:
    assert convert_swift_builder(written(tmp_path, next_part_power=power)).next_part_power == power


def test_files_of_old_versions(tmp_path: Path) -> None:
    content = content_of()
    for key in ("overload", "_last_part_moves_epoch", "id", "next_part_power", "_dispersion_graph", "dispersion"):
        del content[key]
    for row in content["devs"]:
        for key in ("region", "replication_ip", "replication_port", "meta"):
            if row:
                del row[key]
    path = tmp_path / "old.builder"
    path.write_bytes(pickle.dumps(content, 2))
    builder = convert_swift_builder(str(path))
    assert builder.devices[0] == Device(0, 1, 0, "10.0.0.0", 6200, "10.0.0.0", 6200, "sda", 100.0, "")
    assert builder.moved_at is not None
    assert not builder.moved_at.any()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"part_power": 30}, "the part power must be"),
        ({"part_power": "2"}, "Expected `int`"),
        ({"replicas": 0}, "replicas"),
        ({"replicas": float("nan")}, "replica"),
        ({"min_part_hours": float("nan")}, "min_part_hours"),
        ({"overload": -1.0}, "overload"),
        ({"version": -1}, "version"),
        ({"next_part_power": 7}, "next part power is 7"),
        ({"devs": [row_of(1)]}, "the device at place 0 has the id 1"),
        ({"devs": [row_of(0), row_of(1), row_of(2, weight=float("nan")), row_of(3)]}, "weight"),
        ({"devs": [row_of(0), row_of(1), row_of(2, weight=-1.0), row_of(3)]}, "weight"),
        ({"devs": [row_of(0), row_of(1), row_of(2, ip="10.0.0.300"), row_of(3)]}, "neither an IP address"),
        ({"devs": [row_of(0), row_of(1), row_of(2, device="a/b"), row_of(3)]}, "device"),
        ({"devs": [row_of(0), row_of(1)]}, "a device that does not exist, with the id 3"),
        ({"devs": {}}, "Expected `array`"),
        ({"_remove_devs": [row_of(2)]}, "a device that does not exist is to be removed"),
        ({"_replica2part2dev": [[0, 1, 3, 0]]}, "no arrays"),
        ({"_replica2part2dev": [array("H", [0, 1, 3])]}, "the replica count must be"),
        ({"_replica2part2dev": [array("H", [0]), array("H", [0, 1, 3, 0])]}, "do not have 4 partitions"),
        ({"_replica2part2dev": [array("H", [0, 1, 3, 65535])]}, "partitions without a device"),
        ({"_replica2part2dev": [array("h", [0, 1, 3, -1])]}, "device"),
        ({"_last_part_moves": array("B", [1])}, "not one for each partition"),
    ],
)
def test_impossible_content_is_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(RingFileError, match="swift.builder: (cannot be converted|not a valid)") as raised:
        convert_swift_builder(written(tmp_path, **changes))
    assert reason in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x02]."], ids=["empty", "garbage", "a list"])
def test_what_is_no_builder_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "swift.builder"
    path.write_bytes(content)
    with pytest.raises(RingFileError, match="not a valid builder file of Swift"):
        convert_swift_builder(str(path))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with patch.object(swift_import, "FILE_BYTES_MAX", 100), pytest.raises(RingFileError, match="more than the 100"):
        convert_swift_builder(written(tmp_path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RingMissing):
        convert_swift_builder(str(tmp_path / "swift.builder"))
