"""Fragments that a primary should have and lacks: rebuilt from those of others.

Only as many fragments travel as are needed, segment by segment. What the fewest devices have is rebuilt first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from objstore.devices import Device
from objstore.erasure import ErasureCode
from objstore.errors import StoreError
from objstore.http.transport import BackendBody, ReplicaFailed
from objstore.object.file_names import WHOLE, DataFile, data_name, parse_name
from objstore.object.metadata import ObjectMetadata, StoredFragment
from objstore.object.replication.frames import read_head, read_piece
from objstore.object.replication.planning import removable
from objstore.object.replication.receiving import Receiver

if TYPE_CHECKING:
    from objstore.object.replication.partitions import Partition


class Write(Struct, frozen=True, order=True):
    """A write of an object by its hash: of the line of `version`, at `timestamp`."""

    digest: str
    version: str
    timestamp: str


Holders = dict[Write, dict[int, tuple[Device, str]]]  # who has each fragment, and under which name


def note_fragments(found: Holders, node: Device, names: Mapping[str, Sequence[str]]) -> None:
    """Add the fragments that a device lists."""
    for digest, some in names.items():
        for file in map(parse_name, some):
            if isinstance(file, DataFile) and file.durable and file.fragment >= 0:
                write = Write(digest, file.version, file.timestamp)
                found.setdefault(write, {}).setdefault(file.fragment, (node, file.name))


def rebuild(partition: Partition, code: ErasureCode, own: int, holders: Holders) -> None:
    """Rebuild the fragments of number `own` that this device lacks, of all writes in `holders`."""
    for write in sorted(holders, key=lambda each: len(holders[each])):
        place = partition.place
        current = partition.runtime.threads.of(place.device).call(
            partition.storage.versions, place.policy, place.partition, write.digest
        )
        name = data_name(write.timestamp, own, version=write.version)
        line = current.line(write.version).with_name(name)
        if name in current.names or name in line.obsolete:
            continue
        sources = {number: source for number, source in holders[write].items() if number != own}
        if len(sources) < code.data:
            partition.report.count("fragments_missing")
            partition.runtime.log.error("too few fragments to rebuild one", hash=write.digest, file=name)
            continue
        try:
            _rebuild(partition, own, write, dict(list(sources.items())[: code.data]))
            partition.report.count("rebuilt")
        except (StoreError, OSError, ValueError) as error:
            partition.report.count("failed")
            partition.runtime.log.warning("fragment not rebuilt", hash=write.digest, file=name, reason=str(error))


def _rebuild(partition: Partition, own: int, write: Write, sources: Mapping[int, tuple[Device, str]]) -> None:
    """Raises StoreError, ValueError and OSError."""
    bodies: dict[int, BackendBody] = {}
    with ExitStack() as stack:
        metadata: ObjectMetadata | None = None
        for number, (node, name) in sources.items():
            body = partition.client.pull(node, partition.number, {write.digest: [name]})
            bodies[number] = stack.enter_context(closing(body))
            head = read_head(body)
            if head is None or head.name != name:
                raise ReplicaFailed(node, 0, f"it does not send {name}")
            sent = msgspec.json.decode(head.metadata, type=ObjectMetadata)
            if metadata is not None and (sent.size, sent.etag) != (metadata.size, metadata.etag):
                raise ReplicaFailed(node, 0, f"{name} is of another write")
            metadata = sent
        assert metadata is not None
        assert metadata.fragment is not None
        code = ErasureCode.parse(metadata.fragment.code)
        if code.data > len(sources):
            raise ValueError(f"{code.data} fragments are needed")
        fragment = StoredFragment(own, metadata.fragment.code, code.fragment_length(metadata.size))
        receiver = Receiver(
            partition.storage, partition.cluster, partition.devices, partition.runtime.log, partition.place,
            partition.locations,
        )  # fmt: skip
        pieces = _pieces(partition, code, own, metadata.size, bodies)
        receiver.store_rebuilt(write.digest, write.version, replace(metadata, fragment=fragment, checksum=""), pieces)


def _pieces(
    partition: Partition, code: ErasureCode, own: int, size: int, bodies: Mapping[int, BackendBody]
) -> Iterator[bytes]:
    """The pieces of the missing fragment. Raises ValueError on damage."""
    for segment in range(code.segment_count(size)):
        length = code.piece_length(code.segment_length(segment, size))
        pieces = {number: read_piece(body, length) for number, body in bodies.items()}
        partition.spend_bytes(length * len(pieces))
        for number, piece in pieces.items():
            code.check(piece, number, segment)
        yield code.rebuild(pieces, own)


def drop_foreign(partition: Partition, own: int, suffixes: Sequence[str], ring_version: int) -> None:
    """Remove fragments of other numbers than `own` that the primaries which should hold them confirm to hold."""
    for suffix in suffixes:
        asked: dict[str, list[str]] = {}
        for digest, current in partition.objects([suffix]).items():
            files = [file for line in current.lines for file in line.fragments]
            names = [file.name for file in files if file.durable and file.fragment not in (WHOLE, own)]
            if names:
                asked[digest] = names
        if not asked:
            continue
        try:
            answers = [
                partition.client.confirm(node, partition.number, asked, ring_version) for node in partition.primaries
            ]
        except ReplicaFailed as failure:
            partition.runtime.log.info("foreign fragments stay", partition=partition.number, reason=str(failure))
            return
        confirmed = removable(asked, answers, partition.place.policy.scheme)
        partition.remove_names(confirmed)
        partition.report.count("removed", sum(map(len, confirmed.values())))
