"""Checks an image while it passes: that it is of the format it is said to be, and names no other file.

Programs that open images (qemu-img first of all) believe what the bytes say, and follow the names they find. So no such
program sees an image that has not passed here, and every one is told the format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from objstore.image.inspect import disks, qemu, sectors, vmdk
from objstore.image.inspect.view import HEAD_BYTES, TAIL_BYTES, ImageView, UnsafeImage


@dataclass(frozen=True)
class DiskFormat:
    """How a format is recognized, and what checks it: the check returns the virtual size, and raises UnsafeImage."""

    name: str
    matches: Callable[[ImageView], bool]
    check: Callable[[ImageView], int | None]


FORMATS: Final = (
    DiskFormat("qcow2", qemu.is_qcow2, qemu.check_qcow2),
    DiskFormat("qed", qemu.is_qed, qemu.check_qed),
    DiskFormat("vmdk", vmdk.is_vmdk, vmdk.check_vmdk),
    DiskFormat("vdi", disks.is_vdi, disks.check_vdi),
    DiskFormat("vhd", disks.is_vhd, disks.check_vhd),
    DiskFormat("vhdx", disks.is_vhdx, disks.check_vhdx),
    DiskFormat("ploop", disks.is_ploop, disks.check_ploop),
    DiskFormat("iso", sectors.is_iso, sectors.check_iso),
    DiskFormat("luks", sectors.is_luks, sectors.check_luks),
    DiskFormat("gpt", sectors.is_partitioned, sectors.check_partitioned),
)
BY_NAME: Final = {each.name: each for each in FORMATS}
# Whoever opens these takes every byte as the disk's, whatever it looks like.
PLAIN_FORMATS: Final = frozenset({"raw", "ami", "ari", "aki"})
# What of a plain disk is checked nevertheless.
INSIDE_PLAIN: Final = frozenset({"gpt", "luks"})
# The bytes of such an image are an archive, not a disk.
ARCHIVES: Final = frozenset({"ovf", "ova", "docker", "compressed"})
VIRTUAL_SIZE_MAX: Final = 64 << 40


class Inspector:
    """Is fed the bytes of one image. Needs as much memory as the head that is kept, 4 MiB."""

    def __init__(self, disk_format: str, container_format: str) -> None:
        self._formats = disk_format, container_format
        self._head = bytearray()
        self._tail = b""
        self.size = 0

    def feed(self, piece: bytes) -> None:
        """Take the next bytes. Raises UnsafeImage as soon as the head shows it."""
        self.size += len(piece)
        self._tail = (self._tail + piece)[-TAIL_BYTES:] if len(piece) < TAIL_BYTES else piece[-TAIL_BYTES:]
        if len(self._head) < HEAD_BYTES:
            self._head += piece[: HEAD_BYTES - len(self._head)]
            if len(self._head) == HEAD_BYTES:
                judge(ImageView(bytes(self._head)), *self._formats)

    def finish(self) -> int | None:
        """The virtual size in bytes, None where the format has none. Raises UnsafeImage."""
        return judge(ImageView(bytes(self._head), self._tail, self.size), *self._formats)


def judge(view: ImageView, disk_format: str, container_format: str) -> int | None:
    """The virtual size in bytes, None where there is none. Raises UnsafeImage."""
    if container_format in ARCHIVES:
        return None
    size = virtual_size(view, disk_format)
    if size is not None and size > VIRTUAL_SIZE_MAX:
        raise UnsafeImage(f"a disk of {size} bytes is larger than the limit of {VIRTUAL_SIZE_MAX}")
    return size


def virtual_size(view: ImageView, declared: str) -> int | None:
    """The size in bytes of the disk that an image of the declared format holds. Raises UnsafeImage.

    Of two formats that match, one would be believed by one program and the other by another.
    """
    found = [each.name for each in FORMATS if each.matches(view)]
    if declared in PLAIN_FORMATS:
        for name in INSIDE_PLAIN.intersection(found):
            BY_NAME[name].check(view)
        return view.size
    if declared == "iso" and "gpt" in found:
        found.remove("gpt")
    if declared == "vhd" and found in ([], ["gpt"]) and (view.size is None or disks.is_fixed_vhd(view)):
        return disks.check_vhd(view) if view.size is not None else None  # a fixed one, told by its end
    if found != [declared]:
        raise UnsafeImage(f"the image is said to be {declared}, but looks like {' and '.join(found) or 'raw'}")
    return BY_NAME[declared].check(view)
