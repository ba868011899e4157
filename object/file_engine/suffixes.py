"""Digests of what a partition holds, for devices to compare."""

from typing import Final

from xxhash import xxh3_128

from objstore.object.file_engine.disk import Disk
from objstore.object.fileset import FileSet, judge

_DIGITS: Final = frozenset("0123456789abcdef")


def suffix_digests(disk: Disk, partition_directory: str) -> dict[str, str]:
    """xxh3-128 in hex by suffix, for suffixes that hold any version of any object."""
    digests = {}
    for suffix in disk.names(partition_directory):
        if len(suffix) != 3 or not _DIGITS.issuperset(suffix):
            continue
        hasher, empty = xxh3_128(), True
        directory = f"{partition_directory}/{suffix}"
        for digest in sorted(disk.names(directory)):
            if lines := versions(digest, judge(disk.names(f"{directory}/{digest}"))):
                hasher.update(lines)
                empty = False
        if not empty:
            digests[suffix] = hasher.hexdigest()
    return digests


def versions(digest: str, standing: FileSet) -> bytes:
    """What of one object is compared: the names that are neither obsolete nor strange, one a line."""
    left_out = {*standing.obsolete, *standing.unknown}
    return "".join(f"{digest} {name}\n" for name in standing.names if name not in left_out).encode()
