"""Bringing one partition of a device together with its primaries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from objstore.cluster import Cluster
from objstore.devices import Device
from objstore.http.errors import HttpError
from objstore.http.transport import NodeFailure
from objstore.logs import Logger
from objstore.mounts import DeviceRoot
from objstore.object.engine import Location, ObjectCorrupt, StorageEngine
from objstore.object.fileset import EMPTY, FileSet
from objstore.object.placing import Placing
from objstore.object.powers import neighbours, partition_of
from objstore.object.replication.messages import FILES_MAX, Names, Outcome
from objstore.object.replication.peers import PeerFailed, Peers, Spend
from objstore.object.replication.planning import (
    exchange,
    is_forgettable,
    is_stranded,
    known_names,
    lasting,
    removable,
)
from objstore.object.replication.receiving import Place, Receiver
from objstore.object.replication.sending import frames
from objstore.runtime import Runtime

Files = list[tuple[str, str]]  # (hash, name)
# So many suffixes are looked into at a time, so that memory does not grow with partitions.
SUFFIXES_AT_ONCE: Final = 256


@dataclass
class Counts:
    """What a pass has done."""

    pushed: int = 0
    pulled: int = 0
    removed: int = 0
    reclaimed: int = 0
    stranded: int = 0
    failures: int = 0


@dataclass
class Partition:
    """One partition on a device of this machine, under sync.

    `away_since` is a timestamp if the device was away for longer than tombstones last, else "".
    """

    engine: StorageEngine
    cluster: Cluster
    devices: DeviceRoot
    runtime: Runtime
    peers: Peers
    place: Place
    reclaim_before: str
    away_since: str
    spend_bytes: Spend
    spend_files: Spend
    placing: Placing
    counts: Counts = field(default_factory=Counts)

    @property
    def number(self) -> int:
        """The partition."""
        return int(self.place.partition)

    @property
    def _log(self) -> Logger:
        return self.runtime.log

    def sync(self, suffixes: Mapping[Device, Sequence[str]], primaries: Sequence[Device], pulls: bool) -> set[Device]:
        """Exchange with each node what differs in these suffixes; returns those with whom all of it went well.

        Unless it `pulls`, the device only gives: it is no primary.

        `primaries` are all others that hold the partition, whether they could be reached or not.
        """
        well = set()
        withheld = self._strangers(suffixes) if self.away_since else frozenset()
        if withheld and self._strand(primaries, withheld):
            withheld = frozenset()
        for node, differing in suffixes.items():
            try:
                self.exchange(node, differing, withheld, pulls)
                well.add(node)
            except (PeerFailed, NodeFailure) as failure:
                self.counts.failures += 1
                self._log.warning("replication failed", partition=self.number, reason=str(failure))
        return well

    def exchange(
        self, node: Device, suffixes: Sequence[str], withheld: frozenset[str] = frozenset(), pulls: bool = False
    ) -> None:
        """Exchange what differs in these suffixes, but for the hashes `withheld`. Raises PeerFailed, NodeFailure."""
        for some in _parts(suffixes, SUFFIXES_AT_ONCE):
            self._exchange(node, some, withheld, pulls)

    def _exchange(self, node: Device, suffixes: Sequence[str], withheld: frozenset[str], pulls: bool) -> None:
        theirs = self.peers.versions(node, self.number, suffixes)
        mine = self._objects(suffixes)
        push: Files = []
        pull: Names = {}
        for digest in sorted({*mine, *theirs}):
            plan = exchange(mine.get(digest, EMPTY), known_names(theirs, digest), self.reclaim_before)
            if digest not in withheld:
                push += [(digest, name) for name in plan.push]
            if plan.pull and pulls:
                pull[digest] = list(plan.pull)
        self._push(node, push)
        self._pull(node, pull)

    def _push(self, node: Device, wanted: Files) -> None:
        """Send files to a device. Raises PeerFailed when one was not stored."""
        place = self.place
        for some in _parts(wanted, FILES_MAX):
            self.spend_files(len(some))
            sent: Files = []
            stream = frames(self.engine, place.device, place.policy, place.partition, some, self._log)

            def pieces(stream: object = stream, sent: Files = sent) -> Iterator[bytes | memoryview]:
                for file, content in stream:  # type: ignore[attr-defined]
                    sent.append(file)
                    # An upload holds each piece until it has got the next.
                    yield from map(bytes, content)

            try:
                outcomes = self.peers.push(node, self.number, pieces(), self.spend_bytes)
            except ObjectCorrupt as corrupt:
                raise PeerFailed(node, 0, f"broken off: {corrupt}") from corrupt
            stored = sum(outcome is Outcome.STORED for outcome in outcomes)
            self.counts.pushed += stored
            if len(outcomes) < len(sent) or Outcome.FAILED in outcomes:
                raise PeerFailed(node, 0, f"{outcomes.count(Outcome.FAILED)} of {len(sent)} files were not stored")

    def _pull(self, node: Device, wanted: Names) -> None:
        for some in _parts([(digest, name) for digest, names in wanted.items() for name in names], FILES_MAX):
            self.spend_files(len(some))
            names: Names = {}
            for digest, name in some:
                names.setdefault(digest, []).append(name)
            body = self.peers.pull(node, self.number, names)
            receiver = Receiver(self.engine, self.cluster, self.devices, self._log, self.place, self.placing)
            try:
                outcomes = receiver.receive(body)
            except HttpError as error:
                raise PeerFailed(node, error.status, error.reason) from error
            finally:
                body.close()
            self.counts.pulled += sum(outcome is Outcome.STORED for outcome in outcomes)
            if Outcome.FAILED in outcomes:
                raise PeerFailed(node, 0, f"{outcomes.count(Outcome.FAILED)} files could not be stored here")

    def give_up(self, primaries: Sequence[Device], ring_version: int) -> bool:
        """Remove what every primary confirms to hold, from a device that is none; says whether nothing is left."""
        for suffix in self._suffixes():
            mine = {digest: list(standing.names) for digest, standing in self._objects([suffix]).items()}
            for some in _parts([(digest, name) for digest in mine for name in mine[digest]], FILES_MAX):
                asked: Names = {}
                for digest, name in some:
                    asked.setdefault(digest, []).append(name)
                try:
                    answers = [self.peers.confirm(node, self.number, asked, ring_version) for node in primaries]
                except PeerFailed as failure:
                    self._log.info("handoff keeps its partition", partition=self.number, reason=str(failure))
                    return False
                confirmed = removable(asked, answers)
                self._remove_all(confirmed)
                self.counts.removed += sum(map(len, confirmed.values()))
        return not self._suffixes()

    def _remove_all(self, names: Mapping[str, Sequence[str]]) -> None:
        place = self.place

        def remove() -> None:
            for digest, group in names.items():
                self.engine.remove(place.device, place.policy, place.partition, digest, group)

        self.runtime.threads.call(remove)

    def reclaim(self, suffixes: Sequence[str]) -> None:
        """Forget old lone tombstones, and obsolete files, of suffixes in which all primaries agree."""
        objects = self._objects(suffixes)
        if not objects:
            return
        # What makes a file obsolete may be another's name that is not durable yet.
        self.engine.settle(self.place.device, self.place.policy, self.place.partition)
        old = [digest for digest, standing in objects.items() if is_forgettable(standing, self.reclaim_before)]
        lingering = self.runtime.threads.call(self._lingering, old)
        forgotten: dict[str, Sequence[str]] = {}
        for digest, standing in objects.items():
            names = list(standing.obsolete)
            if digest in old and digest not in lingering:
                names += lasting(standing)
                self.counts.reclaimed += 1
            if names:
                forgotten[digest] = names
        self._remove_all(forgotten)

    def _lingering(self, digests: Sequence[str]) -> set[str]:
        """Objects of which something lies where another part power puts them: what a tombstone here still deletes."""
        place, power = self.place, self.place.part_power
        if power is None:
            return set()
        found = set()
        for digest in digests:
            numbers = {partition_of(digest, each) for each in neighbours(power)} - {place.partition}
            if any(self.engine.look(Location(place.device, place.policy, n, digest, "")).names for n in numbers):
                found.add(digest)
        return found

    def _strangers(self, suffixes: Mapping[Device, Sequence[str]]) -> frozenset[str]:
        """Hashes of objects to which nothing has happened here since the device was last seen."""
        every = sorted({suffix for some in suffixes.values() for suffix in some})
        return frozenset(
            digest
            for digest, standing in self._objects(every).items()
            if standing.data is not None and standing.newest_timestamp < self.away_since
        )

    def _strand(self, primaries: Sequence[Device], strange: frozenset[str]) -> bool:
        """Set aside those of the strangers that no primary knows of; False if some could not be asked."""
        every = sorted({digest[-3:] for digest in strange})
        try:
            listings = [self.peers.versions(node, self.number, every) for node in primaries]
        except PeerFailed as failure:
            self._log.warning("replication failed", partition=self.number, reason=str(failure))
            return False
        place = self.place
        for digest, standing in self._objects(every).items():
            others = [known_names(listing, digest) for listing in listings]
            if digest in strange and is_stranded(standing, others, self.away_since):
                location = Location(place.device, place.policy, place.partition, digest, digest)
                self.engine.quarantine(location, "stranded: deleted elsewhere while this device was away, it seems")
                self.counts.stranded += 1
        return True

    def _suffixes(self) -> list[str]:
        place = self.place
        return self.runtime.threads.call(self.engine.suffixes, place.device, place.policy, place.partition)

    def _objects(self, suffixes: Sequence[str]) -> dict[str, FileSet]:
        return self.runtime.threads.call(self._look, suffixes)

    def _look(self, suffixes: Sequence[str]) -> dict[str, FileSet]:
        place, found = self.place, {}
        for suffix in suffixes:
            found.update(self.engine.objects(place.device, place.policy, place.partition, suffix, place.part_power))
        return found


def _parts(items: Sequence[object], size: int) -> Iterator[list]:  # type: ignore[type-arg]
    """The items, so many at a time."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
