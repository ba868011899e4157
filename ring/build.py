"""A ring in one call, for stores set up by a program and for tests."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

import numpy as np

from objstore.devices import Device
from objstore.ring.layout import Layout, first_layout
from objstore.ring.ring import Ring
from objstore.ring.settings import Settings
from objstore.ring.tiers import make_tiers


def build_ring(devices: Sequence[Device], part_power: int, replicas: float, seed: int, overload: float = 0.0) -> Ring:
    """Place all partitions on the devices by weight; the same arguments give the same ring.

    Raises BuilderError when no device has weight.
    """
    settings = Settings(part_power, replicas, overload=overload)
    return ring_of(first_layout(settings, make_tiers(devices), np.random.default_rng(seed)), devices, version=1)


def ring_of(layout: Layout, devices: Iterable[Device], version: int, next_part_power: int | None = None) -> Ring:
    """The ring of a layout."""
    rows = []
    for row in layout.rows():
        typecode = "H" if row.itemsize == 2 else "I"
        rows.append(array(typecode, row.tobytes()))
    return Ring(layout.settings.part_power, tuple(devices), rows, version, next_part_power)
