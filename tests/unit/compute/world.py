"""A cell without processes: SQLite in a folder, images in memory, a clock that is set, and obedient hosts."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from uuid import uuid4

import sqlalchemy
from sqlalchemy.orm import Session

from objstore.compute.core import hosts
from objstore.compute.core.context import ComputeContext, ComputeLimits, SqlRunner
from objstore.compute.core.create import NewServers, create_servers
from objstore.compute.errors import no_such
from objstore.compute.model.tables import Base, FlavorRow, ServerRow
from objstore.compute.protocol import (
    HostRegistration,
    HostReport,
    HostTask,
    MachineAction,
    MachineAddress,
    MachineReport,
    PowerState,
    TaskOutcome,
)
from objstore.compute.scheduler.placer import Placer

T = TypeVar("T")
IMAGE = "11111111-1111-4111-8111-111111111111"
START = datetime.datetime(2026, 1, 1)
POWER_AFTER = {
    MachineAction.STOP: PowerState.SHUTDOWN,
    MachineAction.PAUSE: PowerState.PAUSED,
    MachineAction.SUSPEND: PowerState.SUSPENDED,
}


@dataclass
class MemoryImages:
    """The image service, without rights."""

    documents: dict[str, dict[str, Any]] = field(default_factory=dict)

    def show(self, token: str, image_id: str) -> dict[str, Any]:
        if image_id not in self.documents:
            raise no_such("image", image_id)
        return self.documents[image_id]

    def list(self, token: str, query: dict[str, str]) -> list[dict[str, Any]]:
        return list(self.documents.values())

    def create(self, token: str, document: dict[str, Any]) -> dict[str, Any]:
        image = {"id": str(uuid4()), "status": "queued", **document}
        self.documents[image["id"]] = image
        return image

    def delete(self, token: str, image_id: str) -> None:
        self.documents.pop(image_id, None)

    def service_token(self) -> str:
        return "service"


@dataclass(frozen=True)
class PlainUser:
    """Who asks."""

    user_id: str = "user"
    project_id: str | None = "project"
    is_admin: bool = False
    token: str = "token"


class PlainSql:
    """SQLite in a file."""

    def __init__(self, path: Path) -> None:
        self.engine = sqlalchemy.create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})
        sqlalchemy.event.listen(self.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous = OFF"))
        Base.metadata.create_all(self.engine)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    def run(self, work: Callable[[Session], T]) -> T:
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            return work(session)


class ObedientHost:
    """An agent whose machines are states only. `fail` says which actions do not succeed."""

    def __init__(self, world: CellWorld, name: str, **registration: Any) -> None:
        self.world = world
        given = {"driver": "fake", "vcpus": 8, "ram_mb": 8192, "disk_gb": 100, "features": list(MachineAction)}
        self.registration = HostRegistration(name=name, **(given | registration))
        self.fail: dict[MachineAction, str] = {}
        self.machines: dict[str, PowerState] = {}
        self.done: list[HostTask] = []
        self.register()

    def register(self) -> None:
        registered = hosts.register(self.world.context, self.registration)
        self.id = registered.host_id
        self.machines = {name: power for name, power in self.machines.items() if name in registered.machines}

    def report(self, **report: Any) -> list[HostTask]:
        return hosts.report(self.world.context, self.id, HostReport(**report), polls_max=1).tasks

    def work(self) -> None:
        """Do what there is to do."""
        while tasks := self.report():
            for task in tasks:
                self.report(outcomes=[self.do(task)])

    def do(self, task: HostTask) -> TaskOutcome:
        self.done.append(task)
        if error := self.fail.get(task.action):
            return TaskOutcome(task.id, False, error)
        if task.action == MachineAction.DELETE:
            self.machines.pop(task.server_id, None)
            return TaskOutcome(task.id, True)
        if task.action == MachineAction.SNAPSHOT:
            assert task.image_id is not None
            self.world.images.documents[task.image_id] |= {"status": "active", "size": 1, "os_hash_value": "ab"}
        elif task.action == MachineAction.CONSOLE:
            return TaskOutcome(task.id, True, output="hello\n")
        else:
            self.machines[task.server_id] = POWER_AFTER.get(task.action, PowerState.RUNNING)
        power = self.machines[task.server_id]
        address = MachineAddress("private", "10.0.2.15", "fa:16:3e:00:00:01")
        return TaskOutcome(task.id, True, machine=MachineReport(task.server_id, power, [address]))


class CellWorld:
    """One cell."""

    def __init__(self, sql: SqlRunner, **limits: Any) -> None:
        self.time = START
        self.images = MemoryImages()
        self.images.documents[IMAGE] = {
            "id": IMAGE,
            "status": "active",
            "name": "guest",
            "size": 1 << 20,
            "min_disk": 0,
        }
        self.sql = sql
        self.context = ComputeContext(self.sql, self.images, ComputeLimits(**limits), now=lambda: self.time)
        self.placer = Placer(self.context, random=Random(1))
        self.user = PlainUser()
        self.sql.run(
            lambda session: session.add_all(
                [
                    FlavorRow(id="1", name="m1.tiny", vcpus=1, ram_mb=512, disk_gb=1),
                    FlavorRow(id="2", name="m1.small", vcpus=2, ram_mb=2048, disk_gb=20),
                ]
            )
        )

    def later(self, seconds: float) -> None:
        self.time += datetime.timedelta(seconds=seconds)

    def create(self, **wanted: Any) -> str:
        given = {"name": "web", "image_id": IMAGE, "flavor_id": "1"} | wanted
        return create_servers(self.context, self.user, NewServers(**given), "req-1")[0].id

    def active(self, host: ObedientHost, **wanted: Any) -> str:
        """A server that was built on a host."""
        server = self.create(**wanted)
        self.placer.step()
        host.work()
        assert self.server(server).vm_state == "active", self.server(server).fault
        return server

    def server(self, server_id: str) -> ServerRow:
        with self.sql.reading() as session:
            row = session.get(ServerRow, server_id)
            assert row is not None
            session.expunge(row)
            return row
