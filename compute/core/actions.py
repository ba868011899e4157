"""What callers do to servers that exist. The host's part is queued; the state changes in the same transaction."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session as SqlSession

from objstore.compute.core import quotas
from objstore.compute.core.context import (
    ComputeContext,
    Requester,
    change,
    claim,
    finish_action,
    get_server,
    new_id,
    new_password,
    queue_task,
    record_action,
    release,
)
from objstore.compute.core.create import check_fit, flavor_for, hostname_of, image_copy
from objstore.compute.core.states import (
    ACTIONS,
    ACTIVE,
    BUILDING,
    DELETED,
    ERROR,
    OFFLOADED,
    SCHEDULING,
    SHELVED,
    SOFT_DELETED,
    STOPPED,
    ServerAction,
)
from objstore.compute.errors import ComputeError, InvalidRequest, NotOffered, NotPermitted, StateConflict
from objstore.compute.model.tables import HostRow, ServerRow, TaskRow
from objstore.compute.protocol import HostTask, MachineAction, TaskOutcome

ANSWER_SECONDS: Final = 30.0  # within which a host answers what a client waits for
RESET_STATES: Final = {"active": ACTIVE, "error": ERROR}


def check_action(row: ServerRow, requester: Requester, action: ServerAction) -> None:
    """Raises StateConflict if the server is locked, busy, or in a state in which the action cannot begin."""
    check_unlocked(row, requester)
    if row.task_state is not None:
        raise StateConflict(f"Cannot '{action.name}' instance {row.id} while it is in task_state {row.task_state}")
    if row.vm_state not in action.begins_in:
        raise StateConflict(f"Cannot '{action.name}' instance {row.id} while it is in vm_state {row.vm_state}")


def check_unlocked(row: ServerRow, requester: Requester) -> None:
    """Raises StateConflict for a server that its owner locked, unless an administrator asks."""
    if row.locked_by is not None and not requester.is_admin:
        raise StateConflict(f"Instance {row.id} is locked")


def check_offered(session: SqlSession, row: ServerRow, action: MachineAction) -> None:
    """Raises NotOffered if the driver of the server's host cannot do it."""
    host = session.get(HostRow, row.host_id) if row.host_id else None
    if host is not None and action.value not in host.features:
        raise NotOffered(f"The host's driver {host.driver} does not offer {action.value}.")


def act(
    context: ComputeContext,
    requester: Requester,
    server_id: str,
    key: str,
    request_id: str,
    task: dict[str, Any] | None = None,
    **values: Any,
) -> ServerRow:
    """Begin an action of states.ACTIONS; `task` has more fields of the host's task, `values` of the row.

    Raises NoSuch, StateConflict, NotOffered.
    """
    action = ACTIONS[key]

    def work(session: SqlSession) -> ServerRow:
        row = get_server(session, requester, server_id)
        check_action(row, requester, action)
        check_offered(session, row, action.machine_action)
        record_action(session, context, row, action.name, requester, request_id)
        begin(session, context, row, key, request_id, task, **values)
        session.expunge(row)
        return row

    done: ServerRow = context.run(work)
    return done


def begin(
    session: SqlSession,
    context: ComputeContext,
    row: ServerRow,
    key: str,
    request_id: str,
    task: dict[str, Any] | None = None,
    **values: Any,
) -> None:
    """Queue an action's task and set its task_state. Raises StateConflict."""
    action = ACTIONS[key]
    change(session, context, row, task_state=action.task_state, progress=0, **values)
    fields = {"hard": key == "reboot_hard"} | (task or {})
    queue_task(session, context, row, key, HostTask(new_id(), row.id, action.machine_action, **fields), request_id)


def delete(context: ComputeContext, requester: Requester, server_id: str, request_id: str, force: bool = False) -> None:
    """Delete a server, or stop it and keep it for the reclaim interval. Raises NoSuch, StateConflict, NotPermitted.

    A snapshot that is being taken is completed first: a host does one machine's tasks in order.
    """

    def work(session: SqlSession) -> None:
        row = get_server(session, requester, server_id)
        check_unlocked(row, requester)
        if row.protected and not force:
            raise NotPermitted(f"The server {row.id} is protected from deletion.")
        if row.task_state == "deleting":
            return
        record_action(session, context, row, "delete", requester, request_id)
        soft = context.limits.reclaim_seconds > 0 and not force and row.host_id is not None
        if soft and row.task_state is None and row.vm_state in (ACTIVE, STOPPED):
            change(session, context, row, vm_state=SOFT_DELETED, terminated_at=context.now())
            queue_task(session, context, row, "soft_delete", HostTask(new_id(), row.id, MachineAction.STOP), request_id)
            finish_action(session, context, row)
        else:
            remove(session, context, row, request_id)

    context.run(work)


