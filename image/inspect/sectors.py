"""What is told by the sectors of a disk itself: partition tables, ISO 9660, LUKS."""

from __future__ import annotations

from typing import Final

from objstore.image.inspect.view import SECTOR_BYTES, ImageView, UnsafeImage

PARTITION_TABLE: Final = 446
PARTITION_BYTES: Final = 16
BOOT_SIGNATURE: Final = b"\x55\xaa"
PROTECTIVE: Final = 0xEE
VOLUME_DESCRIPTOR: Final = 0x8000


def _partitions(view: ImageView) -> list[bytes]:
    table = view.head[PARTITION_TABLE : PARTITION_TABLE + 4 * PARTITION_BYTES]
    return [table[start : start + PARTITION_BYTES] for start in range(0, len(table), PARTITION_BYTES)]


def is_partitioned(view: ImageView) -> bool:
    """Whether there is a master boot record with partitions; that of a GPT has a protective one."""
    if not view.has(SECTOR_BYTES - 2, BOOT_SIGNATURE):
        return False
    entries = _partitions(view)
    return any(entry[4] for entry in entries) and all(entry[0] in (0, 0x80) for entry in entries)


def check_partitioned(view: ImageView) -> int | None:
    """Raises UnsafeImage for a protective record that does not protect all of the disk."""
    protective = [entry for entry in _partitions(view) if entry[4] == PROTECTIVE]
    starts = [int.from_bytes(entry[8:12], "little") for entry in protective]
    if starts not in ([], [1]):
        raise UnsafeImage("the protective record of the GPT does not begin at sector 1, or there are several")
    return view.size


def is_iso(view: ImageView) -> bool:
    return view.has(VOLUME_DESCRIPTOR + 1, b"CD001")


def check_iso(view: ImageView) -> int:
    """The size in bytes that its first volume has. Raises UnsafeImage."""
    blocks = view.number(VOLUME_DESCRIPTOR + 80, 4, "little")
    return blocks * view.number(VOLUME_DESCRIPTOR + 128, 2, "little")


def is_luks(view: ImageView) -> bool:
    return view.has(0, b"LUKS\xba\xbe")


def check_luks(view: ImageView) -> int | None:
    """Raises UnsafeImage for another version than 1."""
    version = view.number(6, 2)
    if version != 1:
        raise UnsafeImage(f"LUKS of version {version}; accepted is 1")
    return None if view.size is None else max(view.size - view.number(104, 4) * SECTOR_BYTES, 0)
