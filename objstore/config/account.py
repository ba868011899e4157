"""account.toml: the account server and its daemons."""

from msgspec import Struct

from objstore.config.databases import DatabaseAuditorConfig, DatabaseReplicatorConfig
from objstore.config.sections import (
    AccountServerConfig,
    BackendConfig,
    DevicesConfig,
    HealthcheckConfig,
    LogConfig,
    MetricsConfig,
    ReconConfig,
    ReplicationConfig,
)


class AccountConfig(Struct, frozen=True):
    """The whole file."""

    cluster: str = "/etc/objstore/objstore.toml"
    ring_dir: str = "/etc/objstore"
    server: AccountServerConfig = AccountServerConfig()
    devices: DevicesConfig = DevicesConfig()
    backend: BackendConfig = BackendConfig()
    replicator: DatabaseReplicatorConfig = DatabaseReplicatorConfig()
    auditor: DatabaseAuditorConfig = DatabaseAuditorConfig()
    replication: ReplicationConfig = ReplicationConfig()
    recon: ReconConfig = ReconConfig()
    healthcheck: HealthcheckConfig = HealthcheckConfig()
    log: LogConfig = LogConfig()
    metrics: MetricsConfig = MetricsConfig()
