"""account.toml: the account server and its daemons."""

from msgspec import Struct

from objstore.config.sections import (
    AccountServerConfig,
    BackendConfig,
    DatabaseAuditorConfig,
    DatabaseReplicatorConfig,
    StorageServiceConfig,
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


class AccountConfig(StorageServiceConfig, frozen=True):
    server: AccountServerConfig = AccountServerConfig()
    backend: BackendConfig = BackendConfig()
    replicator: DatabaseReplicatorConfig = DatabaseReplicatorConfig()
    auditor: DatabaseAuditorConfig = DatabaseAuditorConfig()
    reaper: ReaperConfig = ReaperConfig()
