"""How the checks read what the store has written: their own account of names, metadata and queues.

Nothing of the program is used here: a mistake in the program's rules must not be the checks' mistake, too.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final

from xxhash import xxh3_64_digest, xxh3_64_hexdigest, xxh3_128_hexdigest

HASH_PREFIX: Final = "simulation"
EXPIRING_ACCOUNT: Final = ".expiring_objects"
MISPLACED_ACCOUNT: Final = ".misplaced_objects"
ATTRIBUTE: Final = "user.objstore.metadata"
TIMESTAMP_LENGTH: Final = len("1234567890.12345")
_NOT_YET: Final = "9999999999.99999"
_HEAD_BYTES: Final = 10  # version, form, and a checksum of what follows
_STAMP: Final = r"\d{10}\.\d{5}(?:_[0-9a-f]{16})?"
_NAME: Final = re.compile(
    rf"({_STAMP})(?:\+({_STAMP}))?(!(?:null|{_STAMP})?)?(?:#(\d{{1,4}})(#d)?)?\.(data|meta|ts)", re.ASCII
)
_FRAGMENT: Final = re.compile(r"#\d+(#d)?")
WHOLE: Final = -1


def path_digest(path: str) -> bytes:
    """The hash of "/account[/container[/object]]" by which everything is found."""
    return hashlib.md5(f"{HASH_PREFIX}{path}".encode(), usedforsecurity=False).digest()


@dataclass(frozen=True, order=True)
class StoredFile:
    """A file of an object; `type_timestamp` is "" unless it is a .meta file with a content type.

    `version` is that of a kept version, "" of the plain line. A `kind` is data, meta, marker (of deletion) or removal.
    Data is a `fragment` by its number, WHOLE for a whole object; of one that is `pending` it is not known here whether
    enough others are stored.
    """

    timestamp: str
    type_timestamp: str
    kind: str
    name: str
    version: str
    fragment: int = WHOLE
    pending: bool = False


@dataclass(frozen=True)
class StoredVersion:
    """What the files of the plain line or of a kept version amount to; `wanted` are those nothing made obsolete."""

    version: str
    data: StoredFile | None
    marker: StoredFile | None
    meta: StoredFile | None
    type_meta: StoredFile | None
    wanted: tuple[str, ...]
    written_at: str  # the newest content or deletion; "" if there is none

    @property
    def lives(self) -> bool:
        return self.data is not None or self.marker is not None

    @property
    def newest_timestamp(self) -> str:
        """When it, its metadata included, last changed."""
        return self.meta.timestamp if self.data is not None and self.meta is not None else self.written_at


@dataclass(frozen=True)
class StoredVersions:
    """What the files of an object amount to: the version it reads as, all of them, and all names that are wanted."""

    current: StoredVersion
    versions: tuple[StoredVersion, ...]
    wanted: tuple[str, ...]

    @property
    def data(self) -> StoredFile | None:
        return self.current.data

    @property
    def meta(self) -> StoredFile | None:
        return self.current.meta

    @property
    def type_meta(self) -> StoredFile | None:
        return self.current.type_meta

    @property
    def written_at(self) -> str:
        return self.current.written_at

    @property
    def newest_timestamp(self) -> str:
        return self.current.newest_timestamp


def stamp_of_id(identifier: str) -> str:
    """The timestamp that the id of a version spells: its ticks, and its offset if it has one, in 16 hex digits each."""
    seconds, ticks = divmod(int(identifier[:16], 16), 100_000)
    return f"{seconds:010d}.{ticks:05d}" + (f"_{identifier[16:]}" if identifier[16:] else "")


def read_name(name: str) -> StoredFile | None:
    """What the name of a file says; None if nobody knows."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    stamp, typed, mark, ending = match[1], match[2] or "", match[3], match[6]
    fragment, pending = WHOLE if match[4] is None else int(match[4]), match[4] is not None and match[5] is None
    named = mark[1:] if mark else ""  # behind the "!"
    if fragment != WHOLE and ending != "data":
        return None
    if typed and (ending != "meta" or typed > stamp):
        return None
    if ending == "ts":
        if mark is None or named not in ("", "null"):
            return StoredFile(stamp, typed, "removal", name, named)
        return StoredFile(stamp, typed, "marker", name, "" if named else stamp)
    if ending == "meta":
        return StoredFile(stamp, typed, "meta", name, named) if mark is None or named[:1].isdigit() else None
    if named and (named == "null" or named >= stamp):  # a version has the time when it was written first
        return None
    return StoredFile(stamp, typed, "data", name, "" if mark is None else named or stamp, fragment, pending)


def whole_name(name: str) -> str:
    """What a fragment would be called if it was the whole object."""
    return _FRAGMENT.sub("", name) if "#" in name else name


def shared_name(name: str) -> str:
    """What the fragments of one write are called alike, as far as they are durable."""
    return re.sub(r"#\d+", "#", name) if "#" in name else name


def read_versions(names: Iterable[str]) -> StoredVersions:
    """Each kept version is by itself, and so is the plain line; the newest that lives is what the object reads as."""
    by_version: dict[str, list[StoredFile]] = {"": []}
    wanted = []
    for name in names:
        file = read_name(name)
        if file is None:
            wanted.append(name)  # nobody removes what nobody knows
        else:
            by_version.setdefault(file.version, []).append(file)
    versions = tuple(_read_version(version, files) for version, files in sorted(by_version.items()))
    for each in versions:
        wanted += each.wanted
    current = max(versions, key=lambda each: (each.lives, each.written_at, each.marker is not None, each.version != ""))
    return StoredVersions(current, versions, tuple(sorted(wanted)))


