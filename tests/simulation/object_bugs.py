"""Bugs to be planted in the object servers, their daemons and the proxies' writes."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from objstore import scheme
from objstore.object import delete, expirer, post, versions
from objstore.object.container_updates import delivery, pending, sender
from objstore.object.expirer import Action, ExpiryDecision
from objstore.object.file_engine import disk, engine, reading, scrubbing, suffixes, writing
from objstore.object.file_engine.layout import hash_directory
from objstore.object.metadata import MetadataCorrupt, ObjectMetadata
from objstore.object.replication import partitions, planning, receiving
from objstore.proxy.core import composite_body, quorum_request
from objstore.ring import rings
from objstore.rows import encode_rows
from objstore.timestamps import Timestamp
from tests.simulation.device_calls import SimulatedDeviceCalls
from tests.simulation.planting import AFTER_ALL_TIME, Mutant, always, nothing, replace


def data_is_not_flushed() -> None:
    """An object's file gets its name before its content is durable."""
    replace("flush_data", nothing, SimulatedDeviceCalls)
    replace("flush_large", nothing, disk.Disk)


def names_are_not_flushed() -> None:
    """A write is acknowledged before its name, an entry of a directory, is durable."""
    replace("flush_name", nothing, SimulatedDeviceCalls)


def settled_after_the_answer() -> None:
    """What a write replaces is removed before the new name is durable."""

    def make_durable(self: Any) -> None:
        for obsolete in self._standing.obsolete_with(self._name):
            self._disk.unlink(f"{hash_directory(self._disk.path, self._location)}/{obsolete}")

    replace("make_durable", make_durable, writing.PendingName)


def one_is_a_quorum() -> None:
    """A write is acknowledged as soon as one node has it."""
    replace("quorum_size", always(1), scheme)
    replace("has_quorum", lambda statuses, needed: any(status < 300 for status in statuses), quorum_request)


def checksums_are_not_checked() -> None:
    """Whatever lies on the disk is sent."""

    def read(self: Any) -> bytes:
        body: bytes = self._disk.read(self._file, self.info.data.size, 0)
        self.close()
        return body

    replace("read", read, reading.FileObject)


def bodies_are_not_audited() -> None:
    """The auditor believes the metadata."""
    replace("_read", nothing, scrubbing.Scrub)


def long_metadata_counts_as_damage() -> None:
    """The auditor sets aside every copy, the last one too, of what has its metadata behind the body."""
    real = scrubbing.Scrub._verified

    def verified(self: Any, file: Any, name: Any, spend: Any) -> Any:
        found = real(self, file, name, spend)
        if isinstance(found, ObjectMetadata) and file.size != found.size:
            raise MetadataCorrupt("the file is longer than its body")
        return found

    replace("_verified", verified, scrubbing.Scrub)


def container_updates_are_not_awaited() -> None:
    """Neither delivered nor put on record: a listing may lack what was acknowledged."""
    replace("wait", nothing, sender.InFlightUpdates)


def pending_updates_are_dropped() -> None:
    """An update that could not be delivered is forgotten, not put on record."""
    replace("save", nothing, sender, pending)


def updates_of_absent_containers_are_dropped() -> None:
    """A container that says 404 once will never want them."""
    replace("RECLAIM_SECONDS", 0.0, delivery)


def oldest_data_wins() -> None:
    """Of several versions in a directory the oldest counts."""
    real = versions.resolve_versions

    def resolve_versions(names: Any) -> Any:
        current = real(names)
        datas = sorted(name for name in current.names if name.endswith(".data"))
        if current.data is None or len(datas) < 2:
            return current
        obsolete = set(current.names) - {datas[0]}
        return msgspec.structs.replace(real([datas[0]]), names=current.names, obsolete=tuple(sorted(obsolete)))

    replace("resolve_versions", resolve_versions, versions, engine, suffixes)
    replace("obsolete_with", lambda self, name: resolve_versions({*self.names, name}).obsolete, versions.ObjectVersions)


def types_go_with_their_metadata() -> None:
    """A POST without a content type makes obsolete the one that has set it, and does not carry it on."""
    resolve_metas, merge_post = versions._resolve_metas, post.merge_post

    def merge(before: Any, timestamp: str, headers: Any, content_type: str) -> Any:
        after = merge_post(before, timestamp, headers, content_type)
        if after is before or content_type:
            return after
        data = before.data
        return msgspec.structs.replace(after, content_type=data.content_type, content_type_timestamp=data.timestamp)

    replace("merge_post", merge, post)
    replace("_resolve_metas", lambda metas, winner: (resolve_metas(metas, winner)[0], None), versions)


