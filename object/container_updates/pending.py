"""Container updates that could not be delivered, kept on the object's own device until they are.

One file each: DEVICE/async_pending[-POLICY]/SUFFIX/HASH-TIMESTAMP-ROW, where HASH is that of the path the row is about,
and ROW a digest of the row: a name stands for one row for ever, so what is removed is what was sent. Of several for one
path any may matter, since a container takes the data, the content type and the metadata each from the newest row.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import msgspec
from msgspec import Struct
from xxhash import xxh3_64_hexdigest

from objstore.errors import StoreError
from objstore.paths import PathHasher, ResourcePath
from objstore.rows import ObjectRow, merge_object_rows
from objstore.system import files

# Names without the digest of the row were given by an earlier version.
_NAME: Final = re.compile(r"(?P<hash>[0-9a-f]{32})-\d{10}\.\d{5}(?:_[0-9a-f]{16})?(?:-[0-9a-f]{16})?", re.ASCII)


@dataclass(eq=False)
class PendingUpdateCorrupt(StoreError):
    message: ClassVar[str] = "{path}: {reason}"

    path: str
    reason: str


class PendingUpdate(Struct, frozen=True, forbid_unknown_fields=True):
    """A row that some server of its container still lacks; `delivered` lists the ring's devices that have it."""

    account: str
    container: str
    row: ObjectRow
    delivered: tuple[int, ...] = ()
    version: Literal[1] = 1

    @property
    def container_path(self) -> ResourcePath:
        return ResourcePath(self.account, self.container)

    @property
    def timestamp(self) -> str:
        """When what the row shows last changed."""
        return self.row.meta_timestamp or self.row.timestamp


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(PendingUpdate).decode


def pending_path(directory: str, hasher: PathHasher, update: PendingUpdate) -> str:
    """Its file, below DEVICE/async_pending[-POLICY]."""
    digest = hasher.hexdigest(ResourcePath(update.account, update.container, update.row.name))
    return f"{directory}/{digest[-3:]}/{digest}-{update.timestamp}-{xxh3_64_hexdigest(_encode(update.row))}"


def save(path: str, update: PendingUpdate) -> None:
    """Write the update durably, in place of what stands there. Blocks; raises OSError."""
    for changed in files.make_directories(os.path.dirname(path)):
        files.fsync_directory(changed)
    files.write_atomically(path, _encode(update))


def load(path: str) -> PendingUpdate:
    """Raises PendingUpdateCorrupt, and FileNotFoundError when it has been delivered meanwhile."""
    try:
        with open(path, "rb") as file:
            return _decode(file.read())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PendingUpdateCorrupt(path, str(error)) from error


def outdoes(row: ObjectRow, other: ObjectRow) -> bool:
    """Whether the other row changes nothing in a container that has this one; both are of the same line."""
    return row.policy_index == other.policy_index and merge_object_rows(row, other) == row


def newest_first(directory: str) -> Iterator[list[str]]:
    """The paths of the updates in a suffix's directory, newest first, one list for each object."""
    by_hash: dict[str, list[str]] = {}
    for name in sorted(files.list_directory(directory), reverse=True):
        if match := _NAME.fullmatch(name):
            by_hash.setdefault(match["hash"], []).append(f"{directory}/{name}")
    yield from by_hash.values()


def remove_leftovers(directory: str, before_seconds: float) -> None:
    """Remove what a crash has left of an update that was being saved before that moment. Blocks; raises OSError."""
    for name in files.list_directory(directory):
        if name.endswith(files.TEMPORARY_SUFFIX):
            path = f"{directory}/{name}"
            try:
                if os.stat(path).st_mtime < before_seconds:
                    files.unlink_quietly(path)
            except FileNotFoundError:
                continue
