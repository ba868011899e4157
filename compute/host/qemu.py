"""Machines as QEMU processes. They outlive the agent; each is found by its folder, and spoken to by its monitor."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
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
from objstore.compute.host.processes import kill_all, missing, processes_with, run_tool, wait_for
from objstore.compute.host.qmp import Monitor, MonitorError
from objstore.compute.host.records import MachineFolder, MachineFolders, MachineRecord
from objstore.compute.protocol import ImageSource, MachineAction, MachineSpec, PowerState

PROGRAM: Final = "qemu-system-x86_64"
START_SECONDS: Final = 30.0
MEMORY_SECONDS: Final = 300.0
PROBE_SECONDS: Final = 10.0
QUIT_SECONDS: Final = 10.0
STREAM_BYTES_PER_SECOND: Final = 64 * 1024 * 1024
SMBIOS: Final = "type=1,manufacturer=OpenStack Foundation,product=OpenStack Nova,family=Virtual Machine"
STATUSES: Final = {
    "running": PowerState.RUNNING,
    "paused": PowerState.PAUSED,
    "io-error": PowerState.PAUSED,
    "guest-panicked": PowerState.CRASHED,
    "internal-error": PowerState.CRASHED,
}


def machine_address(server_id: str) -> str:
    """The address that a machine is given: each is alone in its network, so that this only has to be stable."""
    digest = hashlib.sha256(server_id.encode()).digest()
    return f"169.254.{1 + digest[0] % 168}.{1 + digest[1] % 254}"


def probe_accelerator() -> str:
    """kvm if it really runs a guest here, else tcg.

    Where hosts are machines themselves, KVM may open and create a machine, and run nothing: so a boot sector that turns
    the machine off is run, and has to end in time.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    with tempfile.NamedTemporaryFile() as disk:
        # mov ax, 0x2000; mov dx, 0x604; out dx, ax: the power-off of this kind of machine, in 16 bits.
        disk.write((b"\xb8\x00\x20\xba\x04\x06\xef\xf4\xeb\xfd").ljust(510, b"\0") + b"\x55\xaa")
        disk.flush()
        machine = ("-accel", "kvm", "-cpu", "host", "-M", "pc", "-m", "16", "-nodefaults", "-display", "none")
        drive = f"file={disk.name},format=raw,if=ide"
        try:
            run_tool(PROGRAM, *machine, "-drive", drive, seconds=PROBE_SECONDS)
        except MachineError:
            return "tcg"
    return "kvm"


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
        self.version = _version(run_tool(PROGRAM, "--version").decode())
        self._folders = MachineFolders(folder / "machines")
        self._cache = cache
        self._metadata: dict[str, MetadataServer] = {}
        self._images = NbdServer(str(folder / "images.sock"), cache.find)
        for each in self._folders.all():
            record = each.read()
            if record is not None:
                self._prepare(each, record)

    def close(self) -> None:
        """The machines go on."""
        self._images.close()
        for server in self._metadata.values():
            server.close()

    def machines(self) -> dict[str, PowerState]:
        return {folder.server_id: self._power(folder) for folder in self._folders.all()}

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
                if monitor.command("query-status")["status"] == "running":
                    monitor.command("system_powerdown")
                    wait_for(lambda: not self._running(folder), timeout_seconds)
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
        return any(PROGRAM in line for line in processes_with(f"{folder.path}/").values())

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
        command = self._command(folder, record)
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

    def _command(self, folder: MachineFolder, record: MachineRecord) -> list[str]:
        spec = record.spec
        cpu = "host" if self.accelerator == "kvm" else "qemu64"
        command = [
            PROGRAM, "-name", f"guest={spec.server_id}", "-uuid", spec.server_id, "-accel", self.accelerator,
            "-M", "pc", "-cpu", cpu, "-smp", str(spec.flavor.vcpus), "-m", str(spec.flavor.ram_mb),
            "-nodefaults", "-no-user-config", "-display", "none", "-daemonize",
            "-sandbox", "on,obsolete=deny,resourcecontrol=deny",
            "-smbios", f"{SMBIOS},serial={spec.server_id},uuid={spec.server_id}",
            "-qmp", f"unix:{folder.socket('monitor')},server=on,wait=off",
            "-chardev", f"socket,id=serial,path={folder.socket('serial')},server=on,wait=off,"
            f"logfile={folder.console_log},logappend=on", "-serial", "chardev:serial",
        ]  # fmt: skip
        for number, node in enumerate(blocks.machine_nodes(folder, record, self._images.path), start=1):
            device = f"virtio-blk-pci,drive={node['node-name']},bootindex={number}"
            command += ["-blockdev", blocks.as_option(node), "-device", device]
        socket = folder.socket("metadata")
        network = (
            f"user,id=net0,restrict=on,net=169.254.0.0/16,host=169.254.0.2,dns=169.254.0.3,"
            f"dhcpstart={machine_address(spec.server_id)},"
            f"guestfwd=tcp:169.254.169.254:80-cmd:socat -t 10 - UNIX-CONNECT:{socket}"
        )
        mac = f",mac={spec.networks[0].mac}" if spec.networks else ""
        command += ["-netdev", network, "-device", f"virtio-net-pci,netdev=net0,romfile={mac}"]
        if spec.image.properties.get("hw_qemu_guest_agent") == "yes":
            command += [
                "-chardev", f"socket,id=agent,path={folder.socket('agent')},server=on,wait=off",
                "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
            ]  # fmt: skip
        return command


def _version(text: str) -> int:
    match = re.search(r"version (\d+)\.(\d+)\.(\d+)", text)
    return int(match[1]) * 1_000_000 + int(match[2]) * 1000 + int(match[3]) if match else 0
