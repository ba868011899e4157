"""What really lies on the disks, seen from outside."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from tests.simulation.disk import SimulatedDisk
from tests.simulation.stored_forms import (
    WHOLE,
    StoredMetadata,
    StoredVersions,
    path_digest,
    read_data,
    read_name,
    read_versions,
    whole_name,
)
from tests.simulation.stored_fragments import StoredCode
from tests.simulation.world import FOLDERS, FRAGMENTS_NEEDED, OBJECT_KINDS, PENDING_FOLDERS, REPLICAS, World

DATABASE_KINDS: Final = ("container", "account")
_ROWS: Final = (
    "SELECT name || ' ' || version, max(max(timestamp, content_type_timestamp, meta_timestamp)) FROM row GROUP BY 1"
)
_CONTAINER_ROWS: Final = "SELECT name, max(max(put_timestamp, delete_timestamp, stats_timestamp)) FROM row GROUP BY 1"


@dataclass(frozen=True)
class Copy:
    """What one device holds of one object; `kind` is that of its policy's ring."""

    kind: str
    disk: str
    partition: str
    directory: str
    names: tuple[str, ...]

    @property
    def versions(self) -> StoredVersions:
        """What its files amount to."""
        return read_versions(self.names)

    @property
    def wanted(self) -> tuple[str, ...]:
        """The names that are not obsolete."""
        return self.versions.wanted


