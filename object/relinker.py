"""The relinker: gives objects their places when the part power of a ring is increased, without copying data.

While the increase is prepared it links what was there before into the partitions to come; after it, it takes everything
out of the former ones. See `relinking` for what is safe about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

import objstore.object.file_engine  # noqa: F401  # registers itself
from objstore.cluster import Cluster
from objstore.config.object import RelinkerConfig
from objstore.daemon import Step
from objstore.db.reports import PassReport
from objstore.devices import Device
from objstore.mounts import DeviceRoot, DeviceUnavailable
from objstore.object.engine import StorageEngine
from objstore.object.fileset import FileSet
from objstore.object.powers import is_place, partition_of
from objstore.object.relinking import Names, link_home, remove_linked
from objstore.object.relinkstate import Note, Task, is_to_be_noted, load, save, task_of
from objstore.pacing import Pace
from objstore.policies import Policy
from objstore.recon import Recon
from objstore.ring.errors import RingFileError
from objstore.ring.ring import Ring
from objstore.ring.rings import Rings
from objstore.runtime import Runtime
from objstore.system import concurrency

NAME: Final = "object-relinker"
NOTE_SECONDS: Final = 5.0
# A ring that has changed under way is not acted upon before every process of the machine has surely seen it.
SETTLING_SECONDS: Final = 30.0
# Files may arrive in a partition while it is cleaned up, from requests that began before the ring changed.
CLEANUP_ATTEMPTS: Final = 5


class Choice(Struct, frozen=True):
    """What an operator wants done: one task, on some devices, policies by index, partitions; empty is all of them."""

    task: Task
    devices: frozenset[str] = frozenset()
    policies: frozenset[int] = frozenset()
    partitions: frozenset[int] = frozenset()


class DeviceWork:
    """One task on the objects of one policy on one device."""

    def __init__(
        self, relinker: ObjectRelinker, name: str, path: str, policy: Policy, ring: Ring, task: Task, note: Note
    ) -> None:
        self.name, self.path, self.policy, self.task = name, path, policy, task
        self._relinker = relinker
        self._ring = ring
        self._note = note
        self._left: Iterator[str] | None = None
        self._saved_at = relinker.runtime.clock.monotonic()
        self._done = set(note.done)
        self._whole = True
        self.total = 0

    @property
    def done(self) -> int:
        """How many partitions."""
        return len(self._done)

    def advance(self) -> bool:
        """The next partition; False when there is none, or the device fails."""
        call, monotonic = self._relinker.runtime.threads.call, self._relinker.runtime.clock.monotonic
        try:
            partition = next(self._partitions(), None)
            if partition is None:
                if self._whole and not self._relinker.chosen_partitions:
                    self._note = Note(self._ring.part_power, self._ring.next_part_power, (), True)
                    call(save, self.path, self.policy, self._note)
                return False
            if self._relink(partition) if self.task is Task.RELINK else self._clean_up(partition):
                self._done.add(int(partition))
            else:
                self._whole = False
            if monotonic() - self._saved_at >= NOTE_SECONDS:
                self._saved_at = monotonic()
                call(save, self.path, self.policy, self._progress())
        except OSError as error:
            self._relinker.report.count("failed")
            self._relinker.runtime.log.error("device cannot be relinked", device=self.name, reason=str(error))
            return False
        return True

    def _progress(self) -> Note:
        return Note(self._ring.part_power, self._ring.next_part_power, tuple(sorted(self._done)))

    def _partitions(self) -> Iterator[str]:
        if self._left is None:
            chosen = self._relinker.chosen_partitions
            engine, call = self._relinker.engine, self._relinker.runtime.threads.call
            found = sorted(call(engine.partitions, self.path, self.policy), key=int, reverse=True)
            if self.task is Task.RELINK:
                found = [number for number in found if int(number) < self._ring.partition_count]
            self.total = len(found)
            self._left = iter([n for n in found if int(n) not in self._done and (not chosen or int(n) in chosen)])
        return self._left

    def _relink(self, partition: str) -> bool:
        """Link what belongs to a partition into the one or two that it becomes; durable afterwards."""
        relinker, engine, call = self._relinker, self._relinker.engine, self._relinker.runtime.threads.call
        power, following = self._ring.part_power, self._ring.next_part_power
        assert following is not None
        for suffix in call(engine.suffixes, self.path, self.policy, partition):
            found = call(engine.objects, self.path, self.policy, partition, suffix, power)
            relinker.pace.spend(sum(len(standing.names) for standing in found.values()))
            for digest, standing in found.items():
                target = partition_of(digest, following)
                wanted = [name for name in standing.names if name not in standing.obsolete]
                if target != partition:
                    taken = call(engine.link, self.path, self.policy, partition, target, digest, wanted)
                    relinker.report.count("linked", len(wanted) - len(taken))
                    # What lies there instead is held against this one in the cleanup, when that is its home.
                    relinker.report.count("differing", len(taken))
        engine.settle(self.path, self.policy, partition)
        return True

    def _clean_up(self, partition: str) -> bool:
        """Bring home what does not belong to a partition; whether nothing of that is left."""
        relinker, engine, call = self._relinker, self._relinker.engine, self._relinker.runtime.threads.call
        for _ in range(CLEANUP_ATTEMPTS):
            removable: list[Names] = []
            is_clean = True
            for suffix in call(engine.suffixes, self.path, self.policy, partition):
                found, homes = self._misplaced(partition, suffix)
                if not found:
                    continue
                is_clean = False
                relinker.pace.spend(sum(len(standing.names) for standing in found.values()))
                result = link_home(engine, relinker.runtime.threads, self.path, self.policy, partition, found, homes)
                removable += result.removable
                relinker.report.count("linked", result.linked)
                relinker.report.count("failed", result.failed)
            if is_clean:
                return True
            engine.settle(self.path, self.policy, partition)
            count = call(remove_linked, engine, self.path, self.policy, partition, removable)
            relinker.report.count("removed", count)
        relinker.report.count("failed")
        return False

    def _misplaced(self, partition: str, suffix: str) -> tuple[dict[str, FileSet], dict[str, str]]:
        """The objects of a suffix that do not belong to the partition, though once they did or may; and their homes."""
        engine, call = self._relinker.engine, self._relinker.runtime.threads.call
        found = call(engine.objects, self.path, self.policy, partition, suffix)
        homes = {each: partition_of(each, self._ring.part_power) for each in found if is_place(each, partition)}
        homes = {digest: home for digest, home in homes.items() if home != partition}
        return {digest: found[digest] for digest in homes}, homes


class ObjectRelinker:
    """A worker: each step handles one partition of every device of this machine that needs it."""

    name: str = NAME

    def __init__(
        self,
        config: RelinkerConfig,
        cluster: Cluster,
        devices: DeviceRoot,
        rings: Rings,
        runtime: Runtime,
        recon: Recon,
        is_mine: Callable[[Device], bool],
        engine: StorageEngine,
        choice: Choice | None = None,
    ) -> None:
        """With a `choice` that is done, and done again if it was done before; without, what devices need."""
        self.runtime = runtime
        self.engine = engine
        self.pace = Pace(config.files_per_second, runtime.clock)
        self.report = PassReport(NAME, recon, runtime, "files")
        self._cluster = cluster
        self._devices = devices
        self._rings = rings
        self._recon = recon
        self._is_mine = is_mine
        self._choice = choice
        self._works: list[DeviceWork] | None = None
        self._all: list[DeviceWork] = []
        self._seen: dict[int, tuple[tuple[int, int | None], float]] = {}

    @property
    def chosen_partitions(self) -> frozenset[int]:
        """Empty for all."""
        return frozenset() if self._choice is None else self._choice.partitions

    @property
    def has_failed(self) -> bool:
        """Whether anything in the last pass has not been done."""
        return self.report.counted("failed") > 0

    @property
    def has_found_work(self) -> bool:
        """Whether the last pass had anything to look through."""
        return bool(self._all)

    def step(self) -> Step:
        """See Worker."""
        if self._works is None:
            self.report.begin()
            self._all = list(self._begin())
            self._works = list(self._all)
        tasks = [concurrency.spawn(work.advance) for work in self._works]
        self._works = [work for work, task in zip(list(self._works), tasks, strict=True) if task.wait()]
        done, total = sum(work.done for work in self._all), sum(work.total for work in self._all)
        if self._works:
            self.report.progress(done, total)
            return Step.BUSY
        self._works = None
        self._recon.report(NAME, tasks=self._tasks(), **self._needs())
        self.report.end()
        return Step.IDLE

    def _tasks(self) -> list[str]:
        return sorted({work.task.value for work in self._all})

    def _needs(self) -> dict[str, int]:
        """How many devices still need what, after a pass: nothing more to be done is all 0."""
        needs = dict.fromkeys((task.value for task in Task), 0)
        for name, path, policy, ring in self._places():
            task = task_of(ring, self.runtime.threads.call(load, path, policy))
            if task is not None:
                needs[task.value] += 1
                self.runtime.log.info("device is not done", device=name, policy=policy.name, task=task.value)
        return {f"devices_to_{name}": count for name, count in needs.items()}

    def _places(self) -> Iterator[tuple[str, str, Policy, Ring]]:
        """Each policy on each device of this machine that can be used: the device's name and folder, and the ring."""
        for policy in self._cluster.policies:
            try:
                ring = self._rings.object(policy.index)
            except RingFileError:
                continue
            for name in sorted({device.device for device in ring.devices if self._is_mine(device)}):
                try:
                    yield name, self._devices.path(name), policy, ring
                except DeviceUnavailable:
                    self.report.count("unavailable")

    def _begin(self) -> Iterator[DeviceWork]:
        for name, path, policy, ring in self._places():
            note = self.runtime.threads.call(load, path, policy)
            if self._choice is None:
                task = task_of(ring, note) if self._has_settled(policy, ring) else None
            else:
                task = self._chosen(self._choice, name, policy, ring, note)
            if task is not None:
                going_on = note is not None and note.is_of(ring) and not note.ended
                fresh = Note(ring.part_power, ring.next_part_power)
                yield DeviceWork(self, name, path, policy, ring, task, note if note and going_on else fresh)
            elif self._choice is None and is_to_be_noted(ring, note):
                self._note_rest(path, policy, ring)

    @staticmethod
    def _chosen(choice: Choice, name: str, policy: Policy, ring: Ring, note: Note | None) -> Task | None:
        if choice.devices and name not in choice.devices:
            return None
        if choice.policies and policy.index not in choice.policies:
            return None
        again = note if ring.next_part_power is None else None
        return choice.task if task_of(ring, again) is choice.task else None

    def _has_settled(self, policy: Policy, ring: Ring) -> bool:
        state, now = (ring.part_power, ring.next_part_power), self.runtime.clock.monotonic()
        known, since = self._seen.get(policy.index, (state, now - SETTLING_SECONDS))
        if known != state:
            since = now
        self._seen[policy.index] = (state, since)
        return now - since >= SETTLING_SECONDS

    def _note_rest(self, path: str, policy: Policy, ring: Ring) -> None:
        """From now on the device tells by which power its objects lie."""
        try:
            self.runtime.threads.call(save, path, policy, Note(ring.part_power, None, (), True))
        except OSError as error:
            self.runtime.log.warning("part power not noted", device=path, reason=str(error))
