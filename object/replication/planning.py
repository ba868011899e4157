"""What two devices have to tell each other about one object, and what a device may give up: pure decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from objstore.object.fileset import EMPTY, DataFile, FileSet, MetaFile, Tombstone, judge, parse_name


class TransferPlan(Struct, frozen=True):
    """Names of files of one object: those the other lacks, and those I lack."""

    push: tuple[str, ...] = ()
    pull: tuple[str, ...] = ()


NOTHING = TransferPlan()


def live_names(standing: FileSet) -> tuple[str, ...]:
    """The names that replicas have in common once they agree: neither obsolete nor of unknown form, nor fragments
    of a write that may never end."""
    if len(standing.names) == 1 and not standing.obsolete and not standing.unknown and not standing.pending:
        return standing.names
    left_out = {*standing.obsolete, *standing.unknown, *(file.name for file in standing.pending)}
    return tuple(name for name in standing.names if name not in left_out)


def newest_marker(standing: FileSet) -> str:
    """The newest timestamp of what is left of an object without data; "" if it has data, or may get some.

    Traces are a tombstone, and metadata: those that were set by a clock ahead of the one that deleted the object.
    """
    if standing.data is not None or standing.pending:
        return ""
    return max((file.timestamp for file in map(parse_name, live_names(standing)) if file is not None), default="")


def is_forgettable(standing: FileSet, reclaim_before: str) -> bool:
    """Whether all that is left of an object are traces so old that nobody needs them any more.

    `reclaim_before` is a timestamp in internal form. Others may still hold what a tombstone deletes: see `exchange`.
    """
    return "" < newest_marker(standing) < reclaim_before


def exchange(mine: FileSet, theirs: FileSet, reclaim_before: str) -> TransferPlan:
    """What has to travel until both hold the same. Old traces travel only to who has something of the object."""
    if mine.names == theirs.names:
        return NOTHING
    needed = set(live_names(judge({*mine.names, *theirs.names})))
    push = tuple(name for name in live_names(mine) if name in needed and name not in theirs.names)
    pull = tuple(name for name in live_names(theirs) if name in needed and name not in mine.names)
    if push and not theirs.names and is_forgettable(mine, reclaim_before):
        push = ()
    if pull and not mine.names and is_forgettable(theirs, reclaim_before):
        pull = ()
    return TransferPlan(push, pull)


def tombstones_to_pull(mine: FileSet, pull: Iterable[str]) -> tuple[str, ...]:
    """The names among those of `pull` that a device takes that otherwise only gives: deletions of what it has.

    It may be away from a primary for longer than the others remember a deletion, and then give that primary what was
    deleted. It needs no newer data or metadata: these are there to stay, and make its files obsolete whenever it asks.
    """
    return tuple(
        name
        for name in pull
        if isinstance(parse_name(name), Tombstone) and set(judge((*mine.names, name)).obsolete) > set(mine.obsolete)
    )


def handoff_names(standing: FileSet) -> list[str]:
    """The names of a handoff that primaries have to confirm: what its own files make obsolete goes before these do.

    Else a primary that has forgotten an object would confirm the tombstone, and not what lies beneath it here.
    """
    return [name for name in standing.names if name not in standing.obsolete]


def is_held(name: str, by: FileSet, reclaim_before: str = "") -> bool:
    """Whether a device with this file set has no need of a file: it has the file, or what makes it obsolete.

    Nor has it of a tombstone older than `reclaim_before` that deletes nothing of what it has, and of such old metadata
    without data: see `removable` for who asks.
    """
    if name in by.names:
        return True
    together = judge((*by.names, name))
    if name in together.obsolete:
        return True
    file = parse_name(name)
    if file is None or file.timestamp >= reclaim_before:
        return False
    if isinstance(file, Tombstone):
        return not together.obsolete
    return isinstance(file, MetaFile) and together.data is None


def removable(
    mine: Mapping[str, Sequence[str]], confirmations: Iterable[Mapping[str, Sequence[str]]]
) -> dict[str, tuple[str, ...]]:
    """Of the files of a handoff, by hash: those that every primary has confirmed; none without any primary.

    `confirmations` are what each primary confirmed, likewise by hash. Metadata go no sooner than the data they belong
    to: a primary that has neither may say that it has no need of the metadata alone.
    """
    answers = list(confirmations)
    if not answers:
        return {}
    found = {}
    for digest, names in mine.items():
        confirmed = [name for name in names if all(name in answer.get(digest, ()) for answer in answers)]
        if any(isinstance(parse_name(name), DataFile) for name in names if name not in confirmed):
            confirmed = [name for name in confirmed if not isinstance(parse_name(name), MetaFile)]
        if confirmed:
            found[digest] = tuple(confirmed)
    return found


def reclaimable(
    untidy: Iterable[str], mine: Mapping[str, str], others: Iterable[Mapping[str, str] | None]
) -> list[str]:
    """Those of the `untidy` suffixes in which all primaries agree, so that what digests leave out may be forgotten.

    `mine` and each of `others` are digests by suffix, None of who was not reached. Digests leave out forgettable
    traces alone: who still has what such a tombstone deletes, has another digest.
    """
    answers = list(others)
    if any(answer is None for answer in answers):
        return []
    return [
        suffix
        for suffix in sorted(untidy)
        if all((answer or {}).get(suffix, "") == mine.get(suffix, "") for answer in answers)
    ]


def is_stale(mine: FileSet, others: Sequence[FileSet], away_since: str) -> bool:
    """Whether an object of a device that was away for longer than tombstones last may have been deleted meanwhile.

    So it may if nobody else knows of it, and nothing has happened to it here since `away_since`. That takes a witness
    among the others.
    """
    return bool(others) and not any(other.names for other in others) and mine.newest_timestamp < away_since


def known_names(listing: Mapping[str, Sequence[str]], digest: str) -> FileSet:
    """The file set of a hash in a list of versions; names of no known form do not count."""
    names = listing.get(digest)
    return EMPTY if not names else judge(name for name in names if parse_name(name) is not None)
