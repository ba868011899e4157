"""All servers of a store in one process: every worker has the proxy, the storage servers and all devices."""

from __future__ import annotations

from typing import Final

import msgspec

from objstore.cluster import Cluster
from objstore.config.account import AccountConfig
from objstore.config.container import ContainerConfig, ContainerUpdaterConfig
from objstore.config.loading import load
from objstore.config.object import ObjectConfig
from objstore.config.proxy import EncryptionConfig, ProxyConfig
from objstore.config.sections import DevicesConfig, ReconConfig
from objstore.config.units import Address
from objstore.daemon import Job
from objstore.http.local import LocalTransport
from objstore.http.messages import WsgiApplication
from objstore.http.operations import ServiceApps
from objstore.http.server import ServerOptions
from objstore.http.transport import BackendRequest
from objstore.recon import ReconFolder
from objstore.ring.daemon_context import DaemonContext
from objstore.ring.rings import Rings
from objstore.tools import assembly
from objstore.tools.serving import Service, open_socket, options_of
from objstore.tools.store_folder import PORTS, StoreFolder

STOP_SECONDS: Final = 20.0  # what is under way when the store is ended may take so long
# Accounts hear of their containers this often. All is in one place here, so that it costs little.
REPORT_SECONDS: Final = 2.0


class WholeStore:
    def __init__(self, folder: StoreFolder, address: Address, *, loopback: bool) -> None:
        """Raises OperatorProblem, ConfigError or another StoreError."""
        self._folder = folder
        self._users = str(folder.users_file(loopback=loopback))
        devices = DevicesConfig(root=str(folder.path), mount_check=False)
        recon = ReconConfig(str(folder.path / "recon"))
        self._object_config = ObjectConfig(devices=devices, recon=recon)
        self._container_config = ContainerConfig(
            devices=devices,
            updater=ContainerUpdaterConfig(
                interval=REPORT_SECONDS, containers_per_second=0, account_suppression_time=REPORT_SECONDS
            ),
        )
        self._account_config = AccountConfig(devices=devices)
        config = self._proxy_config()
        self._runtime = assembly.make_runtime("objstore", "objstore", config.log, config.metrics)
        self._servers: dict[int, WsgiApplication] = {}
        self._transport = LocalTransport(self._server_of)
        listener = open_socket(address)
        self.address = Address(address.host, listener.getsockname()[1])
        cluster = Cluster.load(folder.cluster_file)
        self._drain_seconds = config.server.drain_timeout
        self._service = Service(
            self.make_apps, self._runtime, self._options, listener, config.metrics, self._daemons(cluster)
        )

    def run(self, workers: int) -> None:
        self._service.run(workers, self._drain_seconds, min(STOP_SECONDS, self._drain_seconds))

    def _daemons(self, cluster: Cluster) -> list[Job]:
        """What goes on beside the answering of requests."""
        context = DaemonContext(
            cluster=cluster,
            devices=assembly.make_devices(self._object_config.devices),  # all servers have the same
            rings=self._rings(cluster),
            transport=self._transport,
            runtime=self._runtime,
            recon=ReconFolder(self._object_config.recon.directory),
            is_mine=lambda _device: True,
        )
        return [
            *assembly.make_object_daemons(self._object_config, context),
            *assembly.make_container_daemons(self._container_config, context),
            *assembly.make_account_daemons(self._account_config, context),
            *assembly.make_proxy_daemons(self._proxy_config(), cluster, context.rings, self._transport, self._runtime),
        ]

    def _proxy_config(self) -> ProxyConfig:
        """What the folder's file says, for the users of this start."""
        config = load(self._folder.proxy_file, ProxyConfig)
        keys = str(self._folder.access_keys_file)
        auth = msgspec.structs.replace(config.auth, users=self._users, access_keys=keys, shared_users=False)
        recon = self._object_config.recon
        encryption = EncryptionConfig(str(self._folder.encryption_keys_file))
        folder = str(self._folder.path)
        return msgspec.structs.replace(config, ring_dir=folder, auth=auth, recon=recon, encryption=encryption)

    def _options(self) -> ServerOptions:
        return options_of(self._proxy_config().server, Cluster.load(self._folder.cluster_file).limits)

    def _rings(self, cluster: Cluster) -> Rings:
        return assembly.make_rings(str(self._folder.path), cluster, self._runtime)

    def _server_of(self, request: BackendRequest) -> WsgiApplication | None:
        """The storage server behind an address of the rings."""
        return self._servers.get(request.node.port)

    def make_apps(self) -> ServiceApps:
        """All servers afresh; the proxy, which uses the others, is the one that answers."""
        cluster, runtime, transport = Cluster.load(self._folder.cluster_file), self._runtime, self._transport
        rings = self._rings(cluster)
        self._servers[PORTS["account"]] = assembly.make_account_server(self._account_config, cluster, runtime)
        self._servers[PORTS["container"]] = assembly.make_container_server(
            self._container_config, cluster, transport, runtime
        )
        self._servers[PORTS["object"]] = object_server = assembly.make_object_server(
            self._object_config, cluster, rings, transport, runtime, lambda _device: True
        )
        proxy = assembly.make_proxy(self._proxy_config(), cluster, rings, transport, runtime)
        return ServiceApps(proxy, session=object_server.session)
