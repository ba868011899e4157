"""What replication transfers and what a device may give up: pure decisions over the names of files.

Names are all that is compared: two devices that hold the same names of an object hold the same object."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from objstore.object.file_names import WHOLE, DataFile, MetaFile, Tombstone, parse_name
from objstore.object.versions import EMPTY, Line, ObjectVersions, live_names, resolve_versions
from objstore.scheme import Scheme


class TransferPlan(Struct, frozen=True):
    """Names of files of one object: those that the peer lacks, and those that this device lacks."""

    push: tuple[str, ...] = ()
    pull: tuple[str, ...] = ()


NOTHING = TransferPlan()


def should_hold(name: str, piece: int | None, scheme: Scheme) -> bool:
    """Whether a device should hold a file: of a primary, `piece` is its number among the primaries of the partition.

    Every device holds metadata, tombstones and whole objects. A primary holds only the fragment of its own number. A
    handoff, None, takes whatever it is given.
    """
    if scheme.code is None or piece is None:
        return True
    file = parse_name(name)
    return not isinstance(file, DataFile) or file.fragment in (WHOLE, scheme.number(piece))


def plan_transfer(mine: ObjectVersions, theirs: ObjectVersions, reclaim_before: str) -> TransferPlan:
    """What has to travel until both hold the same.

    Old tombstones travel only to a device that holds something of their line.
    """
    if mine.names == theirs.names:
        return NOTHING
    needed = set(live_names(resolve_versions({*mine.names, *theirs.names})))
    return TransferPlan(_lacking(mine, theirs, needed, reclaim_before), _lacking(theirs, mine, needed, reclaim_before))


def _lacking(of: ObjectVersions, by: ObjectVersions, needed: Collection[str], reclaim_before: str) -> tuple[str, ...]:
    """The needed names `of` one device that the other has to get."""
    lacking = []
    for line in of.lines:
        held = by.line(line.version).names
        if held or not line.is_forgettable(reclaim_before):
            lacking += [name for name in line.live_names if name in needed and name not in held]
    return tuple(sorted(lacking))


def tombstones_to_pull(mine: ObjectVersions, pull: Iterable[str]) -> tuple[str, ...]:
    """The names among `pull` that a handoff takes: tombstones of what it holds.

    A handoff that cannot reach one primary keeps its files. Should the others forget the tombstone meanwhile, the
    handoff would give that primary a deleted object. It needs no newer data or metadata: primaries keep these, and say
    that the handoff's files are obsolete whenever it asks.
    """
    return tuple(
        name
        for name in pull
        if isinstance(parse_name(name), Tombstone) and mine.obsolete_with(name) > set(mine.obsolete)
    )


def handoff_names(current: ObjectVersions) -> list[str]:
    """The names of a handoff that primaries have to confirm: all but the obsolete ones, which are removed first.

    A primary that has forgotten an object confirms its tombstone, but not an obsolete data file: the data file would
    outlive the tombstone here, and be live again.
    """
    return [name for name in current.names if name not in current.obsolete]


def removable(
    mine: Mapping[str, Sequence[str]], confirmations: Sequence[Mapping[str, Sequence[str]]], scheme: Scheme
) -> dict[str, tuple[str, ...]]:
    """Of the files of a handoff, by hash: those confirmed by every primary that should hold them, and by one at least.

    `confirmations[i]` is what the i-th primary has confirmed, likewise by hash. Metadata are removed no sooner than the
    data they belong to: a primary that has neither may confirm the metadata alone, since it does not need them.
    """

    def is_confirmed(digest: str, name: str) -> bool:
        answers = [answer for number, answer in enumerate(confirmations) if should_hold(name, number, scheme)]
        return bool(answers) and all(name in answer.get(digest, ()) for answer in answers)

    found = {}
    for digest, names in mine.items():
        files = {name: parse_name(name) for name in names}
        confirmed = {name for name in names if is_confirmed(digest, name)}
        kept = {file.version for name, file in files.items() if isinstance(file, DataFile) and name not in confirmed}
        removed = [
            name
            for name, file in files.items()
            if name in confirmed and not (isinstance(file, MetaFile) and file.version in kept)
        ]
        if removed:
            found[digest] = tuple(removed)
    return found


def reclaimable(
    untidy: Iterable[str], mine: Mapping[str, str], others: Iterable[Mapping[str, str] | None]
) -> list[str]:
    """The `untidy` suffixes in which all primaries agree, so that what digests leave out may be forgotten.

    `mine` and each of `others` are digests by suffix; None stands for a primary that did not answer. Digests leave out
    only forgettable tombstones and metadata: a primary that still has what such a tombstone deletes has another digest.
    """
    answers = list(others)
    if any(answer is None for answer in answers):
        return []
    return [
        suffix
        for suffix in sorted(untidy)
        if all((answer or {}).get(suffix, "") == mine.get(suffix, "") for answer in answers)
    ]


def is_stale(mine: Line, others: Sequence[Line], away_since: str) -> bool:
    """Whether a line of a device that was away for longer than tombstones are kept was probably deleted meanwhile.

    So it was if no other primary knows anything of it, and nothing has happened to it here since `away_since`. The
    caller sees to it that one of the others was in service then, and can vouch for the deletion.
    """
    return bool(others) and not any(other.names for other in others) and mine.newest_timestamp < away_since


def known_names(listing: Mapping[str, Sequence[str]], digest: str) -> ObjectVersions:
    """The versions of an object by what a peer lists; names of no known form do not count."""
    names = listing.get(digest)
    return EMPTY if not names else resolve_versions(name for name in names if parse_name(name) is not None)