def remove(session: SqlSession, context: ComputeContext, row: ServerRow, request_id: str = "") -> None:
    """Delete a server for good: at once if no host has it or its host is down, else when the host has removed it."""
    host = session.get(HostRow, row.host_id) if row.host_id else None
    if host is None:
        mark_deleted(session, context, row)
        return
    change(session, context, row, task_state="deleting")
    queue_task(session, context, row, "delete", HostTask(new_id(), row.id, MachineAction.DELETE), request_id)
    if not context.is_up(host):
        mark_deleted(session, context, row)


def mark_deleted(session: SqlSession, context: ComputeContext, row: ServerRow) -> None:
    """The server is gone: its host's resources are free, its interval of usage ends."""
    now = context.now()
    finish_action(session, context, row)
    if row.host_id is not None:
        release(session, row)
    change(
        session,
        context,
        row,
        vm_state=DELETED,
        task_state=None,
        power_state=0,
        terminated_at=row.terminated_at or now,
        deleted_at=now,
        user_data=None,
        admin_password=None,
    )


def resize(context: ComputeContext, requester: Requester, server_id: str, flavor_id: str, request_id: str) -> None:
    """Give a server another flavor on its host. Raises also OverQuota, and InvalidRequest if the host has no room."""
    action = ACTIONS["resize"]

    def work(session: SqlSession) -> None:
        row = get_server(session, requester, server_id)
        check_action(row, requester, action)
        check_offered(session, row, action.machine_action)
        new, old = flavor_for(session, requester, flavor_id), row.flavor
        if new["id"] == old["id"]:
            raise InvalidRequest("When resizing, instances must change flavor!")
        if new["disk_gb"] < old["disk_gb"]:
            raise InvalidRequest("Resize to a flavor with a smaller disk is not possible.")
        check_fit(new, row.image)
        limits = quotas.limits_of(session, row.project_id, context.limits.quotas)
        more = {"cores": max(0, new["vcpus"] - old["vcpus"]), "ram": max(0, new["ram_mb"] - old["ram_mb"])}
        quotas.check(limits, quotas.used_by(session, row.project_id), more)
        host = session.get(HostRow, row.host_id)
        if host is None or new["ram_mb"] - old["ram_mb"] > host.ram_mb - host.ram_mb_used or new["vcpus"] > host.vcpus:
            raise InvalidRequest("No valid host was found: the server's host has no room for the flavor.")
        record_action(session, context, row, action.name, requester, request_id)
        claim(session, row.host_id, old, -1)
        claim(session, row.host_id, new)
        begin(session, context, row, "resize", request_id, flavor=new, old_flavor=dict(old, vm_state=row.vm_state))

    context.run(work)


def revert_resize(context: ComputeContext, requester: Requester, server_id: str, request_id: str) -> None:
    """Give a resized server its old flavor again. Raises NoSuch, StateConflict."""

    def work(session: SqlSession) -> None:
        row = get_server(session, requester, server_id)
        check_action(row, requester, ACTIONS["revertResize"])
        old = {key: value for key, value in (row.old_flavor or {}).items() if key != "vm_state"}
        record_action(session, context, row, "revertResize", requester, request_id)
        claim(session, row.host_id, row.flavor, -1)
        claim(session, row.host_id, old)
        begin(session, context, row, "revertResize", request_id, flavor=old)

    context.run(work)


def rebuild(
    context: ComputeContext, requester: Requester, server_id: str, image_id: str, request_id: str, **values: Any
) -> ServerRow:
    """A fresh root disk of an image. Raises also InvalidRequest."""
    document = context.images.show(requester.token, image_id)
    if document["status"] != "active":
        raise InvalidRequest(f"Image {image_id} is not active.")
    image = image_copy(document)

    def check(session: SqlSession) -> None:
        row = get_server(session, requester, server_id)
        check_action(row, requester, ACTIONS["rebuild"])
        check_fit(row.flavor, image)
        if "user_metadata" in values:
            limits = quotas.limits_of(session, row.project_id, context.limits.quotas)
            quotas.check_metadata(limits, values["user_metadata"])

    context.read(check)
    values.setdefault("admin_password", new_password())
    if "name" in values:
        values["hostname"] = hostname_of(values["name"])
    return act(context, requester, server_id, "rebuild", request_id, image=image, fault=None, **values)


def snapshot(
    context: ComputeContext,
    requester: Requester,
    server_id: str,
    name: str,
    metadata: dict[str, str],
    request_id: str,
    marks: dict[str, str] | None = None,
) -> str:
    """Make an image of a server's disk; the id of the image, which is queued. `marks` are more properties of it.

    Raises as `act`, and as Images.
    """

    def check(session: SqlSession) -> dict[str, Any]:
        row = get_server(session, requester, server_id)
        check_action(row, requester, ACTIONS["createImage"])
        check_offered(session, row, MachineAction.SNAPSHOT)
        limits = quotas.limits_of(session, row.project_id, context.limits.quotas)
        quotas.check_metadata(limits, metadata)
        return snapshot_document(row, name, metadata) | (marks or {})

    image = context.images.create(requester.token, context.read(check))
    try:
        act(context, requester, server_id, "createImage", request_id, task={"image_id": image["id"]})
    except ComputeError:
        context.images.delete(requester.token, image["id"])
        raise
    return str(image["id"])


