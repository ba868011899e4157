"""Syncing one partition of a device with its other primaries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from objstore.cluster import Cluster
from objstore.db.reports import PassReport
from objstore.devices import Device
from objstore.http.errors import HttpError
from objstore.http.transport import NodeFailure, ReplicaFailed
from objstore.logs import Logger
from objstore.mounts import DeviceRoot
from objstore.object.engine import DeviceStorage, Location, ObjectCorrupt
from objstore.object.file_names import parse_name, tombstone_name
from objstore.object.part_power import LocationResolver, adjacent_powers, partition_of
from objstore.object.replication.client import ReplicationClient, Spend
from objstore.object.replication.frames import frames
from objstore.object.replication.messages import FILES_MAX, Names, TransferResult
from objstore.object.replication.planning import (
    handoff_names,
    is_stale,
    known_names,
    plan_transfer,
    removable,
    should_hold,
    tombstones_to_pull,
)
from objstore.object.replication.rebuilding import Holders, drop_foreign, note_fragments, rebuild
from objstore.object.replication.receiving import DevicePartition, Receiver
from objstore.object.replication.settling import settle
from objstore.object.versions import EMPTY, ObjectVersions, forgettable_names
from objstore.runtime import Runtime
from objstore.timestamps import Timestamp

File = tuple[str, str]  # (hash, name)
# Has the container list a line of an object as it is, by a row of this time; False if it is damaged: see `settling`.
ListInstead = Callable[[DeviceStorage, Location, ObjectVersions, str, str], bool]
Files = list[File]
ObjectLine = tuple[str, str]  # (hash, version)
STRANDED: Final = "stranded: deleted elsewhere while this device was away, it seems"
# So many suffixes are looked into at a time, so that memory does not grow with partitions.
SUFFIXES_AT_ONCE: Final = 256
TOMBSTONE: Final = tombstone_name("")


@dataclass
class NotTransferred:
    """Files that an exchange should have transferred and did not: how many, and the hashes of those for which the
    peer has no room."""

    count: int = 0
    no_room: set[str] = field(default_factory=set)

    def add(self, sent: Files, results: Sequence[TransferResult]) -> None:
        """Take in the result of each file that was sent."""
        self.count += results.count(TransferResult.FAILED)
        self.skip(file for file, result in zip(sent, results, strict=True) if result is TransferResult.FULL)

    def skip(self, files: Iterable[File]) -> None:
        """Take in files for which there is no room."""
        digests = [digest for digest, _ in files]
        self.count += len(digests)
        self.no_room.update(digests)


# The nodes with which all differences were gone through, each with what did not arrive.
Synced = dict[Device, NotTransferred]


@dataclass
class Partition:
    """One partition on a device of this machine, and the sync of it.

    `primaries` are all primaries of the partition, in the ring's order; the i-th holds the i-th piece of each object if
    the policy's scheme makes different ones. `own_piece` is the number of this device among them, None for a handoff.

    `away_since` is a timestamp if the device was away for longer than tombstones are kept, else "". What may have been
    deleted meanwhile is then not sent (`defers`) as long as some primary does not answer.
    """

    storage: DeviceStorage
    cluster: Cluster
    devices: DeviceRoot
    runtime: Runtime
    client: ReplicationClient
    place: DevicePartition
    primaries: Sequence[Device]
    own_piece: int | None
    reclaim_before: str
    away_since: str
    list_instead: ListInstead
    spend_bytes: Spend
    spend_files: Spend
    locations: LocationResolver
    report: PassReport
    defers: bool = False
    holders: Holders = field(default_factory=dict)  # of fragments, among those exchanged

    @property
    def number(self) -> int:
        return int(self.place.partition)

    @property
    def _log(self) -> Logger:
        return self.runtime.log

    def piece_of(self, primary: Device) -> int | None:
        """The number of the piece that a primary holds; None for another device."""
        return next((number for number, node in enumerate(self.primaries) if node == primary), None)

    def sync(self, suffixes: Mapping[Device, Sequence[str]], others: Sequence[Device], pulls: bool) -> Synced:
        """Exchange with each node what differs in these suffixes.

        A device that does not pull is a handoff: it only gives, and takes tombstones of objects that it holds.

        `others` are all other primaries of the partition, whether they answer or not.
        """
        synced: Synced = {}
        deferred = self._possibly_deleted(suffixes) if self.away_since else frozenset()
        if deferred and self._quarantine_stale(others, deferred):
            deferred = frozenset()
        self.defers = bool(deferred)
        for node, differing in suffixes.items():
            try:
                piece = self.piece_of(node)
                left = self.exchange(node, differing, lambda file: _line_of(file) not in deferred, pulls, piece)
                synced[node] = left
                if left.count:
                    raise ReplicaFailed(node, 0, f"{left.count} files were not stored")
            except (ReplicaFailed, NodeFailure) as failure:
                self.report.count("failed")
                self._log.warning("replication failed", partition=self.number, reason=str(failure))
        return synced

    def exchange(
        self,
        node: Device,
        suffixes: Sequence[str],
        travels: Callable[[File], bool],
        pulls: bool = False,
        piece: int | None = None,
    ) -> NotTransferred:
        """Exchange what differs in these suffixes; returns what was not transferred.

        A file is sent if it `travels`, and of data that `piece` which the node should hold. A file that is refused
        holds nothing else up. Raises ReplicaFailed and NodeFailure when the peer fails.
        """
        left = NotTransferred()
        for some in _parts(suffixes, SUFFIXES_AT_ONCE):
            self._exchange(node, some, travels, pulls, piece, left)
        return left

    def _exchange(
        self,
        node: Device,
        suffixes: Sequence[str],
        travels: Callable[[File], bool],
        pulls: bool,
        piece: int | None,
        left: NotTransferred,
    ) -> None:
        scheme = self.place.policy.scheme
        theirs = self.client.versions(node, self.number, suffixes).names
        mine = self.objects(suffixes)
        if scheme.code is not None and pulls:
            note_fragments(self.holders, node, theirs)
        push: Files = []
        pull: Files = []
        for digest in sorted({*mine, *theirs}):
            current = mine.get(digest, EMPTY)
            plan = plan_transfer(current, known_names(theirs, digest), self.reclaim_before)
            push += [
                (digest, name) for name in plan.push if should_hold(name, piece, scheme) and travels((digest, name))
            ]
            wanted = plan.pull if pulls else tombstones_to_pull(current, plan.pull)
            pull += [(digest, name) for name in wanted if should_hold(name, self.own_piece, scheme)]
        self._push(node, sorted(push, key=_frees_no_space), left)
        self._pull(node, sorted(pull, key=_frees_no_space), left)

    def _push(self, node: Device, wanted: Files, left: NotTransferred) -> None:
        """Send files to a device; once that is full, only those that free space. Raises ReplicaFailed, NodeFailure."""
        place = self.place
        for some in _parts(wanted, FILES_MAX):
            if left.no_room:
                left.skip(filter(_frees_no_space, some))
                some = [file for file in some if not _frees_no_space(file)]
                if not some:
                    continue
            self.spend_files(len(some))
            sent: Files = []
            stream = frames(self.storage, place.policy, place.partition, some, self._log)

            def pieces(stream: object = stream, sent: Files = sent) -> Iterator[bytes | memoryview]:
                for file, content in stream:  # type: ignore[attr-defined]
                    sent.append(file)
                    # An upload holds each piece until it has got the next.
                    yield from map(bytes, content)

            try:
                results = self.client.push(node, self.number, pieces(), self.spend_bytes)
            except ObjectCorrupt as corrupt:
                raise ReplicaFailed(node, 0, f"broken off: {corrupt}") from corrupt
            if len(results) != len(sent):
                raise ReplicaFailed(node, 0, f"{len(results)} answers to {len(sent)} files")
            self.report.count("pushed", results.count(TransferResult.STORED))
            left.add(sent, results)

    def _pull(self, node: Device, wanted: Files, left: NotTransferred) -> None:
        for some in _parts(wanted, FILES_MAX):
            self.spend_files(len(some))
            names: Names = {}
            for digest, name in some:
                names.setdefault(digest, []).append(name)
            body = self.client.pull(node, self.number, names)
            receiver = Receiver(self.storage, self.cluster, self.devices, self._log, self.place, self.locations)
            try:
                results = receiver.receive(body)
            except HttpError as error:
                raise ReplicaFailed(node, error.status, error.reason) from error
            finally:
                body.close()
            self.report.count("pulled", results.count(TransferResult.STORED))
            left.count += results.count(TransferResult.FAILED) + results.count(TransferResult.FULL)

    def give_up(self, ring_version: int) -> bool:
        """Remove from a handoff what every primary confirms to hold; returns whether nothing is left."""
        for suffix in self._suffixes():
            objects = self.objects([suffix])
            self._drop_obsolete(objects)
            mine = {digest: handoff_names(current) for digest, current in objects.items()}
            for asked in _whole_lines(mine, FILES_MAX):
                try:
                    answers = [self.client.confirm(node, self.number, asked, ring_version) for node in self.primaries]
                except ReplicaFailed as failure:
                    self._log.info("handoff keeps its partition", partition=self.number, reason=str(failure))
                    return False
                confirmed = removable(asked, answers, self.place.policy.scheme)
                self.remove_names(confirmed)
                self.report.count("removed", sum(map(len, confirmed.values())))
        return not self._suffixes()

    def _drop_obsolete(self, objects: Mapping[str, ObjectVersions]) -> None:
        obsolete = {digest: current.obsolete for digest, current in objects.items() if current.obsolete}
        if obsolete:
            # A file may be obsolete because of a name that another process has not made durable yet.
            self.storage.make_durable(self.place.policy, self.place.partition)
            self.remove_names(obsolete)

    def remove_names(self, names: Mapping[str, Sequence[str]]) -> None:
        """Remove files, by hash."""
        place = self.place

        def remove() -> None:
            for digest, group in names.items():
                self.storage.remove(place.policy, place.partition, digest, group)

        self.runtime.threads.of(self.place.device).call(remove)

    def reclaim(self, suffixes: Sequence[str]) -> None:
        """Forget old tombstones, and obsolete files, in suffixes in which all primaries agree."""
        objects = self.objects(suffixes)
        if not objects:
            return
        # A file may be obsolete because of a name that another process has not made durable yet.
        self.storage.make_durable(self.place.policy, self.place.partition)
        old = {digest: forgettable_names(current, self.reclaim_before) for digest, current in objects.items()}
        lingering = self.runtime.threads.of(self.place.device).call(self._lingering, list(filter(old.get, old)))
        forgotten: dict[str, Sequence[str]] = {}
        for digest, current in objects.items():
            names = list(current.obsolete)
            if old[digest] and digest not in lingering:
                names += old[digest]
                self.report.count("reclaimed")
            if names:
                forgotten[digest] = names
        self.remove_names(forgotten)

    def _lingering(self, digests: Sequence[str]) -> set[str]:
        """Objects with a file in the partition of an adjacent part power, which a tombstone here still deletes."""
        place, power = self.place, self.place.part_power
        if power is None:
            return set()
        found = set()
        for digest in digests:
            numbers = {partition_of(digest, each) for each in adjacent_powers(power)} - {place.partition}
            if any(self.storage.versions(place.policy, number, digest).names for number in numbers):
                found.add(digest)
        return found

    def _possibly_deleted(self, suffixes: Mapping[Device, Sequence[str]]) -> frozenset[ObjectLine]:
        """Live lines of objects to which nothing has happened here since the device was last in contact."""
        every = sorted({suffix for some in suffixes.values() for suffix in some})
        return frozenset(
            (digest, line.version)
            for digest, current in self.objects(every).items()
            for line in current.lines
            if line.is_live and line.newest_timestamp < self.away_since
        )

    def _quarantine_stale(self, primaries: Sequence[Device], suspects: frozenset[ObjectLine]) -> bool:
        """Quarantine the suspects that no primary knows; returns False if some primary does not answer.

        Without a primary that was in service all the while none is quarantined: others may know nothing because they
        have lost the object.
        """
        every = sorted({digest[-3:] for digest, _ in suspects})
        try:
            listings = [self.client.versions(node, self.number, every) for node in primaries]
        except ReplicaFailed as failure:
            self._log.warning("replication failed", partition=self.number, reason=str(failure))
            return False
        away_since = Timestamp.parse(self.away_since).seconds
        if not any(listing.note is not None and listing.note.was_in_service_at(away_since) for listing in listings):
            return True
        place = self.place
        for digest, current in self.objects(every).items():
            suspicious = [line for line in current.lines if (digest, line.version) in suspects]
            others = [known_names(listing.names, digest) for listing in listings] if suspicious else []
            for line in suspicious:
                if is_stale(line, [other.line(line.version) for other in others], self.away_since):
                    location = Location(place.policy, place.partition, digest, digest)
                    self.storage.quarantine(location, STRANDED, line.version)
                    self.report.count("stranded")
        return True

    def mend_fragments(
        self, untidy: Iterable[str], others: Sequence[Device], foreign: Sequence[str], ring_version: int
    ) -> None:
        """Settle what is pending; a primary also rebuilds what it lacks of its fragments, and gives up what is foreign.

        A handoff has what is pending when it was a primary before.
        """
        code, place = self.place.policy.scheme.code, self.own_piece
        if code is None:
            return
        if place is None:
            return settle(self, untidy, others, code.data)
        own = self.place.policy.scheme.number(place)
        rebuild(self, code, own, self.holders)
        settle(self, untidy, others, code.data)
        drop_foreign(self, own, foreign, ring_version)

    def has_pending(self, suffix: str, before: str) -> bool:
        """Whether there are pending fragments of that age in a suffix."""
        lines = (line for current in self.objects([suffix]).values() for line in current.lines)
        return any(file.timestamp < before for line in lines for file in line.pending)

    def _suffixes(self) -> list[str]:
        place = self.place
        return self.runtime.threads.of(self.place.device).call(self.storage.suffixes, place.policy, place.partition)

    def objects(self, suffixes: Sequence[str]) -> dict[str, ObjectVersions]:
        """What there is in some suffixes, by hash."""
        return self.runtime.threads.of(self.place.device).call(self._look, suffixes)

    def _look(self, suffixes: Sequence[str]) -> dict[str, ObjectVersions]:
        place, found = self.place, {}
        for suffix in suffixes:
            found.update(self.storage.objects(place.policy, place.partition, suffix, place.part_power))
        return found


def _frees_no_space(file: File) -> bool:
    """Whether a file is no tombstone. A full device takes tombstones, and has room for other files then."""
    return not file[1].endswith(TOMBSTONE)


def _line_of(file: File) -> ObjectLine:
    parsed = parse_name(file[1])
    return file[0], "" if parsed is None else parsed.version


def _whole_lines(names: Mapping[str, Sequence[str]], size: int) -> Iterator[Names]:
    """The names, so many at a time, and those of one line of an object together."""
    some: Names = {}
    count = 0
    for digest, names_of_object in names.items():
        lines: dict[ObjectLine, list[str]] = {}
        for name in names_of_object:
            lines.setdefault(_line_of((digest, name)), []).append(name)
        for group in lines.values():
            if some and count + len(group) > size:
                yield some
                some, count = {}, 0
            some.setdefault(digest, []).extend(group)
            count += len(group)
    if some:
        yield some


def _parts(items: Sequence[object], size: int) -> Iterator[list]:  # type: ignore[type-arg]
    """The items, so many at a time."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
