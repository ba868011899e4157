"""What follows from a task's outcome: the next state of the server, and the next task where there is one."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy.orm import Session as SqlSession

from objstore.compute.core.actions import begin, mark_deleted, remove
from objstore.compute.core.context import ComputeContext, change, claim, fault_of, finish_action, power_of, release
from objstore.compute.core.states import (
    ACTIONS,
    ACTIVE,
    ERROR,
    OFFLOADED,
    PAUSED,
    RESIZED,
    SCHEDULING,
    SHELVED,
    STOPPED,
    SUSPENDED,
)
from objstore.compute.model.tables import HostRow, ServerRow, TaskRow
from objstore.compute.protocol import MachineAction, MachineReport, PowerState, TaskOutcome


def apply_outcome(session: SqlSession, context: ComputeContext, task: TaskRow, outcome: TaskOutcome) -> str | None:
    """The change that an outcome makes; the id of an image that is to be deleted, if a snapshot failed.

    Raises StateConflict when another request changes the server at this moment: the host reports again.
    """
    row = session.get(ServerRow, task.server_id, populate_existing=True)
    if task.kind == "build":
        _built(session, task.host_id, failed=not outcome.succeeded)
    if row is None or row.deleted_at is not None or row.host_id != task.host_id:
        return _image_of(task) if not outcome.succeeded else None
    if task.kind == "delete":
        if outcome.succeeded:
            mark_deleted(session, context, row)
        else:
            change(session, context, row, vm_state=ERROR, task_state=None, fault=fault_of(context, outcome.error))
            finish_action(session, context, row, outcome.error)
    elif task.kind == "build":
        _after_build(session, context, row, outcome)
    elif task.kind in ACTIONS and row.task_state == ACTIONS[task.kind].task_state:
        _after_action(session, context, row, task, outcome)
    if outcome.machine is not None and row.deleted_at is None:
        apply_report(session, context, row, outcome.machine)
    return _image_of(task) if not outcome.succeeded else None


def _image_of(task: TaskRow) -> str | None:
    """The image that a snapshot's task was to fill."""
    body: dict[str, Any] = msgspec.json.decode(task.body)
    return body.get("image_id")


def _built(session: SqlSession, host_id: str, failed: bool) -> None:
    host = session.get(HostRow, host_id, populate_existing=True)
    if host is not None:
        host.building = max(0, host.building - 1)
        host.failed_builds = host.failed_builds + 1 if failed else 0
        session.flush()


def _after_build(session: SqlSession, context: ComputeContext, row: ServerRow, outcome: TaskOutcome) -> None:
    if row.task_state not in ("spawning", "unshelving"):
        return
    now = context.now()
    if outcome.succeeded:
        change(
            session,
            context,
            row,
            vm_state=ACTIVE,
            task_state=None,
            power_state=PowerState.RUNNING,
            progress=100,
            fault=None,
            launched_at=row.launched_at or now,
            admin_password=None,
            tried_hosts=[],
        )
        finish_action(session, context, row)
        return
    release(session, row)
    again = row.attempts < context.limits.build_attempts and not outcome.unsupported
    values: dict[str, Any] = {"host_id": None, "tried_hosts": [*row.tried_hosts, row.host_id]}
    if again:
        change(session, context, row, task_state=SCHEDULING, **values)
    elif row.task_state == "unshelving":
        finish_action(session, context, row, outcome.error)
        change(session, context, row, task_state=None, vm_state=OFFLOADED, **values)
    else:
        finish_action(session, context, row, outcome.error)
        text = f"Build failed on {row.attempts} of {context.limits.build_attempts} tries; the last: {outcome.error}"
        change(session, context, row, vm_state=ERROR, task_state=None, fault=fault_of(context, text), **values)


