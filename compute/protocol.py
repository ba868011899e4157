"""What the compute API and the agents of hosts say to each other, as JSON over HTTP.

Hosts ask; the API never connects to a host. An agent registers once a start:

    POST /host/v1/hosts                {HostRegistration}   200 {HostRegistered}

and then reports for ever. A report is a heartbeat, brings what changed, and is answered with the tasks to do:

    POST /host/v1/hosts/{id}/report    {HostReport}         200 {HostInstructions}

A report with wait_seconds above 0 is a long poll: it is answered when there is a task the host does not hold, or when
the time has passed. An agent keeps one of them open, and sends the outcomes of tasks in reports of their own that do
not wait. Every call carries the token of a service user in X-Auth-Token (role service); else it is 401 or 403. A
host that is not known, or that was fenced and has to register anew, is answered 404.

A task is known by its id and is sent until its outcome has been accepted. Doing a task a second time leaves what doing
it once leaves, so a host that restarts and does not know how far it came does it again. Outcomes that are
repeated, or of tasks that were taken back, are ignored. A host does the tasks of one machine in the order it got them.

A host that registers is told the machines that are its own. It destroys every other machine it finds on itself: while
it was lost, those were started elsewhere.
"""

from __future__ import annotations

import enum
from typing import Final

from msgspec import Struct, field

WAIT_SECONDS_MAX: Final = 20.0
TASKS_MAX: Final = 50  # in one answer
REPORTS_MAX: Final = 1000  # machines, and outcomes, in one report: more go into the next
CONSOLE_BYTES_MAX: Final = 100 * 1024


class PowerState(enum.IntEnum):
    """What a machine's processor does, as a hypervisor sees it. Numbers are those of the compute API."""

    NONE = 0
    RUNNING = 1
    PAUSED = 3
    SHUTDOWN = 4
    CRASHED = 6
    SUSPENDED = 7


class MachineAction(enum.StrEnum):
    """What a host can be asked to do. Every task but DELETE has `machine`: the machine as it shall be."""

    BUILD = "build"  # make its disks and start it
    START = "start"
    STOP = "stop"  # ACPI first, pulled after `timeout_seconds`
    REBOOT = "reboot"  # `hard`: without asking the guest
    PAUSE = "pause"
    UNPAUSE = "unpause"
    SUSPEND = "suspend"  # memory goes to the disk
    RESUME = "resume"
    DELETE = "delete"  # leaves nothing; succeeds when there is nothing
    SNAPSHOT = "snapshot"  # upload its root disk as the image `image_id`, which is queued
    REBUILD = "rebuild"  # a fresh root disk of `machine.image`, and start it
    RESIZE = "resize"  # stop, take the new flavor, start; keep what REVERT_RESIZE needs
    CONFIRM_RESIZE = "confirm_resize"  # drop what was kept
    REVERT_RESIZE = "revert_resize"  # `machine` has the old flavor again
    RESCUE = "rescue"  # boot `rescue_image`, the root disk as the second disk
    UNRESCUE = "unrescue"
    CONSOLE = "console"  # the last `console_bytes` of the console's log as the outcome's `output`
    DIAGNOSTICS = "diagnostics"  # numbers as the outcome's `diagnostics`
    UPDATE = "update"  # metadata, keys, tags or the name changed: what the metadata service tells


class FlavorCopy(Struct, frozen=True):
    """The flavor as it was when the machine was made: disks in GiB, memory and swap in MiB."""

    id: str
    name: str
    vcpus: int
    ram_mb: int
    disk_gb: int = 0  # 0: as large as the image
    ephemeral_gb: int = 0
    swap_mb: int = 0
    extra_specs: dict[str, str] = {}


class ImageSource(Struct, frozen=True):
    """An image to read from the image service. Bytes that do not hash to `hash_value` are not booted."""

    id: str
    name: str = ""
    size: int = 0
    disk_format: str = "raw"
    container_format: str = "bare"
    min_disk_gb: int = 0
    min_ram_mb: int = 0
    hash_algorithm: str = "sha512"
    hash_value: str = ""
    properties: dict[str, str] = {}  # custom ones: hw_*, kernel_id, ramdisk_id, os_type ...


