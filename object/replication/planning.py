"""What two devices have to tell each other about one object, and what a device may give up: pure decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from objstore.object.versions import (
    EMPTY,
    DataFile,
    MetaFile,
    ObjectVersions,
    Tombstone,
    is_forgettable,
    live_names,
    parse_name,
    resolve_versions,
)


class TransferPlan(Struct, frozen=True):
    """Names of files of one object: those the other lacks, and those I lack."""

    push: tuple[str, ...] = ()
    pull: tuple[str, ...] = ()


NOTHING = TransferPlan()


def exchange(mine: ObjectVersions, theirs: ObjectVersions, reclaim_before: str) -> TransferPlan:
    """What has to travel until both hold the same. Old traces travel only to who has something of the object."""
    if mine.names == theirs.names:
        return NOTHING
    needed = set(live_names(resolve_versions({*mine.names, *theirs.names})))
    push = tuple(name for name in live_names(mine) if name in needed and name not in theirs.names)
    pull = tuple(name for name in live_names(theirs) if name in needed and name not in mine.names)
    if push and not theirs.names and is_forgettable(mine, reclaim_before):
        push = ()
    if pull and not mine.names and is_forgettable(theirs, reclaim_before):
        pull = ()
    return TransferPlan(push, pull)


def tombstones_to_pull(mine: ObjectVersions, pull: Iterable[str]) -> tuple[str, ...]:
    """The names among those of `pull` that a device takes that otherwise only gives: deletions of what it has.

    It may be away from a primary for longer than the others remember a deletion, and then give that primary what was
    deleted. It needs no newer data or metadata: these are there to stay, and make its files obsolete whenever it asks.
    """
    return tuple(
        name
        for name in pull
        if isinstance(parse_name(name), Tombstone)
        and set(resolve_versions((*mine.names, name)).obsolete) > set(mine.obsolete)
    )


def handoff_names(current: ObjectVersions) -> list[str]:
    """The names of a handoff that primaries have to confirm: what its own files make obsolete goes before these do.

    Else a primary that has forgotten an object would confirm the tombstone, and not what lies beneath it here.
    """
    return [name for name in current.names if name not in current.obsolete]


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


def is_stale(mine: ObjectVersions, others: Sequence[ObjectVersions], away_since: str) -> bool:
    """Whether an object of a device that was away for longer than tombstones last may have been deleted meanwhile.

    So it may if nobody else knows of it, and nothing has happened to it here since `away_since`. That takes a witness
    among the others.
    """
    return bool(others) and not any(other.names for other in others) and mine.newest_timestamp < away_since


def known_names(listing: Mapping[str, Sequence[str]], digest: str) -> ObjectVersions:
    """The file set of a hash in a list of versions; names of no known form do not count."""
    names = listing.get(digest)
    return EMPTY if not names else resolve_versions(name for name in names if parse_name(name) is not None)