def _after_action(
    session: SqlSession, context: ComputeContext, row: ServerRow, task: TaskRow, outcome: TaskOutcome
) -> None:
    action = ACTIONS[task.kind]
    if not outcome.succeeded:
        _failed(session, context, row, task, outcome)
        return
    if task.kind == "shelve":
        change(session, context, row, vm_state=STOPPED, power_state=PowerState.SHUTDOWN)
        begin(session, context, row, "shelve_image", task.request_id, {"image_id": row.last_snapshot})
        return
    values: dict[str, Any] = {"task_state": None, "progress": 100, "admin_password": None}
    if action.leads_to is not None:
        values |= {"vm_state": action.leads_to, "power_state": power_of(action.leads_to), "fault": None}
    if task.kind in ("confirmResize", "revertResize"):
        stopped = (row.old_flavor or {}).get("vm_state") == STOPPED
        values["old_flavor"] = None
        if stopped and task.kind == "revertResize":
            values |= {"vm_state": STOPPED, "power_state": PowerState.SHUTDOWN}
    if task.kind == "rebuild":
        values["launched_at"] = context.now()
    if task.kind == "createImage":
        values["last_snapshot"] = _image_of(task)
    if task.kind == "restore":
        values["terminated_at"] = None
    if action.leads_to == OFFLOADED:
        release(session, row)
        finish_action(session, context, row)
        values |= {"host_id": None, "addresses": []}
    if action.leads_to != SHELVED:
        finish_action(session, context, row)
    change(session, context, row, **values)
    if action.leads_to == SHELVED:
        begin(session, context, row, "shelveOffload", task.request_id)


def _failed(session: SqlSession, context: ComputeContext, row: ServerRow, task: TaskRow, outcome: TaskOutcome) -> None:
    """The server stays in the state it was in if it still runs or rests there, and is in ERROR if it is lost."""
    finish_action(session, context, row, outcome.error)
    values: dict[str, Any] = {"task_state": None, "fault": fault_of(context, outcome.error)}
    if task.kind in ("resize", "revertResize"):
        kept = {key: value for key, value in (row.old_flavor or {}).items() if key != "vm_state"}
        if task.kind == "resize" and kept:
            claim(session, row.host_id, row.flavor, -1)
            claim(session, row.host_id, kept)
            values |= {"flavor": kept, "old_flavor": None}
        else:
            values["vm_state"] = ERROR
    elif task.kind in ("rebuild", "rescue", "unrescue", "shelveOffload") and not outcome.unsupported:
        values["vm_state"] = ERROR
    change(session, context, row, **values)


def apply_report(session: SqlSession, context: ComputeContext, row: ServerRow, report: MachineReport) -> None:
    """How a machine is. One that went off by itself is stopped, or deleted if that is what its owner asked for."""
    values: dict[str, Any] = {}
    addresses = [
        {"network": each.network, "address": each.address, "mac": each.mac, "version": each.version}
        for each in report.addresses
    ]
    if addresses and addresses != row.addresses:
        values["addresses"] = addresses
    if report.degraded != row.degraded:
        values["degraded"] = report.degraded[:1000]
    if report.power != row.power_state and row.vm_state != RESIZED:
        values["power_state"] = int(report.power)
        state = _state_by_power(row, report.power)
        if row.task_state is None and state is not None:
            values["vm_state"] = state
    if values:
        change(session, context, row, **values)
    if values.get("vm_state") == STOPPED and row.shutdown_behavior == "terminate":
        remove(session, context, row)


def _state_by_power(row: ServerRow, power: PowerState) -> str | None:
    """The vm_state that a machine has come into without being told; None: it stays as it is."""
    if row.vm_state == ACTIVE:
        return {
            PowerState.SHUTDOWN: STOPPED,
            PowerState.CRASHED: STOPPED,
            PowerState.NONE: STOPPED,
            PowerState.PAUSED: PAUSED,
            PowerState.SUSPENDED: SUSPENDED,
        }.get(power)
    if power == PowerState.RUNNING and row.vm_state in (STOPPED, PAUSED, SUSPENDED):
        return ACTIVE
    return None


WAITED_FOR = frozenset({MachineAction.CONSOLE.value, MachineAction.DIAGNOSTICS.value})
