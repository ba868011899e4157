"""A disk's content as a qcow2 file, written from its first byte to its last, without a place to seek in.

Which clusters hold something is known before the first is read, so all tables can be written ahead of the content.
Source: docs/interop/qcow2.txt of QEMU.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from objstore.compute.host.driver import MachineError

CLUSTER: Final = 65536
TABLE_ENTRIES: Final = CLUSTER // 8  # of a level 1, level 2 or refcount table
BLOCK_ENTRIES: Final = CLUSTER // 2  # 16 bits for each cluster's references
COPIED: Final = 1 << 63
HEADER: Final = struct.Struct(">4sIQIIQIIQQIIQQQQII")
MAGIC: Final = b"QFI\xfb"
VIRTUAL_BYTES_MAX: Final = 64 << 40
# Incompatible features that name no other file: dirty, corrupt, kind of compression.
HARMLESS_FEATURES: Final = 0b1011


@dataclass(frozen=True)
class Qcow2Layout:
    """Where everything stands in a file of so many clusters of content; numbers are of clusters."""

    virtual_size: int
    content: Sequence[int]  # the disk's clusters that hold something, in order

    @property
    def level2_tables(self) -> list[int]:
        """The positions, in the level 1 table, of the level 2 tables that are there."""
        return sorted({cluster // TABLE_ENTRIES for cluster in self.content})

    @property
    def level1_entries(self) -> int:
        return max(-(-self.virtual_size // (CLUSTER * TABLE_ENTRIES)), 1)

    @property
    def level1_clusters(self) -> int:
        return -(-self.level1_entries // TABLE_ENTRIES)

    def refcount_clusters(self) -> tuple[int, int]:
        """Clusters of the refcount table, and of refcount blocks: they count themselves, too."""
        others = 1 + self.level1_clusters + len(self.level2_tables) + len(self.content)
        table = blocks = 1
        while True:
            total = others + table + blocks
            needed_blocks = -(-total // BLOCK_ENTRIES)
            needed_table = -(-needed_blocks // TABLE_ENTRIES)
            if (needed_table, needed_blocks) == (table, blocks):
                return table, blocks
            table, blocks = needed_table, needed_blocks


def clusters_of(extents: Iterable[tuple[int, int]], virtual_size: int) -> list[int]:
    """The clusters that extents (first byte, length) touch, each once, in order."""
    found: list[int] = []
    for first, length in extents:
        end = min(first + length, virtual_size)
        begin = first // CLUSTER
        if found and begin <= found[-1]:
            begin = found[-1] + 1
        found += range(begin, -(-end // CLUSTER))
    return found


def tables(layout: Qcow2Layout) -> bytes:
    """Everything before the content."""
    table_clusters, blocks = layout.refcount_clusters()
    refcount_at = 1
    blocks_at = refcount_at + table_clusters
    level1_at = blocks_at + blocks
    level2_at = level1_at + layout.level1_clusters
    level2 = layout.level2_tables
    content_at = level2_at + len(level2)
    total = content_at + len(layout.content)
    header = HEADER.pack(
        MAGIC, 3, 0, 0, 16, layout.virtual_size, 0, layout.level1_entries, level1_at * CLUSTER,
        refcount_at * CLUSTER, table_clusters, 0, 0, 0, 0, 0, 4, HEADER.size,
    )  # fmt: skip
    # A header extension that ends the list of them follows: zeroes.
    parts = [header.ljust(CLUSTER, b"\0")]
    refcounts = struct.pack(f">{blocks}Q", *((blocks_at + each) * CLUSTER for each in range(blocks)))
    parts.append(refcounts.ljust(table_clusters * CLUSTER, b"\0"))
    parts.append((b"\x00\x01" * total).ljust(blocks * CLUSTER, b"\0"))
    level1 = [0] * layout.level1_entries
    for position, entry in enumerate(level2):
        level1[entry] = (level2_at + position) * CLUSTER | COPIED
    parts.append(struct.pack(f">{len(level1)}Q", *level1).ljust(layout.level1_clusters * CLUSTER, b"\0"))
    entries = {entry: [0] * TABLE_ENTRIES for entry in level2}
    for position, cluster in enumerate(layout.content):
        entries[cluster // TABLE_ENTRIES][cluster % TABLE_ENTRIES] = (content_at + position) * CLUSTER | COPIED
    parts += [struct.pack(f">{TABLE_ENTRIES}Q", *entries[entry]) for entry in level2]
    return b"".join(parts)


def file_length(layout: Qcow2Layout) -> int:
    """Bytes of the whole file."""
    fixed = 1 + sum(layout.refcount_clusters()) + layout.level1_clusters + len(layout.level2_tables)
    return (fixed + len(layout.content)) * CLUSTER


def pieces(layout: Qcow2Layout, read: Callable[[int, int], bytes], piece_clusters: int = 16) -> Iterator[bytes]:
    """The file; `read` gives bytes of the disk by offset and length. Raises what it raises."""
    yield tables(layout)
    content = layout.content
    position = 0
    while position < len(content):
        run = 1
        while (
            run < piece_clusters
            and position + run < len(content)
            and content[position + run] == content[position] + run
        ):
            run += 1
        offset = content[position] * CLUSTER
        length = min(run * CLUSTER, layout.virtual_size - offset)
        yield read(offset, length).ljust(run * CLUSTER, b"\0")
        position += run


def virtual_size(header: bytes) -> int:
    """How large the disk of a qcow2 file is, by its first bytes. Raises MachineError for one that names other files."""
    if len(header) < 104 or header[:4] != MAGIC:
        raise MachineError("the image is no qcow2 file")
    _, version, backing, _, _, size = struct.unpack_from(">4sIQIIQ", header)
    (features,) = struct.unpack_from(">Q", header, 72) if version == 3 else (0,)
    if version not in (2, 3) or backing or features & ~HARMLESS_FEATURES:
        raise MachineError("the image names another file, or needs features that are not allowed")
    if not 0 < size <= VIRTUAL_BYTES_MAX:
        raise MachineError("the image's disk has no size that is allowed")
    return int(size)
