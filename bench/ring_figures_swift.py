"""The same as ring_figures.py, for Swift's builder: run by the interpreter of a Swift install, by its public API."""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from swift.common import utils
from swift.common.ring import Ring, RingBuilder

LOOKUPS = 50_000
HANDOFFS = 3
SAMPLES = 200


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(question: dict[str, Any]) -> dict[str, float]:
    """Build, add a device, save, load, look up."""
    figures: dict[str, float] = {}
    builder = RingBuilder(question["part_power"], question["replicas"], 1)
    for device in question["devices"]:
        builder.add_dev(device)
    figures["build s"] = seconds(lambda: builder.rebalance(seed=1))
    builder.pretend_min_part_hours_passed()
    added = question["added"]
    builder.add_dev(added)
    began = time.perf_counter()
    moved, balance, _ = builder.rebalance(seed=2)
    figures["add s"] = time.perf_counter() - began
    total = 2 ** question["part_power"] * question["replicas"]
    weight = added["weight"] + sum(device["weight"] for device in question["devices"])
    figures["least %"] = 100 * added["weight"] / weight
    figures["moved %"] = 100 * moved / total
    figures["new device %"] = 100 * builder.devs[added["id"]]["parts"] / (total * added["weight"] / weight)
    figures["balance %"], figures["dispersion %"] = balance, builder.dispersion
    with tempfile.TemporaryDirectory() as folder:
        measure_files(builder, folder, figures)
    figures["memory MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


def measure_files(builder: Any, folder: str, figures: dict[str, float]) -> None:
    ring_path, builder_path = os.path.join(folder, "object.ring.gz"), os.path.join(folder, "object.builder")
    figures["save builder s"] = seconds(lambda: builder.save(builder_path))
    figures["load builder s"] = seconds(lambda: RingBuilder.load(builder_path))
    data = builder.get_ring()
    figures["save ring s"] = seconds(lambda: data.save(ring_path))
    utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX = b"prefix", b"suffix"
    figures["load ring s"] = seconds(lambda: Ring(ring_path))
    measure_lookups(Ring(ring_path), 2**builder.part_power, figures)


def measure_lookups(ring: Any, partitions: int, figures: dict[str, float]) -> None:
    """Primaries of random partitions and of names, handoffs."""
    chance = random.Random(1)
    chosen = [chance.randrange(partitions) for _ in range(LOOKUPS)]
    ring.get_part_nodes(0)
    began = time.perf_counter()
    for partition in chosen:
        ring.get_part_nodes(partition)
    figures["lookup us"] = (time.perf_counter() - began) * 1e6 / LOOKUPS
    names = [f"object {number}" for number in range(LOOKUPS)]
    began = time.perf_counter()
    for name in names:
        ring.get_nodes("AUTH_test", "container", name)
    figures["lookup of a name us"] = (time.perf_counter() - began) * 1e6 / LOOKUPS
    began = time.perf_counter()
    for partition in chosen[:SAMPLES]:
        list(itertools.islice(ring.get_more_nodes(partition), HANDOFFS))
    figures["three handoffs us"] = (time.perf_counter() - began) * 1e6 / SAMPLES


if __name__ == "__main__":
    json.dump(measure(json.load(sys.stdin)), sys.stdout)
