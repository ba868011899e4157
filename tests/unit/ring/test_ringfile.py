from __future__ import annotations

import hashlib
import os
from pathlib import Path
from unittest.mock import patch

import pytest

from objstore.ring import rings as ringfile
from objstore.ring.builder import build_ring
from objstore.ring.errors import RingFileError, RingMissing
from objstore.ring.format import write_ring
from objstore.ring.rings import RingFile, Rings, object_file
from tests.doubles import ManualClock
from tests.unit.ring.factories import make_devices


def write(path: Path, seed: int) -> None:
    write_ring(build_ring(make_devices(4), part_power=4, replicas=2, seed=seed), str(path))


def test_a_changed_file_is_read_after_the_interval(tmp_path: Path) -> None:
    clock, path = ManualClock(0.0), tmp_path / "object.ring.gz"
    write(path, seed=1)
    follower = RingFile(str(path), clock, check_interval_seconds=15)
    first = follower.ring
    write(path, seed=2)
    clock.seconds = 14.9
    assert follower.ring is first
    clock.seconds = 15
    assert follower.ring.rows != first.rows


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    clock, path = ManualClock(0.0), tmp_path / "object.ring.gz"
    write(path, seed=1)
    follower = RingFile(str(path), clock)
    first = follower.ring
    clock.seconds = 100
    assert follower.ring is first


@pytest.mark.parametrize("damage", ["truncate", "remove"])
def test_the_last_good_ring_stays_and_the_log_says_so_once(tmp_path: Path, damage: str) -> None:
    clock, path = ManualClock(0.0), tmp_path / "object.ring.gz"
    write(path, seed=1)
    follower = RingFile(str(path), clock, check_interval_seconds=15)
    first = follower.ring
    if damage == "truncate":
        path.write_bytes(path.read_bytes()[:50])
    else:
        os.unlink(path)
    with patch.object(ringfile.log, "error") as error:
        for clock.seconds in (15.0, 30.0, 45.0):
            assert follower.ring is first
    assert error.call_count == 1
    write(path, seed=2)
    clock.seconds = 60
    assert follower.ring is not first


def test_rings_by_what_they_place(tmp_path: Path) -> None:
    for seed, name in enumerate(("account.ring.gz", "container.ring.gz", "object.ring.gz", "object-2.ring.gz")):
        write(tmp_path / name, seed)
    rings = Rings(str(tmp_path), ManualClock(0.0))
    found = [rings.account, rings.container, rings.object(0), rings.object(2)]
    assert len({str(ring.rows) for ring in found}) == 4
    assert rings.account is found[0]


def test_missing_and_bad_rings_name_their_file(tmp_path: Path) -> None:
    rings = Rings(str(tmp_path), ManualClock(0.0))
    with pytest.raises(RingMissing, match=r"object-1\.ring\.gz"):
        rings.object(1)
    (tmp_path / object_file(1)).write_bytes(b"nonsense")
    with pytest.raises(RingFileError, match=r"object-1\.ring\.gz"):
        rings.object(1)
    write(tmp_path / object_file(1), seed=1)
    assert rings.object(1).partition_count == 16


def test_what_is_told_of_rings_is_what_is_in_use(tmp_path: Path) -> None:
    rings, path, other = (
        Rings(str(tmp_path), ManualClock(0.0)),
        tmp_path / "object.ring.gz",
        tmp_path / "account.ring.gz",
    )
    write(path, seed=1)
    other.write_bytes(b"nonsense")
    first = path.read_bytes()
    rings.object(0)
    path.write_bytes(first[:-30])
    for _ in range(2):
        use, never = rings.in_use()[str(path)], rings.in_use()[str(other)]
        assert (use.md5, use.version) == (hashlib.md5(first).hexdigest(), rings.object(0).version)
        assert "not a valid ring file" in use.problem
        assert (never.md5, never.version) == ("", None)
        assert "not a valid ring file" in never.problem
    os.unlink(path)
    assert rings.in_use()[str(path)].problem.startswith("no such ring file")
    write(path, seed=2)
    use = rings.in_use()[str(path)]
    assert (use.md5, use.problem) == (hashlib.md5(path.read_bytes()).hexdigest(), "")


def test_a_young_ring_knows_what_it_replaced(tmp_path: Path) -> None:
    clock, path = ManualClock(0.0), tmp_path / "object.ring.gz"
    rings = []
    for seed in range(1, 4):
        write(path, seed)
        if seed == 1:
            follower = RingFile(str(path), clock, check_interval_seconds=15)
        clock.seconds += 15
        rings.append(follower.ring)
    assert rings[2].former == (rings[1], rings[0])
    partition = 3
    lately = {device.id for ring in rings[:2] for device in ring.primaries(partition)}
    present = {device.id for device in rings[2].primaries(partition)}
    assert {device.id for device in rings[2].former_primaries(partition)} == lately - present
    clock.seconds += ringfile.YOUNG_SECONDS - 15
    assert follower.ring.former == (rings[1],)
    clock.seconds += 15
    assert follower.ring.former == ()
    assert follower.ring.former_primaries(partition) == []


def test_the_ring_before_a_restart_is_read_while_it_counts(tmp_path: Path) -> None:
    clock, path = ManualClock(0.0), tmp_path / "object.ring.gz"
    clock.seconds = 1_700_000_000.0
    write(Path(f"{path}.previous"), seed=1)
    write(path, seed=2)
    os.utime(f"{path}.previous", (clock.seconds - 3600, clock.seconds - 3600))
    assert len(RingFile(str(path), clock).ring.former) == 1
    clock.seconds += ringfile.YOUNG_SECONDS
    assert RingFile(str(path), clock).ring.former == ()
