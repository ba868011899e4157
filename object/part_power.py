"""Part-power changes: in which partitions the files of an object lie on a device, and how they get where they belong.

While the part power of a ring is increased, servers look in both partitions. The ring says its part power and, between
preparation and end, the next one:

    part power  next    state       an object lies in
    P           none    at rest     its partition by P
    P           P + 1   prepared    its partition by P; every file is linked into that by P + 1 as well
    P + 1       P + 1   increased   its partition by P + 1; what the relinker has not reached, in that by P too
    P           P       cancelled   its partition by P; what was linked, in that by P + 1 too

The last two look alike. The servers of a cluster do not change their rings at one moment, nor do the workers of one
server, so a request's partition that belongs to an adjacent part power is mapped to the local ring's.

A name is taken away from another partition only when the object's own partition holds, durably, the same name or one
that makes it obsolete; of two different files of the same name, the one at home has been read to its last byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from msgspec import structs

from objstore.object.engine import DeviceStorage, Location, ObjectCorrupt, PendingCommit
from objstore.object.versions import ObjectVersions, is_held, resolve_versions
from objstore.policies import Policy
from objstore.ring.errors import RingFileError
from objstore.ring.ring import HASH_BITS, PART_POWER_MAX, Ring
from objstore.system.clock import Clock
from objstore.system.threads import ThreadGroup

HASH_DIGITS: Final = 32
HEX_DIGITS: Final = frozenset("0123456789abcdef")
# A ring that is not there, or cannot be read, is not tried again with each request.
RETRY_SECONDS: Final = 15.0

# The ring of a policy; None where there are no rings.
RingOf = Callable[[int], Ring | None]


def partition_of(digest: str, part_power: int) -> str:
    return str(int(digest[:8], 16) >> (HASH_BITS - part_power))


def adjacent_powers(part_power: int) -> list[int]:
    return [power for power in (part_power - 1, part_power + 1) if 0 <= power <= PART_POWER_MAX]


def is_place(digest: str, partition: str) -> bool:
    """Whether a partition is an object's by any part power."""
    is_hash = len(digest) == HASH_DIGITS and HEX_DIGITS.issuperset(digest)
    return is_hash and any(partition_of(digest, power) == partition for power in range(PART_POWER_MAX + 1))


def resolve_location(location: Location, ring: Ring | None) -> Location:
    """Where an object is to be looked for and written by its policy's ring; as it is, without a ring."""
    if ring is None:
        return location
    power, following, digest = ring.part_power, ring.next_part_power, location.hash
    home = partition_of(digest, power)
    if following is None and location.partition == home and not location.others:
        return location
    near = [partition_of(digest, each) for each in adjacent_powers(power)]
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


class LocationResolver:
    """Says where an object lies, and sees to it that what was written lies there even if the ring changes meanwhile."""

    def __init__(self, ring_of: RingOf, threads: ThreadGroup, clock: Clock) -> None:
        """`ring_of` may raise RingFileError: then the partitions of requests are taken as they are."""
        self._ring_of = ring_of
        self._threads = threads
        self._clock = clock
        self._again: dict[int, float] = {}

    def ring(self, policy_index: int) -> Ring | None:
        if self._again and self._again.get(policy_index, 0.0) > self._clock.monotonic():
            return None
        try:
            return self._ring_of(policy_index)
        except RingFileError:
            self._again[policy_index] = self._clock.monotonic() + RETRY_SECONDS
            return None

    def resolve(self, location: Location) -> Location:
        """Where the object is to be looked for and written now."""
        return resolve_location(location, self.ring(location.policy.index))

    def make_durable(self, storage: DeviceStorage, location: Location, pending_commit: PendingCommit) -> None:
        """Make a write to a location durable. Raises OSError.

        An upload may take hours. If the ring has changed since it began, the object may be looked for elsewhere now.
        """
        pending_commit.make_durable()
        now = self.resolve(location)
        if now is location or now == location:
            return
        if now.partition != location.partition:
            relink_to_current(storage, self._threads, now, location.partition)
        elif now.linked and now.linked != location.linked:
            self._threads.of(storage.path).call(link_ahead, storage, now)
            storage.make_durable(now.policy, now.linked)


@dataclass(frozen=True)
class Names:
    """Files of one object that lie in a partition which is not theirs; `home` is the one that is."""

    home: str
    digest: str
    names: tuple[str, ...]


@dataclass
class Linked:
    """What came of linking the files of some objects: `removable` ones are at home now, others `failed`."""

    removable: list[Names] = field(default_factory=list)
    linked: int = 0
    failed: int = 0


def link_ahead(storage: DeviceStorage, location: Location) -> int:
    """Link what counts of an object into the partition it will belong to; how many files lie there that are others.

    Not durable yet. Blocks; raises OSError.
    """
    policy, partition, digest = location.policy, location.partition, location.hash
    current = storage.versions(policy, partition, digest)
    wanted = [name for name in current.names if name not in current.obsolete]
    return len(storage.link(policy, partition, location.linked, digest, wanted))


def link_home(
    storage: DeviceStorage,
    threads: ThreadGroup,
    policy: Policy,
    source: str,
    found: dict[str, ObjectVersions],
    homes: dict[str, str],
) -> Linked:
    """Link files of objects that `source` holds into their `homes`, by the hash. Not durable yet. Raises OSError."""
    result, call = Linked(), threads.of(storage.path).call
    for digest, current in found.items():
        home = Location(policy, homes[digest], digest, "")
        there = storage.look(home)
        together = resolve_versions({*current.names, *there.names})
        wanted = [name for name in current.names if name not in together.obsolete]
        others = call(storage.link, policy, source, home.partition, digest, wanted)
        bad = {name for name in others if not _is_whole(storage, home, name)}
        if bad:  # what was at home is in quarantine
            again = call(storage.link, policy, source, home.partition, digest, wanted)
            bad = set(again)
        result.linked += sum(name not in there.names for name in wanted)
        result.failed += len(bad)
        result.removable.append(Names(home.partition, digest, tuple(n for n in current.names if n not in bad)))
    return result


def remove_linked(storage: DeviceStorage, policy: Policy, source: str, objects: Iterable[Names]) -> int:
    """Take names away from `source`, if what is at home, durably, still stands for them; how many. Blocks."""
    count = 0
    for each in objects:
        there = storage.versions(policy, each.home, each.digest)
        names = [name for name in each.names if is_held(name, there)]
        storage.remove(policy, source, each.digest, names)
        count += len(names)
    return count


def relink_to_current(storage: DeviceStorage, threads: ThreadGroup, location: Location, source: str) -> None:
    """Move what another partition has of an object to where it belongs. Raises OSError."""
    policy = location.policy
    current = storage.look(structs.replace(location, partition=source, others=(), linked=""))
    found = {location.hash: current} if current.names else {}
    result = link_home(storage, threads, policy, source, found, {location.hash: location.partition})
    storage.make_durable(policy, location.partition)
    threads.of(storage.path).call(remove_linked, storage, policy, source, result.removable)


def _is_whole(storage: DeviceStorage, home: Location, name: str) -> bool:
    """Read a file to the end; if it is damaged, its version is quarantined."""
    try:
        found = storage.verify(home.policy, home.partition, home.hash, name, lambda _bytes: None)
    except ObjectCorrupt:
        return False
    return found is not None
