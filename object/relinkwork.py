"""What the relinker does on one device, partition by partition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from objstore.db.reports import PassReport
from objstore.object.engine import DeviceStorage
from objstore.object.part_power import Names, is_place, link_home, partition_of, remove_linked
from objstore.object.relinkstate import Note, RelinkTask, save
from objstore.object.versions import ObjectVersions
from objstore.policies import Policy
from objstore.rate_limiter import RateLimiter
from objstore.ring.ring import Ring
from objstore.runtime import Runtime

NOTE_SECONDS: Final = 5.0
# Files may arrive in a partition while it is cleaned up, from requests that began before the ring changed.
CLEANUP_ATTEMPTS: Final = 5


class Means(Struct, frozen=True):
    """What all work shares; only the partitions `chosen` are looked through, all if there are none."""

    runtime: Runtime
    rate: RateLimiter
    report: PassReport
    chosen: frozenset[int]


class DeviceWork:
    def __init__(
        self, means: Means, name: str, storage: DeviceStorage, policy: Policy, ring: Ring, task: RelinkTask, note: Note
    ) -> None:
        self.name, self.path, self.policy, self.task = name, storage.path, policy, task
        self._storage = storage
        self._means = means
        self._ring = ring
        self._note = note
        self._left: Iterator[str] | None = None
        self._saved_at = means.runtime.clock.monotonic()
        self._done = set(note.done)
        self._whole = True
        self.total = 0
        self.handled = 0  # partitions, in this pass

    @property
    def done(self) -> int:
        return len(self._done)

    def advance(self) -> bool:
        """The next partition; False when there is none, or the device fails."""
        call, monotonic = self._means.runtime.threads.of(self._storage.path).call, self._means.runtime.clock.monotonic
        try:
            partition = next(self._partitions(), None)
            if partition is None:
                if self._whole and not self._means.chosen:
                    self._note = Note(self._ring.part_power, self._ring.next_part_power, (), True)
                    call(save, self.path, self.policy, self._note)
                return False
            self.handled += 1
            if self._relink(partition) if self.task is RelinkTask.RELINK else self._clean_up(partition):
                self._done.add(int(partition))
            else:
                self._whole = False
            if monotonic() - self._saved_at >= NOTE_SECONDS:
                self._saved_at = monotonic()
                call(save, self.path, self.policy, self._progress())
        except OSError as error:
            self._means.report.count("failed")
            self._means.runtime.log.error("device cannot be relinked", device=self.name, reason=str(error))
            return False
        return True

    def _progress(self) -> Note:
        return Note(self._ring.part_power, self._ring.next_part_power, tuple(sorted(self._done)))

    def _partitions(self) -> Iterator[str]:
        if self._left is None:
            chosen = self._means.chosen
            storage, call = self._storage, self._means.runtime.threads.of(self._storage.path).call
            found = sorted(call(storage.partitions, self.policy), key=int, reverse=True)
            if self.task is RelinkTask.RELINK:
                found = [number for number in found if int(number) < self._ring.partition_count]
            self.total = len(found)
            self._left = iter([n for n in found if int(n) not in self._done and (not chosen or int(n) in chosen)])
        return self._left

    def _relink(self, partition: str) -> bool:
        """Link what belongs to a partition into the one or two that it becomes; durable afterwards."""
        means, storage, call = self._means, self._storage, self._means.runtime.threads.of(self._storage.path).call
        power, following = self._ring.part_power, self._ring.next_part_power
        assert following is not None
        for suffix in call(storage.suffixes, self.policy, partition):
            found = call(storage.objects, self.policy, partition, suffix, power)
            means.rate.acquire(sum(len(current.names) for current in found.values()))
            for digest, current in found.items():
                target = partition_of(digest, following)
                wanted = [name for name in current.names if name not in current.obsolete]
                if target != partition:
                    taken = call(storage.link, self.policy, partition, target, digest, wanted)
                    means.report.count("linked", len(wanted) - len(taken))
                    # What lies there instead is held against this one in the cleanup, when that is its home.
                    means.report.count("differing", len(taken))
        storage.make_durable(self.policy, partition)
        return True

    def _clean_up(self, partition: str) -> bool:
        """Bring home what does not belong to a partition; whether nothing of that is left."""
        means, storage, call = self._means, self._storage, self._means.runtime.threads.of(self._storage.path).call
        for _ in range(CLEANUP_ATTEMPTS):
            removable: list[Names] = []
            is_clean = True
            for suffix in call(storage.suffixes, self.policy, partition):
                found, homes = self._misplaced(partition, suffix)
                if not found:
                    continue
                is_clean = False
                means.rate.acquire(sum(len(current.names) for current in found.values()))
                result = link_home(storage, means.runtime.threads, self.policy, partition, found, homes)
                removable += result.removable
                means.report.count("linked", result.linked)
                means.report.count("failed", result.failed)
            if is_clean:
                return True
            storage.make_durable(self.policy, partition)
            count = call(remove_linked, storage, self.policy, partition, removable)
            means.report.count("removed", count)
        means.report.count("failed")
        return False

    def _misplaced(self, partition: str, suffix: str) -> tuple[dict[str, ObjectVersions], dict[str, str]]:
        """The objects of a suffix that do not belong to the partition, though once they did or may; and their homes."""
        storage, call = self._storage, self._means.runtime.threads.of(self._storage.path).call
        found = call(storage.objects, self.policy, partition, suffix)
        homes = {each: partition_of(each, self._ring.part_power) for each in found if is_place(each, partition)}
        homes = {digest: home for digest, home in homes.items() if home != partition}
        return {digest: found[digest] for digest in homes}, homes
