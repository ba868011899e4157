"""Machines as QEMU processes. They outlive the agent; each is found by its folder, and spoken to by its monitor."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from objstore.compute.host import blocks, snapshots
from objstore.compute.host.cache import ImageCache
from objstore.compute.host.driver import DiskContent, MachineError, NotSupported, Progress
from objstore.compute.host.metadata import MetadataServer, make_config_drive
from objstore.compute.host.nbd import NbdServer
from objstore.compute.host.processes import is_process_of, kill_all, missing, processes_with, run_tool, wait_for
from objstore.compute.host.qemu_process import PROGRAM, machine_address, probe_accelerator, qemu_command, version_of
from objstore.compute.host.qmp import Monitor, MonitorError
from objstore.compute.host.records import MACHINES, MachineFolder, MachineFolders, MachineRecord, short_name
from objstore.compute.protocol import ImageSource, MachineAction, MachineAddress, MachineSpec, PowerState

START_SECONDS: Final = 30.0
MEMORY_SECONDS: Final = 300.0
QUIT_SECONDS: Final = 10.0
PRESS_SECONDS: Final = 2.0
STREAM_BYTES_PER_SECOND: Final = 64 * 1024 * 1024
STATUSES: Final = {
    "running": PowerState.RUNNING,
    "paused": PowerState.PAUSED,
    "io-error": PowerState.PAUSED,
    "guest-panicked": PowerState.CRASHED,
    "internal-error": PowerState.CRASHED,
}


class QemuDriver:
    """See driver.Driver."""

    name = "qemu"
    features = frozenset(MachineAction)

    def __init__(self, folder: Path, cache: ImageCache, accelerator: str | None = None) -> None:
        """Finds the machines that run already. Raises MachineError when a program is missing, OSError."""
        lacking = missing(PROGRAM, "qemu-img", "qemu-storage-daemon", "socat", "genisoimage", "prlimit")
        if lacking:
            raise MachineError(f"these programs are missing: {' '.join(lacking)}")
        self.accelerator = accelerator or probe_accelerator()
        self.version = version_of(run_tool(PROGRAM, "--version").decode())
        folder = short_name(folder)
        self._folders = MachineFolders(folder / MACHINES)
        self._cache = cache
        self._metadata: dict[str, MetadataServer] = {}
        self._images = NbdServer(str(folder / "images.sock"), cache.find)
        known = [(each, record) for each in self._folders.all() if (record := each.read()) is not None]
        # Images first: a machine's monitor may not answer before what the machine was reading has come.
        for each, record in known:
            self._prepare(each, record)
        for each, record in known:
            self._recover(each, record)

    def close(self) -> None:
        """The machines go on."""
        self._images.close()
        for server in self._metadata.values():
            server.close()

    def machines(self) -> list[str]:
        return [folder.server_id for folder in self._folders.all()]

    def power(self, server_id: str) -> PowerState:
        return self._power(self._folders.of(server_id))

    def addresses(self, server_id: str) -> list[MachineAddress]:
        record = self._folders.of(server_id).read()
        networks = record.spec.networks[:1] if record is not None else []
        return [MachineAddress(each.label, machine_address(server_id), each.mac) for each in networks]

    def build(self, machine: MachineSpec, progress: Progress) -> None:
        folder = self._folders.of(machine.server_id)
        self.destroy(machine.server_id)
        record = MachineRecord(machine, base=machine.image)
        folder.write(record)
        self._cache.open(machine.image)
        progress(20)
        blocks.make_disks(folder, record, self._cache)
        progress(50)
        self._start(folder, record)

    def update(self, machine: MachineSpec) -> None:
        folder = self._folders.of(machine.server_id)
        folder.change(folder.known(), spec=machine)

    def start(self, server_id: str) -> None:
        folder, record = self._known(server_id)
        if self._running(folder):
            with self._monitor(folder) as monitor:
                monitor.command("cont")
            folder.change(record, power=PowerState.RUNNING)
        else:
            self._start(folder, record)

    def stop(self, server_id: str, timeout_seconds: float) -> None:
        folder, record = self._known(server_id)
        folder.change(record, power=PowerState.SHUTDOWN)
        folder.memory.unlink(missing_ok=True)
        if self._running(folder):
            with suppress(MonitorError), self._monitor(folder) as monitor:
                deadline = time.monotonic() + timeout_seconds
                # More than once: a guest that is still booting does not see the first.
                while monitor.command("query-status")["status"] == "running" and time.monotonic() < deadline:
                    monitor.command("system_powerdown")
                    if wait_for(lambda: not self._running(folder), min(PRESS_SECONDS, timeout_seconds)):
                        break
                monitor.command("quit")
                wait_for(lambda: not self._running(folder), QUIT_SECONDS)
        self._kill(folder)

    def reboot(self, server_id: str, *, hard: bool) -> None:
        folder, _ = self._known(server_id)
        self.stop(server_id, 0.0 if hard else START_SECONDS)
        self._start(folder, folder.known())

    def pause(self, server_id: str) -> None:
        folder, record = self._known(server_id)
        with self._monitor(folder) as monitor:
            monitor.command("stop")
        folder.change(record, power=PowerState.PAUSED)

    def suspend(self, server_id: str) -> None:
        folder, record = self._known(server_id)
        if not self._running(folder) and folder.memory.exists():
            folder.change(record, power=PowerState.SUSPENDED)
            return
        written = folder.path / "memory.new"
        with self._monitor(folder) as monitor:
            monitor.command("stop")
            snapshots.end_jobs(monitor)
            monitor.command("migrate", {"uri": f"exec:cat > {written}"})
            if not wait_for(lambda: snapshots.migrated(monitor), MEMORY_SECONDS):
                raise MachineError("the machine's memory was not written in time")
        with written.open("rb") as file:
            os.fsync(file.fileno())
        self._kill(folder)
        written.replace(folder.memory)
        folder.change(record, power=PowerState.SUSPENDED)

    def destroy(self, server_id: str) -> None:
        folder = self._folders.of(server_id)
        self._kill(folder)
        server = self._metadata.pop(server_id, None)
        if server is not None:
            server.close()
        folder.remove()

    def resize(self, machine: MachineSpec) -> None:
        folder, record = self._known(machine.server_id)
        kept = record.kept_flavor or record.spec.flavor
        if machine.flavor.disk_gb and machine.flavor.disk_gb < record.spec.flavor.disk_gb:
            raise NotSupported("a disk cannot become smaller")
        self.stop(machine.server_id, START_SECONDS)
        record = folder.change(folder.known(), spec=machine, kept_flavor=kept)
        if machine.flavor.disk_gb > kept.disk_gb:
            size = blocks.disk_bytes(machine.flavor, 0)
            run_tool("qemu-img", "resize", "-q", "-f", "qcow2", str(folder.root_disk), str(size))
        for name, size in blocks.extra_disks(machine.flavor).items():
            if not folder.extra_disk(name).exists():
                blocks.make_disk(str(folder.extra_disk(name)), size)
        self._start(folder, record)

    def confirm_resize(self, server_id: str) -> None:
        folder, record = self._known(server_id)
        folder.change(record, kept_flavor=None)

    def revert_resize(self, machine: MachineSpec) -> None:
        """The disk stays as large as it has become: what the guest wrote there is not lost."""
        folder, _ = self._known(machine.server_id)
        self.stop(machine.server_id, START_SECONDS)
        self._start(folder, folder.change(folder.known(), spec=machine, kept_flavor=None))

    def rescue(self, server_id: str, image: ImageSource | None) -> None:
        folder, record = self._known(server_id)
        image = image or record.spec.image
        size = self._cache.open(image).virtual_size()
        self.stop(server_id, START_SECONDS)
        folder.rescue_disk.unlink(missing_ok=True)
        blocks.make_disk(str(folder.rescue_disk), size)
        self._start(folder, folder.change(folder.known(), rescue=image))

    def unrescue(self, server_id: str) -> None:
        folder, record = self._known(server_id)
        self.stop(server_id, START_SECONDS)
        record = folder.change(folder.known(), rescue=None)
        folder.rescue_disk.unlink(missing_ok=True)
        self._start(folder, record)

    @contextmanager
    def snapshot(self, server_id: str) -> Iterator[DiskContent]:
        folder, record = self._known(server_id)
        if self._running(folder):
            with self._monitor(folder) as monitor, snapshots.live_content(monitor, folder, record) as content:
                yield content
        else:
            with snapshots.cold_content(folder, record, self._images.path) as content:
                yield content

    def console(self, server_id: str, most: int) -> str:
        return self._folders.of(server_id).console(most)

    def diagnostics(self, server_id: str) -> dict[str, int]:
        folder, record = self._known(server_id)
        numbers = {"vcpus": record.spec.flavor.vcpus, "memory_mb": record.spec.flavor.ram_mb}
        with self._monitor(folder) as monitor:
            for each in monitor.command("query-blockstats"):
                if each.get("node-name") in ("root", "ephemeral", "swap"):
                    name, stats = each["node-name"], each["stats"]
                    numbers |= {f"{name}_read_bytes": stats["rd_bytes"], f"{name}_write_bytes": stats["wr_bytes"]}
        return numbers

    def degraded(self, server_id: str) -> str:
        record = self._folders.of(server_id).read()
        if record is None or record.base is None:
            return ""
        try:
            return self._cache.find(record.base.id).trouble
        except MachineError as error:
            return str(error)

    def tend(self, server_id: str) -> None:
        """Copy the image to the machine's own disk in the background; note when that is done."""
        folder = self._folders.of(server_id)
        record = folder.read()
        if record is None or record.base is None or not self._running(folder):
            return
        with self._monitor(folder) as monitor:
            if snapshots.stands_alone(monitor):
                snapshots.make_durable(monitor)  # else a power failure would leave holes where the image was
                folder.change(record, base=None)
            else:
                snapshots.begin_stream(monitor, STREAM_BYTES_PER_SECOND)

    def sweep(self) -> None:
        self._cache.sweep(self.used_images(), time.time())

    def used_images(self) -> set[str]:
        records = [record for folder in self._folders.all() if (record := folder.read()) is not None]
        return {image.id for record in records for image in (record.base, record.rescue) if image is not None}

    def _known(self, server_id: str) -> tuple[MachineFolder, MachineRecord]:
        folder = self._folders.of(server_id)
        return folder, folder.known()

    def _monitor(self, folder: MachineFolder) -> Monitor:
        return Monitor(str(folder.socket("monitor")))

    def _processes(self, folder: MachineFolder) -> list[int]:
        return list(processes_with(f"{folder.path}/"))

    def _running(self, folder: MachineFolder) -> bool:
        """By the number that QEMU wrote down, if that is still a process of this machine."""
        try:
            number = int(folder.process_number.read_text())
        except (FileNotFoundError, ValueError):
            return False
        return is_process_of(number, f"{folder.path}/")

    def _kill(self, folder: MachineFolder) -> None:
        kill_all(lambda: self._processes(folder))

    def _power(self, folder: MachineFolder) -> PowerState:
        record = folder.read()
        if record is None:
            return PowerState.NONE
        if not self._running(folder):
            suspended = record.power is PowerState.SUSPENDED
            built = record.power is not PowerState.NONE
            return PowerState.SUSPENDED if suspended else PowerState.SHUTDOWN if built else PowerState.NONE
        try:
            with self._monitor(folder) as monitor:
                return STATUSES.get(monitor.command("query-status")["status"], record.power)
        except MonitorError:
            return record.power

    def _recover(self, folder: MachineFolder, record: MachineRecord) -> None:
        """End what an agent was doing when it was killed: a snapshot, a suspension, a config drive."""
        if self._running(folder):
            with suppress(MonitorError), self._monitor(folder) as monitor:
                snapshots.end_jobs(monitor)
                if monitor.command("query-migrate").get("status") in ("setup", "active"):
                    monitor.command("migrate_cancel")
                status = monitor.command("query-status")["status"]
                if record.power is PowerState.RUNNING and status in ("paused", "postmigrate"):
                    monitor.command("cont")
        else:
            self._kill(folder)
        folder.remove_leftovers()

    def _prepare(self, folder: MachineFolder, record: MachineRecord) -> None:
        """What a machine needs of the agent while it runs: its image, and its metadata service."""
        for image in (record.base, record.rescue):
            if image is not None:
                with suppress(MachineError):  # the machine is degraded until the image can be had
                    self._cache.open(image)
        if folder.server_id not in self._metadata:
            address = machine_address(folder.server_id)
            self._metadata[folder.server_id] = MetadataServer(
                folder.socket("metadata"), lambda: (folder.known().spec, address)
            )

    def _start(self, folder: MachineFolder, record: MachineRecord) -> None:
        """A process for the machine; from its saved memory if there is any. That memory is used once: what the
        disk holds afterwards no longer fits to it."""
        self._kill(folder)
        self._prepare(folder, record)
        if record.spec.config_drive:
            make_config_drive(record.spec, machine_address(folder.server_id), folder.config_drive)
        used = folder.path / "memory.used"
        used.unlink(missing_ok=True)
        if folder.memory.exists():
            folder.memory.replace(used)
        command = qemu_command(folder, record, self.accelerator, self._images.path)
        if used.exists():
            command += ["-incoming", f"exec:cat {used}"]
        for name in ("monitor", "serial", "agent"):
            folder.socket(name).unlink(missing_ok=True)
        with folder.process_log.open("wb") as log:
            process = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=START_SECONDS, check=False
            )
        if process.returncode:
            reason = folder.process_log.read_text(errors="replace").strip()[-300:]
            raise MachineError(f"the hypervisor does not start: {reason.replace(str(folder.path), '')}")
        if used.exists():
            self._wait_for_memory(folder)
            used.unlink()
        folder.change(record, power=PowerState.RUNNING)

    def _wait_for_memory(self, folder: MachineFolder) -> None:
        with self._monitor(folder) as monitor:
            deadline = time.monotonic() + MEMORY_SECONDS
            while (status := monitor.command("query-status")["status"]) == "inmigrate":
                if time.monotonic() > deadline:
                    raise MachineError("the machine's memory was not read in time")
                time.sleep(0.05)
            if status != "running":
                monitor.command("cont")
