"""Machines, images and an image service as the tests of hosts need them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from objstore.client.errors import NotFound, ServerUnreachable
from objstore.compute.protocol import (
    FlavorCopy,
    HostInstructions,
    HostRegistered,
    HostRegistration,
    HostReport,
    HostTask,
    ImageSource,
    MachineAction,
    MachineNetwork,
    MachineReport,
    MachineSpec,
    PublicKey,
    TaskOutcome,
)
from tests.waiting import wait_until

MIB: Final = 1024 * 1024
SERVER: Final = "11111111-2222-3333-4444-555555555555"


def source(image_id: str, content: bytes, disk_format: str = "raw", **fields: Any) -> ImageSource:
    digest = hashlib.sha512(content).hexdigest()
    return ImageSource(image_id, size=len(content), disk_format=disk_format, hash_value=digest, **fields)


def machine(server_id: str = SERVER, image: ImageSource | None = None, **fields: Any) -> MachineSpec:
    known: dict[str, Any] = {
        "name": "one",
        "hostname": "one.example",
        "project_id": "p",
        "user_id": "u",
        "flavor": FlavorCopy("1", "tiny", 1, 128),
        "image": image or ImageSource("image"),
        "created_at": "2026-01-01T00:00:00Z",
        "instance_id": "i-0123456789abcdef0",
        "keys": [PublicKey("mine", "ssh-ed25519 AAAA me")],
        "networks": [MachineNetwork("private", "fa:16:3e:00:00:01")],
        "metadata": {"role": "web"},
        "security_groups": ["default"],
        "availability_zone": "nova",
    }
    return MachineSpec(server_id=server_id, **known | fields)


@dataclass
class Images:
    """An image service in memory; `fail` answers that many reads with an error first."""

    contents: dict[str, bytes] = field(default_factory=dict)
    has_digests: bool = True
    fail: int = 0
    reads: list[tuple[str, int, int]] = field(default_factory=list)

    def digests(self, image_id: str) -> bytes | None:
        content = self.contents[image_id]
        if not self.has_digests:
            return None
        return b"".join(hashlib.sha256(content[at : at + MIB]).digest() for at in range(0, len(content), MIB))

    def read(self, image_id: str, first: int, length: int) -> bytes:
        self.reads.append((image_id, first, length))
        if self.fail:
            self.fail -= 1
            raise ServerUnreachable("images", "it is gone")
        return self.contents[image_id][first : first + length]

    def whole(self, image_id: str) -> Iterator[bytes]:
        content = self.contents[image_id]
        for at in range(0, len(content), 100_000):
            yield content[at : at + 100_000]


@dataclass
class Compute:
    """The compute API: gives every task it has until it is told the outcome."""

    machines: list[str] = field(default_factory=lambda: [SERVER])
    tasks: dict[str, HostTask] = field(default_factory=dict)
    outcomes: list[TaskOutcome] = field(default_factory=list)
    reports: list[MachineReport] = field(default_factory=list)
    registrations: int = 0
    lease_seconds: float = 0.3
    away: bool = False
    fenced: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, action: MachineAction, server_id: str = SERVER, **fields: object) -> str:
        with self.changed:
            task = HostTask(f"task{len(self.tasks) + len(self.outcomes)}", server_id, action, **fields)  # type: ignore[arg-type]
            self.tasks[task.id] = task
            self.changed.notify_all()
            return task.id

    def register(self, registration: HostRegistration) -> HostRegistered:
        self.registrations += 1
        self.fenced = False
        return HostRegistered("host", self.registrations, self.machines, self.lease_seconds)

    def report(self, host_id: str, report: HostReport) -> HostInstructions:
        if self.away:
            raise ServerUnreachable("compute", "it is gone")
        if self.fenced:
            raise NotFound("POST", "/host", 404, "register anew")
        with self.changed:
            for outcome in report.outcomes:
                if self.tasks.pop(outcome.task_id, None) is not None:
                    self.outcomes.append(outcome)
            self.reports += report.machines
            self.changed.notify_all()
            held = report.holding
            self.changed.wait_for(
                lambda: self.fenced or any(task not in held for task in self.tasks), report.wait_seconds
            )
            if self.fenced:
                raise NotFound("POST", "/host", 404, "register anew")
            return HostInstructions([task for task in self.tasks.values() if task.id not in held])

    def fence(self) -> None:
        """The host was lost, and its machines were started elsewhere."""
        with self.changed:
            self.machines, self.fenced = [], True
            self.changed.notify_all()

    def outcome(self, task_id: str) -> TaskOutcome:
        wait_until(lambda: any(each.task_id == task_id for each in self.outcomes), f"the outcome of {task_id}")
        return next(each for each in self.outcomes if each.task_id == task_id)
