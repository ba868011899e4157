"""Which files make up an object: the one rule that reads a hash directory, as a pure function.

File names in `.../HASH/` are

    TIMESTAMP.data                  the object's body and metadata (replication)
    TIMESTAMP#FRAGMENT.data         one erasure-coded fragment, not yet known to be durable in the cluster
    TIMESTAMP#FRAGMENT#d.data       the same fragment once the whole write is durable
    TIMESTAMP.meta                  metadata that replaces the data file's
    TIMESTAMP+TYPE_TIMESTAMP.meta   the same, with a content type, which was set at TYPE_TIMESTAMP
    TIMESTAMP.ts                    a tombstone

TIMESTAMP is the internal form `1234567890.12345[_OFFSET]`. Its seconds have ten digits and its offset
sixteen, so that the text sorts as the time does and this module compares text only.

The content type's timestamp is part of the name, not only of the metadata: two replicas that saw different
POSTs then have different names, and comparing names is all that replication does to find them.
"""

import re
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Final

from msgspec import Struct
from xxhash import xxh3_128

_TIMESTAMP = r"\d{10}\.\d{5}(?:_[0-9a-f]{16})?"
_NAME: Final = re.compile(
    rf"(?P<timestamp>{_TIMESTAMP})"
    rf"(?:(?:#(?P<fragment>\d{{1,4}})(?P<durable>#d)?)?(?P<data>\.data)"
    rf"|(?:\+(?P<type_timestamp>{_TIMESTAMP}))?(?P<meta>\.meta)"
    rf"|(?P<tombstone>\.ts))",
    re.ASCII,
)
_PLAIN_DATA_LENGTH: Final = len("1234567890.12345.data")
_WHOLE: Final = -1
_HEX_DIGITS: Final = frozenset("0123456789abcdef")
_NEVER: Final = "9" * 10  # after every timestamp


class DataFile(Struct, frozen=True, order=True):
    """A `.data` file; `fragment` is -1 when it holds the whole object."""

    timestamp: str
    fragment: int
    durable: bool
    name: str


class MetaFile(Struct, frozen=True, order=True):
    """A `.meta` file; `type_timestamp` is "" when it carries no content type. Sorts oldest first."""

    timestamp: str
    type_timestamp: str
    name: str


class Tombstone(Struct, frozen=True, order=True):
    """A `.ts` file."""

    timestamp: str
    name: str


class ObjectVersions(Struct, frozen=True):
    """What the names of one hash directory amount to.

    `data`        newest durable data file, None when there is none or a tombstone is as new
    `fragments`   every fragment of `data.timestamp`, by index; the data file itself for a replica
    `pending`     fragments newer than what is durable: a write in progress, or one that never ended
    `meta`        overlays `data`; None unless newer than it
    `type_meta`   another `.meta`, older than `meta`, that carries the newest content type
    `tombstone`   the newest tombstone, None when data is newer
    `obsolete`    names to unlink, sorted: nothing above needs them, whatever else turns up
    `unknown`     names of no known form, sorted; never touched
    `names`       all of them, sorted
    """

    data: DataFile | None = None
    fragments: tuple[DataFile, ...] = ()
    pending: tuple[DataFile, ...] = ()
    meta: MetaFile | None = None
    type_meta: MetaFile | None = None
    tombstone: Tombstone | None = None
    obsolete: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def timestamp(self) -> str:
        """When the object was last written or deleted (POSTs do not count); "" when it never was."""
        if self.data is not None:
            return self.data.timestamp
        return self.tombstone.timestamp if self.tombstone is not None else ""

    @property
    def newest_timestamp(self) -> str:
        """`timestamp`, or that of the metadata laid over it."""
        return self.meta.timestamp if self.meta is not None else self.timestamp


EMPTY: Final = ObjectVersions()


def data_name(timestamp: str, fragment: int = _WHOLE, durable: bool = True) -> str:
    """Name of a data file; `fragment` -1 for a whole object, which is always durable."""
    if fragment == _WHOLE:
        return timestamp + ".data"
    return f"{timestamp}#{fragment}{'#d' if durable else ''}.data"


def meta_name(timestamp: str, type_timestamp: str = "") -> str:
    """Name of a metadata file, which carries a content type when `type_timestamp` is given."""
    return f"{timestamp}+{type_timestamp}.meta" if type_timestamp else timestamp + ".meta"


def tombstone_name(timestamp: str) -> str:
    return timestamp + ".ts"


