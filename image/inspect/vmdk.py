"""VMDK (Virtual Disk Format 1.1): one sparse file with its descriptor inside, and nothing that names another."""

from __future__ import annotations

import re
from typing import Final

from objstore.image.inspect.view import SECTOR_BYTES, ImageView, UnsafeImage

MAGIC: Final = b"KDMV"
DESCRIPTOR_MARK: Final = b"# Disk DescriptorFile"
VMDK_3_MARK: Final = b"COWD"
CREATE_TYPES: Final = frozenset({"monolithicSparse", "streamOptimized"})
DESCRIPTOR_BYTES_MAX: Final = 1 << 20
GRAIN_DIRECTORY_AT_END: Final = (1 << 64) - 1
# What the header and the footer have in common: everything but where the grain directories are.
SHARED_FIELDS: Final = (slice(0, 48), slice(64, 512))

EXTENT: Final = re.compile(r'(?:RW|RDONLY|NOACCESS) \d+ SPARSE "([^"]+)"(?: \d+)?')
ASSIGNMENT: Final = re.compile(r'([A-Za-z]+)\s*=\s*"?([^"]*)"?')
DISK_DATABASE: Final = re.compile(r'ddb\.[\w.]+\s*=\s*"[^"]*"')
KNOWN_KEYS: Final = frozenset({"version", "encoding", "CID", "parentCID", "isNativeSnapshot", "createType"})


def is_vmdk(view: ImageView) -> bool:
    return any(view.has(0, mark) for mark in (MAGIC, DESCRIPTOR_MARK, VMDK_3_MARK))


def check_vmdk(view: ImageView) -> int:
    """The virtual size in bytes. Raises UnsafeImage."""
    if not view.has(0, MAGIC):
        raise UnsafeImage("the VMDK is not one sparse file with its descriptor inside")
    version = view.number(4, 4, "little")
    if version not in (1, 2, 3):
        raise UnsafeImage(f"VMDK of version {version}; known are 1 to 3")
    start, sectors = view.number(28, 8, "little"), view.number(36, 8, "little")
    if not start or not 0 < sectors * SECTOR_BYTES <= DESCRIPTOR_BYTES_MAX:
        raise UnsafeImage("the VMDK has no descriptor inside, or one that is too long")
    _check_descriptor(view.bytes_at(start * SECTOR_BYTES, sectors * SECTOR_BYTES))
    if view.number(56, 8, "little") == GRAIN_DIRECTORY_AT_END and view.size is not None:
        _check_footer(view)
    return view.number(12, 8, "little") * SECTOR_BYTES


def _check_footer(view: ImageView) -> None:
    """The footer replaces the header for whoever opens the image, so it may say nothing else."""
    header = view.bytes_at(0, SECTOR_BYTES)
    footer = view.tail[-2 * SECTOR_BYTES : -SECTOR_BYTES]
    if len(footer) < SECTOR_BYTES or any(footer[part] != header[part] for part in SHARED_FIELDS):
        raise UnsafeImage("the footer of the VMDK does not agree with its header")


def _check_descriptor(content: bytes) -> None:
    text, _, rest = content.partition(b"\0")
    if rest.strip(b"\0"):
        raise UnsafeImage("there is something behind the descriptor of the VMDK")
    try:
        lines = [line.strip() for line in text.decode("utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise UnsafeImage("the descriptor of the VMDK is not text") from error
    keys: dict[str, str] = {}
    extents = []
    for line in lines:
        if not line or line.startswith("#") or DISK_DATABASE.fullmatch(line):
            continue
        if extent := EXTENT.fullmatch(line):
            extents.append(extent[1])
        elif (assignment := ASSIGNMENT.fullmatch(line)) and assignment[1] in KNOWN_KEYS - keys.keys():
            keys[assignment[1]] = assignment[2]
        else:
            raise UnsafeImage(f"the descriptor of the VMDK has a line that is not accepted: {line[:80]!r}")
    if keys.get("createType") not in CREATE_TYPES:
        raise UnsafeImage(f"the VMDK is of the type {keys.get('createType')!r}; accepted: {', '.join(CREATE_TYPES)}")
    if keys.get("parentCID", "ffffffff").lower() != "ffffffff":
        raise UnsafeImage("the VMDK has a parent")
    if not extents or any("/" in name or "\\" in name for name in extents):
        raise UnsafeImage("the VMDK names no extent, or one in another folder")
