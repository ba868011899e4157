"""Builds the ring files of a new store, in a process of its own.

The libraries it needs take tens of megabytes, which the servers that follow do without.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from objstore.devices import Device


class RingOrder(Struct, frozen=True):
    """One ring file to be written."""

    path: str
    part_power: int
    replicas: int
    seed: int
    devices: Sequence[Device]


def main() -> None:
    """Write the rings ordered on standard input, a JSON list of RingOrder."""
    from objstore.ring.build import build_ring
    from objstore.ring.format import write_ring

    for order in msgspec.json.decode(sys.stdin.buffer.read(), type=list[RingOrder]):
        write_ring(build_ring(order.devices, order.part_power, order.replicas, order.seed), order.path)


if __name__ == "__main__":
    main()
