"""What every operation on servers needs, and the few things they all do."""

from __future__ import annotations

import base64
import datetime
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from uuid import uuid4

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session as SqlSession

from objstore.compute.core import states
from objstore.compute.core.metering import meter
from objstore.compute.errors import StateConflict, no_such
from objstore.compute.model.tables import ActionRow, HostRow, ServerRow, TaskRow
from objstore.compute.protocol import HostTask

WAIT_STEP_SECONDS: Final = 1.0  # how late what another process wrote is noticed
PLACEMENT: Final = "placement"


class Requester(Protocol):
    """Who asks: what operations need to know of a caller."""

    @property
    def user_id(self) -> str: ...
    @property
    def project_id(self) -> str | None: ...
    @property
    def is_admin(self) -> bool: ...
    @property
    def token(self) -> str: ...


class SqlRunner(Protocol):
    """Runs a function in one transaction, and again when another was in its way; see objstore.cloud.database."""

    def run(self, work: Callable[[SqlSession], Any]) -> Any: ...
    def reading(self) -> AbstractContextManager[SqlSession]: ...


class Images(Protocol):
    """The image service, as a user with a token sees it. Raises NoSuch, NotPermitted, OverQuota, ImageServiceFailed."""

    def show(self, token: str, image_id: str) -> dict[str, Any]: ...
    def list(self, token: str, query: dict[str, str]) -> list[dict[str, Any]]: ...
    def create(self, token: str, document: dict[str, Any]) -> dict[str, Any]: ...
    def delete(self, token: str, image_id: str) -> None: ...
    def service_token(self) -> str: ...


class Signal:
    """Wakes the threads of this process that wait for something in the database, by topic.

    Topics are the id of a host that has a new task, the id of a task that has an outcome, and PLACEMENT.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[threading.Event]] = {}

    @property
    def waiting(self) -> int:
        """How many topics are waited for."""
        return len(self._waiting)

    def set(self, topics: Iterable[str]) -> None:
        """Something was written."""
        with self._lock:
            for topic in topics:
                for event in self._waiting.get(topic, ()):
                    event.set()

    def wait_until(self, topic: str, ready: Callable[[], Any], seconds: float) -> Any:
        """What `ready` gives as soon as that is true in the sense of Python, or its last result after so long."""
        deadline, event = time.monotonic() + seconds, threading.Event()
        with self._lock:
            self._waiting.setdefault(topic, []).append(event)
        try:
            while not (found := ready()) and (left := deadline - time.monotonic()) > 0:
                event.wait(min(left, WAIT_STEP_SECONDS))
                event.clear()
            return found
        finally:
            with self._lock:
                self._waiting[topic].remove(event)
                if not self._waiting[topic]:
                    del self._waiting[topic]


def wake(session: SqlSession, topic: str) -> None:
    """Set a signal's topic when the transaction is stored."""
    session.info.setdefault("topics", set()).add(topic)


@dataclass(frozen=True)
class ComputeLimits:
    """What operators may set; see compute-api.toml."""

    quotas: dict[str, int] = field(default_factory=dict)
    host_down_seconds: float = 60.0
    lease_seconds: float = 120.0
    reclaim_seconds: float = 0.0
    build_attempts: int = 3
    zone: str = "nova"


def utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


@dataclass
class ComputeContext:
    """The database, the image service, the clock and the settings."""

    database: SqlRunner
    images: Images
    limits: ComputeLimits = field(default_factory=ComputeLimits)
    now: Callable[[], datetime.datetime] = utc_now
    signal: Signal = field(default_factory=Signal)

    def run(self, work: Callable[[SqlSession], Any]) -> Any:
        """One transaction; whoever waits for what it wrote is woken."""
        topics: set[str] = set()

        def noting(session: SqlSession) -> Any:
            result = work(session)
            topics.update(session.info.get("topics", ()))
            return result

        result = self.database.run(noting)
        self.signal.set(topics)
        return result

    def read(self, work: Callable[[SqlSession], Any]) -> Any:
        """One transaction that only reads."""
        with self.database.reading() as session:
            return work(session)

    def is_up(self, host: HostRow) -> bool:
        """Whether a host can be given work."""
        silent = (self.now() - host.seen_at).total_seconds()
        return not (host.forced_down or host.fenced) and silent < self.limits.host_down_seconds


def new_id() -> str:
    return str(uuid4())


def new_password() -> str:
    return base64.b32encode(secrets.token_bytes(10)).decode().rstrip("=")


