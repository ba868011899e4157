"""Node selection: which storage servers to ask, in which order, and which to avoid for a while because they fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from random import Random
from typing import Final, Self

from msgspec import Struct
from msgspec.structs import replace

from objstore.devices import Device
from objstore.http.transport import BackendResponse
from objstore.paths import PathHasher, ResourcePath
from objstore.policies import Policy
from objstore.proxy.core.backend.codes import DEVICE_FULL, DISK_GONE
from objstore.quorum import quorum_size
from objstore.ring.ring import Ring
from objstore.system.clock import Clock

NodeKey = tuple[str, int, str]


class Placement(Struct, frozen=True):
    """Where a resource lives: a partition, and the devices that should hold it, in the order of their replicas.

    strict: no other device counts, so that any two quorums have one in common.
    """

    ring: Ring
    partition: int
    path: ResourcePath
    primaries: tuple[Device, ...]
    quorum: int  # how many of them must agree
    strict: bool = False
    majority: int = 0  # of those that have a say, where only these count or objects are fragments
    data: int = 0  # how many different fragments give an object, where objects are fragments
    fragments: Mapping[int, int] | None = None  # by device the number of its fragment, where objects are fragments

    @classmethod
    def of(cls, path: ResourcePath, ring: Ring, hasher: PathHasher) -> Self:
        partition = ring.partition_of(hasher.digest(path))
        primaries = ring.primaries(partition)
        return cls(ring, partition, path, primaries, quorum_size(len(primaries)))

    @property
    def numbers(self) -> Sequence[int]:
        """Which piece of an object each of the devices holds."""
        if self.fragments is None:
            return range(len(self.primaries))
        return [self.fragments[node.id] for node in self.primaries]

    @property
    def replicas(self) -> int:
        """How many nodes should hold it."""
        return len(self.primaries)


class Voters(Struct, frozen=True):
    """The devices that have a say about what is strongly consistent, and how many of them make a majority."""

    devices: tuple[Device, ...]
    quorum: int


def voters_of(placement: Placement) -> Voters:
    """The primaries, and those that were while a new ring moves it: any two majorities then share a device.

    By either ring a majority of its own primaries is among so many of all.
    """
    primaries = placement.primaries
    devices = primaries
    if placement.ring.former:
        former = placement.ring.former_primaries(placement.partition)
        devices += tuple(node for node in former if node not in primaries)
    return Voters(devices, len(devices) - (len(primaries) - 1) // 2)


def strict_placement(placement: Placement) -> Placement:
    """The same with all devices that have a say, and no others."""
    voters = voters_of(placement)
    return replace(placement, primaries=voters.devices, quorum=voters.quorum, majority=voters.quorum, strict=True)


def fragment_placement(placement: Placement, policy: Policy) -> Placement:
    """The same where each device holds a fragment: a write needs enough different ones of them."""
    scheme = policy.scheme
    data = 0 if scheme.code is None else scheme.code.data
    numbers = {node.id: scheme.number(place) for place, node in enumerate(placement.primaries)}
    needed = scheme.write_quorum(placement.replicas)
    if not policy.is_strong:
        return replace(placement, quorum=needed, majority=placement.replicas // 2 + 1, data=data, fragments=numbers)
    voters = strict_placement(placement)
    for ring in placement.ring.former:
        if ring.part_power == placement.ring.part_power:
            for place, node in enumerate(scheme.in_order(ring.primaries(placement.partition))):
                numbers.setdefault(node.id, scheme.number(place))
    # A former primary has the same fragment as the one that takes its place.
    quorum = max(voters.quorum, needed + voters.replicas - placement.replicas)
    return replace(voters, quorum=quorum, data=data, fragments=numbers)


class _Failures(Struct):
    count: int
    last: float


class NodeSelector:
    """Orders the nodes of a partition. A node that failed `limit` times in a row of `interval_seconds` is limited.

    `failures` is empty while all is well: then every primary is to be asked. The interval counts from the last failure.
    Limited nodes are asked last of all: a request that no other node can serve still tries them.
    """

    def __init__(self, clock: Clock, random: Random, interval_seconds: float, limit: int) -> None:
        self._clock: Final = clock
        self._random: Final = random
        self._interval: Final = interval_seconds
        self._limit: Final = limit
        self.failures: Final[dict[NodeKey, _Failures]] = {}

    def record_failure(self, node: Device) -> None:
        """The node did not answer, or answered with an error of its own."""
        self._count(node, 1)

    def record_error(self, node: Device, response: BackendResponse) -> None:
        """The node answered with a failure of its own: without its disk it is limited at once.

        Not if that is merely full: it serves what it has, and frees room when it is told of deletions.
        """
        if DEVICE_FULL not in response.headers:
            self._count(node, self._limit if response.status == DISK_GONE else 1)

    def _count(self, node: Device, failures: int) -> None:
        now = self._clock.monotonic()
        record = self.failures.setdefault(_key(node), _Failures(0, now))
        if now - record.last >= self._interval:
            record.count = 0
        record.count += failures
        record.last = now

    def error_limited(self, node: Device) -> bool:
        """Whether to leave it alone for now."""
        record = self.failures.get(_key(node))
        if record is None or record.count < self._limit:
            return False
        if self._clock.monotonic() - record.last < self._interval:
            return True
        del self.failures[_key(node)]
        return False

    def for_reading(self, placement: Placement) -> Iterator[Device]:
        """Primaries in random order, those that lately were, and as many handoffs as replicas; none is limited.

        Where objects are fragments, primaries come first whose fragments are the body itself.
        """
        primaries = list(placement.primaries)
        left = [] if placement.fragments is None else _take_parities(primaries, placement)
        # One at a time, since nearly always the first one has the answer.
        while primaries:
            last = len(primaries) - 1
            chosen = int(self._random.random() * (last + 1))
            primaries[chosen], primaries[last] = primaries[last], primaries[chosen]
            node = primaries.pop()
            if not self.failures or not self.error_limited(node):
                yield node
            if left and not primaries:
                primaries, left = left, []
        if placement.strict:
            return
        former = self.former_primaries(placement)
        yield from former
        yield from (node for node in self.handoffs(placement) if node not in former)

    def former_primaries(self, placement: Placement) -> Sequence[Device]:
        """Where it was before a new ring moved it, which may still be under way; none of them limited."""
        if not placement.ring.former:
            return ()
        return [node for node in placement.ring.former_primaries(placement.partition) if not self.error_limited(node)]

    def for_writing(self, placement: Placement) -> tuple[list[Device], Iterator[Device]]:
        """One node for each replica: its primary or, where that is error-limited, a handoff; then the handoffs left.

        Fewer than there are replicas only if there are not enough devices.
        """
        primaries = placement.primaries
        if not self.failures or placement.strict:
            return list(primaries), self.handoffs(placement)
        handoffs = self.handoffs(placement)
        limited = [node for node in primaries if self.error_limited(node)]
        nodes = [node for node in primaries if node not in limited]
        nodes += islice(handoffs, len(limited))
        missing = len(primaries) - len(nodes)
        return nodes + limited[:missing], _chained(handoffs, limited[missing:])

    def error_limited_primaries(self, placement: Placement) -> Sequence[Device]:
        if not self.failures:
            return ()
        return [node for node in placement.primaries if self.error_limited(node)]

    def handoffs(self, placement: Placement) -> Iterator[Device]:
        """As many handoffs as there are replicas; no item is expected farther away."""
        if placement.strict:
            return
        left = placement.replicas
        for node in placement.ring.handoffs(placement.partition):
            if not self.error_limited(node):
                yield node
                left -= 1
                if not left:
                    return


def _take_parities(primaries: list[Device], placement: Placement) -> list[Device]:
    """Take those out of the primaries whose fragments are not the body itself."""
    numbers = placement.fragments or {}
    taken = [node for node in primaries if numbers[node.id] >= placement.data]
    primaries[:] = [node for node in primaries if numbers[node.id] < placement.data]
    return taken


def _chained(first: Iterator[Device], then: Sequence[Device]) -> Iterator[Device]:
    yield from first
    yield from then


def _key(node: Device) -> NodeKey:
    return node.ip, node.port, node.device
