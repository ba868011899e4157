"""Disks of QEMU machines: which files they are, as QEMU's block devices, and what makes them.

No file names another: what a disk stands on is told to QEMU each time it opens it, and never read from the disk.
"""

from __future__ import annotations

import json
from typing import Any, Final

from objstore.compute.host.cache import ImageCache
from objstore.compute.host.driver import GIB, MIB, MachineError
from objstore.compute.host.processes import run_tool
from objstore.compute.host.records import MachineFolder, MachineRecord
from objstore.compute.protocol import FlavorCopy, ImageSource

RECONNECT_SECONDS: Final = 600  # as long as a machine waits for its disk


def disk_bytes(flavor: FlavorCopy, image_bytes: int) -> int:
    """How large a root disk is. Raises MachineError for an image that is larger than the flavor's disk."""
    wanted = flavor.disk_gb * GIB
    if wanted and wanted < image_bytes:
        raise MachineError(f"the flavor's disk of {flavor.disk_gb} GiB is too small for the image")
    return wanted or -(-image_bytes // 512) * 512


def make_disk(path: str, size: int) -> None:
    """An empty qcow2 file. Raises MachineError."""
    run_tool("qemu-img", "create", "-q", "-f", "qcow2", path, str(size))


def make_disks(folder: MachineFolder, record: MachineRecord, cache: ImageCache) -> None:
    """The root disk and the flavor's other ones. Raises MachineError."""
    flavor = record.spec.flavor
    size = disk_bytes(flavor, cache.open(record.spec.image).virtual_size())
    make_disk(str(folder.root_disk), size)
    for name, count in extra_disks(flavor).items():
        make_disk(str(folder.extra_disk(name)), count)


def extra_disks(flavor: FlavorCopy) -> dict[str, int]:
    """Bytes of the disks that a flavor has beside the root disk, by their names."""
    sizes = {"ephemeral": flavor.ephemeral_gb * GIB, "swap": flavor.swap_mb * MIB}
    return {name: size for name, size in sizes.items() if size}


def image_node(image: ImageSource, socket: str) -> dict[str, Any]:
    """An image, read through the host's server of images."""
    server = {"type": "unix", "path": socket}
    file = {"driver": "nbd", "server": server, "export": image.id, "reconnect-delay": RECONNECT_SECONDS}
    node: dict[str, Any] = {"driver": image.disk_format, "file": file, "read-only": True}
    # A name in the image's own header is never followed.
    return node | ({"backing": None} if image.disk_format == "qcow2" else {})


def disk_node(name: str, path: str, base: ImageSource | None, socket: str) -> dict[str, Any]:
    """A disk of the machine, over its image if it still reads from it."""
    return {
        "node-name": name,
        "driver": "qcow2",
        "discard": "unmap",
        "file": {"driver": "file", "filename": path, "discard": "unmap"},
        "backing": None if base is None else image_node(base, socket),
    }


def machine_nodes(folder: MachineFolder, record: MachineRecord, socket: str) -> list[dict[str, Any]]:
    """All disks, the one to boot from first."""
    nodes = [disk_node("root", str(folder.root_disk), record.base, socket)]
    if record.rescue is not None:
        nodes.insert(0, disk_node("rescue", str(folder.rescue_disk), record.rescue, socket))
    nodes += [disk_node(name, str(folder.extra_disk(name)), None, socket) for name in extra_disks(record.spec.flavor)]
    if record.spec.config_drive:
        file = {"driver": "file", "filename": str(folder.config_drive)}
        nodes.append({"node-name": "config", "driver": "raw", "read-only": True, "file": file})
    return nodes


def as_option(node: dict[str, Any]) -> str:
    return json.dumps(node)
