"""Where the files of an object may lie on a device while the part power of its ring is increased: pure.

The ring says its part power and, between preparation and end, the next one:

    part power  next    state       an object lies in
    P           none    at rest     its partition by P
    P           P + 1   prepared    its partition by P; every file is linked into that by P + 1 as well
    P + 1       P + 1   increased   its partition by P + 1; what the relinker has not reached, in that by P too
    P           P       cancelled   its partition by P; what was linked, in that by P + 1 too

The last two look alike. All servers of a cluster do not change their rings at once, nor do the workers of one server;
so whoever is between preparation and end looks in all of these places, and nobody takes the partition of a request for
more than it is worth: if it is the object's by a power next to the ring's, the ring's own is meant.
"""

from __future__ import annotations

from typing import Final

from msgspec import structs

from objstore.object.engine import Location
from objstore.ring.ring import HASH_BITS, PART_POWER_MAX, Ring

HASH_DIGITS: Final = 32
HEX_DIGITS: Final = frozenset("0123456789abcdef")


def partition_of(digest: str, part_power: int) -> str:
    """The partition of an object by the hash of its path."""
    return str(int(digest[:8], 16) >> (HASH_BITS - part_power))


def neighbours(part_power: int) -> list[int]:
    """The powers one below and one above."""
    return [power for power in (part_power - 1, part_power + 1) if 0 <= power <= PART_POWER_MAX]


def is_place(digest: str, partition: str) -> bool:
    """Whether a partition is an object's by any part power."""
    is_hash = len(digest) == HASH_DIGITS and HEX_DIGITS.issuperset(digest)
    return is_hash and any(partition_of(digest, power) == partition for power in range(PART_POWER_MAX + 1))


def placed(location: Location, ring: Ring | None) -> Location:
    """Where an object is to be looked for and written by its policy's ring; as it is, without a ring."""
    if ring is None:
        return location
    power, following, digest = ring.part_power, ring.next_part_power, location.hash
    home = partition_of(digest, power)
    if following is None and location.partition == home and not location.others:
        return location
    near = [partition_of(digest, each) for each in neighbours(power)]
    if location.partition != home and location.partition not in near:
        return location  # not of these powers: the sender knows what it wants
    linked = ""
    if following is None:
        near = []
    elif following > power:
        linked = partition_of(digest, following)
        near = [linked]
    if linked == home:  # partition 0 has the same number by all powers
        linked = ""
    others = tuple(number for number in near if number != home)
    return structs.replace(location, partition=home, others=others, linked=linked)
