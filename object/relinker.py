"""The relinker: gives objects their places when the part power of a ring is increased, without copying data.

While the increase is prepared it links what was there before into the partitions to come; after it, it takes everything
out of the former ones. See `relinking` for what is safe about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from objstore.config.object import RelinkerConfig
from objstore.daemon import Step
from objstore.db.reports import PassReport
from objstore.mounts import DeviceUnavailable
from objstore.object.engine import StorageEngine
from objstore.object.relinkstate import Note, RelinkTask, is_to_be_noted, load, save, task_of
from objstore.object.relinkwork import DeviceWork, Means
from objstore.policies import Policy
from objstore.rate_limiter import RateLimiter
from objstore.ring.daemon_context import DaemonContext
from objstore.ring.errors import RingFileError
from objstore.ring.ring import Ring
from objstore.system import concurrency

NAME: Final = "object-relinker"
# A ring that has changed under way is not acted upon before every process of the machine has surely seen it.
SETTLING_SECONDS: Final = 30.0


class Choice(Struct, frozen=True):
    """What an operator wants done: one task, on some devices, policies by index, partitions; empty is all of them."""

    task: RelinkTask
    devices: frozenset[str] = frozenset()
    policies: frozenset[int] = frozenset()
    partitions: frozenset[int] = frozenset()


class ObjectRelinker:
    """A worker: each step handles one partition of every device of this machine that needs it."""

    name: str = NAME

    def __init__(
        self, config: RelinkerConfig, context: DaemonContext, engine: StorageEngine, choice: Choice | None = None
    ) -> None:
        """With a `choice` that is done, and done again if it was done before; without, what devices need."""
        runtime = context.runtime
        self._runtime = runtime
        self._report = PassReport(NAME, context.recon, runtime, "files")
        rate = RateLimiter(config.files_per_second, runtime.clock)
        chosen = frozenset[int]() if choice is None else choice.partitions
        self._engine = engine
        self._means = Means(runtime, rate, self._report, chosen)
        self._cluster = context.cluster
        self._devices = context.devices
        self._rings = context.rings
        self._recon = context.recon
        self._is_mine = context.is_mine
        self._choice = choice
        self._works: list[DeviceWork] | None = None
        self._all: list[DeviceWork] = []
        self._seen: dict[int, tuple[tuple[int, int | None], float]] = {}

    @property
    def has_failed(self) -> bool:
        """Whether anything in the last pass has not been done."""
        return self._report.counted("failed") > 0

    @property
    def has_found_work(self) -> bool:
        """Whether the last pass had anything to look through."""
        return bool(self._all)

    def summary(self) -> str:
        """What the last pass has done, in one line."""
        devices, partitions = len({work.name for work in self._all}), sum(work.handled for work in self._all)
        outcomes = ("linked", "removed", "differing", "failed")
        counts = ", ".join(f"{outcome} {self._report.counted(outcome)}" for outcome in outcomes)
        return f"devices {devices}, partitions {partitions}, files {counts}"

    def step(self) -> Step:
        if self._works is None:
            self._report.begin()
            self._all = list(self._begin())
            self._works = list(self._all)
        tasks = [concurrency.spawn(work.advance) for work in self._works]
        self._works = [work for work, task in zip(list(self._works), tasks, strict=True) if task.wait()]
        done, total = sum(work.done for work in self._all), sum(work.total for work in self._all)
        if self._works:
            self._report.progress(done, total)
            return Step.BUSY
        self._works = None
        self._recon.report(NAME, tasks=self._tasks(), **self._needs())
        self._report.end()
        return Step.IDLE

    def _tasks(self) -> list[str]:
        return sorted({work.task.value for work in self._all})

    def _needs(self) -> dict[str, int]:
        """How many devices still need what, after a pass: nothing more to be done is all 0."""
        needs = dict.fromkeys((task.value for task in RelinkTask), 0)
        for name, path, policy, ring in self._places():
            task = task_of(ring, self._runtime.threads.of(path).call(load, path, policy))
            if task is not None:
                needs[task.value] += 1
                self._runtime.log.info("device is not done", device=name, policy=policy.name, task=task.value)
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
                    yield name, self._engine.in_service(self._devices, name).path, policy, ring
                except DeviceUnavailable:
                    self._report.count("unavailable")

    def _begin(self) -> Iterator[DeviceWork]:
        for name, path, policy, ring in self._places():
            note = self._runtime.threads.of(path).call(load, path, policy)
            if self._choice is None:
                task = task_of(ring, note) if self._has_settled(policy, ring) else None
            else:
                task = self._chosen(self._choice, name, policy, ring, note)
            if task is not None:
                going_on = note is not None and note.is_of(ring) and not note.ended
                fresh = Note(ring.part_power, ring.next_part_power)
                yield DeviceWork(
                    self._means,
                    name,
                    self._engine.device(path),
                    policy,
                    ring,
                    task,
                    note if note and going_on else fresh,
                )
            elif self._choice is None and is_to_be_noted(ring, note):
                self._note_rest(path, policy, ring)

    @staticmethod
    def _chosen(choice: Choice, name: str, policy: Policy, ring: Ring, note: Note | None) -> RelinkTask | None:
        if choice.devices and name not in choice.devices:
            return None
        if choice.policies and policy.index not in choice.policies:
            return None
        again = note if ring.next_part_power is None else None
        return choice.task if task_of(ring, again) is choice.task else None

    def _has_settled(self, policy: Policy, ring: Ring) -> bool:
        state, now = (ring.part_power, ring.next_part_power), self._runtime.clock.monotonic()
        known, since = self._seen.get(policy.index, (state, now - SETTLING_SECONDS))
        if known != state:
            since = now
        self._seen[policy.index] = (state, since)
        return now - since >= SETTLING_SECONDS

    def _note_rest(self, path: str, policy: Policy, ring: Ring) -> None:
        """From now on the device tells by which power its objects lie."""
        try:
            self._runtime.threads.of(path).call(save, path, policy, Note(ring.part_power, None, (), True))
        except OSError as error:
            self._runtime.log.warning("part power not noted", device=path, reason=str(error))