def snapshot_document(row: ServerRow, name: str, metadata: dict[str, str]) -> dict[str, Any]:
    """What the image service is asked to create: queued, private, and where it comes from as properties."""
    base = row.image["properties"].get("base_image_ref") or row.image["id"]
    kept = {
        key: value
        for key, value in row.image["properties"].items()
        if key.startswith(("hw_", "img_", "os_", "kernel", "ramdisk", "arch"))
    }
    return (
        kept
        | metadata
        | {
            "name": name,
            "visibility": "private",
            "min_disk": max(row.image["min_disk_gb"], row.flavor["disk_gb"]),
            "min_ram": row.image["min_ram_mb"],
            "instance_uuid": row.id,
            "user_id": row.user_id,
            "image_type": "snapshot",
            "base_image_ref": base,
        }
    )


def shelve(context: ComputeContext, requester: Requester, server_id: str, request_id: str) -> None:
    """Stop a server, keep its disk as an image, and take it off its host. Raises as `act`."""

    def check(session: SqlSession) -> dict[str, Any]:
        row = get_server(session, requester, server_id)
        check_action(row, requester, ACTIONS["shelve"])
        check_offered(session, row, MachineAction.SNAPSHOT)
        return snapshot_document(row, f"{row.name}-shelved", {})

    image = context.images.create(requester.token, context.read(check))
    try:
        act(context, requester, server_id, "shelve", request_id, last_snapshot=image["id"])
    except ComputeError:
        context.images.delete(requester.token, image["id"])
        raise


def unshelve(context: ComputeContext, requester: Requester, server_id: str, request_id: str) -> None:
    """Place a shelved server again, from the image that was made of it. Raises NoSuch, StateConflict."""

    def look(session: SqlSession) -> str | None:
        row = get_server(session, requester, server_id)
        check_unlocked(row, requester)
        if row.vm_state not in (SHELVED, OFFLOADED) or row.task_state is not None:
            raise StateConflict(f"Cannot 'unshelve' instance {row.id} while it is in vm_state {row.vm_state}")
        return row.last_snapshot

    snapshot_id = context.read(look)
    image = image_copy(context.images.show(context.images.service_token(), snapshot_id or ""))

    def work(session: SqlSession) -> None:
        row = get_server(session, requester, server_id)
        if row.vm_state != OFFLOADED or row.task_state is not None:
            raise StateConflict(f"Cannot 'unshelve' instance {row.id} while it is in vm_state {row.vm_state}")
        record_action(session, context, row, "unshelve", requester, request_id)
        change(session, context, row, task_state=SCHEDULING, image=image, attempts=0, tried_hosts=[])

    context.run(work)


def set_state(context: ComputeContext, requester: Requester, server_id: str, state: str, request_id: str) -> None:
    """os-resetState, for administrators. Raises NotPermitted, InvalidRequest, NoSuch."""
    if not requester.is_admin:
        raise NotPermitted("Policy doesn't allow os_compute_api:os-admin-actions:reset_state to be performed.")
    if state not in RESET_STATES:
        raise InvalidRequest(f"Desired state must be specified: one of {', '.join(RESET_STATES)}.")

    def work(session: SqlSession) -> None:
        row = get_server(session, requester, server_id)
        record_action(session, context, row, "os-resetState", requester, request_id)
        finish_action(session, context, row)
        change(session, context, row, vm_state=RESET_STATES[state], task_state=None)

    context.run(work)


def ask_host(
    context: ComputeContext, requester: Requester, server_id: str, action: MachineAction, **fields: Any
) -> TaskOutcome:
    """What the server's host answers to a question (CONSOLE, DIAGNOSTICS). Raises NoSuch, StateConflict, NotOffered."""
    task = HostTask(new_id(), server_id, action, timeout_seconds=ANSWER_SECONDS, **fields)

    def work(session: SqlSession) -> None:
        row = get_server(session, requester, server_id)
        host = session.get(HostRow, row.host_id) if row.host_id else None
        if host is None or row.vm_state == BUILDING:
            raise StateConflict(f"Instance {row.id} is not ready")
        check_offered(session, row, action)
        if not context.is_up(host):
            raise StateConflict(f"The host of instance {row.id} does not answer.")
        queue_task(session, context, row, action.value, task)

    def answer(session: SqlSession) -> str | None:
        return session.scalar(select(TaskRow.outcome).where(TaskRow.id == task.id))

    context.run(work)
    text = context.signal.wait_until(task.id, lambda: context.read(answer), ANSWER_SECONDS)
    context.run(lambda session: session.execute(TaskRow.__table__.delete().where(TaskRow.id == task.id)))  # type: ignore[attr-defined]
    if text is None:
        raise StateConflict(f"The host of instance {server_id} did not answer in {ANSWER_SECONDS:g} seconds.")
    outcome = msgspec.json.decode(text, type=TaskOutcome)
    if outcome.unsupported:
        raise NotOffered(outcome.error)
    if not outcome.succeeded:
        raise StateConflict(outcome.error)
    return outcome
