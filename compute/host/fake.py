"""Machines that are only states, for tests and for scale; some of what is asked of it fails, by chance with a seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import msgspec

from objstore.compute.host.driver import DiskContent, MachineError, Progress
from objstore.compute.host.qemu_process import machine_address
from objstore.compute.host.records import MachineRecord
from objstore.compute.protocol import ImageSource, MachineAction, MachineAddress, MachineSpec, PowerState
from objstore.system.files import write_atomically

DISK_BYTES = 64 * 1024


class FakeDriver:
    """See driver.Driver. With a folder it knows its machines again after a restart."""

    name = "fake"
    accelerator = "none"
    version = 1
    features = frozenset(MachineAction)

    def __init__(self, folder: Path | None = None, faults: float = 0.0, seed: int = 0) -> None:
        """`faults` is the share of builds and snapshots that fail."""
        self._file = None if folder is None else folder / "fake.json"
        self._faults, self._random = faults, Random(seed)
        self._records: dict[str, MachineRecord] = {}
        if self._file is not None and self._file.exists():
            self._records = msgspec.json.decode(self._file.read_bytes(), type=dict[str, MachineRecord])

    def machines(self) -> list[str]:
        return list(self._records)

    def power(self, server_id: str) -> PowerState:
        record = self._records.get(server_id)
        return PowerState.NONE if record is None else record.power

    def addresses(self, server_id: str) -> list[MachineAddress]:
        record = self._records.get(server_id)
        networks = [] if record is None else record.spec.networks[:1]
        return [MachineAddress(each.label, machine_address(server_id), each.mac) for each in networks]

    def build(self, machine: MachineSpec, progress: Progress) -> None:
        self._keep(MachineRecord(machine))
        self._by_chance("the machine does not start")
        progress(50)
        self._keep(MachineRecord(machine, PowerState.RUNNING))

    def update(self, machine: MachineSpec) -> None:
        self._change(machine.server_id, spec=machine)

    def start(self, server_id: str) -> None:
        self._change(server_id, power=PowerState.RUNNING)

    def stop(self, server_id: str, timeout_seconds: float) -> None:
        self._change(server_id, power=PowerState.SHUTDOWN)

    def reboot(self, server_id: str, *, hard: bool) -> None:
        self._change(server_id, power=PowerState.RUNNING)

    def pause(self, server_id: str) -> None:
        self._change(server_id, power=PowerState.PAUSED)

    def suspend(self, server_id: str) -> None:
        self._change(server_id, power=PowerState.SUSPENDED)

    def destroy(self, server_id: str) -> None:
        self._records.pop(server_id, None)
        self._write()

    def resize(self, machine: MachineSpec) -> None:
        kept = self._known(machine.server_id).spec.flavor
        self._change(machine.server_id, spec=machine, kept_flavor=kept, power=PowerState.RUNNING)

    def confirm_resize(self, server_id: str) -> None:
        self._change(server_id, kept_flavor=None)

    def revert_resize(self, machine: MachineSpec) -> None:
        self._change(machine.server_id, spec=machine, kept_flavor=None, power=PowerState.RUNNING)

    def rescue(self, server_id: str, image: ImageSource | None) -> None:
        record = self._known(server_id)
        self._change(server_id, rescue=image or record.spec.image, power=PowerState.RUNNING)

    def unrescue(self, server_id: str) -> None:
        self._change(server_id, rescue=None, power=PowerState.RUNNING)

    @contextmanager
    def snapshot(self, server_id: str) -> Iterator[DiskContent]:
        self._known(server_id)
        self._by_chance("the disk cannot be read")
        yield DiskContent("raw", DISK_BYTES, DISK_BYTES, iter([server_id.encode().ljust(DISK_BYTES, b"\0")]))

    def console(self, server_id: str, most: int) -> str:
        return f"fake machine {server_id}\n"[-most:]

    def diagnostics(self, server_id: str) -> dict[str, int]:
        flavor = self._known(server_id).spec.flavor
        return {"vcpus": flavor.vcpus, "memory_mb": flavor.ram_mb}

    def degraded(self, server_id: str) -> str:
        return ""

    def tend(self, server_id: str) -> None:
        """There is nothing to do."""

    def sweep(self) -> None:
        """There is nothing to remove."""

    def close(self) -> None:
        """There is nothing to end."""

    def _known(self, server_id: str) -> MachineRecord:
        if server_id not in self._records:
            raise MachineError("the host has no such machine")
        return self._records[server_id]

    def _change(self, server_id: str, **fields: object) -> None:
        self._keep(msgspec.structs.replace(self._known(server_id), **fields))

    def _keep(self, record: MachineRecord) -> None:
        self._records[record.spec.server_id] = record
        self._write()

    def _write(self) -> None:
        if self._file is not None:
            write_atomically(str(self._file), msgspec.json.encode(self._records))

    def _by_chance(self, reason: str) -> None:
        if self._random.random() < self._faults:
            raise MachineError(reason)
