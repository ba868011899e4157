"""What must hold at the moment a client is told something: that its write is stored, or what an object is."""

from __future__ import annotations

from typing import Final

from tests.simulation.clients import PATIENCE_SECONDS
from tests.simulation.copy_inventory import CopyInventory
from tests.simulation.findings import Findings
from tests.simulation.model import Kind, Model, Write
from tests.simulation.node import EPOCH
from tests.simulation.plan import is_strong
from tests.simulation.services import kind_of, path_of
from tests.simulation.stored_forms import WHOLE, read_name
from tests.simulation.world import AFTERMATH_SECONDS, FRAGMENTS_NEEDED, REPLICAS, SMALL_OBJECT_SIZE, World

ROWS_QUORUM: Final = 2  # of three replicas


class Promises:
    """Looks at what lies on the disks when clients are told."""

    def __init__(self, world: World, model: Model, findings: Findings) -> None:
        self._world = world
        self._model = model
        self._inventory = CopyInventory(world)
        self._findings = findings

    def acknowledged(self, write: Write) -> None:
        """A client has just heard that a write is stored: then a quorum of devices must have it, or something newer."""
        if self._world.hub.now - self._world.destroyed_at < AFTERMATH_SECONDS:
            return
        path = str(path_of(write.name))
        copies = self._inventory.copies_of(path)
        # The primaries are those of the ring by which it was written.
        is_steady = self._world.is_undisturbed and EPOCH + self._world.disturbed_at < write.at
        if is_strong(write.name) and is_steady:
            copies = [copy for copy in copies if copy.disk in self._inventory.primaries_of(copy)]
        held = [copy.names for copy in copies]
        # The damage of a copy may have come to light when it had just got the write.
        held += self._inventory.set_aside(path)
        removed = self._removed_meanwhile(write)
        having = [[name for name in names if _has(name, write) or _removes(name, removed)] for names in held]
        different = {_what(names, device) for device, names in enumerate(having) if names}
        if len(different) < _quorum(write):
            self._findings.wrong(f"{write} of {write.name} is on {len(different)} devices only")
        if is_strong(write.name) and is_steady and write.kind is not Kind.POST:
            self._row_is_on_quorum(write)

    def shown(self, name: str, number: int) -> None:
        """A client has just read what a write has stored: in a strong policy most devices have it, or something newer.

        What is pending on a device is not what it has.
        """
        write, world = self._model.writes[number], self._world
        if world.hub.now - world.destroyed_at < AFTERMATH_SECONDS or write.name != name or not is_strong(name):
            return
        if not world.is_undisturbed or EPOCH + world.disturbed_at >= write.at:
            return
        copies = self._inventory.copies_of(str(path_of(name)))
        held = [map(read_name, copy.names) for copy in copies if copy.disk in self._inventory.primaries_of(copy)]
        stamp = min((write.timestamp, *write.earlier))
        having = sum(any(file and not file.pending and file.timestamp >= stamp for file in files) for files in held)
        if having <= REPLICAS[kind_of(name)] // 2:
            self._findings.wrong(f"{write} of {name} was read, and is on {having} devices only")

    def _removed_meanwhile(self, write: Write) -> set[str]:
        """The versions that others removed while one was posted to: removed is removed, whatever the clocks say."""
        if write.kind is not Kind.POST or is_strong(write.name):
            return set()
        others = self._model.objects[write.name].writes
        return {each.removes for each in others if each.removes and each.at > write.at - PATIENCE_SECONDS}

    def _row_is_on_quorum(self, write: Write) -> None:
        """In a strong policy a write is acknowledged when most replicas of its container list it."""
        container, _, name = write.name.partition("/")
        path = str(path_of(container))
        primaries = self._inventory.primaries("container", self._inventory.partition("container", path))
        rows = self._inventory.rows_of(path, name)
        having = [disk for disk in primaries if rows.get(disk) and rows[disk][0] >= write.timestamp]
        if len(having) < ROWS_QUORUM:
            self._findings.wrong(f"{write} of {write.name} is listed by {len(having)} devices only")


def _quorum(write: Write) -> int:
    """How many devices must have an acknowledged write: a majority, and of fragments one more than give the object."""
    kind = kind_of(write.name)
    if kind in FRAGMENTS_NEEDED and write.kind is Kind.PUT and write.size > SMALL_OBJECT_SIZE:
        return FRAGMENTS_NEEDED[kind] + 1
    return REPLICAS[kind] // 2 + 1


def _what(names: list[str], device: int) -> tuple[str, int]:
    """What a device has: a fragment, which counts once wherever it is, or else what it alone has."""
    fragments = {file.fragment for file in map(read_name, names) if file is not None and file.kind == "data"}
    if len(fragments) == 1 and WHOLE not in fragments:
        return "fragment", fragments.pop()
    return "device", device


def _has(name: str, write: Write) -> bool:
    """Whether a file is of the write, or of something newer; one of a kept version has to be of that."""
    file = read_name(name)
    if file is None:
        return False
    if write.removes:  # of several removals of a version the newest stays
        return file.kind == "removal" and file.version == write.removes and file.timestamp >= write.timestamp
    if write.mode == "keep":  # removed by now, perhaps
        if write.restores:
            return file.version == write.restores and (file.kind == "removal" or file.timestamp >= write.timestamp)
        return file.kind != "meta" and bool(file.version) and write.is_of(file.version)
    return file.timestamp >= write.timestamp


def _removes(name: str, versions: set[str]) -> bool:
    """Whether a file says that one of these versions is removed."""
    file = read_name(name)
    return file is not None and file.kind == "removal" and file.version in versions
