"""The states of a server, and the table of what can be done in which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from objstore.compute.protocol import MachineAction, PowerState

BUILDING, ACTIVE, STOPPED, PAUSED, SUSPENDED = "building", "active", "stopped", "paused", "suspended"
RESIZED, RESCUED, SHELVED, OFFLOADED = "resized", "rescued", "shelved", "shelved_offloaded"
ERROR, SOFT_DELETED, DELETED = "error", "soft-delete", "deleted"
SCHEDULING: Final = "scheduling"
# Of vm_states with one power state only.
POWER_OF: Final = {
    ACTIVE: PowerState.RUNNING,
    STOPPED: PowerState.SHUTDOWN,
    PAUSED: PowerState.PAUSED,
    SUSPENDED: PowerState.SHUTDOWN,
    RESIZED: PowerState.RUNNING,
    RESCUED: PowerState.RUNNING,
    SHELVED: PowerState.SHUTDOWN,
    OFFLOADED: PowerState.SHUTDOWN,
    SOFT_DELETED: PowerState.SHUTDOWN,
    DELETED: PowerState.NONE,
}
# States in which a machine takes processors and memory that are billed as running.
RUNNING_STATES: Final = frozenset({ACTIVE, PAUSED, RESIZED, RESCUED})

STATUS: Final[dict[str, str]] = {
    BUILDING: "BUILD",
    ACTIVE: "ACTIVE",
    STOPPED: "SHUTOFF",
    PAUSED: "PAUSED",
    SUSPENDED: "SUSPENDED",
    RESIZED: "VERIFY_RESIZE",
    RESCUED: "RESCUE",
    SHELVED: "SHELVED",
    OFFLOADED: "SHELVED_OFFLOADED",
    ERROR: "ERROR",
    SOFT_DELETED: "SOFT_DELETED",
    DELETED: "DELETED",
}
# vm_state and task_state -> a status other than the vm_state's own.
STATUS_DURING: Final[dict[tuple[str, str], str]] = {
    (ACTIVE, "rebooting"): "REBOOT",
    (ACTIVE, "rebooting_hard"): "HARD_REBOOT",
    **{(state, "rebooting_hard"): "HARD_REBOOT" for state in (STOPPED, PAUSED, SUSPENDED, ERROR)},
    **{(state, "rebuilding"): "REBUILD" for state in (ACTIVE, STOPPED, ERROR)},
    **{(state, "resize_migrating"): "RESIZE" for state in (ACTIVE, STOPPED)},
    (ACTIVE, "migrating"): "MIGRATING",
    (RESIZED, "resize_reverting"): "REVERT_RESIZE",
}
WITH_PROGRESS: Final = frozenset({"ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE"})


def status_of(vm_state: str, task_state: str | None) -> str:
    """The status that clients see."""
    return STATUS_DURING.get((vm_state, task_state or ""), STATUS[vm_state])


def states_of(status: str) -> tuple[set[str], set[str]] | None:
    """The vm_states and, if they matter, the task_states that show as a status; None for no status at all."""
    during = [pair for pair, shown in STATUS_DURING.items() if shown == status]
    if during:
        return {state for state, _ in during}, {task for _, task in during}
    states = {state for state, shown in STATUS.items() if shown == status}
    return (states, set()) if states else None


@dataclass(frozen=True)
class ServerAction:
    """What one action of the API does: in which states it can begin, what the host does, and where it leads."""

    name: str  # as os-instance-actions shows it
    begins_in: frozenset[str]
    task_state: str
    machine_action: MachineAction
    leads_to: str | None  # None: the server stays in the state it was in


def _action(
    name: str, begins_in: set[str], task_state: str, action: MachineAction, leads_to: str | None
) -> ServerAction:
    return ServerAction(name, frozenset(begins_in), task_state, action, leads_to)


# By the key of the request's body, as POST /servers/ID/action has it.
ACTIONS: Final[dict[str, ServerAction]] = {
    "os-start": _action("start", {STOPPED}, "powering-on", MachineAction.START, ACTIVE),
    "os-stop": _action("stop", {ACTIVE, ERROR}, "powering-off", MachineAction.STOP, STOPPED),
    "reboot": _action("reboot", {ACTIVE}, "rebooting", MachineAction.REBOOT, ACTIVE),
    "reboot_hard": _action(
        "reboot",
        {ACTIVE, STOPPED, PAUSED, SUSPENDED, ERROR},
        "rebooting_hard",
        MachineAction.REBOOT,
        ACTIVE,
    ),
    "pause": _action("pause", {ACTIVE}, "pausing", MachineAction.PAUSE, PAUSED),
    "unpause": _action("unpause", {PAUSED}, "unpausing", MachineAction.UNPAUSE, ACTIVE),
    "suspend": _action("suspend", {ACTIVE}, "suspending", MachineAction.SUSPEND, SUSPENDED),
    "resume": _action("resume", {SUSPENDED}, "resuming", MachineAction.RESUME, ACTIVE),
    "resize": _action("resize", {ACTIVE, STOPPED}, "resize_migrating", MachineAction.RESIZE, RESIZED),
    "confirmResize": _action("confirmResize", {RESIZED}, "resize_confirming", MachineAction.CONFIRM_RESIZE, ACTIVE),
    "revertResize": _action("revertResize", {RESIZED}, "resize_reverting", MachineAction.REVERT_RESIZE, ACTIVE),
    "rebuild": _action("rebuild", {ACTIVE, STOPPED, ERROR}, "rebuilding", MachineAction.REBUILD, ACTIVE),
    "rescue": _action("rescue", {ACTIVE, STOPPED, ERROR}, "rescuing", MachineAction.RESCUE, RESCUED),
    "unrescue": _action("unrescue", {RESCUED}, "unrescuing", MachineAction.UNRESCUE, ACTIVE),
    "createImage": _action(
        "createImage", {ACTIVE, STOPPED, PAUSED, SUSPENDED}, "image_snapshot", MachineAction.SNAPSHOT, None
    ),
    # A shelved machine is stopped, uploaded and removed from its host: each step queues the next.
    "shelve": _action("shelve", {ACTIVE, STOPPED, PAUSED, SUSPENDED}, "shelving", MachineAction.STOP, None),
    "shelve_image": _action("shelve", set(), "shelving_image_uploading", MachineAction.SNAPSHOT, SHELVED),
    "shelveOffload": _action("shelveOffload", {SHELVED}, "shelving_offloading", MachineAction.DELETE, OFFLOADED),
    "restore": _action("restore", {SOFT_DELETED}, "restoring", MachineAction.START, ACTIVE),
}