def instance_id_of(uuid: str) -> str:
    """The EC2 id of a server: the first 17 hex digits of its UUID, of which 6 bits are fixed."""
    return f"i-{uuid.replace('-', '')[:17]}"


def get_server(session: SqlSession, requester: Requester, server_id: str, deleted: bool = False) -> ServerRow:
    """A server that the caller may see. Raises NoSuch, and the same NoSuch for one of another project."""
    row = session.get(ServerRow, server_id)
    if row is None or (row.deleted_at is not None and not deleted):
        raise no_such("instance", server_id)
    if row.project_id != requester.project_id and not requester.is_admin:
        raise no_such("instance", server_id)
    return row


def change(session: SqlSession, context: ComputeContext, row: ServerRow, **values: Any) -> None:
    """Write a server's state if nobody else has since it was read. Raises StateConflict.

    Its interval of usage ends or begins with it.
    """
    now = context.now()
    values |= {"generation": row.generation + 1, "updated_at": now}
    session.flush()
    done = session.execute(
        update(ServerRow)
        .where(ServerRow.id == row.id, ServerRow.generation == row.generation)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    if done.rowcount != 1:  # type: ignore[attr-defined]
        raise StateConflict("The server was changed by another request; try again.")
    session.refresh(row)
    if row.task_state == states.SCHEDULING:
        wake(session, PLACEMENT)
    meter(session, row, now)


def queue_task(
    session: SqlSession, context: ComputeContext, row: ServerRow, kind: str, task: HostTask, request_id: str = ""
) -> None:
    """Give the server's host something to do. Raises StateConflict if it is on none."""
    if row.host_id is None:
        raise StateConflict("The server is on no host.")
    wake(session, row.host_id)
    session.add(
        TaskRow(
            id=task.id,
            sequence=time.time_ns(),
            host_id=row.host_id,
            server_id=row.id,
            kind=kind,
            body=msgspec.json.encode(task).decode(),
            request_id=request_id,
            created_at=context.now(),
            done=False,
        )
    )


def record_action(
    session: SqlSession, context: ComputeContext, row: ServerRow, action: str, requester: Requester, request_id: str
) -> None:
    """An entry of os-instance-actions, open until `finish_action`."""
    session.add(
        ActionRow(
            server_id=row.id,
            action=action,
            request_id=request_id,
            user_id=requester.user_id,
            project_id=requester.project_id or "",
            started_at=context.now(),
        )
    )


def finish_action(session: SqlSession, context: ComputeContext, row: ServerRow, message: str | None = None) -> None:
    """Close the server's open entries, with what went wrong if something did."""
    host = session.get(HostRow, row.host_id) if row.host_id else None
    session.execute(
        update(ActionRow)
        .where(ActionRow.server_id == row.id, ActionRow.finished_at.is_(None))
        .values(finished_at=context.now(), message=message, host=host.name if host else None)
        .execution_options(synchronize_session=False)
    )


def release(session: SqlSession, row: ServerRow, flavor: dict[str, Any] | None = None, machine: bool = True) -> None:
    """Give back what a server took of its host; with `flavor`, that much of it."""
    claim(session, row.host_id, row.flavor if flavor is None else flavor, -1, servers=-1 if machine else 0)


def claim(session: SqlSession, host_id: str | None, flavor: dict[str, Any], sign: int = 1, servers: int = 0) -> None:
    """Take what a flavor needs of a host, or give it back, whatever is free there."""
    disk = flavor["disk_gb"] + flavor["ephemeral_gb"]
    session.execute(
        update(HostRow)
        .where(HostRow.id == host_id)
        .values(
            vcpus_used=HostRow.vcpus_used + sign * flavor["vcpus"],
            ram_mb_used=HostRow.ram_mb_used + sign * flavor["ram_mb"],
            disk_gb_used=HostRow.disk_gb_used + sign * disk,
            servers=HostRow.servers + servers,
            generation=HostRow.generation + 1,
        )
        .execution_options(synchronize_session=False)
    )


def count_servers(session: SqlSession, host_id: str) -> int:
    """How many servers a host has."""
    wanted = select(func.count()).where(ServerRow.host_id == host_id, ServerRow.deleted_at.is_(None))
    return int(session.scalar(wanted) or 0)


def power_of(vm_state: str) -> int:
    return int(states.POWER_OF.get(vm_state, 0))


def fault_of(context: ComputeContext, error: Exception | str, code: int = 500) -> dict[str, Any]:
    """A server's fault, as clients see it."""
    text = str(error)
    created = f"{context.now():%Y-%m-%dT%H:%M:%SZ}"
    return {"code": code, "message": text[:255], "details": text[:4000], "created": created}
