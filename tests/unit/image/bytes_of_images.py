"""The headers of images, byte by byte, as each format's specification has them."""

from __future__ import annotations

import struct

from objstore.image.inspect import disks

SECTOR = 512
GIB = 1 << 30
DESCRIPTOR = """# Disk DescriptorFile
version=1
CID=1234abcd
parentCID=ffffffff
createType="{kind}"

# Extent description
RW 2097152 SPARSE "{extent}"

# The Disk Data Base
ddb.virtualHWVersion = "4"
ddb.geometry.cylinders = "2080"
"""


def qcow2(version: int = 3, backing: int = 0, features: int = 0, size: int = GIB) -> bytes:
    header = struct.pack(">4sIQIIQ", b"QFI\xfb", version, backing, 0, 16, size)
    return (header.ljust(72, b"\0") + struct.pack(">Q", features)).ljust(4096, b"\0")


def vmdk(
    kind: str = "monolithicSparse",
    extent: str = "disk.vmdk",
    descriptor: str = DESCRIPTOR,
    footer: bytes | None = None,
    at_end: bool = False,
) -> bytes:
    """A sparse VMDK; `footer` replaces the copy of its header that stands at its end if `at_end`."""
    header = vmdk_header(directory=(1 << 64) - 1 if at_end else 21)
    text = descriptor.format(kind=kind, extent=extent).encode()
    content = (header + text).ljust(21 * SECTOR, b"\0") + b"grains" * 1000
    if not at_end:
        return content
    return content + b"\0" * SECTOR + (vmdk_header(directory=99) if footer is None else footer) + b"\0" * SECTOR


def vmdk_header(directory: int, capacity: int = GIB // SECTOR) -> bytes:
    fields = struct.pack("<4sIIQQQQIQQQ", b"KDMV", 1, 3, capacity, 128, 1, 20, 512, 0, directory, 128)
    return fields.ljust(SECTOR, b"\0")


def boot_record(*partitions: tuple[int, int], boot_flag: int = 0) -> bytes:
    """A disk of 1 MiB with partitions of (type, first sector)."""
    entries = b"".join(struct.pack("<B3sB3sII", boot_flag, b"", kind, b"", first, 100) for kind, first in partitions)
    return (bytes(446) + entries.ljust(64, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0")


def iso(begin: bytes = b"", blocks: int = 100) -> bytes:
    volume = b"\x01CD001\x01".ljust(80, b"\0") + struct.pack("<I", blocks)
    return begin[:0x8000].ljust(0x8000, b"\0") + (volume.ljust(128, b"\0") + struct.pack("<H", 2048)).ljust(2048, b"\0")


def vdi(kind: int = 1) -> bytes:
    head = b"<<< image >>>".ljust(0x40, b"\0") + b"\x7f\x10\xda\xbe" + struct.pack("<III", 0x10001, 400, kind)
    return (head.ljust(0x170, b"\0") + struct.pack("<Q", GIB)).ljust(1024, b"\0")


def vhd_footer(kind: int = 3, size: int = GIB) -> bytes:
    return (b"conectix".ljust(48, b"\0") + struct.pack(">Q4sI", size, b"", kind)).ljust(SECTOR, b"\0")


def vhd(kind: int = 3) -> bytes:
    return vhd_footer(kind) + bytes(4096) + vhd_footer(kind)


def vhdx(parent: bool = False, locator: bool = False, metadata_at: int = 2 << 20) -> bytes:
    content = bytearray(3 << 20)
    content[:8] = b"vhdxfile"
    content[192 * 1024 : 192 * 1024 + 16] = struct.pack("<4sIII", b"regi", 0, 1, 0)
    content[192 * 1024 + 16 : 192 * 1024 + 48] = disks.METADATA_REGION + struct.pack("<QII", metadata_at, 1 << 20, 1)
    items = [(disks.FILE_PARAMETERS, struct.pack("<II", 1 << 20, 2 if parent else 0))]
    items += [(disks.VIRTUAL_DISK_SIZE, struct.pack("<Q", GIB))]
    items += [(disks.PARENT_LOCATOR, b"")] if locator else []
    start = 2 << 20
    content[start : start + 12] = struct.pack("<8sHH", b"metadata", 0, len(items))
    for index, (guid, value) in enumerate(items):
        entry = guid + struct.pack("<IIII", 0x10000 + index * 16, len(value), 0, 0)
        content[start + 32 + index * 32 : start + 64 + index * 32] = entry
        content[start + 0x10000 + index * 16 : start + 0x10000 + index * 16 + len(value)] = value
    return bytes(content)


def luks(version: int = 1) -> bytes:
    return (b"LUKS\xba\xbe" + struct.pack(">H", version)).ljust(104, b"\0") + struct.pack(">I", 8) + bytes(8192 - 108)


def ploop() -> bytes:
    return (b"WithouFreSpacExt".ljust(36, b"\0") + struct.pack("<Q", GIB // SECTOR)).ljust(4096, b"\0")
