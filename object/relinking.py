"""Giving the files of one object their names in another partition, and taking away those in the former one.

What is taken away has been seen at home before, under the same name or made obsolete by another, durably; of two files
of the same name, the one at home has been read to its last byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec import structs

from objstore.object.engine import Location, ObjectCorrupt, StorageEngine
from objstore.object.fileset import FileSet, judge
from objstore.object.replication.planning import is_held
from objstore.policies import Policy
from objstore.system.threads import ThreadGroup


@dataclass(frozen=True)
class Names:
    """Files of one object that lie in a partition which is not theirs; `home` is the one that is."""

    home: str
    digest: str
    names: tuple[str, ...]


@dataclass
class Linked:
    """What came of linking the files of some objects: `removable` ones are at home now, others `failed`."""

    removable: list[Names] = field(default_factory=list)
    linked: int = 0
    failed: int = 0


def link_ahead(engine: StorageEngine, location: Location) -> int:
    """Link what counts of an object into the partition it will belong to; how many files lie there that are others.

    Not durable yet. Blocks; raises OSError.
    """
    own = structs.replace(location, others=(), linked="")
    standing = engine.look(own)
    wanted = [name for name in standing.names if name not in standing.obsolete]
    return len(engine.link(own.device, own.policy, own.partition, location.linked, own.hash, wanted))


def link_home(
    engine: StorageEngine,
    threads: ThreadGroup,
    device: str,
    policy: Policy,
    source: str,
    found: dict[str, FileSet],
    homes: dict[str, str],
) -> Linked:
    """Link files of objects that `source` holds into their `homes`, by the hash. Not durable yet. Raises OSError."""
    result = Linked()
    for digest, standing in found.items():
        home = Location(device, policy, homes[digest], digest, "")
        there = threads.call(engine.look, home)
        together = judge({*standing.names, *there.names})
        wanted = [name for name in standing.names if name not in together.obsolete]
        others = threads.call(engine.link, device, policy, source, home.partition, digest, wanted)
        bad = {name for name in others if not _is_whole(engine, home, name)}
        if bad:  # what was at home is in quarantine, all of it
            again = threads.call(engine.link, device, policy, source, home.partition, digest, wanted)
            bad = set(again)
        result.linked += sum(name not in there.names for name in wanted)
        result.failed += len(bad)
        result.removable.append(Names(home.partition, digest, tuple(n for n in standing.names if n not in bad)))
    return result


def remove_linked(engine: StorageEngine, device: str, policy: Policy, source: str, objects: Iterable[Names]) -> int:
    """Take names away from `source`, if what is at home, durably, still stands for them; how many. Blocks."""
    count = 0
    for each in objects:
        there = engine.look(Location(device, policy, each.home, each.digest, ""))
        names = [name for name in each.names if is_held(name, there)]
        engine.remove(device, policy, source, each.digest, names)
        count += len(names)
    return count


def bring_home(engine: StorageEngine, threads: ThreadGroup, location: Location, source: str) -> None:
    """Move what another partition has of an object to where it belongs. Raises OSError."""
    device, policy = location.device, location.policy
    standing = threads.call(engine.look, structs.replace(location, partition=source, others=(), linked=""))
    found = {location.hash: standing} if standing.names else {}
    result = link_home(engine, threads, device, policy, source, found, {location.hash: location.partition})
    engine.settle(device, policy, location.partition)
    threads.call(remove_linked, engine, device, policy, source, result.removable)


def _is_whole(engine: StorageEngine, home: Location, name: str) -> bool:
    """Read a file to the end; if it is damaged, all of the object is quarantined."""
    try:
        found = engine.verify(home.device, home.policy, home.partition, home.hash, name, lambda _bytes: None)
    except ObjectCorrupt:
        return False
    return found is not None
