"""How long our ring builder takes for one cluster, and how well it does it; see rings.py.

python -m objstore.bench.ring_figures    JSON {part_power, replicas, devices, added} on stdin, figures on stdout
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from random import Random
from typing import Any, Final

import msgspec

from objstore.devices import Device
from objstore.paths import PathHasher, ResourcePath
from objstore.ring.builder import RingBuilder, new_builder
from objstore.ring.builderfile import load_builder, save_builder
from objstore.ring.format import read_ring, write_ring
from objstore.ring.ring import Ring
from objstore.ring.settings import RingSettings

LOOKUPS: Final = 200_000
HANDOFFS: Final = 3
SAMPLES: Final = 200
Figures = dict[str, float]


def measure(question: dict[str, Any], figures: Figures) -> None:
    """Build, add a device, save, load, look up."""
    devices = msgspec.convert(question["devices"], list[Device])
    added = msgspec.convert(question["added"], Device)
    builder = new_builder(RingSettings(question["part_power"], question["replicas"], 1), devices)
    figures["build s"] = _seconds(lambda: builder.rebalance(1, time.time()))
    builder.pretend_min_part_hours_passed()
    builder.add(added)
    began = time.perf_counter()
    plan = builder.rebalance(2, time.time())
    figures["add s"] = time.perf_counter() - began
    total = plan.layout.settings.partition_count * question["replicas"]
    ideal = total * added.weight / sum(device.weight for device in (*devices, added))
    figures["least %"] = 100 * ideal / total
    figures["moved %"] = 100 * plan.moved_count / total
    figures["new device %"] = 100 * float(plan.layout.held(added.id + 1)[added.id]) / ideal
    figures["balance %"], figures["dispersion %"] = plan.after.balance, plan.after.dispersion
    with tempfile.TemporaryDirectory() as folder:
        _measure_files(builder, folder, figures)
    figures["memory MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _measure_files(builder: RingBuilder, folder: str, figures: Figures) -> None:
    ring_path, builder_path = os.path.join(folder, "object.ring.gz"), os.path.join(folder, "object.builder")
    figures["save builder s"] = _seconds(lambda: save_builder(builder, builder_path, "measure", time.time()))
    figures["load builder s"] = _seconds(lambda: load_builder(builder_path))
    ring = builder.ring()
    figures["save ring s"] = _seconds(lambda: write_ring(ring, ring_path))
    figures["load ring s"] = _seconds(lambda: read_ring(ring_path))
    _measure_lookups(read_ring(ring_path), figures)


def _measure_lookups(ring: Ring, figures: Figures) -> None:
    random, hasher = Random(1), PathHasher("prefix", "suffix")
    digests = [random.randbytes(16) for _ in range(LOOKUPS)]
    paths = [ResourcePath("AUTH_test", "container", f"object {number}") for number in range(LOOKUPS)]
    ring.primaries(0)
    began = time.perf_counter()
    for digest in digests:
        ring.primaries(ring.partition_of(digest))
    figures["lookup us"] = (time.perf_counter() - began) * 1e6 / LOOKUPS
    began = time.perf_counter()
    for path in paths:
        ring.primaries(ring.partition_of(hasher.digest(path)))
    figures["lookup of a name us"] = (time.perf_counter() - began) * 1e6 / LOOKUPS
    list(islice(ring.handoffs(0), HANDOFFS))
    began = time.perf_counter()
    for digest in digests[:SAMPLES]:
        list(islice(ring.handoffs(ring.partition_of(digest)), HANDOFFS))
    figures["three handoffs us"] = (time.perf_counter() - began) * 1e6 / SAMPLES


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    measured: Figures = {}
    measure(json.load(sys.stdin), measured)
    json.dump(measured, sys.stdout)
