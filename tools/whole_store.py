"""All servers of a store in one process: every worker has the proxy, the storage servers and all devices."""

from __future__ import annotations

from typing import Final

from objstore.cluster import Cluster
from objstore.config.account import AccountConfig
from objstore.config.container import ContainerConfig
from objstore.config.object import ObjectConfig
from objstore.config.proxy import AccountsConfig, AuthConfig, ProxyConfig
from objstore.config.sections import DevicesConfig, LogConfig, MetricsConfig, ProxyServerConfig
from objstore.config.units import Address
from objstore.http.local import LocalTransport
from objstore.http.messages import WsgiApplication
from objstore.http.transport import BackendRequest
from objstore.tools import assembly
from objstore.tools.serving import Service, open_socket, options_of
from objstore.tools.store_folder import PORTS, StoreFolder

DRAIN_SECONDS: Final = 20.0


class WholeStore:
    """The store of a folder, listening. Raises OperatorProblem, ConfigError or another StoreError when made."""

    def __init__(self, folder: StoreFolder, address: Address, *, loopback: bool) -> None:
        self._folder = folder
        self._devices = DevicesConfig(root=str(folder.path), mount_check=False)
        self._runtime = assembly.make_runtime("objstore", LogConfig(level="warning"), MetricsConfig())
        self._proxy_config = ProxyConfig(
            cluster=str(folder.cluster_file),
            ring_dir=str(folder.path),
            server=ProxyServerConfig(bind=address),
            accounts=AccountsConfig(allow_account_management=True, account_autocreate=True),
            auth=AuthConfig(users=str(folder.users_file(loopback=loopback))),
        )
        listener = open_socket(address)
        self.address = Address(address.host, listener.getsockname()[1])
        limits = Cluster.load(folder.cluster_file).limits
        options = options_of(self._proxy_config.server, limits)
        self._service = Service(self._make, self._runtime, options, [listener])

    def run(self, workers: int) -> None:
        """Serve until told to stop."""
        self._service.run(workers, DRAIN_SECONDS)

    def _make(self) -> WsgiApplication:
        cluster, devices, runtime = Cluster.load(self._folder.cluster_file), self._devices, self._runtime
        servers: dict[int, WsgiApplication] = {}

        def server_of(request: BackendRequest) -> WsgiApplication | None:
            return servers.get(request.node.port)

        transport = LocalTransport(server_of)
        servers[PORTS["account"]] = assembly.make_account_server(AccountConfig(devices=devices), cluster, runtime)
        servers[PORTS["container"]] = assembly.make_container_server(
            ContainerConfig(devices=devices), cluster, transport, runtime
        )
        servers[PORTS["object"]] = assembly.make_object_server(
            ObjectConfig(devices=devices), cluster, transport, runtime
        )
        return assembly.make_proxy(self._proxy_config, cluster, transport, runtime)
