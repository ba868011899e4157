"""account.toml: the account server and its daemons."""

from msgspec import Struct

from objstore.config.sections import AccountServerConfig, DevicesConfig, HealthcheckConfig, LogConfig, MetricsConfig


class AccountConfig(Struct, frozen=True):
    """The whole file."""

    cluster: str = "/etc/objstore/objstore.toml"
    ring_dir: str = "/etc/objstore"
    server: AccountServerConfig = AccountServerConfig()
    devices: DevicesConfig = DevicesConfig()
    healthcheck: HealthcheckConfig = HealthcheckConfig()
    log: LogConfig = LogConfig()
    metrics: MetricsConfig = MetricsConfig()