class CopyInventory:
    """All copies of everything."""

    def __init__(self, world: World) -> None:
        self.world = world

    def objects(self) -> dict[str, list[Copy]]:
        """Copies by hash."""
        found: dict[str, list[Copy]] = {}
        for disk in self.world.disks.values():
            for copy in self._copies(disk):
                found.setdefault(os.path.basename(copy.directory), []).append(copy)
        return found

    def _copies(self, disk: SimulatedDisk) -> Iterator[Copy]:
        for kind in OBJECT_KINDS:
            for partition, digest, directory in _hashes(f"{disk.place}/{FOLDERS[kind]}"):
                if os.path.isdir(directory) and len(digest) == 32:
                    yield Copy(kind, disk.name, partition, directory, tuple(_names(directory)))

    def copies_of(self, path: str) -> list[Copy]:
        """What each device holds of one object, under the present ring's partition or another one."""
        digest = path_digest(path).hex()
        found = []
        for kind in OBJECT_KINDS:
            partition = str(self.partition(kind, path))
            for disk in self.world.disks.values():
                directory = f"{disk.place}/{FOLDERS[kind]}/{partition}/{digest[-3:]}/{digest}"
                if names := _names(directory):
                    found.append(Copy(kind, disk.name, partition, directory, tuple(names)))
        return found

    def set_aside(self, path: str) -> list[tuple[str, ...]]:
        """The names of the files of one object in each directory in quarantine."""
        digest, found = path_digest(path).hex(), []
        for kind in OBJECT_KINDS:
            for disk in self.world.disks.values():
                folder = f"{disk.place}/quarantined/{FOLDERS[kind]}"
                found += [tuple(_names(f"{folder}/{name}")) for name in _names(folder) if name.startswith(digest)]
        return found

    def good_body(
        self, digest: str, name: str, everything: dict[str, list[Copy]]
    ) -> tuple[StoredMetadata, bytes] | None:
        """A data file that is whole, wherever it lies, or a body of sound fragments."""
        fragments: dict[int, tuple[StoredMetadata, bytes]] = {}
        for copy in everything.get(digest, ()):
            for each in copy.names if copy.kind in FRAGMENTS_NEEDED else (name,) if name in copy.names else ():
                if whole_name(each) != name or (found := read_data(f"{copy.directory}/{each}")) is None:
                    continue
                if found[0].fragment is None:
                    return found
                fragments[found[0].fragment["index"]] = found
        return _body_of(fragments)

    def is_committed(self, digest: str, name: str, everything: dict[str, list[Copy]]) -> bool:
        """Whether a device has a fragment of a data file under its durable name."""
        files = (
            read_name(each) for copy in everything.get(digest, ()) for each in copy.names if whole_name(each) == name
        )
        return any(file is not None and file.fragment != WHOLE and not file.pending for file in files)

    def names_together(self, copies: Iterable[Copy]) -> set[str]:
        """The names of all files of an object, wherever they lie; fragments of what counts as if they were whole.

        What is pending counts once most devices have it: then the next one who hears of that commits it.
        """
        found: set[str] = set()
        pending: dict[tuple[str, str], dict[str, int]] = {}  # by kind and name, the number of the fragment by disk
        for copy in copies:
            for name in copy.names:
                file = read_name(name)
                if file is None or not file.pending:
                    found.add(whole_name(name))
                else:
                    pending.setdefault((copy.kind, whole_name(name)), {})[copy.disk] = file.fragment
        for (kind, name), held in pending.items():
            if len(held) > REPLICAS[kind] // 2 and len(set(held.values())) >= FRAGMENTS_NEEDED[kind]:
                found.add(name)
        return found

    def databases(self, kind: str) -> dict[str, list[tuple[str, str]]]:
        """(disk, path of the file) by hash."""
        found: dict[str, list[tuple[str, str]]] = {}
        for disk in self.world.disks.values():
            for path in self._databases(disk, kind):
                found.setdefault(os.path.basename(path)[:-3], []).append((disk.name, path))
        return found

    def _databases(self, disk: SimulatedDisk, kind: str) -> Iterator[str]:
        for _, digest, directory in _hashes(f"{disk.place}/{FOLDERS[kind]}"):
            if os.path.exists(f"{directory}/{digest}.db"):
                yield f"{directory}/{digest}.db"

    def rows_of(self, container: str, name: str) -> dict[str, tuple[Any, ...]]:
        """What each device's replica of a container has of one object, which may be nothing; given the paths' ends."""
        digest = path_digest(container).hex()
        folder = f"{FOLDERS['container']}/{self.partition('container', container)}/{digest[-3:]}/{digest}"
        statement = "SELECT timestamp, etag, deleted, version FROM row WHERE name = ? ORDER BY 1"
        found = {}
        for disk in self.world.disks.values():
            if os.path.exists(path := f"{disk.place}/{folder}/{digest}.db"):
                rows = read_table(path, statement, (name,))
                found[disk.name] = rows[-1] if rows else ()
        return found

    def pending(self) -> list[str]:
        """Files of updates that were not delivered yet."""
        return [path for disk in self.world.disks.values() for path in _pending(disk)]

    def primaries(self, kind: str, partition: int) -> list[str]:
        """The devices a partition belongs on."""
        return [device.device for device in self.world.rings[kind].primaries(partition)]

    def primaries_of(self, copy: Copy) -> list[str]:
        """The devices a copy belongs on."""
        return self.primaries(copy.kind, int(copy.partition))

    def partition(self, kind: str, path: str) -> int:
        """Where a path belongs."""
        part_power = self.world.rings[kind].part_power
        return int.from_bytes(path_digest(path)[:4], "big") >> (32 - part_power)

    # The budget of faults

    def only_here(self, disk: SimulatedDisk, damaged: set[str]) -> str:
        """What would be lost if the disk were; "" if nothing."""
        if pending := _pending(disk):
            return f"it holds {len(pending)} updates"
        everything = self.objects()
        for copy in self._copies(disk):
            others = everything[os.path.basename(copy.directory)]
            equals = [other for other in others if other.kind == copy.kind and self._counts(other.disk, disk)]
            if not _as_good(copy, equals, damaged):
                return f"only it has {copy.directory.removeprefix(disk.place)}"
        for kind in DATABASE_KINDS:
            for path in self._databases(disk, kind):
                if why := self._only_database(disk, kind, path, damaged):
                    return why
        return ""

    def in_danger(self, disk: SimulatedDisk, damaged: set[str]) -> str:
        """A fragment that must not be lost even if nothing else was: a write that was never acknowledged, but counts,
        may be on no device more than are needed. "" if there is none.
        """
        everything = self.objects()
        for copy in (each for each in self._copies(disk) if each.kind in FRAGMENTS_NEEDED):
            others = everything[os.path.basename(copy.directory)]
            elsewhere = [each for each in others if each.kind == copy.kind and self._counts(each.disk, disk)]
            names = _sound_names(elsewhere, damaged)
            fragments = (each for each in map(read_name, copy.wanted) if each is not None and each.fragment != WHOLE)
            for file in fragments:
                if file.name in read_versions({*names, file.name}).wanted and not _is_rebuilt(
                    file.name, names, copy.kind
                ):
                    return f"{file.name} could not be rebuilt"
        return ""

    def is_healed(self, damaged: set[str]) -> bool:
        """Whether the loss of any one device would lose nothing."""
        return not any(self.only_here(disk, damaged) for disk in self.world.disks.values())

    def _counts(self, other: str, disk: SimulatedDisk) -> bool:
        """Whether a device may make up for the loss of one. What a failing one holds may be set aside."""
        return other != disk.name and self.world.disks[other].state != "failing"

    def _only_database(self, disk: SimulatedDisk, kind: str, path: str, damaged: set[str]) -> str:
        name = os.path.basename(path)[:-3]
        mine = read_rows(path, kind)
        others: dict[str, str] = {}
        for other, file in self.databases(kind).get(name, ()):
            if self._counts(other, disk) and file not in damaged:
                for row, newest in read_rows(file, kind).items():
                    others[row] = max(others.get(row, ""), newest)
        missing = [row for row, newest in mine.items() if others.get(row, "") < newest]
        return f"only {disk.name} has rows {missing[:3]} of {kind} {name}" if missing else ""


