"""The object auditor: reads what is stored, pass after pass, and sets aside what is damaged or in a wrong place.

What was set aside is put in place again by the replicators of the other replicas. A full pass reads every byte; a quick
one, between, reads metadata only and finds files that a crash has left empty.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import Struct, structs

from objstore.config.object import AuditorConfig
from objstore.daemon import Step
from objstore.db.reports import PassReport
from objstore.mounts import DeviceUnavailable
from objstore.object.engine import DeviceStorage, Location, ObjectCorrupt, StorageEngine
from objstore.object.metadata import ObjectMetadata
from objstore.object.part_power import is_place, partition_of, relink_to_current, resolve_location
from objstore.object.versions import Line, ObjectVersions
from objstore.object.watchers import Watcher
from objstore.paths import ResourcePath
from objstore.policies import Policy
from objstore.rate_limiter import RateLimiter
from objstore.ring.daemon_context import DaemonContext
from objstore.system import concurrency, files

# What an upload has left is certainly abandoned then.
ABANDONED_SECONDS: Final = 86_400.0
NOTE_SECONDS: Final = 60.0


class Position(Struct, frozen=True):
    """How far a pass over a device has come: everything before this partition of this policy is done."""

    policy_index: int
    partition: int


@dataclass
class DevicePass:
    path: str
    note: str
    left: Iterator[tuple[Policy, str, str]]
    noted_at: float


class ObjectAuditor:
    """A worker: each step looks through one suffix of a few devices. A full pass tells `watchers` of every object."""

    def __init__(
        self,
        config: AuditorConfig,
        context: DaemonContext,
        engine: StorageEngine,
        watchers: Mapping[str, Watcher] | None,
    ) -> None:
        """Without `watchers`, None, it makes quick passes."""
        runtime = context.runtime
        self._is_full = watchers is not None
        self.name: str = "object-auditor" if self._is_full else "object-auditor-quick"
        self._concurrency = config.concurrency
        self._cluster = context.cluster
        self._devices = context.devices
        self._rings = context.rings
        self._runtime = runtime
        self._engine = engine
        self._watchers = watchers or {}
        self._report = PassReport(self.name, context.recon, runtime, "files")
        self._files = RateLimiter(
            config.files_per_second if self._is_full else config.zero_byte_files_per_second, runtime.clock
        )
        self._bytes = RateLimiter(config.bytes_per_second, runtime.clock)
        self._waiting: list[str] | None = None
        self._under_way: list[DevicePass] = []
        self._total = 0
        self._partitions = 0  # of all devices
        self._partitions_begun = 0

    def step(self) -> Step:
        """Audit the next suffix of each device under way; IDLE at the end of the pass."""
        if self._waiting is None:
            self._begin()
        assert self._waiting is not None
        while self._waiting and len(self._under_way) < self._concurrency:
            self._enter(self._waiting.pop(0))
        if not self._under_way:
            self._end()
            return Step.IDLE
        tasks = [concurrency.spawn(self._advance, each) for each in self._under_way]
        self._under_way = [each for each, task in zip(list(self._under_way), tasks, strict=True) if task.wait()]
        self._report.progress(self._total - len(self._waiting) - len(self._under_way), self._total)
        return Step.BUSY

    @property
    def progress(self) -> float:
        """How much of the pass is over, from 0 to 1."""
        return min(self._partitions_begun / max(self._partitions, 1), 1.0)

    # A pass

    def _begin(self) -> None:
        self._report.begin()
        self._waiting = sorted(files.list_directory(self._devices.root))
        self._total = len(self._waiting)
        self._partitions, self._partitions_begun = sum(map(self._count_partitions, self._waiting)), 0
        for name, watcher in self._watchers.items():
            self._guarded(name, watcher.start)

    def _end(self) -> None:
        self._waiting = None
        for name, watcher in self._watchers.items():
            with suppress(Exception):
                for outcome, count in watcher.end().items():
                    self._report.count(f"{name}_{outcome}", count)
        self._report.end()

    def _count_partitions(self, device: str) -> int:
        try:
            storage = self._engine.in_service(self._devices, device)
            call = self._runtime.threads.of(storage.path).call
            return sum(len(call(storage.partitions, policy)) for policy in self._cluster.policies)
        except (OSError, DeviceUnavailable):
            return 0  # the audit of the device says why

    def _enter(self, device: str) -> None:
        try:
            path = self._engine.in_service(self._devices, device).path
        except DeviceUnavailable:
            return
        note = f"{path}/{self.name}.json"
        position = self._runtime.threads.of(path).call(_read_note, note)
        left = self._suffixes(path, position)
        self._under_way.append(DevicePass(path, note, left, self._runtime.clock.monotonic()))

    def _suffixes(self, path: str, since: Position) -> Iterator[tuple[Policy, str, str]]:
        """All suffixes of a device from a position on, in order. Raises OSError and DeviceUnavailable."""
        call, storage = self._runtime.threads.of(path).call, self._engine.device(path)
        for policy in sorted(self._cluster.policies, key=lambda each: each.index):
            if policy.index < since.policy_index:
                continue
            oldest = self._runtime.clock.now() - ABANDONED_SECONDS
            try:
                self._report.count("uploads_removed", call(storage.forget_uploads, policy, oldest))
            except OSError as error:
                self._passed_over(path, f"{path}/{policy.tmp_dir}", error)
            first = since.partition if policy.index == since.policy_index else 0
            for partition in sorted(call(storage.partitions, policy), key=int):
                self._partitions_begun += 1
                if int(partition) < first:
                    continue
                try:
                    suffixes = sorted(call(storage.suffixes, policy, partition))
                except OSError as error:
                    self._passed_over(path, f"{path}/{policy.data_dir}/{partition}", error)
                    continue
                for suffix in suffixes:
                    yield policy, partition, suffix

    def _advance(self, device: DevicePass) -> bool:
        """Look through the next suffix of a device; False when there is none, or the device as a whole fails."""
        call = self._runtime.threads.of(device.path).call
        try:
            following = next(device.left, None)
            if following is None:
                call(files.unlink_quietly, device.note)
                return False
            policy, partition, suffix = following
            try:
                self._audit_suffix(device.path, policy, partition, suffix)
            except OSError as error:
                self._passed_over(device.path, f"{device.path}/{policy.data_dir}/{partition}/{suffix}", error)
            if self._runtime.clock.monotonic() - device.noted_at >= NOTE_SECONDS:
                device.noted_at = self._runtime.clock.monotonic()
                content = msgspec.json.encode(Position(policy.index, int(partition)))
                with suppress(OSError):  # a full or read-only device is audited all the same
                    call(files.write_atomically, device.note, content)
        except (OSError, DeviceUnavailable) as error:
            self._report.count("failed")
            self._runtime.log.error("device cannot be audited", device=device.path, reason=str(error))
            return False
        return True

    def _passed_over(self, device: str, place: str, error: OSError) -> None:
        """A place cannot be audited; the others are. Raises OSError and DeviceUnavailable if the device is gone."""
        self._report.count("failed")
        self._runtime.log.error("cannot be audited", place=place, reason=str(error))
        self._devices.path(os.path.basename(device))
        self._runtime.threads.of(device).call(files.list_directory, device)

    # Objects

    def _audit_suffix(self, device: str, policy: Policy, partition: str, suffix: str) -> None:
        call, storage = self._runtime.threads.of(device).call, self._engine.device(device)
        self._report.count("changes_noticed", call(storage.notice_changes, policy, partition, suffix))
        if strays := call(storage.set_strays_aside, policy, partition, suffix):
            self._report.count("quarantined", strays)
        for digest, current in sorted(call(storage.objects, policy, partition, suffix).items()):
            location = Location(policy, partition, digest, "")
            try:
                if not is_place(digest, partition):
                    self._quarantine(storage, location, "it lies in a wrong partition")
                    continue
                ring = self._rings.object(policy.index)
                place = resolve_location(
                    structs.replace(location, partition=partition_of(digest, ring.part_power)), ring
                )
                if partition == place.partition:
                    self._audit_object(storage, location, current, place)
                elif partition in place.others:
                    self._audit_object(storage, location, current, None)
                else:
                    self._bring_home(storage, location)
            except OSError as error:
                self._passed_over(device, f"{device}/{policy.data_dir}/{partition}/{suffix}/{digest}", error)

    def _audit_object(
        self, storage: DeviceStorage, location: Location, current: ObjectVersions, place: Location | None
    ) -> None:
        """A damaged version goes to quarantine alone. Watchers are told of the `place`, once for each object."""
        for line in current.lines:
            try:
                if not self._audit_line(storage, location, current, line, place):
                    return
            except ObjectCorrupt:
                self._report.count("quarantined")  # by the engine, which has logged why

    def _audit_line(
        self,
        storage: DeviceStorage,
        location: Location,
        current: ObjectVersions,
        line: Line,
        place: Location | None,
    ) -> bool:
        """Whether the object is where it should be. Raises ObjectCorrupt once the line is in quarantine."""
        policy, partition, digest = location.policy, location.partition, location.hash
        for name in line.names:
            if name in line.obsolete:
                continue
            self._files.acquire()
            spend = self._bytes.acquire if self._is_full else None
            found = storage.verify(policy, partition, digest, name, spend)
            if found is None:
                continue
            location = Location(policy, partition, digest, found.name)
            if self._cluster.hasher.hexdigest(ResourcePath.parse(found.name)) != digest:
                self._quarantine(storage, location, f"{name} is another object's")
                return False
            self._report.count("sound")
            if isinstance(found, ObjectMetadata) and current.data is not None and name == current.data.name:
                for watching, watcher in self._watchers.items() if place is not None else ():
                    assert place is not None
                    self._guarded(watching, watcher.see_object, found, storage, structs.replace(place, name=found.name))
        return True

    def _bring_home(self, storage: DeviceStorage, location: Location) -> None:
        """Move an object to its partition: the device was away, or full, when a part power was increased."""
        ring = self._runtime.threads.call(self._rings.refreshed_object, location.policy.index)
        home = resolve_location(structs.replace(location, partition=partition_of(location.hash, ring.part_power)), ring)
        if location.partition in (home.partition, *home.others):
            return  # the ring has changed meanwhile
        relink_to_current(storage, self._runtime.threads, home, location.partition)
        self._runtime.log.warning("object brought home", hash=home.hash, former=location.partition, now=home.partition)
        self._report.count("brought_home")

    def _quarantine(self, storage: DeviceStorage, location: Location, reason: str) -> None:
        storage.set_aside(location, reason)
        self._report.count("quarantined")

    def _guarded(self, name: str, function: Callable[..., object], *arguments: object) -> None:
        """Call a watcher, whose faults are its own."""
        try:
            function(*arguments)
        except Exception as error:
            self._runtime.log.exception("watcher failed", watcher=name, reason=repr(error))


def _read_note(path: str) -> Position:
    """Where the pass was when the process ended; the start if it came to its end. Blocks."""
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=Position)
    except (OSError, msgspec.DecodeError):
        return Position(0, 0)