def _read_version(version: str, files: list[StoredFile]) -> StoredVersion:
    """The newest content or deletion counts, at the same moment the deletion; and of the metadata set after it the
    newest, beside the newest content type if that was set earlier. A kept version that was removed is removed for good.
    A fragment that is pending counts for nothing, and stays until something newer does.
    """
    strength = ("data", "marker", "removal").index
    contents = sorted(
        (file.timestamp, strength(file.kind), file.fragment, file)
        for file in files
        if file.kind != "meta" and not file.pending
    )
    removals = [file for *_, file in contents if file.kind == "removal"]
    if version and removals:
        return StoredVersion(version, None, None, None, None, (removals[-1].name,), removals[-1].timestamp)
    winner = contents[-1][-1] if contents else None
    since = winner.timestamp if winner is not None else ""
    metas = sorted(file for file in files if file.kind == "meta" and file.timestamp > since)
    meta = metas[-1] if metas else None
    type_meta = max(metas, key=lambda file: (file.type_timestamp, file.timestamp), default=None)
    if type_meta is meta or (
        type_meta is not None and meta is not None and type_meta.type_timestamp <= max(meta.type_timestamp, since)
    ):
        type_meta = None
    wanted = {file.name for file in (winner, meta, type_meta) if file is not None}
    wanted |= {file.name for file in files if file.pending and file.timestamp > since}
    data, marker = (winner if winner is not None and winner.kind == kind else None for kind in ("data", "marker"))
    if data is not None:
        wanted |= set(_by_number(file for file in files if file.kind == "data" and file.timestamp == since).values())
    return StoredVersion(version, data, marker, meta, type_meta, tuple(sorted(wanted)), since)


def _by_number(files: Iterable[StoredFile]) -> dict[int, str]:
    """The names of fragments of one write: of two with one number the durable one."""
    return {file.fragment: file.name for file in sorted(files, key=lambda file: not file.pending)}


@dataclass(frozen=True)
class StoredMetadata:
    """What is stored with a body, by a POST, or with a tombstone."""

    name: str
    timestamp: str
    size: int = 0
    etag: str = ""
    checksum: str = ""
    content_type: str = ""
    content_type_timestamp: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    sysmeta: dict[str, str] = field(default_factory=dict)
    fragment: dict[str, Any] | None = None

    @property
    def stored_size(self) -> int:
        """How many bytes are stored with it."""
        return self.size if self.fragment is None else int(self.fragment["length"])


_FIELDS: Final = {each.name for each in fields(StoredMetadata)}


def read_metadata(path: str) -> tuple[StoredMetadata, bytes] | None:
    """The metadata of a file, and its body; None if a checksum or the form of the metadata is wrong."""
    try:
        with open(path, "rb") as file:
            content = file.read()
        attribute = os.getxattr(path, ATTRIBUTE)
        head, text = attribute[:_HEAD_BYTES], attribute[_HEAD_BYTES:]
        if head not in (b"\x01I" + xxh3_64_digest(text), b"\x01T" + xxh3_64_digest(text)):
            return None
        if head[1:2] == b"T":
            where = json.loads(text)
            text = content[where["body_length"] :]
            content = content[: where["body_length"]]
            if len(text) != where["length"] or xxh3_64_hexdigest(text) != where["checksum"]:
                return None
        stored = json.loads(text)
        if not stored.keys() <= _FIELDS:
            return None
        return StoredMetadata(**stored), content
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_data(path: str) -> tuple[StoredMetadata, bytes] | None:
    """A data file's metadata and what is stored with it; None if either is damaged."""
    found = read_metadata(path)
    if found is None or len(found[1]) != found[0].stored_size or xxh3_128_hexdigest(found[1]) != found[0].checksum:
        return None
    return found


def read_pending_update(path: str) -> str:
    """ "container/object" of the row in a file of a container update that waits."""
    with open(path, "rb") as file:
        update: dict[str, Any] = json.load(file)
    return f"{update['container']}/{update['row']['name']}"


@dataclass(frozen=True)
class Incarnation:
    """One existence of a container: deleted before at the one time, created at the other, with a policy."""

    deleted_at: str
    created_at: str
    policy_index: int

    def replaces(self, other: Incarnation) -> bool:
        """Whether replicas that know both go on in this one: the later deletion counts, then the earlier creation."""
        if self.deleted_at != other.deleted_at:
            return self.deleted_at > other.deleted_at
        if self.created_at != other.created_at:
            return self.created_at < other.created_at
        return self.policy_index > other.policy_index


def current_incarnation(put: str, deleted: str, changed: str, policy_index: int) -> Incarnation:
    """The one a container's database is in; of a deleted container the next one, which has not begun."""
    return Incarnation(deleted, _NOT_YET if deleted > put else changed, policy_index)


@dataclass(frozen=True)
class MisplacedEntry:
    """An entry of the queue of misplaced objects; the version lies in the policy of that index."""

    policy_index: int
    account: str
    container: str
    path: str
    incarnation: Incarnation
    timestamp: str
    queued_at: float


def read_misplaced_entry(name: str, etag: str, last_modified: str) -> MisplacedEntry:
    """POLICY:DELETED_AT:CREATED_AT:CONTAINER_POLICY:PUT-or-DELETE:WRITTEN_AT:/ACCOUNT/CONTAINER/OBJECT."""
    index, deleted_at, created_at, policy_index, _, _, path = name.split(":", 6)
    _, account, container, _ = path.split("/", 3)
    incarnation = Incarnation(deleted_at, created_at, int(policy_index))
    queued_at = datetime.fromisoformat(last_modified).replace(tzinfo=UTC).timestamp()
    return MisplacedEntry(int(index), account, container, path, incarnation, etag[:TIMESTAMP_LENGTH], queued_at)
