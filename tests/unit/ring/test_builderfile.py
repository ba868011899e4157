from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import xxhash

from objstore.ring import builderfile
from objstore.ring.builder import RingBuilder, new_builder
from objstore.ring.builderfile import (
    DIGEST_BYTES,
    LENGTH,
    MAGIC,
    builder_lock,
    format_builder,
    load_builder,
    save_builder,
)
from objstore.ring.errors import RingFileError, RingMissing
from objstore.ring.settings import RingSettings
from tests.unit.ring.factories import make_device, make_devices

NOW = 1_000_000_000.0


def saved(tmp_path: Path, replicas: float = 2.5) -> tuple[RingBuilder, str]:
    builder = new_builder(RingSettings(6, replicas, 1, 0.1), make_devices(8))
    builder.rebalance(1, NOW)
    path = str(tmp_path / "object.builder")
    save_builder(builder, path, "rebalance", NOW)
    return builder, path


def assert_same(left: RingBuilder, right: RingBuilder) -> None:
    for name in ("settings", "devices", "removed", "version", "next_part_power", "next_id", "history", "saved_version"):
        assert getattr(left, name) == getattr(right, name), name
    assert left.layout is not None
    assert right.layout is not None
    assert (left.layout.ids == right.layout.ids).all()
    assert left.layout.ids.dtype == right.layout.ids.dtype
    assert (left.moved_at == right.moved_at).all()


@pytest.mark.parametrize("replicas", [1, 2.5, 3])
def test_what_is_saved_is_loaded(tmp_path: Path, replicas: float) -> None:
    builder, path = saved(tmp_path, replicas)
    assert_same(load_builder(path), builder)


def test_a_builder_without_a_layout(tmp_path: Path) -> None:
    builder = new_builder(RingSettings(6, 3, 1), make_devices(3))
    save_builder(builder, str(tmp_path / "b"), "create", NOW)
    assert load_builder(str(tmp_path / "b")).layout is None


def test_a_change_that_is_not_balanced_yet(tmp_path: Path) -> None:
    builder, path = saved(tmp_path)
    builder.set(dataclasses.replace(builder.settings, replicas=4))
    builder.remove(2)
    save_builder(builder, path, "remove", NOW)
    again = load_builder(path)
    assert_same(again, builder)
    assert again.rebalance(1, NOW).moved_count == builder.rebalance(1, NOW).moved_count


def test_a_loaded_builder_can_be_changed(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    builder = load_builder(path)
    builder.pretend_min_part_hours_passed()
    assert builder.moved_at is not None
    assert not np.any(builder.moved_at)


def test_the_history_tells_what_was_done_and_forgets_the_oldest(tmp_path: Path) -> None:
    builder, path = saved(tmp_path)
    with patch.object(builderfile, "HISTORY_MAX", 3):
        for number in range(5):
            builder.set_weight(0, number + 1)
            save_builder(builder, path, f"set weight {number + 1}", NOW + number)
    history = load_builder(path).history
    assert [entry.what for entry in history] == ["set weight 3", "set weight 4", "set weight 5"]
    assert history[-1].version == builder.version


def test_the_replaced_file_is_kept(tmp_path: Path) -> None:
    builder, path = saved(tmp_path)
    first = Path(path).read_bytes()
    builder.set_weight(0, 7)
    save_builder(builder, path, "set weight", NOW + 1)
    (backup,) = (tmp_path / "backups").iterdir()
    assert backup.name == "1000000001.000000.object.builder"
    assert backup.read_bytes() == first


def test_a_file_changed_by_another_is_not_overwritten(tmp_path: Path) -> None:
    builder, path = saved(tmp_path)
    other = load_builder(path)
    other.set_weight(0, 7)
    save_builder(other, path, "set weight", NOW)
    builder.set_weight(0, 8)
    before = Path(path).read_bytes()
    with pytest.raises(RingFileError, match="is now version"):
        save_builder(builder, path, "set weight", NOW)
    with pytest.raises(RingFileError, match="is now version"):
        save_builder(new_builder(RingSettings(6, 3, 1)), path, "create", NOW)
    assert Path(path).read_bytes() == before


def test_two_builders_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "b")
    with (
        patch.object(builderfile, "LOCK_TIMEOUT_SECONDS", 0.0),
        builder_lock(path),
        pytest.raises(RingFileError, match="another builder"),
        builder_lock(path),
    ):
        pass


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(RingMissing, match="create it first"):
        load_builder(str(tmp_path / "b"))
    with pytest.raises(RingFileError, match="cannot be read"):
        load_builder(str(tmp_path))
    builder = new_builder(RingSettings(6, 3, 1))
    with pytest.raises(RingFileError, match="cannot be written"):
        save_builder(builder, str(tmp_path / "no" / "b"), "create", NOW)


def test_every_damage_is_noticed(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    content = Path(path).read_bytes()
    damaged = [content[:length] for length in range(0, len(content), 7)]
    damaged += [
        content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :] for place in range(0, len(content), 5)
    ]
    damaged.append(content + b"\0")
    for wrong in damaged:
        Path(path).write_bytes(wrong)
        with pytest.raises(RingFileError, match="not a valid builder file"):
            load_builder(path)


def test_a_sound_file_with_impossible_content(tmp_path: Path) -> None:
    builder, path = saved(tmp_path)
    del builder.devices[3]
    Path(path).write_bytes(format_builder(builder))
    with pytest.raises(RingFileError, match="devices it does not have"):
        load_builder(path)


def test_a_limit_of_a_device_that_is_not_there(tmp_path: Path) -> None:
    builder, path = saved(tmp_path)
    builder.limits[99] = 3
    Path(path).write_bytes(format_builder(builder))
    with pytest.raises(RingFileError, match="a device that does not exist has a limit"):
        load_builder(path)


def test_files_from_before_there_were_limits(tmp_path: Path) -> None:
    builder, path = saved(tmp_path)
    content = format_builder(builder)[:-DIGEST_BYTES]
    begin = len(MAGIC) + LENGTH.size
    (length,) = LENGTH.unpack_from(content, len(MAGIC))
    header = json.loads(content[begin : begin + length])
    del header["limits"]
    text = json.dumps(header).encode()
    body = MAGIC + LENGTH.pack(len(text)) + text + content[begin + length :]
    Path(path).write_bytes(body + xxhash.xxh3_128_digest(body))
    assert load_builder(path).limits == {}
    assert_same(load_builder(path), builder)


def test_many_devices_take_wide_ids(tmp_path: Path) -> None:
    builder = new_builder(RingSettings(4, 1), [make_device(70_000), make_device(1, ip="10.0.0.2")])
    builder.rebalance(1, NOW)
    path = str(tmp_path / "b")
    save_builder(builder, path, "rebalance", NOW)
    assert_same(load_builder(path), builder)
    assert os.path.getsize(path) < 4096
