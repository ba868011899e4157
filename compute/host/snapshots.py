"""The content of a root disk at one moment, while the machine goes on: what its monitor is asked, and in which order.

A second disk, the fleece, keeps what the machine overwrites while the content is read, so the content stays as it was
when that began. The machine is not paused; with a guest agent its file systems are frozen for that moment.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from objstore.compute.host import blocks, qcow2
from objstore.compute.host.driver import DiskContent, MachineError
from objstore.compute.host.nbd import NbdClient
from objstore.compute.host.processes import kill_all, processes_with, run_tool
from objstore.compute.host.qmp import Monitor, MonitorError
from objstore.compute.host.records import MachineFolder, MachineRecord

FREEZE_SECONDS: Final = 5.0
JOB_SECONDS: Final = 30.0
MAP_SECONDS: Final = 120.0
STREAM: Final = "stream"
FLEECE: Final = "fleece"
YES: Final = ("yes", "true", "1")


def migrated(monitor: Monitor) -> bool:
    """Whether the memory is written. Raises MonitorError when that failed."""
    answer = monitor.command("query-migrate")
    if answer.get("status") in ("failed", "cancelled"):
        raise MonitorError(f"the memory cannot be written: {answer.get('error-desc', answer['status'])}")
    return bool(answer.get("status") == "completed")


def stands_alone(monitor: Monitor) -> bool:
    """Whether the root disk no longer reads from its image."""
    # With "flat", QEMU 7.2 tells a depth of 0 for every disk.
    nodes = {node["node-name"]: node for node in monitor.command("query-named-block-nodes")}
    return bool(nodes["root"]["backing_file_depth"] == 0)


def make_durable(monitor: Monitor) -> None:
    """What was written to the root disk, by the guest and by jobs, is on the host's disk. Raises MonitorError."""
    output = monitor.command("human-monitor-command", {"command-line": "qemu-io root flush"}, JOB_SECONDS)
    if output.strip():
        raise MonitorError(f"the disk cannot be flushed: {output.strip()}")


def begin_stream(monitor: Monitor, bytes_per_second: int) -> None:
    """Copy the image to the root disk in the background, unless that goes on already."""
    if not any(job["device"] == STREAM for job in monitor.command("query-block-jobs")):
        monitor.command("block-stream", {"job-id": STREAM, "device": "root", "speed": bytes_per_second})


def end_jobs(monitor: Monitor) -> None:
    """No job works on the disks, and nothing of a snapshot is left. What was copied stays."""
    for name, arguments in (("block-export-del", {"id": FLEECE, "mode": "hard"}), ("nbd-server-stop", {})):
        with suppress(MonitorError):
            monitor.command(name, arguments)
    for job in monitor.command("query-block-jobs"):
        with suppress(MonitorError):
            monitor.command("block-job-cancel", {"device": job["device"], "force": True})
            monitor.wait_for_event("BLOCK_JOB_CANCELLED", JOB_SECONDS, device=job["device"])
    with suppress(MonitorError):
        monitor.command("blockdev-del", {"node-name": FLEECE})


@contextmanager
def live_content(monitor: Monitor, folder: MachineFolder, record: MachineRecord) -> Iterator[DiskContent]:
    """The root disk of a machine that has a process. Raises MachineError."""
    end_jobs(monitor)  # also those of a snapshot that was interrupted
    nodes = {node["node-name"]: node for node in monitor.command("query-named-block-nodes", {"flat": True})}
    size = nodes["root"]["image"]["virtual-size"]
    path, socket = folder.path / "fleece.qcow2", folder.socket("fleece")
    path.unlink(missing_ok=True)
    socket.unlink(missing_ok=True)
    blocks.make_disk(str(path), size)
    file = {"driver": "file", "filename": str(path)}
    try:
        monitor.command("blockdev-add", {"node-name": FLEECE, "driver": "qcow2", "file": file, "backing": "root"})
        with frozen(folder, record):
            monitor.command("blockdev-backup", {"job-id": FLEECE, "device": "root", "target": FLEECE, "sync": "none"})
        address = {"type": "unix", "data": {"path": str(socket)}}
        monitor.command("nbd-server-start", {"addr": address})
        monitor.command("block-export-add", {"type": "nbd", "id": FLEECE, "node-name": FLEECE, "name": FLEECE})
        with _content(str(socket)) as content:
            yield content
    finally:
        with suppress(MonitorError):
            end_jobs(monitor)
        path.unlink(missing_ok=True)
        socket.unlink(missing_ok=True)


@contextmanager
def cold_content(folder: MachineFolder, record: MachineRecord, images: str) -> Iterator[DiskContent]:
    """The root disk of a machine without a process. Raises MachineError."""
    socket = folder.socket("fleece")
    socket.unlink(missing_ok=True)
    node = blocks.disk_node("root", str(folder.root_disk), record.base, images) | {"read-only": True}
    command = [
        "qemu-storage-daemon", "--daemonize", "--blockdev", blocks.as_option(node),
        "--nbd-server", f"addr.type=unix,addr.path={socket}",
        "--export", f"type=nbd,id={FLEECE},node-name=root,name={FLEECE},writable=off",
    ]  # fmt: skip
    try:
        # Its output goes to no pipe: the daemon would hold it open.
        with folder.process_log.open("wb") as log:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=JOB_SECONDS, check=False
            )
        if done.returncode:
            raise MachineError("the disk cannot be opened")
        with _content(str(socket)) as content:
            yield content
    finally:
        kill_all(lambda: list(processes_with(f"{folder.path}/")))
        socket.unlink(missing_ok=True)


@contextmanager
def _content(socket: str) -> Iterator[DiskContent]:
    with NbdClient(socket, FLEECE) as client:
        layout = qcow2.Qcow2Layout(client.size, qcow2.clusters_of(_extents(socket), client.size))
        yield DiskContent("qcow2", qcow2.file_length(layout), client.size, qcow2.pieces(layout, client.read))


def _extents(socket: str) -> Iterator[tuple[int, int]]:
    """First byte and length of what the disk holds, in order; what reads as zeroes is left out."""
    where = f"nbd+unix:///{FLEECE}?socket={socket}"
    output = run_tool("qemu-img", "map", "-f", "raw", "--output=json", where, seconds=MAP_SECONDS)
    extents: list[dict[str, Any]] = json.loads(output)
    for extent in extents:
        if extent["data"] and not extent["zero"]:
            yield extent["start"], extent["length"]


@contextmanager
def frozen(folder: MachineFolder, record: MachineRecord) -> Iterator[None]:
    """The guest's file systems stand still, if it has an agent; they are thawed whatever happens.

    Raises MachineError if the image asks for it (os_require_quiesce) and it cannot be done.
    """
    properties = record.spec.image.properties
    required = properties.get("os_require_quiesce", "").lower() in YES
    if properties.get("hw_qemu_guest_agent") != "yes":
        if required:
            raise MachineError("the image requires a guest agent for snapshots, and has none")
        yield
        return
    try:
        with Monitor(str(folder.socket("agent")), greets=False, seconds=FREEZE_SECONDS) as agent:
            agent.command("guest-fsfreeze-freeze")
    except MonitorError as error:
        _thaw(folder)
        if required:
            raise MachineError("the guest's agent does not freeze its file systems") from error
        yield
        return
    try:
        yield
    finally:
        _thaw(folder)


def _thaw(folder: MachineFolder) -> None:
    with suppress(MonitorError), Monitor(str(folder.socket("agent")), greets=False, seconds=FREEZE_SECONDS) as agent:
        agent.command("guest-fsfreeze-thaw")
