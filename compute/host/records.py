"""What a host keeps of each machine: a folder with its disks, its sockets and a record of what it shall be."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from objstore.compute.host.driver import MachineError
from objstore.compute.protocol import FlavorCopy, ImageSource, MachineSpec, PowerState
from objstore.system.files import TEMPORARY_SUFFIX, fsync_directory, write_atomically

RECORD: Final = "machine.json"
MACHINES: Final = "machines"
SOCKET_PATH_MAX: Final = 107
SERVER_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
CONSOLE_BYTES_MAX: Final = 1024 * 1024
VERSION: Final = 1
LEFTOVER_NAMES: Final = ("config-", "fleece.")
LEFTOVER_SUFFIXES: Final = (".new", TEMPORARY_SUFFIX)


class MachineRecord(Struct, frozen=True):
    """One machine. `base` is the image that its root disk still reads from."""

    spec: MachineSpec
    power: PowerState = PowerState.NONE  # what it shall be; NONE: it is being built
    base: ImageSource | None = None
    kept_flavor: FlavorCopy | None = None  # of a resize that is not confirmed yet
    rescue: ImageSource | None = None  # the image it was booted from to be rescued
    version: int = VERSION


@dataclass(frozen=True)
class MachineFolder:
    """Where everything of one machine lies."""

    path: Path
    server_id: str

    @property
    def root_disk(self) -> Path:
        return self.path / "root.qcow2"

    @property
    def rescue_disk(self) -> Path:
        return self.path / "rescue.qcow2"

    @property
    def config_drive(self) -> Path:
        return self.path / "config.iso"

    @property
    def console_log(self) -> Path:
        return self.path / "console.log"

    @property
    def memory(self) -> Path:
        """The memory of a machine that is suspended."""
        return self.path / "memory"

    @property
    def process_log(self) -> Path:
        return self.path / "process.log"

    @property
    def process_number(self) -> Path:
        return self.path / "process"

    def extra_disk(self, name: str) -> Path:
        return self.path / f"{name}.qcow2"

    def socket(self, name: str) -> Path:
        """Of the monitor, the serial console, the guest's agent, the metadata service, the disk's server."""
        return self.path / f"{name}.sock"

    def read(self) -> MachineRecord | None:
        """None if there is no record: nothing of the machine was begun that could be gone on with."""
        try:
            content = (self.path / RECORD).read_bytes()
        except FileNotFoundError:
            return None
        return msgspec.json.decode(content, type=MachineRecord)

    def known(self) -> MachineRecord:
        """Raises MachineError."""
        record = self.read()
        if record is None:
            raise MachineError("the host has no such machine")
        return record

    def write(self, record: MachineRecord) -> None:
        """On the disk when it returns."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(str(self.path / RECORD), msgspec.json.encode(record))

    def change(self, record: MachineRecord, **fields: object) -> MachineRecord:
        changed = msgspec.structs.replace(record, **fields)
        self.write(changed)
        return changed

    def remove_leftovers(self) -> None:
        """Of what was interrupted: half of a config drive, of the memory, or of a record; what a snapshot needed."""
        for entry in self.path.iterdir():
            if entry.name.startswith(LEFTOVER_NAMES) or entry.suffix in LEFTOVER_SUFFIXES:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def remove(self) -> None:
        """The record last: what it stands for is found again until all is gone."""
        if not self.path.exists():
            return
        for entry in self.path.iterdir():
            if entry.name != RECORD:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        shutil.rmtree(self.path)
        fsync_directory(str(self.path.parent))

    def console(self, most: int) -> str:
        """The last bytes of the console's log; the log is cut when it has become long."""
        try:
            with self.console_log.open("r+b") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - min(most, CONSOLE_BYTES_MAX), 0))
                return file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""


def fits(root: Path) -> bool:
    """Whether sockets of machines below `root` can be named, and QEMU's options do not cut their names."""
    longest = len(str(root)) + len("/12345678-1234-1234-1234-123456789012/metadata.sock")
    return longest <= SOCKET_PATH_MAX and re.search(r"[,\s'\"]", str(root)) is None


def short_name(folder: Path) -> Path:
    """The folder itself, or a link to it whose name fits. Raises MachineError if somebody else has made that link."""
    if fits(folder / MACHINES):
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    link = Path(tempfile.gettempdir()) / f"objstore-host-{digest}"
    with suppress(FileExistsError):
        link.symlink_to(folder)
    if link.lstat().st_uid != os.getuid() or not link.is_symlink() or os.readlink(link) != str(folder):
        raise MachineError(f"{link} is not what this host has made: remove it, or choose a shorter folder")
    return link


@dataclass(frozen=True)
class MachineFolders:
    """All machines of this host."""

    root: Path

    def __post_init__(self) -> None:
        """Raises MachineError for a path that is too long for sockets, or that QEMU's options would cut."""
        if not fits(self.root):
            raise MachineError(f"{self.root}: choose a shorter path, without blanks, commas and quotes")
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def of(self, server_id: str) -> MachineFolder:
        """Raises MachineError for an id that names no folder here."""
        if not SERVER_ID.fullmatch(server_id):
            raise MachineError("no id of a server")
        return MachineFolder(self.root / server_id, server_id)

    def all(self) -> list[MachineFolder]:
        return [MachineFolder(path, path.name) for path in sorted(self.root.iterdir()) if path.is_dir()]