def _exchanging_all_but(ending: str) -> None:
    real = planning.plan_transfer

    def plan_transfer(*arguments: Any) -> Any:
        plan = real(*arguments)
        push, pull = ([name for name in names if not name.endswith(ending)] for names in (plan.push, plan.pull))
        return planning.TransferPlan(tuple(push), tuple(pull))

    replace("plan_transfer", plan_transfer, partitions)


def metadata_is_not_replicated() -> None:
    """What a POST has stored stays where it is."""
    _exchanging_all_but(".meta")


def tombstones_are_not_replicated() -> None:
    """A deletion stays where it is."""
    _exchanging_all_but(".ts")


def digests_are_never_out_of_date() -> None:
    """The replicator believes the digests it has once computed."""
    replace("_is_good", always(True), suffixes)


def handoffs_are_emptied_too_soon() -> None:
    """A handoff forgets a partition once it has tried to push it, whatever the primaries confirm."""

    def removable(mine: Any, *_: Any) -> Any:
        return {digest: tuple(names) for digest, names in mine.items()}

    replace("removable", removable, partitions)
    replace(
        "sync",
        lambda self, differing, primaries, pulls: {node: partitions.NotTransferred() for node in differing},
        partitions.Partition,
    )


def new_rings_go_unnoticed() -> None:
    """Servers and daemons go by the rings with which they were started."""
    replace("check", nothing, rings.RingFile)


def tombstones_are_dropped_early() -> None:
    """A deletion is forgotten as soon as it has removed the data, though another node may still have it."""
    real = writing.PendingName.make_durable

    def make_durable(self: Any) -> None:
        real(self)
        if self._name.endswith(".ts"):
            self._disk.unlink(f"{hash_directory(self._disk.path, self._location)}/{self._name}")

    replace("make_durable", make_durable, writing.PendingName)


def tombstones_are_reclaimed_early() -> None:
    """The replicator forgets a deletion of which all primaries have heard, of whatever age."""
    real = versions.Line.is_forgettable
    replace("is_forgettable", lambda line, _before: real(line, AFTER_ALL_TIME), versions.Line)


def received_files_are_not_flushed() -> None:
    """What a peer has sent is confirmed before it is durable; then a handoff is emptied."""
    real = receiving.Receiver.receive

    def receive(self: Any, body: Any) -> Any:
        flushes = ("flush_data", SimulatedDeviceCalls), ("flush_name", SimulatedDeviceCalls), ("flush_large", disk.Disk)
        kept = [(name, getattr(owner, name), owner) for name, owner in flushes]
        for name, owner in flushes:
            replace(name, nothing, owner)
        try:
            return real(self, body)
        finally:
            for flush in kept:
                replace(*flush)

    replace("receive", receive, receiving.Receiver)


def expirer_trusts_its_queue() -> None:
    """Whatever was once to expire is deleted then, without X-If-Delete-At, whatever has become of it."""

    def decide(entry: Any, _replies: Any, now: float, _reclaim_seconds: float) -> ExpiryDecision:
        return ExpiryDecision(Action.DELETE, Timestamp.from_seconds(now).internal)

    replace("decide", decide, expirer)
    replace("_guarded", nothing, delete)


def expirer_leaves_its_entries() -> None:
    """What has been deleted stays in the queue of what is to expire."""
    replace("encode_rows", lambda rows: encode_rows([]), expirer)


def segments_are_not_checked() -> None:
    """A segment of a static large object is sent, whatever has become of it."""
    replace("_differs", always(False), composite_body)


OBJECT_BUGS: Final = (
    Mutant(data_is_not_flushed, 8),
    Mutant(names_are_not_flushed, 8),
    Mutant(settled_after_the_answer, 8),
    Mutant(one_is_a_quorum, 8),
    Mutant(checksums_are_not_checked, 8),
    Mutant(bodies_are_not_audited, 20),
    Mutant(long_metadata_counts_as_damage, 8),
    Mutant(container_updates_are_not_awaited, 8),
    Mutant(pending_updates_are_dropped, 8),
    Mutant(updates_of_absent_containers_are_dropped, 8),
    Mutant(oldest_data_wins, 8),
    Mutant(types_go_with_their_metadata, 8),
    Mutant(metadata_is_not_replicated, 8),
    Mutant(tombstones_are_not_replicated, 8),
    Mutant(digests_are_never_out_of_date, 8),
    Mutant(handoffs_are_emptied_too_soon, 8),
    Mutant(new_rings_go_unnoticed, 12),
    Mutant(tombstones_are_dropped_early, 8),
    Mutant(tombstones_are_reclaimed_early, 8),
    Mutant(received_files_are_not_flushed, 12),
    Mutant(expirer_trusts_its_queue, 8),
    Mutant(expirer_leaves_its_entries, 8),
    Mutant(segments_are_not_checked, 8),
)
