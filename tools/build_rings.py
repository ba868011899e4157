"""Builds the ring files of a new store, in a process of its own.

The libraries it needs take tens of megabytes, which the servers that follow do without.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from objstore.devices import Device
from objstore.system.wallclock import WallClock

if TYPE_CHECKING:
    from objstore.ring.ring import Ring

MIN_PART_HOURS: Final = 1.0
LONG_AGO_SECONDS: Final = 0.0


class RingOrder(Struct, frozen=True):
    """One ring file to be written; `builder` is the path of its builder file, empty if none is wanted."""

    path: str
    part_power: int
    replicas: int
    seed: int
    devices: Sequence[Device]
    builder: str = ""


def main() -> None:
    """Write the rings ordered on standard input, a JSON list of RingOrder."""
    from objstore.ring.format import write_ring

    for order in msgspec.json.decode(sys.stdin.buffer.read(), type=list[RingOrder]):
        write_ring(_built(order), order.path)


def _built(order: RingOrder) -> Ring:
    if not order.builder:
        from objstore.ring.builder import build_ring

        return build_ring(order.devices, order.part_power, order.replicas, order.seed)
    from objstore.ring.builder import new_builder
    from objstore.ring.builderfile import save_builder
    from objstore.ring.settings import RingSettings

    builder = new_builder(RingSettings(order.part_power, order.replicas, MIN_PART_HOURS), order.devices)
    # Of long ago: there is no data yet, so all partitions may be moved as soon as somebody wants.
    builder.rebalance(order.seed, LONG_AGO_SECONDS)
    save_builder(builder, order.builder, "the cluster was made", WallClock().now())
    return builder.ring()


if __name__ == "__main__":
    main()
