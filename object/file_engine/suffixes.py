"""What a partition holds: its objects' files, and digests of them for devices to compare.

Digests are kept in DEVICE/digests[-POLICY]/PARTITION, each with the time its suffix directory was changed. A new hash
directory changes that time by itself; who is about to add a file to a hash directory that is there already, or to take
one away, touches the suffix directory right before. A digest computed meanwhile is too young to be kept, so a process
may be killed at any point. What is out of date costs a writer nothing or one call to tell.

What others remove, an operator's hand or fsck, changes no suffix directory: whoever finds an object missing, and the
auditor where a hash directory is younger than its suffix directory, has the digest computed anew. Should all else fail:
a digest is believed for a day at most.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from random import Random
from typing import Final

import msgspec
from msgspec import Struct
from xxhash import xxh3_64_digest

from objstore.object.engine import PartitionDigests
from objstore.object.file_engine.disk import Disk
from objstore.object.part_power import partition_of
from objstore.object.versions import ObjectVersions, is_suffix, resolve_versions, suffix_digest
from objstore.system import files

# Two changes within one tick of the filesystem's clock have the same time: a digest so young is not kept.
RACY_NANOSECONDS: Final = 2_000_000_000
BELIEVED_SECONDS: Final = 86_400.0

# Others remove directories they find empty; losing that race this often is not chance.
RACE_ATTEMPTS: Final = 10

_HASH_LENGTH: Final = 32
_DIGITS: Final = frozenset("0123456789abcdef")


class Entry(Struct, frozen=True, array_like=True, gc=False):
    """A suffix's digest; "" if it holds nothing that counts. Good until the directory changes or `until`."""

    modified: int  # nanoseconds
    digest: str
    forgets: str  # the first timestamp at which something in it that counts has become forgettable
    until: float  # seconds since the epoch
    untidy: bool  # holds what could be forgotten


class Digests(Struct, array_like=True):
    """The file of a partition. `boot` is the system's start: a crash may lose changes of directories' times.

    What was computed by another part power is not good any more, nor is what version 1 has left.
    """

    version: int
    boot: str
    entries: dict[str, Entry]
    part_power: int | None = None


VERSION: Final = 2
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Digests).decode