def parse_name(name: str) -> DataFile | MetaFile | Tombstone | None:
    """What one file name says, None when it is of no known form."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    timestamp, fragment, durable, data, type_timestamp, meta, _ = match.groups()
    if data:
        index = _WHOLE if fragment is None else int(fragment)
        return DataFile(timestamp, index, index == _WHOLE or durable is not None, name)
    if meta:
        # A content type is never set after the metadata that carries it; the rules below lean on that.
        if type_timestamp and type_timestamp > timestamp:
            return None
        return MetaFile(timestamp, type_timestamp or "", name)
    return Tombstone(timestamp, name)


def resolve_versions(names: Iterable[str]) -> ObjectVersions:
    """Decide what an object is from the names in its hash directory, in any order, each once.

    - The newest durable data file or tombstone wins; at the same timestamp the tombstone does.
    - What is older than the winner is obsolete, undurable fragments too.
    - A `.meta` counts only when newer than the winner; among those the newest overlays the data, and an older
      one is kept only while it carries a newer content type.
    - An undurable fragment newer than the winner is kept and makes nothing else obsolete.

    Obsolete stays obsolete whatever names are added, so that unlinking needs no lock.
    """
    names = tuple(sorted(names))
    if len(names) == 1 and len(names[0]) == _PLAIN_DATA_LENGTH:  # nearly every object
        only = parse_name(names[0])
        if type(only) is DataFile:
            return ObjectVersions(data=only, fragments=(only,), names=names)
    return _resolve(names) if names else EMPTY


def _resolve(names: tuple[str, ...]) -> ObjectVersions:
    datas: list[DataFile] = []
    metas: list[MetaFile] = []
    tombstones: list[Tombstone] = []
    unknown: list[str] = []
    for name in names:
        file = parse_name(name)
        if file is None:
            unknown.append(name)
        elif type(file) is DataFile:
            datas.append(file)
        elif type(file) is MetaFile:
            metas.append(file)
        elif type(file) is Tombstone:
            tombstones.append(file)
    tombstone = max(tombstones, default=None)
    data = max((file for file in datas if file.durable), default=None)
    if data is not None and tombstone is not None:
        if data.timestamp <= tombstone.timestamp:
            data = None
        else:
            tombstone = None
    winner = data.timestamp if data is not None else tombstone.timestamp if tombstone is not None else ""
    fragments = _fragments(datas, winner) if data is not None else ()
    pending = tuple(file for file in datas if file.timestamp > winner)
    meta, type_meta = _resolve_metas(metas, winner)
    kept = {file.name for file in (*fragments, *pending)}
    kept.update(file.name for file in (meta, type_meta, tombstone) if file is not None)
    kept.update(unknown)
    return ObjectVersions(
        data=data,
        fragments=fragments,
        pending=pending,
        meta=meta if data is not None else None,
        type_meta=type_meta if data is not None else None,
        tombstone=tombstone,
        obsolete=tuple(sorted(set(names) - kept)),
        unknown=tuple(unknown),
        names=names,
    )


def _fragments(datas: list[DataFile], timestamp: str) -> tuple[DataFile, ...]:
    """One file for each fragment of `timestamp`, by index; the marked name where a crash left both."""
    by_index: dict[int, DataFile] = {}
    for file in sorted(datas):  # False sorts before True, so the marked name comes last
        if file.timestamp == timestamp:
            by_index[file.fragment] = file
    return tuple(by_index[index] for index in sorted(by_index))


def _resolve_metas(metas: list[MetaFile], winner: str) -> tuple[MetaFile | None, MetaFile | None]:
    """The newest metadata after `winner`, and an older one if only that carries the newest content type."""
    candidates = [file for file in metas if file.timestamp > winner]
    if not candidates:
        return None, None
    newest = max(candidates)
    typed = max(candidates, key=attrgetter("type_timestamp", "timestamp"))
    return newest, typed if typed.type_timestamp > max(newest.type_timestamp, winner) else None


def live_names(current: ObjectVersions) -> tuple[str, ...]:
    """The names that replicas have in common once they agree: neither obsolete nor of unknown form, nor fragments
    of a write that may never end."""
    if len(current.names) == 1 and not current.obsolete and not current.unknown and not current.pending:
        return current.names
    left_out = {*current.obsolete, *current.unknown, *(file.name for file in current.pending)}
    return tuple(name for name in current.names if name not in left_out)


def newest_marker(current: ObjectVersions) -> str:
    """The newest timestamp of what is left of an object without data; "" if it has data, or may get some.

    Traces are a tombstone, and metadata: those that were set by a clock ahead of the one that deleted the object.
    """
    if current.data is not None or current.pending:
        return ""
    return max((file.timestamp for file in map(parse_name, live_names(current)) if file is not None), default="")


def is_forgettable(current: ObjectVersions, reclaim_before: str) -> bool:
    """Whether all that is left of an object are traces so old that nobody needs them any more.

    `reclaim_before` is a timestamp in internal form. Others may still hold what a tombstone deletes: see `exchange`.
    """
    return "" < newest_marker(current) < reclaim_before


def is_held(name: str, by: ObjectVersions, reclaim_before: str = "") -> bool:
    """Whether a device with this file set has no need of a file: it has the file, or what makes it obsolete.

    Nor has it of a tombstone older than `reclaim_before` that deletes nothing of what it has, and of such old metadata
    without data: see `removable` for who asks.
    """
    if name in by.names:
        return True
    together = resolve_versions((*by.names, name))
    if name in together.obsolete:
        return True
    file = parse_name(name)
    if file is None or file.timestamp >= reclaim_before:
        return False
    if isinstance(file, Tombstone):
        return not together.obsolete
    return isinstance(file, MetaFile) and together.data is None


class SuffixDigest(Struct, frozen=True):
    """What is compared of all objects with hashes of one suffix, the last three digits.

    digest: xxh3-128 in hex, equal exactly where two devices hold the same versions; "" if there is nothing that counts.
    forgets: the first timestamp at which something that counts becomes forgettable.
    untidy: whether something could be forgotten or removed now.
    """

    digest: str
    forgets: str
    untidy: bool


def is_suffix(text: str) -> bool:
    """Whether it is the suffix of some hash."""
    return len(text) == 3 and _HEX_DIGITS.issuperset(text)


def suffix_digest(objects: Mapping[str, ObjectVersions], reclaim_before: str) -> SuffixDigest:
    """The digest of the objects of a suffix by their hashes; every engine computes the same."""
    hasher, empty, forgets, untidy = xxh3_128(), True, _NEVER, False
    for digest in sorted(objects):
        current = objects[digest]
        if is_forgettable(current, reclaim_before):
            untidy = True
            continue
        untidy = untidy or bool(current.obsolete)
        if newest := newest_marker(current):
            forgets = min(forgets, newest)
        if lines := "".join(f"{digest} {name}\n" for name in live_names(current)):
            hasher.update(lines.encode())
            empty = False
    return SuffixDigest("" if empty else hasher.hexdigest(), forgets, untidy)
