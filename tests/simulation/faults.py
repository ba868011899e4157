"""The faults of a plan, done to the world: within a budget, so that of everything acknowledged a good copy remains."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, Final

from objstore.system import concurrency
from tests.simulation.copy_inventory import CopyInventory
from tests.simulation.disk import SimulatedDisk
from tests.simulation.network import NetworkConditions
from tests.simulation.node import EPOCH, Node
from tests.simulation.plan import Event
from tests.simulation.services import make_services
from tests.simulation.world import FOLDERS, OBJECT_KINDS, PART_POWERS, World

DEVICES_MIN: Final = 6
BLACKOUT_SECONDS_MAX: Final = 60.0
PAGE_BYTES: Final = 4096
NOTICED_RATE: Final = 0.3  # of the files whose bits have flipped; the others are left to the auditor


class Faults:
    """Does them, and undoes them after their time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.over = False
        self._random = world.stream("faults")
        self._active_conditions: list[NetworkConditions] = []
        self._damaged: set[str] = set()
        self.damaged: Callable[[str], None] = lambda path: None  # called with some of the files whose bits have flipped
        self._spent = False

    def run(self, event: Event) -> None:
        """One fault of the plan; returns when it is over."""
        if not self.over:
            getattr(self, f"do_{event.kind}")(event.details)

    def _node(self, details: dict[str, Any]) -> Node:
        return self.world.storage[details["node"] % len(self.world.storage)]

    def _disk(self, details: dict[str, Any]) -> tuple[Node, SimulatedDisk]:
        disks = list(self.world.disks.values())
        disk = disks[details["disk"] % len(disks)]
        return self.world.nodes[disk.node], disk

    def end_all(self) -> None:
        """From now on all is well: what is down comes up, and so on."""
        self.over = True
        world = self.world
        world.network.cut.clear()
        self._active_conditions.clear()
        self._apply_worst_conditions()
        for disk in world.disks.values():
            self._mount(disk)
            disk.state = ""
        for node in world.nodes.values():
            node.changes_left = None
            node.start(make_services)
        for kind in PART_POWERS:
            world.publish(kind, world.nodes)

    def _affords(self, disk: SimulatedDisk, what: str) -> bool:
        """Whether a copy on this disk may be destroyed.

        What was acknowledged is on a quorum of devices, so it survives the loss of one. The next loss is allowed when
        all is healed, or nothing would be lost that is not elsewhere.
        """
        inventory = CopyInventory(self.world)
        self._damaged = {each for each in self._damaged if os.path.exists(each)}
        why = inventory.in_danger(disk, self._damaged)
        if not why and self._spent and not inventory.is_healed(self._damaged):
            why = inventory.only_here(disk, self._damaged)
        if why:
            self.world.note(disk.node, disk.name, f"is spared ({what}):", why)
            return False
        self._spent = True
        self.world.destroyed_at = self.world.hub.now
        self.world.disturb()
        return True

    # Nodes

    def do_crash(self, details: dict[str, Any]) -> None:
        self._down(self._node(details), True, details["seconds"])

    def do_kill(self, details: dict[str, Any]) -> None:
        self._down(self._node(details), False, details["seconds"])

    def do_blackout(self, details: dict[str, Any]) -> None:
        """The power of all goes at once."""
        nodes = list(self.world.nodes.values())
        for node in nodes:
            node.crash(True)
        concurrency.sleep(min(details["seconds"], BLACKOUT_SECONDS_MAX))
        for node in nodes:
            node.start(make_services)

    def do_crash_proxy(self, details: dict[str, Any]) -> None:
        proxies = self.world.proxies
        self._down(proxies[details["node"] % len(proxies)], True, details["seconds"])

    def _down(self, node: Node, power: bool, seconds: float) -> None:
        node.crash(power)
        concurrency.sleep(seconds)
        node.start(make_services)

    def do_crash_at(self, details: dict[str, Any]) -> None:
        node = self._node(details)
        node.changes_left, node.power = details["changes"], self._random.random() < 0.8
        concurrency.sleep(details["seconds"])
        node.changes_left = None
        node.start(make_services)

    def do_clock(self, details: dict[str, Any]) -> None:
        node = self._node(details)
        node.skew_seconds += details["jump"]
        self.world.note(node.name, "clock jumps by", details["jump"])

    # The network

    def do_cut(self, details: dict[str, Any]) -> None:
        world, node, ways = self.world, self._node(details), details["ways"]
        others = [name for name in world.nodes if name != node.name]
        pairs = {(name, node.name) for name in others if ways != "out"}
        pairs |= {(node.name, name) for name in others if ways != "in"}
        world.note(node.name, "cut off", ways)
        world.network.cut |= pairs
        concurrency.sleep(details["seconds"])
        if not self.over:
            world.note(node.name, "reachable again")
            world.network.cut -= pairs

    def do_conditions(self, details: dict[str, Any]) -> None:
        rates = {name: rate for name, rate in details.items() if name != "seconds"}
        conditions = NetworkConditions(**rates)
        self._active_conditions.append(conditions)
        self._apply_worst_conditions()
        concurrency.sleep(details["seconds"])
        if conditions in self._active_conditions:
            self._active_conditions.remove(conditions)
            self._apply_worst_conditions()

    def _apply_worst_conditions(self) -> None:
        worst = NetworkConditions()
        for name in ("lost", "broken", "repeated", "delayed"):
            setattr(
                worst, name, max((getattr(conditions, name) for conditions in self._active_conditions), default=0.0)
            )
        self.world.network.conditions = worst
        self.world.note("~~", worst)

    # Disks

    def _disk_state(self, disk: SimulatedDisk, state: str) -> None:
        disk.state = state
        self.world.troubled[disk.node] = self.world.hub.now
        self.world.note(disk.node, disk.name, "is", state or "well again")

    def do_disk(self, details: dict[str, Any]) -> None:
        _, disk = self._disk(details)
        if disk.state or (details["state"] == "failing" and not self._affords(disk, "errors")):
            return
        disk.failure_rate = details["rate"]
        self._disk_state(disk, details["state"])
        self._pass_errors(disk, details["seconds"])
        if disk.state == details["state"]:
            if disk.state == "failing":
                self.world.destroyed_at = self.world.hub.now
            self._disk_state(disk, "")

    def _pass_errors(self, disk: SimulatedDisk, seconds: float) -> None:
        """What cannot be read is set aside: while errors last, copies are being destroyed."""
        end = self.world.hub.now + seconds
        while (left := end - self.world.hub.now) > 0:
            if disk.state == "failing":
                self.world.destroyed_at = self.world.hub.now
            concurrency.sleep(min(left, 300.0))

    def do_unmount(self, details: dict[str, Any]) -> None:
        _, disk = self._disk(details)
        if disk.state:
            return
        disk.crash(power=False)
        os.rename(disk.path, disk.away)
        self._disk_state(disk, "unmounted")
        concurrency.sleep(details["seconds"])
        if disk.state == "unmounted":
            self._mount(disk)
            self._disk_state(disk, "")

    def _mount(self, disk: SimulatedDisk) -> None:
        if os.path.isdir(disk.away):
            os.rename(disk.away, disk.path)

    def do_wipe(self, details: dict[str, Any]) -> None:
        """A disk is replaced by an empty one, while its node is down."""
        node, disk = self._disk(details)
        if disk.state or not self._affords(disk, "loss"):
            return
        node.crash(power=False)
        disk.wipe()
        self.world.troubled[disk.node] = self.world.hub.now
        self.world.note(disk.node, disk.name, "is replaced by an empty one")
        concurrency.sleep(details["seconds"])
        node.start(make_services)

    # Bits

    def do_flip(self, details: dict[str, Any]) -> None:
        _, disk = self._disk(details)
        if disk.state:
            return
        what = details["what"]
        files = list(self._databases(disk) if what == "database" else self._data_files(disk))
        if not files:
            return
        path = files[details["pick"] % len(files)]
        if not self._affords(disk, "bits"):
            return
        self._damaged.add(path)
        self.world.note(disk.node, f"bits of the {what} flip in", path.removeprefix(self.world.root))
        if what != "database" and self._random.random() < NOTICED_RATE:
            self.damaged(path)
        self._flip(what, path)

    def _flip(self, what: str, path: str) -> None:
        if what == "attribute":
            value = bytearray(os.getxattr(path, "user.objstore.metadata"))
            value[self._random.randrange(len(value))] ^= 1 << self._random.randrange(8)
            os.setxattr(path, "user.objstore.metadata", bytes(value))
            return
        with open(path, "r+b") as file:
            size = os.path.getsize(path)
            if what == "database":
                # The kind of a page: what SQLite's own check finds. A flipped bit within a text nobody could find.
                file.seek(PAGE_BYTES * self._random.randrange(1, max(size // PAGE_BYTES, 2)))
                file.write(b"\xff")
                return
            at = self._random.randrange(size)
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes((byte ^ 1 << self._random.randrange(8),)))

    def _data_files(self, disk: SimulatedDisk) -> Iterator[str]:
        for kind in OBJECT_KINDS:
            for folder, _, names in sorted(os.walk(f"{disk.path}/{FOLDERS[kind]}")):
                for name in sorted(names):
                    if name.endswith(".data") and os.path.getsize(f"{folder}/{name}"):
                        yield f"{folder}/{name}"

    def _databases(self, disk: SimulatedDisk) -> Iterator[str]:
        for kind in ("accounts", "containers"):
            for folder, _, names in sorted(os.walk(f"{disk.path}/{kind}")):
                for name in sorted(names):
                    path = f"{folder}/{name}"
                    if name.endswith(".db") and not self.world.databases.is_open(path):
                        yield path

    # Rings

    def do_ring(self, details: dict[str, Any]) -> None:
        world, pick = self.world, details["pick"]
        change = self._chosen_change(details["change"], pick)
        if not change:
            return
        world.disturb()
        now = EPOCH + world.hub.now
        nodes = sorted(world.nodes)
        self._random.shuffle(nodes)
        rings = {}
        for kind, builder in world.builders.items():
            plan = builder.rebalance(self._random.getrandbits(32), now)
            rings[kind] = builder.ring()
            world.note("oo", f"{kind} ring {builder.version}: {change}, {plan.moved_count} replicas move")
        for name in nodes:
            for kind, ring in rings.items():
                world.give(kind, ring, name)
            if details["spread"]:
                concurrency.sleep(self._random.uniform(0, details["spread"]))

    def _chosen_change(self, change: str, pick: int) -> str:
        """Change all builders alike; says how."""
        world = self.world
        builder = world.builders["object"]
        present = {device.device for device in builder.remaining}
        missing = sorted(set(world.disks) - present)
        if change == "add" and missing:
            name = missing[pick % len(missing)]
            node = world.nodes[world.disks[name].node]
            for kind, each in world.builders.items():
                each.add(world.device(kind, each.next_id, node, name))
            return f"{name} joins"
        empty = sorted(device.device for device in builder.remaining if not device.weight)
        devices = sorted(builder.remaining, key=lambda device: device.device)
        chosen = devices[pick % len(devices)].device
        weight = 50.0 + pick % 150
        if change == "add" and empty:
            chosen = empty[pick % len(empty)]
        elif change == "remove":
            # It is drained; what it still holds when it is taken out of the ring nobody would look for.
            if len(devices) - len(empty) <= DEVICES_MIN:
                return ""
            weight = 0.0
        for each in world.builders.values():
            (number,) = (device.id for device in each.remaining if device.device == chosen)
            each.set_weight(number, weight)
        return f"{chosen} weighs {weight}"