class Inventory:
    """What partitions hold. Methods block; they may be called on threads."""

    def __init__(self, disk: Disk, random: Random) -> None:
        self._disk = disk
        self._random = random
        self._boot = _boot_id()

    def partitions(self, data_directory: str) -> list[str]:
        """The numbers of a device's partitions of one policy, in no order."""
        return [name for name in self._disk.names(data_directory) if name.isascii() and name.isdecimal()]

    def suffixes(self, partition_directory: str, changed_since: float = 0.0) -> list[str]:
        found = [name for name in self._disk.names(partition_directory) if is_suffix(name)]
        if not changed_since:
            return found
        return [name for name in found if self._disk.modified(f"{partition_directory}/{name}") >= changed_since * 1e9]

    def objects(self, partition_directory: str, suffix: str, part_power: int | None) -> dict[str, ObjectVersions]:
        """The files of each hash of a suffix, of those that belong to the partition by a part power if one is given."""
        directory = f"{partition_directory}/{suffix}"
        digests = self._disk.names(directory)
        if part_power is not None:
            number = os.path.basename(partition_directory)
            digests = [each for each in digests if _is_hash(each) and partition_of(each, part_power) == number]
        found = {digest: resolve_versions(self._disk.names(f"{directory}/{digest}")) for digest in digests}
        return {digest: current for digest, current in found.items() if current.names}

    def digests(
        self, partition_directory: str, record: str, now: float, reclaim_before: str, part_power: int | None
    ) -> PartitionDigests:
        """xxh3-128 in hex by suffix, for suffixes that hold anything that counts; kept in the file `record`."""
        kept = self._load(record, part_power)
        fresh: dict[str, Entry] = {}
        changed = False
        for suffix in self.suffixes(partition_directory):
            directory = f"{partition_directory}/{suffix}"
            modified = self._disk.modified(directory)
            entry = kept.get(suffix)
            if entry is not None and _is_good(entry, modified, now, reclaim_before):
                fresh[suffix] = entry
                continue
            until = now + BELIEVED_SECONDS * self._random.uniform(0.5, 1.0)
            objects = self.objects(partition_directory, suffix, part_power)
            found = suffix_digest(objects, reclaim_before)
            fresh[suffix] = Entry(modified, found.digest, found.forgets, until, found.untidy)
            changed = changed or now * 1e9 - modified > RACY_NANOSECONDS
        if changed or len(kept) != len(fresh):
            settled = {name: entry for name, entry in fresh.items() if now * 1e9 - entry.modified > RACY_NANOSECONDS}
            if settled != kept:
                self._save(record, settled, part_power)
        return PartitionDigests(
            {suffix: entry.digest for suffix, entry in fresh.items() if entry.digest},
            frozenset(suffix for suffix, entry in fresh.items() if entry.untidy),
        )

    def _load(self, record: str, part_power: int | None) -> dict[str, Entry]:
        try:
            with open(record, "rb") as file:
                content = file.read()
            if xxh3_64_digest(content[8:]) != content[:8]:
                return {}
            digests = _decode(content[8:])
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return {}
        expected = (VERSION, self._boot, part_power)
        return digests.entries if (digests.version, digests.boot, digests.part_power) == expected else {}

    def _save(self, record: str, entries: dict[str, Entry], part_power: int | None) -> None:
        content = _encode(Digests(VERSION, self._boot, entries, part_power))
        temporary = files.temporary_name(record)
        try:
            files.make_directories(os.path.dirname(record))
            with open(temporary, "wb") as file:
                file.write(xxh3_64_digest(content) + content)
            os.replace(temporary, record)
        except OSError:
            files.unlink_quietly(temporary)  # a full disk: digests are computed anew each time

    def notice_changes(self, suffix_directory: str) -> bool:
        """Whether names in hash directories came or went and no writer said so: see StorageEngine. Raises OSError."""
        announced = self._disk.modified(suffix_directory) + RACY_NANOSECONDS
        noticed = False
        for digest in self._disk.names(suffix_directory):
            directory = f"{suffix_directory}/{digest}"
            # What is replaced is removed, unannounced, soon after the write that was announced.
            if self._disk.remove_empty_directory(directory) or self._disk.modified(directory) > announced:
                noticed = True
        if noticed:
            self._disk.touch(suffix_directory)
        return noticed

    def link(self, source: str, target: str, digest: str, names: Iterable[str]) -> list[str]:
        """Link files of an object from one partition's directory into another's: see StorageEngine. Raises OSError."""
        below = f"{digest[-3:]}/{digest}"
        taken = []
        for name in names:
            path, other = f"{source}/{below}/{name}", f"{target}/{below}/{name}"
            for _ in range(RACE_ATTEMPTS):
                try:
                    self._disk.touch(f"{target}/{digest[-3:]}")
                    self._disk.link_again(path, other)
                    break
                except FileExistsError:
                    if not self._disk.is_same_file(path, other):
                        taken.append(name)
                    break
                except FileNotFoundError:
                    if name not in self._disk.names(f"{source}/{below}"):
                        break
                    self._disk.make_directories(f"{target}/{below}")
            else:
                raise FileNotFoundError(errno.ENOENT, "it is removed again and again", other)
        return taken

    def remove(self, partition_directory: str, digest: str, names: Iterable[str]) -> None:
        """Remove these files of an object, and directories that are empty then. Raises OSError."""
        suffix_directory = f"{partition_directory}/{digest[-3:]}"
        directory = f"{suffix_directory}/{digest}"
        self._disk.touch(suffix_directory)
        for name in names:
            self._disk.unlink(f"{directory}/{name}")
        self._disk.touch(suffix_directory)  # unlinking may have waited for the disk
        # Writers that find a directory gone make it again: see NewFile.publish.
        for empty in (directory, suffix_directory, partition_directory):
            if not self._disk.remove_empty_directory(empty):
                return


def _is_hash(name: str) -> bool:
    return len(name) == _HASH_LENGTH and _DIGITS.issuperset(name)


def _is_good(entry: Entry, modified: int, now: float, reclaim_before: str) -> bool:
    return entry.modified == modified and now < entry.until and entry.forgets >= reclaim_before


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
