"""The real servers and daemons of the store, as a simulated node runs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from msgspec import Struct, structs

from objstore import daemon, expiry
from objstore.config.account import AccountConfig
from objstore.config.container import ContainerConfig
from objstore.config.object import ObjectConfig
from objstore.config.proxy import AccountsConfig, AuthConfig, ObjectsConfig, ProxyConfig, ProxyLogConfig
from objstore.config.sections import DevicesConfig, ReconConfig
from objstore.config.units import Reserve
from objstore.config.users import User
from objstore.container import merged_listing
from objstore.daemon import Job
from objstore.http.messages import WsgiApplication
from objstore.object.container_updates import recovery, session
from objstore.paths import ResourcePath
from objstore.proxy.auth.tokens import SECRET_NAME, TokenIssuer
from objstore.proxy.core import strong_listing
from objstore.proxy.core.cache import make_cache
from objstore.proxy.core.context import make_context
from objstore.recon import ReconFolder
from objstore.ring.daemon_context import DaemonContext
from objstore.ring.rings import Rings
from objstore.system import generations
from objstore.tools import assembly
from tests.simulation.network import SimulatedTransport
from tests.simulation.node import Node, NodeClock
from tests.simulation.plan import POLICY_OF
from tests.simulation.upload_edge import UploadEdge
from tests.simulation.world import INDEXES, OBJECT_KINDS, PORTS, World

PROXY_PORT: Final = 8080
UPLOADS_PORT: Final = 8081
ACCOUNT: Final = "AUTH_sim"
# Containers whose names begin with this prefix belong to this account.
OTHER_ACCOUNT: Final = "AUTH_other"
OTHER_PREFIX: Final = "e"
ACCOUNTS: Final = (ACCOUNT, OTHER_ACCOUNT)
USER: Final = User("sim", "tester", "secret", (".admin", ".reseller_admin"))
TOKEN_SECONDS: Final = 10 * 365 * 86400


# Virtual time is cheap, and passes are not: they come less often than by default.
INTERVAL_SECONDS: Final = {
    "replicator": 1500.0,
    "auditor": 3600.0,
    "expirer": 1800.0,
    "reaper": 3600.0,
    "reconciler": 3600.0,
    "reclaimer": 900.0,
    "updater": 600.0,
    "relinker": 3600.0,
}
# Tombstones are reclaimed within a simulation, though not before the longest fault, and the clocks' errors, are over.
RECLAIM_SECONDS: Final = 6.5 * 3600
# Longer than a completion may take, and than clocks differ.
PARTS_DELAY_SECONDS: Final = 900.0
SWEEP_SECONDS: Final = 2700.0
# Few rows make several batches, and a few more a whole database.
PER_DIFF: Final = 3
MAX_DIFFS: Final = 4
CONSTANTS: Final = (
    # A small cluster has few objects that expire, and so needs few queues of them.
    (expiry, "EXPIRY_QUEUES_PER_DAY", 2),
    # Replicators leave out passes over what does not change, for all that they come seldom.
    (daemon, "LONGEST_REST_SECONDS", 3 * INTERVAL_SECONDS["replicator"]),
    # Marks of processes are made known to be alive, and looked for, less often.
    (session, "TOUCH_SECONDS", 60.0),
    (recovery, "INTERVAL_SECONDS", 60.0),
    # Listings of replicas that differ are merged a few rows at a time.
    (merged_listing, "ROWS_MAX", 3),
    (merged_listing, "GROUP_ROWS", 2),
    (strong_listing, "NAMES_MAX", 2),
)
Config = TypeVar("Config", bound=Struct)


@contextmanager
def small_cluster() -> Iterator[None]:
    """Sets the program's constants for a small cluster, and puts them back."""
    before = [getattr(module, name) for module, name, _ in CONSTANTS]
    for module, name, value in CONSTANTS:
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name, _), value in zip(CONSTANTS, before, strict=True):
            setattr(module, name, value)


