"""Hosts: they register, report, get their tasks; and those that are lost are fenced."""

from __future__ import annotations

import datetime
import random
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session as SqlSession

from objstore.compute.core.actions import remove
from objstore.compute.core.context import ComputeContext, change, count_servers, fault_of, new_id, release, wake
from objstore.compute.core.create import image_copy
from objstore.compute.core.outcomes import WAITED_FOR, apply_outcome, apply_report
from objstore.compute.core.specs import machine_spec, wants_restart
from objstore.compute.core.states import ERROR, SCHEDULING, SOFT_DELETED
from objstore.compute.errors import ComputeError, InvalidRequest, StateConflict, no_such
from objstore.compute.model.tables import HostRow, ServerRow, TaskRow
from objstore.compute.protocol import (
    REPORTS_MAX,
    TASKS_MAX,
    WAIT_SECONDS_MAX,
    HostInstructions,
    HostRegistered,
    HostRegistration,
    HostReport,
    HostTask,
)
from objstore.logs import get_logger

PAUSE_SECONDS: Final = 5.0
DONE_KEPT_HOURS: Final = 24
LOG: Final = get_logger("compute")


def register(context: ComputeContext, given: HostRegistration) -> HostRegistered:
    """A host's agent has started. The host keeps its id and its servers; a fenced one may work again."""

    def work(session: SqlSession) -> HostRegistered:
        now = context.now()
        row = session.scalars(select(HostRow).where(HostRow.name == given.name)).one_or_none()
        if row is None:
            row = HostRow(
                id=new_id(), name=given.name, generation=0, created_at=now, sample=random.random(), seen_at=now
            )
            session.add(row)
        for name in ("driver", "address", "architecture", "accelerator", "hypervisor_version", "features"):
            setattr(row, name, getattr(given, name))
        row.vcpus, row.ram_mb, row.disk_gb = given.vcpus, given.ram_mb, given.disk_gb
        row.availability_zone = given.availability_zone
        row.fenced, row.seen_at, row.failed_builds = False, now, 0
        row.generation = (row.generation or 0) + 1
        session.flush()
        row.building = _builds_of(session, row.id)
        servers = session.scalars(
            select(ServerRow).where(ServerRow.host_id == row.id, ServerRow.deleted_at.is_(None))
        ).all()
        movable = [each.id for each in servers if wants_restart(each)]
        names = [each.id for each in servers]
        return HostRegistered(row.id, row.generation, names, context.limits.lease_seconds, movable)

    registered: HostRegistered = context.run(work)
    return registered


def _builds_of(session: SqlSession, host_id: str) -> int:
    wanted = select(func.count()).select_from(TaskRow)
    return session.scalar(wanted.where(TaskRow.host_id == host_id, TaskRow.kind == "build", ~TaskRow.done)) or 0


def report(context: ComputeContext, host_id: str, given: HostReport, polls_max: int) -> HostInstructions:
    """Take in what changed, and give the tasks the host does not hold: at once, or when there are some.

    Raises NoSuch for a host that is not known or was fenced, InvalidRequest for a report that is too long.
    """
    if len(given.machines) > REPORTS_MAX or len(given.outcomes) > REPORTS_MAX:
        raise InvalidRequest(f"A report has at most {REPORTS_MAX} machines and outcomes.")
    context.database.run(lambda session: _seen(session, context, host_id))
    for outcome in given.outcomes:
        doomed = context.run(partial(_take_outcome, context=context, host_id=host_id, outcome=outcome))
        if doomed:
            _delete_image(context, doomed)
    if given.machines or given.progress:
        context.run(lambda session: _take_reports(session, context, host_id, given))
    holding = frozenset(given.holding)

    def look() -> list[HostTask]:
        tasks: list[HostTask] = context.read(partial(_tasks, host_id=host_id, holding=holding))
        return tasks

    wait = min(given.wait_seconds, WAIT_SECONDS_MAX, context.limits.host_down_seconds / 3)
    if wait > 0 and context.signal.waiting >= polls_max:
        return HostInstructions(look(), PAUSE_SECONDS)
    return HostInstructions(context.signal.wait_until(host_id, look, wait))


def _seen(session: SqlSession, context: ComputeContext, host_id: str) -> None:
    row = session.get(HostRow, host_id)
    if row is None or row.fenced:
        raise no_such("host", host_id)
    row.seen_at = context.now()


def _take_outcome(session: SqlSession, context: ComputeContext, host_id: str, outcome: Any) -> str | None:
    """Raises StateConflict, on which the host reports again."""
    task = session.get(TaskRow, outcome.task_id)
    if task is None or task.done or task.host_id != host_id:
        return None
    task.done = True
    session.flush()
    if task.kind in WAITED_FOR:
        wake(session, task.id)
        task.outcome = msgspec.json.encode(outcome).decode()
        return None
    return apply_outcome(session, context, task, outcome)


def _take_reports(session: SqlSession, context: ComputeContext, host_id: str, given: HostReport) -> None:
    named = {each.server_id: each for each in given.machines}
    ids = [*named, *given.progress]
    rows = session.scalars(select(ServerRow).where(ServerRow.id.in_(ids), ServerRow.host_id == host_id))
    for row in rows.all():
        if row.deleted_at is None and row.id in named:
            apply_report(session, context, row, named[row.id])
        if row.deleted_at is None and row.id in given.progress:
            change(session, context, row, progress=max(0, min(100, given.progress[row.id])))


