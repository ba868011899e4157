"""Where the files of an object lie: DEVICE/objects[-POLICY]/PARTITION/SUFFIX/HASH/."""

from typing import Final

from objstore.object.engine import Location

SUFFIX_LENGTH: Final = 3


def hash_directory(location: Location) -> str:
    """The directory of all versions of one object."""
    digest = location.hash
    policy = location.policy
    return f"{location.device}/{policy.data_dir}/{location.partition}/{digest[-SUFFIX_LENGTH:]}/{digest}"


def temporary_directory(location: Location) -> str:
    """Where new files are made, on the same filesystem."""
    return f"{location.device}/{location.policy.tmp_dir}"


def quarantine_directory(location: Location) -> str:
    """Where the hash directory goes when what it holds is damaged."""
    return f"{location.device}/quarantined/{location.policy.data_dir}/{location.hash}"