class PublicKey(Struct, frozen=True):
    name: str
    public_key: str
    type: str = "ssh"


class MachineNetwork(Struct, frozen=True):
    """One interface. The host finds the address, and tells it in its reports."""

    label: str
    mac: str


class MachineSpec(Struct, frozen=True):
    """All that a host needs to know of a machine, and all that the machine's metadata service tells."""

    server_id: str
    name: str
    hostname: str
    project_id: str
    user_id: str
    flavor: FlavorCopy
    image: ImageSource
    created_at: str  # ISO 8601, UTC
    instance_id: str  # of the EC2 API: i-...
    reservation_id: str = ""
    launch_index: int = 0
    availability_zone: str = ""
    config_drive: bool = False
    user_data: str | None = None  # base64
    admin_password: str | None = None
    keys: list[PublicKey] = []
    metadata: dict[str, str] = {}
    security_groups: list[str] = []
    networks: list[MachineNetwork] = []
    restart_elsewhere: bool = False  # its owner wants it on another host when this one is lost


class HostTask(Struct, frozen=True):
    """One thing to do with one machine."""

    id: str
    server_id: str
    action: MachineAction
    attempt: int = 1
    timeout_seconds: float = 600.0  # then the host gives up, undoes what it did, and reports a failure
    machine: MachineSpec | None = None
    image_id: str | None = None  # SNAPSHOT
    rescue_image: ImageSource | None = None
    hard: bool = False
    console_bytes: int = CONSOLE_BYTES_MAX


class MachineAddress(Struct, frozen=True):
    network: str  # the label
    address: str
    mac: str
    version: int = 4


class MachineReport(Struct, frozen=True):
    """How a machine is. Sent when it changed, and for every machine in the first report after a registration."""

    server_id: str
    power: PowerState
    addresses: list[MachineAddress] = []
    degraded: str = ""  # why it may fail soon, as "the image's server does not answer"; "" when all is well


class TaskOutcome(Struct, frozen=True):
    """How a task ended. Its machine's state, if it has one left, comes with it."""

    task_id: str
    succeeded: bool
    error: str = ""  # for the machine's owner: no paths, no secrets
    unsupported: bool = False  # the driver cannot do this: it is the request that was wrong, not the host
    machine: MachineReport | None = None
    output: str = ""
    diagnostics: dict[str, int] = {}


class HostRegistration(Struct, frozen=True):
    """A host as its agent found it. The name is what makes it the same host after a restart."""

    name: str
    driver: str  # qemu, uml, fake
    vcpus: int
    ram_mb: int
    disk_gb: int
    address: str = "127.0.0.1"
    architecture: str = "x86_64"
    hypervisor_version: int = 0  # as 7002000 for 7.2.0
    accelerator: str = ""  # kvm, tcg
    features: list[str] = []  # the MachineActions its driver has
    availability_zone: str = "nova"


class HostRegistered(Struct, frozen=True):
    host_id: str
    generation: int
    machines: list[str]  # ids of the servers that are this host's
    # A host that was not answered for so long pauses its machines with `restart_elsewhere`: they start on another one.
    # Those that are still its own when it is answered again go on.
    lease_seconds: float = 120.0
    movable: list[str] = []  # those of its machines that have `restart_elsewhere`


class HostReport(Struct, frozen=True):
    """What changed since the last report that was answered."""

    machines: list[MachineReport] = []
    outcomes: list[TaskOutcome] = []
    holding: list[str] = []  # ids of unfinished tasks in its journal: not sent again
    progress: dict[str, int] = field(default_factory=dict)  # server id -> percent of what is being done with it
    wait_seconds: float = 0.0


class HostInstructions(Struct, frozen=True):
    tasks: list[HostTask]
    # Pause before the next long poll: above 0 when the API has as many polls waiting as it has threads for.
    pause_seconds: float = 0.0
