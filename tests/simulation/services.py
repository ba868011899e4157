"""The real servers and daemons of the store, as a simulated node runs them."""

from __future__ import annotations

from typing import Final

from objstore.config.account import AccountConfig
from objstore.config.container import ContainerConfig, ContainerUpdaterConfig
from objstore.config.object import ObjectConfig, UpdaterConfig
from objstore.config.proxy import AccountsConfig, AuthConfig, ProxyConfig, ProxyLogConfig
from objstore.config.sections import DevicesConfig
from objstore.config.units import Reserve
from objstore.config.users import User
from objstore.daemon import Job
from objstore.http.messages import WsgiApplication
from objstore.proxy.auth.tempauth import SECRET_NAME
from objstore.proxy.auth.tokens import TokenIssuer
from objstore.ring.rings import Rings
from objstore.system import generations
from objstore.tools import assembly
from tests.simulation.network import SimulatedTransport
from tests.simulation.node import Node, NodeClock
from tests.simulation.world import PORTS, World

PROXY_PORT: Final = 8080
ACCOUNT: Final = "AUTH_sim"
USER: Final = User("sim", "tester", "secret", (".admin",))
TOKEN_SECONDS: Final = 10 * 365 * 86400


def make_services(node: Node) -> tuple[dict[int, WsgiApplication], list[Job]]:
    """Servers by port, and the daemons beside them."""
    return storage_services(node) if node.disks else proxy_services(node)


def storage_services(node: Node) -> tuple[dict[int, WsgiApplication], list[Job]]:
    """Account, container and object server with their daemons."""
    cluster, runtime = node.world.cluster, node.make_runtime()
    transport = SimulatedTransport(node.world.network, node.name)
    devices = DevicesConfig(root=f"{node.path}/devices", mount_check=True, reserve=Reserve(0))
    objects = ObjectConfig(devices=devices, updater=UpdaterConfig(interval=300.0))
    containers = ContainerConfig(devices=devices, updater=ContainerUpdaterConfig(interval=300.0))
    accounts = AccountConfig(devices=devices)
    servers = {
        PORTS["account"]: assembly.make_account_server(accounts, cluster, runtime),
        PORTS["container"]: assembly.make_container_server(containers, cluster, transport, runtime),
        PORTS["object"]: assembly.make_object_server(objects, cluster, transport, runtime),
    }
    rings = Rings(f"{node.path}/rings", runtime.clock)
    jobs = [
        assembly.make_object_updater(objects, cluster, rings, transport, runtime),
        assembly.make_container_updater(containers, cluster, rings, transport, runtime),
    ]
    return servers, jobs


def proxy_services(node: Node) -> tuple[dict[int, WsgiApplication], list[Job]]:
    """A proxy with everything in its pipeline."""
    config = ProxyConfig(
        accounts=AccountsConfig(account_autocreate=True, allow_account_management=True),
        auth=AuthConfig(users=users_file(node.world)),
        log=ProxyLogConfig(level="error"),
    )
    runtime = node.make_runtime()
    rings = Rings(f"{node.path}/rings", runtime.clock)
    transport = SimulatedTransport(node.world.network, node.name)
    generations._shared = None  # each proxy runs on a machine of its own
    return {PROXY_PORT: assembly.make_proxy(config, node.world.cluster, rings, transport, runtime)}, []


def users_file(world: World) -> str:
    """The users of all proxies."""
    path = f"{world.root}/users.toml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(
            f'[[users]]\naccount = "{USER.account}"\nname = "{USER.name}"\nkey = "{USER.key}"\ngroups = [".admin"]\n'
        )
    return path


def make_token(node: Node) -> str:
    """What the user shows to every proxy."""
    issuer = TokenIssuer(node.world.hasher.digest(SECRET_NAME), "AUTH_", NodeClock(node))
    return issuer.issue(USER, TOKEN_SECONDS)