def paced(config: Config) -> Config:
    """A configuration whose daemons run at the intervals of INTERVAL_SECONDS."""
    sections = {}
    for name, seconds in INTERVAL_SECONDS.items():
        section = getattr(config, name, None)
        if section is not None and hasattr(section, "interval"):
            wanted = {
                "reclaim_age": RECLAIM_SECONDS,
                "delay": PARTS_DELAY_SECONDS,
                "sweep_interval": SWEEP_SECONDS,
                "per_diff": PER_DIFF,
                "max_diffs": MAX_DIFFS,
                "shortest_pass": 0.0,
                "shortest_quick_pass": 0.0,
            }
            changes = {option: value for option, value in wanted.items() if hasattr(section, option)}
            sections[name] = structs.replace(section, interval=seconds, **changes)
    return structs.replace(config, **sections)


def path_of(name: str) -> ResourcePath:
    """Of "container" or "container/object"."""
    return ResourcePath(OTHER_ACCOUNT if name.startswith(OTHER_PREFIX) else ACCOUNT, *name.split("/"))


def kind_of(name: str) -> str:
    """The kind of ring of the objects of a container, given the container or one of them."""
    return OBJECT_KINDS[INDEXES[POLICY_OF[name.partition("/")[0]]]]


def make_services(node: Node) -> tuple[dict[int, WsgiApplication], list[Job]]:
    """Servers by port, and the daemons beside them."""
    return storage_services(node) if node.disks else proxy_services(node)


def storage_services(node: Node) -> tuple[dict[int, WsgiApplication], list[Job]]:
    """Account, container and object server with their daemons."""
    cluster, runtime = node.world.cluster, node.make_runtime()
    transport = SimulatedTransport(node.world.network, node.name)
    devices = DevicesConfig(root=f"{node.path}/devices", mount_check=True, reserve=Reserve(0))
    objects = paced(ObjectConfig(devices=devices, recon=ReconConfig(f"{node.path}/recon")))
    containers = paced(ContainerConfig(devices=devices))
    accounts = paced(AccountConfig(devices=devices))
    rings = Rings(f"{node.path}/rings", runtime.clock)
    object_server = assembly.make_object_server(objects, cluster, rings, transport, runtime, node.owns)
    object_server.session.begin()
    servers: dict[int, WsgiApplication] = {
        PORTS["account"]: assembly.make_account_server(accounts, cluster, runtime),
        PORTS["container"]: assembly.make_container_server(containers, cluster, transport, runtime),
        PORTS["object"]: object_server,
    }
    recon = ReconFolder(f"{node.path}/recon")
    root = assembly.make_devices(devices)
    context = DaemonContext(cluster, root, rings, transport, runtime, recon, node.owns)
    jobs = [
        *assembly.make_object_daemons(objects, context),
        *assembly.make_container_daemons(containers, context),
        *assembly.make_account_daemons(accounts, context),
    ]
    node.daemons = {job.worker.name for job in jobs}
    return servers, jobs


def proxy_services(node: Node) -> tuple[dict[int, WsgiApplication], list[Job]]:
    """A proxy with everything in its pipeline."""
    config = ProxyConfig(
        accounts=AccountsConfig(account_autocreate=True, allow_account_management=True),
        objects=ObjectsConfig(allow_object_versioning=True),
        auth=AuthConfig(users=users_file(node.world)),
        log=ProxyLogConfig(level="error"),
    )
    runtime = node.make_runtime()
    rings = Rings(f"{node.path}/rings", runtime.clock)
    transport = SimulatedTransport(node.world.network, node.name)
    generations._shared = None  # each proxy runs on a machine of its own
    cluster = node.world.cluster
    cache = make_cache(config.cache, runtime)
    uploads = UploadEdge(make_context(config, cluster, rings, transport, runtime, cache))
    return {
        PROXY_PORT: assembly.make_proxy(config, cluster, rings, transport, runtime),
        UPLOADS_PORT: uploads,
    }, []


def users_file(world: World) -> str:
    """The users of all proxies."""
    path = f"{world.root}/users.toml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(
            f'[[users]]\naccount = "{USER.account}"\nname = "{USER.name}"\nkey = "{USER.key}"\n'
            f"groups = {list(USER.groups)}\n"
        )
    return path


def make_token(node: Node) -> str:
    """What the user shows to every proxy."""
    issuer = TokenIssuer(node.world.hasher.digest(SECRET_NAME), "AUTH_", NodeClock(node))
    return issuer.issue(USER, TOKEN_SECONDS)
