"""A qcow2 file that is written in one go reads back as the disk; files that name others are refused."""

import struct
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore.compute.host.driver import MachineError
from objstore.compute.host.qcow2 import CLUSTER, Qcow2Layout, clusters_of, file_length, pieces, virtual_size

MASK = (1 << 56) - 1


def read_back(file: bytes) -> bytes:
    """The disk that a qcow2 file without a backing file holds, by the format's description."""
    magic, version, _, _, bits, size, _, entries, level1_at = struct.unpack_from(">4sIQIIQIIQ", file)
    assert (magic, version, bits) == (b"QFI\xfb", 3, 16)
    disk = bytearray(size + CLUSTER)
    for number, entry in enumerate(struct.unpack_from(f">{entries}Q", file, level1_at)):
        if entry & MASK:
            for index, cluster in enumerate(struct.unpack_from(f">{CLUSTER // 8}Q", file, entry & MASK)):
                if cluster & MASK:
                    at = (number * CLUSTER // 8 + index) * CLUSTER
                    disk[at : at + CLUSTER] = file[cluster & MASK : (cluster & MASK) + CLUSTER]
    return bytes(disk[:size])


@settings(max_examples=30)
@given(
    st.integers(1, 40 * CLUSTER),
    st.lists(st.tuples(st.integers(0, 39 * CLUSTER), st.integers(1, 3 * CLUSTER)), max_size=8),
)
def test_the_file_holds_the_disk(size: int, extents: list[tuple[int, int]]) -> None:
    disk = bytearray(size)
    extents = sorted((first, length) for first, length in extents if first < size)
    for first, length in extents:
        end = min(first + length, size)
        disk[first:end] = Random(first).randbytes(end - first)
    layout = Qcow2Layout(size, clusters_of(extents, size))
    file = b"".join(pieces(layout, lambda offset, length: bytes(disk[offset : offset + length])))
    assert len(file) == file_length(layout)
    assert read_back(file) == bytes(disk)
    assert virtual_size(file) == size


def test_every_cluster_of_the_file_is_counted() -> None:
    layout = Qcow2Layout(1 << 40, range(0, 16 * 40_000, 16))
    table_clusters, blocks = layout.refcount_clusters()
    assert (table_clusters, blocks) == (1, 2)
    assert blocks * CLUSTER // 2 >= file_length(layout) // CLUSTER


def header(backing: int = 0, features: int = 0, version: int = 3, size: int = CLUSTER) -> bytes:
    return struct.pack(">4sIQIIQ40xQ24x", b"QFI\xfb", version, backing, 10, 16, size, features)


def test_backing_files_are_refused_cve_2015_5163() -> None:
    assert virtual_size(header()) == CLUSTER
    with pytest.raises(MachineError, match="names another file"):
        virtual_size(header(backing=512))
    with pytest.raises(MachineError, match="names another file"):
        virtual_size(header(backing=512, version=2))


def test_external_data_files_are_refused_cve_2024_32498() -> None:
    with pytest.raises(MachineError, match="names another file"):
        virtual_size(header(features=0b100))


def test_unknown_features_and_sizes_are_refused() -> None:
    for bad in (header(features=1 << 5), header(size=0), header(size=1 << 60), b"raw" * 100, header()[:50]):
        with pytest.raises(MachineError):
            virtual_size(bad)
