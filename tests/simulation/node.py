"""One machine of the simulated cluster: its clock, its disks, its servers and daemons, and how it dies."""

from __future__ import annotations

import os
import traceback
from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, Final

from objstore.daemon import Job, Runner
from objstore.devices import Device
from objstore.http.messages import WsgiApplication
from objstore.logs import Logger, Sink
from objstore.runtime import Runtime
from objstore.system import concurrency
from objstore.system.clock import Clock
from objstore.timestamps import Timestamp
from tests.simulation import device_calls
from tests.simulation.disk import SimulatedDisk
from tests.simulation.hub import Owner, current_owner, spawn_for

if TYPE_CHECKING:
    from tests.simulation.world import World

EPOCH: Final = 1_750_000_000.0
LOG_LINES_KEPT: Final = 2000
# Servers of the store never say these when all is as it should be, whatever disks and networks do.
BUGS: Final = ("request failed", "step failed", "unforeseen error")


# Each machine has ticks of its own: what happens when two proxies stamp two writes alike is known (see Limits).
PHASES: Final = 8


class NodeClock(Clock):
    """The hub's time, with the node's error."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = node

    def now(self) -> float:
        """See Clock."""
        return self._node.time()

    def boot_id(self) -> str:
        """See Clock."""
        return f"{self._node.name} {self._node.boots}"

    def timestamp(self) -> Timestamp:
        """See Clock."""
        ticks = super().timestamp().ticks
        self._last_ticks = ticks + (self._node.position - ticks) % PHASES
        return Timestamp(self._last_ticks)


class SimulatedThreads:
    """Stands for ThreadGroup: a call takes a moment, then it is done at once."""

    def __init__(self, random: Random) -> None:
        self._random = random

    is_stalled = False

    def of(self, _device: str) -> SimulatedThreads:
        return self

    def call_within(self, _seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.call(function, *arguments)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self.pause()
        return function(*arguments)

    def pause(self) -> None:
        """The moment that it takes to hand a call to a thread."""
        owner = current_owner()
        if owner is not None:
            owner.check()
        concurrency.sleep(self._random.uniform(0.0001, 0.002))
        if owner is not None:
            owner.check()


class SimulatedFlusher:
    """Stands for Flusher: what was written before the call is durable when it returns, and no sooner."""

    def __init__(self, world: World, random: Random) -> None:
        self._world = world
        self._random = random

    def flush(self, descriptor: int, everything: bool = False) -> None:
        world, owner = self._world, current_owner()
        if owner is not None:
            owner.check()
        opened = world.calls.opened.get(descriptor)
        if opened is None:
            return
        disk, inode = opened.disk, opened.inode
        world.before_change(disk, "flush")
        log_flushed = world.databases.flushing(opened.path)
        number, position = disk.number, disk.position(inode)
        concurrency.sleep(self._random.uniform(0.0005, 0.015))
        world.before_change(disk, "flushed")
        if disk.state == "failing":
            disk.refuse(writing=False)
        if log_flushed is not None:
            log_flushed()
        elif everything:
            disk.flushed_all(number)
        else:
            disk.flushed(inode, position)


class Node:
    """A storage node or a proxy. `owner` is its present life, None while it is down."""

    def __init__(self, world: World, name: str, address: str, skew_seconds: float) -> None:
        self.world = world
        self.name = name
        self.address = address
        self.position = len(world.nodes)
        self.skew_seconds = skew_seconds
        self.path = f"{world.root}/{name}"
        self.owner: Owner | None = None
        self.servers: dict[int, WsgiApplication] = {}
        self.disks: dict[str, SimulatedDisk] = {}
        self.daemons: set[str] = set()
        self.lives = 0
        self.boots = 0
        self.changes_left: int | None = None  # until it crashes
        self.power = True
        self.log: deque[str] = deque(maxlen=LOG_LINES_KEPT)
        self.bugs: list[str] = []
        for folder in ("devices", "rings", "recon", "undo"):
            os.makedirs(f"{self.path}/{folder}")

    def owns(self, device: Device) -> bool:
        """Whether a ring's device is here."""
        return device.ip == self.address

    def time(self) -> float:
        """Its clock."""
        return EPOCH + self.world.hub.now + self.skew_seconds

    def add_disk(self, name: str) -> None:
        """A new device, mounted."""
        path = f"{self.path}/devices/{name}"
        undo_copy = f"{self.path}/undo/{name}"
        os.mkdir(path, 0o700)
        os.mkdir(undo_copy)
        disk = SimulatedDisk(self.name, name, path, undo_copy, self.world.stream(f"disk {self.name} {name}"))
        self.disks[name] = disk
        self.world.calls.disks[f"{self.name}/devices/{name}"] = disk

    def make_runtime(self) -> Runtime:
        """Everything that stands for the real system in one of its processes."""
        random = self.world.stream(f"node {self.name} {self.lives}")
        threads: Any = SimulatedThreads(random)
        flusher: Any = SimulatedFlusher(self.world, random)
        log = Logger(self.name, Sink("info", write=self._logged, now=self.time))
        return Runtime(
            log=log,
            clock=NodeClock(self),
            flusher=flusher,
            device_calls=device_calls.make(self.world.calls, threads.pause),
            threads=threads,
            random=random,
        )

    def _logged(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        self.log.append(text)
        if "level=error" in text and any(f'msg="{each}"' in text for each in BUGS) and not self._foreseen(text):
            self._bug(text)

    def _bug(self, text: str) -> None:
        self.bugs.append(text)
        self.world.note(self.name, "BUG", text[:3000])

    def _foreseen(self, text: str) -> bool:
        """A disk that fails may make a step fail; it is tried again."""
        troubled = any(disk.state for disk in self.disks.values()) or self.world.recently_troubled(self)
        return troubled and ('msg="step failed"' in text) and ("OSError" in text or "Errno" in text)

    def start(self, make: Callable[[Node], tuple[dict[int, WsgiApplication], list[Job]]]) -> None:
        """Come up: servers and daemons."""
        if self.owner is not None:
            return
        self.lives += 1
        owner = self.owner = Owner(f"{self.name}.{self.lives}")
        spawn_for(owner, None, self._live, make)

    def _live(self, make: Callable[[Node], tuple[dict[int, WsgiApplication], list[Job]]]) -> None:
        runtime = self.make_runtime()
        try:
            self.servers, jobs = make(self)
        except Exception:
            self._bug(f"it cannot start: {traceback.format_exc()}")
            raise
        Runner(jobs, runtime).run()

    def crash(self, power: bool) -> None:
        """End this life: at once, and without a word."""
        owner, self.owner = self.owner, None
        if owner is None:
            return
        self.servers = {}
        self.changes_left = None
        self.boots += power
        owner.die()
        world = self.world
        frames = world.databases.crash(owner, power)
        if power:
            world.power_cuts.append(world.hub.now)
        lost = [found for disk in self.disks.values() if (found := disk.crash(power))]
        world.calls.let_go(owner)
        world.note(self.name, "crashed", "power" if power else "killed", f"{frames} logs cut", *lost)
        world.crashed()
