"""Fragments that have been pending for a while: those of writes that count become durable, the others go.

A container lists a write before anybody knows whether enough devices have stored it. So who removes a fragment of a
write that does not count has the container list what is there instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from objstore.devices import Device
from objstore.http.transport import ReplicaFailed
from objstore.object.engine import Location, ObjectCorrupt
from objstore.object.file_names import DataFile
from objstore.object.replication.planning import known_names
from objstore.object.versions import ObjectVersions
from objstore.paths import ResourcePath
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.object.replication.partitions import Partition

# A write may be on its way for so long: what is pending and younger is left alone.
COMMIT_WINDOW_SECONDS: Final = 60.0


def settle(partition: Partition, suffixes: Iterable[str], others: Sequence[Device], data: int) -> None:
    """Give pending fragments their durable names where enough devices have the write, if it is not young.

    Those that cannot have been acknowledged go, when all `others` have answered: in strong policies at once. These are
    the other primaries, and while a ring is young those before it: one of them may have given its fragment the durable
    name when it was one of enough. In other policies fragments may lie on handoffs, and go when they are as old as
    tombstones that are forgotten. Raises OSError.
    """
    now = partition.runtime.clock.now()
    before = Timestamp.from_seconds(max(now - COMMIT_WINDOW_SECONDS, 0.0)).internal
    wanted = [suffix for suffix in suffixes if partition.has_pending(suffix, before)]
    if not wanted:
        return
    listings: list[Mapping[str, Sequence[str]]] = []
    for node in others:
        try:
            listings.append(partition.client.versions(node, partition.number, wanted).names)
        except ReplicaFailed as failure:
            partition.runtime.log.warning("pending fragments are left", reason=str(failure))
    place = partition.place
    for digest, current in partition.objects(wanted).items():
        states = [current, *(known_names(listing, digest) for listing in listings)]
        for file in (file for line in current.lines for file in line.pending if file.timestamp < before):
            if _counts(partition, states, file, data):
                location = Location(place.policy, place.partition, digest, digest)
                partition.storage.settle(location, current, file).make_durable()
                partition.report.count("settled")
                continue
            is_over = place.policy.is_strong or file.timestamp < partition.reclaim_before
            if is_over and len(listings) == len(others) and _is_unlisted(partition, digest, file, others, data):
                partition.remove_names({digest: [file.name]})


def _counts(partition: Partition, states: Sequence[ObjectVersions], file: DataFile, data: int) -> bool:
    """Whether the write of a fragment may have been acknowledged, by the `states` of all devices that have answered."""
    held = [
        [each for each in (*line.fragments, *line.pending) if each.timestamp == file.timestamp]
        for line in (state.line(file.version) for state in states)
    ]
    if any(each.durable for some in held for each in some):
        return True
    numbers = {each.fragment for some in held for each in some}
    return sum(map(bool, held)) > len(partition.primaries) // 2 and len(numbers) >= data


def _is_unlisted(partition: Partition, digest: str, file: DataFile, others: Sequence[Device], data: int) -> bool:
    """See to it that the row of a write that does not count gives way to one of what is there, just after it.

    False if that has to wait. The new row hides every older one, also of a write that its proxy has yet to send, with a
    clock that is late. So all primaries of a strong policy first promise to take no such write, and then say again what
    they have: what had been stored by then is seen, and whatever is stored from then on is later, and so is its row.
    In other policies no proxy is as late as tombstones that are forgotten are old. Raises OSError.
    """
    place, storage = partition.place, partition.storage
    try:
        metadata = storage.verify(place.policy, place.partition, digest, file.name, None)
    except ObjectCorrupt:
        return True
    if metadata is None:
        return True
    stamp = Timestamp.parse(file.timestamp)
    after = replace(stamp, offset=stamp.offset + 1).internal
    try:
        if place.policy.is_strong:
            for node in partition.primaries:
                partition.client.promise(node, partition.number, ResourcePath.parse(metadata.name), after)
        listings = [partition.client.versions(node, partition.number, [digest[-3:]]).names for node in others]
    except ReplicaFailed as failure:
        partition.runtime.log.info("a write that does not count stays listed", hash=digest, reason=str(failure))
        return False
    mine = storage.versions(place.policy, place.partition, digest)
    states = [mine, *(known_names(listing, digest) for listing in listings)]
    lines = [state.line(file.version) for state in states]
    newest = max(line.timestamp for line in lines)
    if newest > file.timestamp or (file.version and any(line.tombstone is not None for line in lines)):
        return True  # its row is the later one
    pending = {each.timestamp: each for line in lines for each in line.pending}
    if any(_counts(partition, states, each, data) for each in pending.values()):
        return False
    if lines[0].timestamp != newest:
        return partition.own_piece is None  # replication gives a primary what is there, but not who was one before
    if file.version and lines[0].is_live:
        return True  # it was to become the current version again, and is listed as it was in all else
    location = Location(place.policy, place.partition, digest, metadata.name)
    if not partition.list_instead(storage, location, mine, file.version, after):
        return False
    partition.report.count("unlisted")
    return True