def _tasks(session: SqlSession, host_id: str, holding: frozenset[str]) -> list[HostTask]:
    """The oldest tasks that are not done and not in the host's journal, with the machines as they shall be."""
    wanted = select(TaskRow).where(TaskRow.host_id == host_id, TaskRow.done.is_(False)).order_by(TaskRow.sequence)
    rows = [row for row in session.scalars(wanted.limit(TASKS_MAX + len(holding))) if row.id not in holding]
    found = []
    for row in rows[:TASKS_MAX]:
        server = session.get(ServerRow, row.server_id)
        task = msgspec.json.decode(row.body, type=HostTask)
        machine = machine_spec(server) if server is not None and row.kind != "delete" else None
        found.append(msgspec.structs.replace(task, machine=machine))
    return found


def _delete_image(context: ComputeContext, image_id: str) -> None:
    """A snapshot failed: nobody is left with an image that is queued for ever."""
    try:
        context.images.delete(context.images.service_token(), image_id)
    except ComputeError as error:
        LOG.warning("the image of a failed snapshot could not be deleted", image=image_id, reason=str(error))


def keep(context: ComputeContext) -> int:
    """One round of what only the leader does; how much there was to do."""
    lost: list[str] = context.run(lambda session: _fence(session, context))
    for host_id in lost:
        LOG.warning("a host is lost and was fenced", host=host_id)
    moved = sum(start_elsewhere(context, server_id) for server_id in context.read(_homeless(context)))
    reclaimed = context.run(lambda session: _reclaim(session, context))
    return len(lost) + moved + int(reclaimed)


def _fence(session: SqlSession, context: ComputeContext) -> list[str]:
    """Hosts that were silent beyond their lease: they have stopped what may start elsewhere, and must register anew."""
    oldest = context.now() - datetime.timedelta(seconds=context.limits.lease_seconds + context.limits.host_down_seconds)
    rows = session.scalars(select(HostRow).where(HostRow.seen_at < oldest, HostRow.fenced.is_(False))).all()
    for row in rows:
        row.fenced = True
        row.generation += 1
    return [row.id for row in rows]


def _homeless(context: ComputeContext) -> Any:
    """Servers on fenced hosts whose owners asked for a restart, and that have a snapshot to start from."""

    def work(session: SqlSession) -> list[str]:
        found = session.scalars(
            select(ServerRow)
            .join(HostRow, HostRow.id == ServerRow.host_id)
            .where(HostRow.fenced, ServerRow.deleted_at.is_(None), ServerRow.last_snapshot.is_not(None))
        )
        return [row.id for row in found if wants_restart(row)]

    return work


def start_elsewhere(context: ComputeContext, server_id: str) -> int:
    """Take a server off its lost host, and place it again from its last snapshot; 0 if that cannot be done now."""
    try:
        snapshot = context.read(
            lambda session: session.scalar(select(ServerRow.last_snapshot).where(ServerRow.id == server_id))
        )
        if snapshot is None:
            return 0
        image = image_copy(context.images.show(context.images.service_token(), snapshot))
    except ComputeError as error:
        LOG.warning("a server cannot be restarted elsewhere", server=server_id, reason=str(error))
        return 0

    def work(session: SqlSession) -> int:
        row = session.get(ServerRow, server_id)
        host = session.get(HostRow, row.host_id) if row is not None and row.host_id else None
        if row is None or host is None or not host.fenced or image["hash_value"] == "":
            return 0
        for task in session.scalars(select(TaskRow).where(TaskRow.server_id == server_id, ~TaskRow.done)):
            task.done = True
        release(session, row)
        change(
            session,
            context,
            row,
            host_id=None,
            vm_state=ERROR,
            task_state=SCHEDULING,
            image=image,
            attempts=0,
            tried_hosts=[host.id],
            fault=fault_of(context, f"Host {host.name} was lost; starting elsewhere from image {snapshot}."),
        )
        return 1

    try:
        return int(context.run(work))
    except StateConflict:
        return 0  # the next round sees how it is then


def _reclaim(session: SqlSession, context: ComputeContext) -> int:
    """Remove servers that were deleted softly and whose time is over; forget tasks that were done long ago."""
    oldest = context.now() - datetime.timedelta(seconds=context.limits.reclaim_seconds)
    rows = session.scalars(
        select(ServerRow).where(
            ServerRow.vm_state == SOFT_DELETED, ServerRow.task_state.is_(None), ServerRow.terminated_at < oldest
        )
    ).all()
    for row in rows:
        remove(session, context, row)
    old = context.now() - datetime.timedelta(hours=DONE_KEPT_HOURS)
    session.execute(TaskRow.__table__.delete().where(TaskRow.done, TaskRow.created_at < old))  # type: ignore[attr-defined]
    return len(rows)


def forget(session: SqlSession, host_id: str) -> None:
    """Remove a host that has no servers. Raises NoSuch, StateConflict."""
    row = session.get(HostRow, host_id)
    if row is None:
        raise no_such("host", host_id)
    if count_servers(session, host_id):
        raise StateConflict(f"Unable to delete compute service that is hosting instances: {row.name}")
    session.execute(TaskRow.__table__.delete().where(TaskRow.host_id == host_id))  # type: ignore[attr-defined]
    session.execute(ServerRow.__table__.update().where(ServerRow.host_id == host_id).values(host_id=None))  # type: ignore[attr-defined]
    session.delete(row)
