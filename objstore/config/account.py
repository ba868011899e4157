"""account.toml: the account server and its daemons."""

from msgspec import Struct

from objstore.config.sections import (
    AccountServerConfig,
    BackendConfig,
    DatabaseAuditorConfig,
    DatabaseReplicatorConfig,
    StorageServiceConfig,
)
from objstore.config.units import Positive, Seconds


class ReaperConfig(Struct, frozen=True):
    """[reaper]: deletes what deleted accounts held."""

    interval: Seconds = 3600.0
    concurrency: Positive = 25
    delay_reaping: Seconds = 0.0
    reap_warn_after: Seconds = 30 * 86_400.0


class AccountConfig(StorageServiceConfig, frozen=True):
    server: AccountServerConfig = AccountServerConfig()
    backend: BackendConfig = BackendConfig()
    replicator: DatabaseReplicatorConfig = DatabaseReplicatorConfig()
    auditor: DatabaseAuditorConfig = DatabaseAuditorConfig()
    reaper: ReaperConfig = ReaperConfig()
