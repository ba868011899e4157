"""account.toml: the account server and its daemons."""

from msgspec import Struct

from objstore.config.sections import (
    AccountServerConfig,
    BackendConfig,
    DatabaseAuditorConfig,
    DatabaseReplicatorConfig,
    DevicesConfig,
    HealthcheckConfig,
    LogConfig,
    MetricsConfig,
    ReconConfig,
    ReplicationConfig,
)
from objstore.config.units import Count, Seconds


class ReaperConfig(Struct, frozen=True):
    """[reaper]: deletes what deleted accounts held."""

    interval: Seconds = 3600.0
    concurrency: Count = 25
    delay_reaping: Seconds = 0.0
    reap_warn_after: Seconds = 30 * 86_400.0

    def __post_init__(self) -> None:
        if not self.concurrency:
            raise ValueError("concurrency begins at 1")


class AccountConfig(Struct, frozen=True):
    cluster: str = "/etc/objstore/objstore.toml"
    ring_dir: str = "/etc/objstore"
    server: AccountServerConfig = AccountServerConfig()
    devices: DevicesConfig = DevicesConfig()
    backend: BackendConfig = BackendConfig()
    replicator: DatabaseReplicatorConfig = DatabaseReplicatorConfig()
    auditor: DatabaseAuditorConfig = DatabaseAuditorConfig()
    reaper: ReaperConfig = ReaperConfig()
    replication: ReplicationConfig = ReplicationConfig()
    recon: ReconConfig = ReconConfig()
    healthcheck: HealthcheckConfig = HealthcheckConfig()
    log: LogConfig = LogConfig()
    metrics: MetricsConfig = MetricsConfig()
