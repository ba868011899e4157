"""Ring files made here load in Swift and the other way round, and both sides find the same devices."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from objstore.devices import Device
from objstore.hashing import PathHasher
from objstore.paths import ResourcePath
from objstore.ring.build import build_ring
from objstore.ring.format import read_ring, write_ring
from objstore.ring.ring import Ring
from tests.unit.ring.factories import make_devices, random_devices

SWIFT_PYTHON = os.environ.get("OBJSTORE_SWIFT_PYTHON", "")
PEER = Path(__file__).with_name("ring_peer.py")
HASHER = PathHasher("head", "tail")
PATHS = [(f"AUTH_{number % 7}", f"c {number % 11}", f"o/é{number}") for number in range(3000)]

pytestmark = [
    pytest.mark.skipif(not SWIFT_PYTHON, reason="OBJSTORE_SWIFT_PYTHON names no Swift install's interpreter"),
    pytest.mark.parametrize("replicas", [1, 2.5, 3]),
    pytest.mark.parametrize("seed", range(3)),
]


def ask_swift(question: Any, *arguments: str) -> Any:
    command = [SWIFT_PYTHON, str(PEER), *arguments]
    run = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout) if run.stdout else None


def devices_of(seed: int) -> list[Device]:
    return make_devices(12) if seed == 0 else random_devices(Random(seed), 25)


def assert_same_places(ring: Ring, path: str) -> None:
    for names, (partition, primaries, handoffs) in zip(PATHS, ask_swift(PATHS, "locate", path), strict=True):
        assert ring.partition_of(HASHER.digest(ResourcePath(*names))) == partition
        assert [device.id for device in ring.primaries(partition)] == primaries
        assert [device.id for device in ring.handoffs(partition)] == handoffs


def test_swift_reads_our_rings(tmp_path: Path, replicas: float, seed: int) -> None:
    path = str(tmp_path / "object.ring.gz")
    ring = build_ring(devices_of(seed), part_power=9, replicas=replicas, seed=seed)
    write_ring(ring, path)
    assert_same_places(ring, path)


@pytest.mark.parametrize("version", ["1", "2"])
def test_we_read_rings_of_swift(tmp_path: Path, replicas: float, seed: int, version: str) -> None:
    path = str(tmp_path / "object.ring.gz")
    devices = devices_of(seed)
    wanted = {"part_power": 9, "replicas": replicas, "devices": [msgspec.to_builtins(device) for device in devices]}
    ask_swift(wanted, "build", path, version)
    ring = read_ring(path)
    assert ring.devices == tuple(devices)
    assert ring.replica_count == pytest.approx(replicas)
    assert_same_places(ring, path)
