"""The containers that tell the expirer which objects expire when."""

from typing import Final

from objstore.paths import ResourcePath

EXPIRY_ACCOUNT: Final = ".expiring_objects"
EXPIRY_QUEUE_SECONDS: Final = 86_400
EXPIRY_QUEUES_PER_DAY: Final = 100
# The content type of an entry that asks for a deletion, whether the object expires or not.
ASYNC_DELETED: Final = "application/async-deleted"


def expiry_queue(moment: int, digest: bytes) -> ResourcePath:
    """The container that tells the expirer of an object: one of a hundred of the day, by the hash of its path."""
    day = moment // EXPIRY_QUEUE_SECONDS * EXPIRY_QUEUE_SECONDS
    number = day - int.from_bytes(digest, "big") % EXPIRY_QUEUES_PER_DAY
    return ResourcePath(EXPIRY_ACCOUNT, f"{max(number, 0):010d}")


def queue_entry_name(delete_at: int, path: ResourcePath, version: str = "") -> str:
    """The name of the entry by which an object expires at a second, or a kept version of it."""
    return f"{delete_at:010d}-!{version}{path}" if version else f"{delete_at:010d}-{str(path)[1:]}"
