"""What an object is, by the names of its files: the one rule that reads a hash directory, as a pure function.

The names are those of `file_names`; this module compares them as text only.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Final

from msgspec import Struct
from xxhash import xxh3_128

from objstore.object.file_names import (
    NULL,
    WHOLE,
    DataFile,
    DeleteMarker,
    MetaFile,
    StoredName,
    Tombstone,
    parse_name,
    shared_name,
)

# So many versions of one object that are not removed: a write that would keep one more is refused.
VERSIONS_MAX: Final = 10_000

_HEX_DIGITS: Final = frozenset("0123456789abcdef")
_NEVER: Final = "9" * 10  # after every timestamp


class Line(Struct, frozen=True):
    """What the names of the plain line (`version` is "") or of one kept version amount to.

    `data`        the data file, of the plain line the newest durable one; at most one of the next three is not None
    `marker`      the delete marker
    `tombstone`   the tombstone, of a kept version the removal mark
    `fragments`   every fragment of `data.timestamp`, by index; the data file itself for a replica
    `pending`     fragments newer than what is durable: a write in progress, or one that never ended
    `meta`        overlays `data`; None unless newer than it
    `type_meta`   another `.meta`, older than `meta`, that carries the newest content type
    `obsolete`    names to unlink, sorted: nothing above needs them, whatever else turns up
    `names`       all of them, sorted
    """

    version: str = ""
    data: DataFile | None = None
    marker: DeleteMarker | None = None
    tombstone: Tombstone | None = None
    fragments: tuple[DataFile, ...] = ()
    pending: tuple[DataFile, ...] = ()
    meta: MetaFile | None = None
    type_meta: MetaFile | None = None
    obsolete: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def is_marker(self) -> bool:
        return self.marker is not None

    @property
    def is_live(self) -> bool:
        return self.data is not None or self.marker is not None

    @property
    def timestamp(self) -> str:
        """When it was last written or removed (POSTs do not count); "" when it never was."""
        newest = self.data or self.marker or self.tombstone
        return newest.timestamp if newest is not None else ""

    @property
    def newest_timestamp(self) -> str:
        """`timestamp`, or that of the metadata laid over it."""
        return self.meta.timestamp if self.meta is not None else self.timestamp

    @property
    def live_names(self) -> tuple[str, ...]:
        if not self.obsolete and not self.pending:
            return self.names
        left_out = {*self.obsolete, *(file.name for file in self.pending)}
        return tuple(name for name in self.names if name not in left_out)

    @property
    def newest_trace(self) -> str:
        """The newest timestamp of what is left of a line that is gone; "" if it lives, or may get some data.

        Traces are a tombstone, and metadata: those set by a clock ahead of the one that deleted the object, and those
        that arrive before their data.
        """
        if self.is_live or self.pending:
            return ""
        return max((file.timestamp for file in map(parse_name, self.live_names) if file is not None), default="")

    def is_forgettable(self, reclaim_before: str) -> bool:
        """Whether all that is left of the line are traces so old that nobody needs them any more.

        `reclaim_before` is a timestamp in internal form. Others may still hold what a tombstone deletes: see
        `reclaimable`.
        """
        return "" < self.newest_trace < reclaim_before

    def with_name(self, name: str) -> "Line":
        """What it is when there is this name of it, too."""
        return _resolve_line(self.version, [file for file in map(parse_name, {*self.names, name}) if file is not None])


class ObjectVersions(Struct, frozen=True):
    """What the names of one hash directory amount to.

    `plain`       the plain line
    `kept`        the kept versions, and removed ones that have left names, oldest first
    `current`     the newest line that lives; if none does, the one that something has happened to last
    `obsolete`    names to unlink, sorted: of all lines
    `unknown`     names of no known form, sorted; never touched
    `names`       all of them, sorted
    """

    plain: Line = Line()
    kept: tuple[Line, ...] = ()
    current: Line = Line()
    obsolete: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def data(self) -> DataFile | None:
        """The file the object is read from, None while it reads as deleted."""
        return self.current.data

    @property
    def timestamp(self) -> str:
        """When the current version was written; without one, when something was deleted last; "" if nothing was."""
        return self.current.timestamp

    @property
    def newest_timestamp(self) -> str:
        """`timestamp`, or that of the metadata laid over it."""
        return self.current.newest_timestamp

    @property
    def lines(self) -> tuple[Line, ...]:
        return (self.plain, *self.kept)

    def line(self, version: str) -> Line:
        """The line of a version, the plain one for "" and "null"; one without names if there is nothing of it."""
        if not version or version == NULL:
            return self.plain
        place = bisect_left(self.kept, version, key=attrgetter("version"))
        if place < len(self.kept) and self.kept[place].version == version:
            return self.kept[place]
        return Line(version)

    def line_of(self, name: str) -> Line:
        """The line a name belongs to, or would."""
        file = parse_name(name)
        return self.plain if file is None else self.line(file.version)

    def obsolete_with(self, name: str) -> set[str]:
        """Names to unlink when there is this one, too."""
        return {*self.obsolete, *self.line_of(name).with_name(name).obsolete}

    def with_only(self, file: DataFile) -> "ObjectVersions":
        """As if this fragment, which may be pending, was all there is."""
        line = Line(file.version, file, fragments=(file,), names=(file.name,))
        return ObjectVersions(Line() if file.version else line, (line,) if file.version else (), line, names=self.names)

    @property
    def is_full(self) -> bool:
        """Whether the object has as many versions as it may keep."""
        return len(self.names) >= VERSIONS_MAX and sum(line.is_live for line in self.lines) >= VERSIONS_MAX


EMPTY: Final = ObjectVersions()


def resolve_versions(names: Iterable[str]) -> ObjectVersions:
    """Decide what an object is from the names in its hash directory, in any order, each once.

    In the plain line

    - the newest durable data file, delete marker or tombstone wins; at the same timestamp the tombstone does, then the
      marker.
    - what is older than the winner is obsolete, undurable fragments too.
    - a `.meta` counts only when newer than the winner; among those the newest overlays the data, and an older
      one is kept only while it carries a newer content type.
    - an undurable fragment newer than the winner is kept and makes nothing else obsolete.

    A kept version follows the same rules, but that its removal mark wins whatever its timestamp is, and makes all else
    of it obsolete.

    Obsolete stays obsolete whatever names are added, so that unlinking needs no lock.
    """
    names = tuple(sorted(names))
    if len(names) == 1 and names[0].endswith(".data"):  # nearly every object
        only = parse_name(names[0])
        if type(only) is DataFile and only.fragment == WHOLE:
            line = Line(only.version, only, fragments=(only,), names=names)
            if only.version:
                return ObjectVersions(kept=(line,), current=line, names=names)
            return ObjectVersions(plain=line, current=line, names=names)
    return _resolve(names) if names else EMPTY


def _resolve(names: tuple[str, ...]) -> ObjectVersions:
    by_version: dict[str, list[StoredName]] = {"": []}
    unknown = []
    for name in names:
        file = parse_name(name)
        if file is None:
            unknown.append(name)
        else:
            by_version.setdefault(file.version, []).append(file)
    plain, *kept = (_resolve_line(version, by_version[version]) for version in sorted(by_version))
    obsolete = sorted(name for line in (plain, *kept) for name in line.obsolete)
    current = max((plain, *kept), key=_precedence)
    return ObjectVersions(plain, tuple(kept), current, tuple(obsolete), tuple(unknown), names)


def _precedence(line: Line) -> tuple[bool, str, bool, bool]:
    return line.is_live, line.timestamp, line.marker is not None, line.version != ""


def _resolve_line(version: str, files: Sequence[StoredName]) -> Line:
    if len(files) == 1 and type(files[0]) is DataFile and files[0].durable:
        return Line(version, files[0], fragments=(files[0],), names=(files[0].name,))
    datas = [file for file in files if type(file) is DataFile]
    data = max((file for file in datas if file.durable), default=None)
    marker = max((file for file in files if type(file) is DeleteMarker), default=None)
    tombstone = max((file for file in files if type(file) is Tombstone), default=None)
    winner: DataFile | DeleteMarker | Tombstone | None
    winner = max((file for file in (data, marker, tombstone) if file is not None), key=_rank, default=None)
    since = winner.timestamp if winner is not None else ""
    if version and tombstone is not None:
        winner, since = tombstone, _NEVER
    fragments = _fragments(datas, since) if isinstance(winner, DataFile) else ()
    pending = tuple(sorted(file for file in datas if file.timestamp > since))
    meta, type_meta = _resolve_metas([file for file in files if type(file) is MetaFile], since)
    needed = (*fragments, *pending, winner, meta, type_meta)
    counts = {file.name for file in needed if file is not None}
    names = sorted(file.name for file in files)
    return Line(
        version,
        data=winner if isinstance(winner, DataFile) else None,
        marker=winner if isinstance(winner, DeleteMarker) else None,
        tombstone=winner if isinstance(winner, Tombstone) else None,
        fragments=fragments,
        pending=pending,
        meta=meta if isinstance(winner, DataFile) else None,
        type_meta=type_meta if isinstance(winner, DataFile) else None,
        obsolete=tuple(name for name in names if name not in counts),
        names=tuple(names),
    )


def _rank(file: DataFile | DeleteMarker | Tombstone) -> tuple[str, bool, bool]:
    return file.timestamp, type(file) is not DataFile, type(file) is Tombstone


def _fragments(datas: list[DataFile], timestamp: str) -> tuple[DataFile, ...]:
    """One file for each fragment of `timestamp`, by index; the marked name where a crash left both."""
    by_index: dict[int, DataFile] = {}
    for file in sorted(datas):  # False sorts before True, so the marked name comes last
        if file.timestamp == timestamp:
            by_index[file.fragment] = file
    return tuple(by_index[index] for index in sorted(by_index))


def _resolve_metas(metas: list[MetaFile], since: str) -> tuple[MetaFile | None, MetaFile | None]:
    """The newest metadata after `since`, and an older one if only that carries the newest content type."""
    candidates = [file for file in metas if file.timestamp > since]
    if not candidates:
        return None, None
    newest = max(candidates)
    typed = max(candidates, key=attrgetter("type_timestamp", "timestamp"))
    return newest, typed if typed.type_timestamp > max(newest.type_timestamp, since) else None


def live_names(current: ObjectVersions) -> tuple[str, ...]:
    """The names that replicas have in common once they agree: neither obsolete nor of unknown form, nor fragments
    of a write that may never end."""
    if len(current.names) == 1 and current.names == current.current.names:
        return current.current.live_names
    return tuple(sorted(name for line in current.lines for name in line.live_names))


def held_names(current: ObjectVersions) -> tuple[str, ...]:
    """`live_names`, and fragments that are pending: whether they come to count is not for this device to say."""
    names = live_names(current)
    if len(names) == len(current.names):
        return names
    return tuple(sorted({*names, *(file.name for line in current.lines for file in line.pending)}))


def forgettable_names(current: ObjectVersions, reclaim_before: str) -> tuple[str, ...]:
    """The names of lines of which only old traces are left."""
    return tuple(name for line in current.lines if line.is_forgettable(reclaim_before) for name in line.live_names)


def is_held(name: str, by: ObjectVersions, reclaim_before: str = "") -> bool:
    """Whether a device with this file set has no need of a file: it has the file, or what makes it obsolete.

    Nor has it of a tombstone older than `reclaim_before` that deletes nothing of what it has, and of such old metadata
    without data: see `removable` for who asks.
    """
    file = parse_name(name)
    if file is None:
        return name in by.names
    line = by.line(file.version)
    if name in line.names:
        return True
    together = line.with_name(name)
    if name in together.obsolete:
        return True
    if file.timestamp >= reclaim_before:
        return False
    if isinstance(file, Tombstone):
        return not together.obsolete
    return isinstance(file, MetaFile) and together.data is None


class SuffixDigest(Struct, frozen=True):
    """What is compared of all objects with hashes of one suffix, the last three digits.

    digest: xxh3-128 in hex, equal exactly where two devices hold the same versions; "" if there is nothing that counts.
    Where there are fragments, their numbers follow: see `shared_digest`.
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
    hasher, empty, forgets, untidy, numbers = xxh3_128(), True, _NEVER, False, set[int]()
    for digest in sorted(objects):
        current = objects[digest]
        untidy = untidy or bool(current.obsolete) or any(line.pending for line in current.lines)
        names: list[str] = []
        for line in current.lines:
            trace = line.newest_trace
            if "" < trace < reclaim_before:
                untidy = True
                continue
            forgets = min(forgets, trace or _NEVER)
            names += line.live_names
        if names:
            if any("#" in name for name in names):
                numbers |= {file.fragment for file in map(parse_name, names) if type(file) is DataFile}
                names = list(set(map(shared_name, names)))
            hasher.update("".join(f"{digest} {name}\n" for name in sorted(names)).encode())
            empty = False
    text = "" if empty else hasher.hexdigest()
    if numbers := numbers - {WHOLE}:
        text += "#" + ".".join(map(str, sorted(numbers)))
    return SuffixDigest(text, forgets, untidy)


def shared_digest(digest: str) -> str:
    """A suffix's digest without the numbers of fragments, in which primaries differ."""
    return digest.partition("#")[0]


def has_foreign_fragments(digest: str, own: int) -> bool:
    """Whether, by its digest, there are fragments of another number in a suffix."""
    numbers = digest.partition("#")[2]
    return bool(numbers) and numbers != str(own)
