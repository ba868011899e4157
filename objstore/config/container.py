"""container.toml: the container server and its daemons."""

from msgspec import Struct

from objstore.config.databases import DatabaseAuditorConfig, DatabaseReplicatorConfig
from objstore.config.sections import (
    BackendConfig,
    ContainerServerConfig,
    DevicesConfig,
    HealthcheckConfig,
    LogConfig,
    MetricsConfig,
    ReconConfig,
    ReplicationConfig,
)
from objstore.config.units import Seconds


class ContainerBackendConfig(BackendConfig, frozen=True):
    """[backend] of a container server, which tells account servers of its containers."""

    node_timeout: Seconds = 3.0


class ContainerUpdaterConfig(Struct, frozen=True):
    """[updater]: tells accounts how many objects and bytes their containers hold."""

    interval: Seconds = 300.0


class ContainerConfig(Struct, frozen=True):
    """The whole file."""

    cluster: str = "/etc/objstore/objstore.toml"
    ring_dir: str = "/etc/objstore"
    server: ContainerServerConfig = ContainerServerConfig()
    devices: DevicesConfig = DevicesConfig()
    backend: ContainerBackendConfig = ContainerBackendConfig()
    updater: ContainerUpdaterConfig = ContainerUpdaterConfig()
    replicator: DatabaseReplicatorConfig = DatabaseReplicatorConfig()
    auditor: DatabaseAuditorConfig = DatabaseAuditorConfig()
    replication: ReplicationConfig = ReplicationConfig()
    recon: ReconConfig = ReconConfig()
    healthcheck: HealthcheckConfig = HealthcheckConfig()
    log: LogConfig = LogConfig()
    metrics: MetricsConfig = MetricsConfig()