def _as_good(copy: Copy, others: list[Copy], damaged: set[str]) -> bool:
    """Whether other devices have all that this copy says, or what makes it obsolete, undamaged."""
    names = _sound_names(others, damaged)
    return all(
        name in names or name not in read_versions({*names, name}).wanted or _is_rebuilt(name, names, copy.kind)
        for name in copy.wanted
    )


def _sound_names(copies: Iterable[Copy], damaged: set[str]) -> set[str]:
    """The names on devices on which none of the files is damaged."""
    return {
        name
        for copy in copies
        if not any(f"{copy.directory}/{each}" in damaged for each in copy.names)
        for name in copy.names
    }


def _is_rebuilt(name: str, names: set[str], kind: str) -> bool:
    """Whether a fragment can be rebuilt from some of these, or is of a write that cannot count."""
    file = read_name(name)
    if file is None or file.fragment == WHOLE:
        return False
    whole = whole_name(name)
    alike = [each for each in map(read_name, names) if each is not None and whole_name(each.name) == whole]
    numbers = {each.fragment for each in alike if each.fragment != WHOLE}
    is_void = all(each.pending for each in (file, *alike)) and len(alike) + 1 <= REPLICAS[kind] // 2
    return is_void or len(numbers - {file.fragment}) >= FRAGMENTS_NEEDED[kind]


def _body_of(fragments: dict[int, tuple[StoredMetadata, bytes]]) -> tuple[StoredMetadata, bytes] | None:
    """The body of which these are fragments, if they are enough and of one write."""
    about = [(found.size, found.etag, (found.fragment or {})["code"]) for found, _ in fragments.values()]
    if not about or len(set(about)) > 1:
        return None
    size, _, code = about[0]
    body = StoredCode.of(code).body({number: content for number, (_, content) in fragments.items()}, size)
    metadata, _ = next(iter(fragments.values()))
    return None if body is None else (metadata, body)


def read_rows(path: str, kind: str) -> dict[str, str]:
    """The newest timestamp of every row, and of the database itself under ""."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        try:
            statement = _ROWS if kind == "container" else _CONTAINER_ROWS
            found = {str(name): str(newest) for name, newest in connection.execute(statement)}
            status = connection.execute("SELECT max(put_timestamp, delete_timestamp) FROM resource").fetchone()
        except sqlite3.DatabaseError:
            return {}
    return found | {"": status[0]}


def read_table(path: str, statement: str, values: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(statement, values).fetchall()


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _hashes(top: str) -> Iterator[tuple[str, str, str]]:
    """Partition, hash and directory of all that lies below a folder."""
    for partition in _names(top):
        for suffix in _names(f"{top}/{partition}"):
            for digest in _names(f"{top}/{partition}/{suffix}"):
                yield partition, digest, f"{top}/{partition}/{suffix}/{digest}"


def _pending(disk: SimulatedDisk) -> list[str]:
    return [path for folder in PENDING_FOLDERS for path in _walk(f"{disk.place}/{folder}")]


def _walk(top: str) -> list[str]:
    return sorted(f"{folder}/{name}" for folder, _, names in os.walk(top) for name in names)
