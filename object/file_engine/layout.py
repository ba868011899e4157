"""Where the files of an object lie: DEVICE/objects[-POLICY]/PARTITION/SUFFIX/HASH/."""

from typing import Final

from objstore.object.engine import Location
from objstore.policies import Policy

SUFFIX_LENGTH: Final = 3


def hash_directory(device: str, location: Location) -> str:
    return f"{suffix_directory(device, location)}/{location.hash}"


def hash_directories(device: str, location: Location) -> list[str]:
    """The same, and those in other partitions in which versions of it may lie; its own is the first."""
    suffix = location.hash[-SUFFIX_LENGTH:]
    top = f"{device}/{location.policy.data_dir}"
    return [f"{top}/{partition}/{suffix}/{location.hash}" for partition in (location.partition, *location.others)]


def suffix_directory(device: str, location: Location) -> str:
    """The directory that holds the hash directory.

    New files without a name are made on it, not on one directory for all: ext4 puts a file near its directory, and to
    find a free inode near the one that all uploads share takes it 100 microseconds, ten times as long as all the rest.
    """
    return f"{device}/{location.policy.data_dir}/{location.partition}/{location.hash[-SUFFIX_LENGTH:]}"


def temporary_directory(device: str, location: Location) -> str:
    """Where new files stand under a name of their own until they are complete, if they must have one."""
    return f"{device}/{location.policy.tmp_dir}"


def digests_folder(device: str, policy: Policy) -> str:
    return f"{device}/{policy.data_dir.replace('objects', 'digests', 1)}"


def digests_record(device: str, policy: Policy, partition: str) -> str:
    return f"{digests_folder(device, policy)}/{partition}"


def quarantine_directory(device: str, location: Location) -> str:
    """Where the hash directory goes when what it holds is damaged."""
    return f"{device}/quarantined/{location.policy.data_dir}/{location.hash}"
