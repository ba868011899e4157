"""Disks of other hypervisors: VDI, VHD, VHDX, and Parallels' ploop. None may have a parent."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from objstore.image.inspect.view import SECTOR_BYTES, ImageView, UnsafeImage

VDI_BASE_TYPES: Final = (1, 2)  # dynamic, fixed; the others are differences to a parent
VHD_MARK: Final = b"conectix"
VHD_DIFFERENCING: Final = 4
PLOOP_MARKS: Final = (b"WithoutFreeSpace", b"WithouFreSpacExt")

REGION_TABLE: Final = 192 * 1024
REGIONS_MAX: Final = 2047
ENTRY_BYTES: Final = 32
METADATA_REGION: Final = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
FILE_PARAMETERS: Final = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
VIRTUAL_DISK_SIZE: Final = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8").bytes_le
PARENT_LOCATOR: Final = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le
HAS_PARENT: Final = 2


def is_vdi(view: ImageView) -> bool:
    return view.has(0x40, b"\x7f\x10\xda\xbe")


def check_vdi(view: ImageView) -> int:
    """The virtual size in bytes. Raises UnsafeImage."""
    if view.number(0x4C, 4, "little") not in VDI_BASE_TYPES:
        raise UnsafeImage("the VDI is the difference to another image")
    return view.number(0x170, 8, "little")


def is_vhd(view: ImageView) -> bool:
    return view.has(0, VHD_MARK)


def is_fixed_vhd(view: ImageView) -> bool:
    """Whether the footer alone tells: a fixed VHD begins with the bytes of the disk."""
    return view.tail[-SECTOR_BYTES:].startswith(VHD_MARK)


def check_vhd(view: ImageView) -> int:
    """The virtual size in bytes. Raises UnsafeImage."""
    footer = view.tail[-SECTOR_BYTES:] if view.size is not None else view.bytes_at(0, SECTOR_BYTES)
    if not footer.startswith(VHD_MARK):
        raise UnsafeImage("the VHD has no footer")
    for each in (footer, view.head[:SECTOR_BYTES] if is_vhd(view) else footer):
        if int.from_bytes(each[60:64], "big") == VHD_DIFFERENCING:
            raise UnsafeImage("the VHD is the difference to another image")
    return int.from_bytes(footer[48:56], "big")


def is_vhdx(view: ImageView) -> bool:
    return view.has(0, b"vhdxfile")


def check_vhdx(view: ImageView) -> int:
    """The virtual size in bytes. Raises UnsafeImage."""
    if not view.has(REGION_TABLE, b"regi"):
        raise UnsafeImage("the VHDX has no table of its regions")
    start = _vhdx_entry(view, REGION_TABLE, 16, view.number(REGION_TABLE + 8, 4, "little"), METADATA_REGION, 8)
    if start is None or not view.has(start, b"metadata"):
        raise UnsafeImage("the VHDX has no metadata, or too far from its beginning")
    count = view.number(start + 10, 2, "little")
    parameters, size, parent = (
        _vhdx_entry(view, start, ENTRY_BYTES, count, item, 4)
        for item in (FILE_PARAMETERS, VIRTUAL_DISK_SIZE, PARENT_LOCATOR)
    )
    if parameters is None or size is None:
        raise UnsafeImage("the VHDX does not say how large it is")
    if parent is not None or view.number(start + parameters + 4, 4, "little") & HAS_PARENT:
        raise UnsafeImage("the VHDX is the difference to another image")
    return view.number(start + size, 8, "little")


def _vhdx_entry(view: ImageView, table: int, first: int, count: int, item: bytes, width: int) -> int | None:
    """Where a table says that an item is: an offset of `width` bytes behind its GUID. Raises UnsafeImage."""
    if count > REGIONS_MAX:
        raise UnsafeImage("a table of the VHDX has too many entries")
    for index in range(count):
        entry = view.bytes_at(table + first + index * ENTRY_BYTES, ENTRY_BYTES)
        if entry[:16] == item:
            return int.from_bytes(entry[16 : 16 + width], "little")
    return None


def is_ploop(view: ImageView) -> bool:
    return any(view.has(0, mark) for mark in PLOOP_MARKS)


def check_ploop(view: ImageView) -> int:
    """The virtual size in bytes. Raises UnsafeImage."""
    sectors = view.number(36, 8, "little") if view.has(0, PLOOP_MARKS[1]) else view.number(36, 4, "little")
    return sectors * SECTOR_BYTES
