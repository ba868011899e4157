"""Failure domains as arrays: the builder's view of the devices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from objstore.devices import Device

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.unsignedinteger]

LEVEL_NAMES: Final = ("region", "zone", "server", "device")
DEVICE_LEVEL: Final = len(LEVEL_NAMES) - 1
NO_LIMIT: Final = 1 << 40  # above any number of partitions, and small enough to be added up
NO_LIMITS: Final[Mapping[int, int]] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Tiers:
    """The tree of regions, zones, servers (by ip) and devices. Nodes have numbers within their level.

    `nodes[level][device_id]` is the node the device belongs to; on the lowest level that is the device id itself,
    so that ids without a device are nodes without weight. `parents[level][node]` is the node above, 0 for regions
    (whose parent is the root). `counts[level][node]` is how many usable devices are below the node. `weights` are
    by device id, 0 for draining devices and where there is none. So are `limits`, the most partitions a device may
    hold, NO_LIMIT for most.
    """

    nodes: tuple[Ints, ...]
    parents: tuple[Ints, ...]
    counts: tuple[Ints, ...]
    weights: Floats
    limits: Ints

    @property
    def usable(self) -> Bools:
        """By device id: whether partitions may be placed there."""
        return self.weights > 0

    @property
    def usable_count(self) -> int:
        return int(np.count_nonzero(self.weights > 0))

    @property
    def limited(self) -> bool:
        return bool((self.limits < NO_LIMIT).any())

    def node_count(self, level: int) -> int:
        return len(self.parents[level])

    def sums(self, level: int, by_device: Floats) -> Floats:
        """Add up values of devices for each node of a level."""
        return np.bincount(self.nodes[level], by_device, self.node_count(level)).astype(np.float64)


def make_tiers(devices: Iterable[Device], limits: Mapping[int, int] = NO_LIMITS) -> Tiers:
    """The tiers of devices of any order; ids need not be without gaps. `limits` has those of some of them, by id."""
    present = list(devices)
    size = max((device.id for device in present), default=-1) + 1
    weights = np.zeros(size)
    keys: list[tuple[int, int, str] | None] = [None] * size
    for device in present:
        weights[device.id] = device.weight
        keys[device.id] = (device.region, device.zone, device.ip)
    # Ids without a device share one place; it has no weight and so never receives anything.
    paths = [key or (-1, -1, "") for key in keys]
    regions, region_parents = _number([key[:1] for key in paths], np.zeros(size, np.int64))
    zones, zone_parents = _number([key[:2] for key in paths], regions)
    servers, server_parents = _number(paths, zones)
    nodes = (regions, zones, servers, np.arange(size))
    parents = (region_parents, zone_parents, server_parents, servers)
    usable = (weights > 0).astype(np.float64)
    counts = tuple(
        np.bincount(node, usable, len(parent)).astype(np.int64) for node, parent in zip(nodes, parents, strict=True)
    )
    most = np.full(size, NO_LIMIT)
    most[list(limits)] = list(limits.values())
    return Tiers(nodes, parents, counts, weights, most)


def _number(keys: Iterable[object], parent_of_device: Ints) -> tuple[Ints, Ints]:
    """Number distinct keys in order of appearance; gives (number by device, parent by number)."""
    numbers: dict[object, int] = {}
    by_device = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
    parents = np.zeros(len(numbers), np.int64)
    parents[by_device] = parent_of_device
    return by_device, parents
