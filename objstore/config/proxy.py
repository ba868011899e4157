"""proxy.toml: the public tier."""

from typing import Literal

from msgspec import Struct

from objstore.config.sections import BackendConfig, LogConfig, MetricsConfig, ProxyServerConfig
from objstore.config.units import Count, Seconds


class AccountsConfig(Struct, frozen=True):
    """[accounts]: how accounts come and go."""

    allow_account_management: bool = False
    account_autocreate: bool = False


class AuthConfig(Struct, frozen=True):
    """[auth]: users kept in a file, and the tokens they get."""

    users: str = "/etc/objstore/users.toml"
    reseller_prefix: str = "AUTH"
    token_life: Seconds = 86_400.0


class CacheConfig(Struct, frozen=True):
    """[cache]: the memcached servers that all proxies share; none means a cache of each process's own."""

    memcached: tuple[str, ...] = ()
    recheck_account_existence: Seconds = 60.0
    recheck_container_existence: Seconds = 60.0


class ProxyBackendConfig(BackendConfig, frozen=True):
    """[backend] of a proxy."""

    post_quorum_timeout: Seconds = 0.5
    error_suppression_interval: Seconds = 60.0
    error_suppression_limit: Count = 10
    sorting_method: Literal["shuffle"] = "shuffle"


class ProxyConfig(Struct, frozen=True):
    """The whole file."""

    cluster: str = "/etc/objstore/objstore.toml"
    ring_dir: str = "/etc/objstore"
    server: ProxyServerConfig = ProxyServerConfig()
    accounts: AccountsConfig = AccountsConfig()
    auth: AuthConfig = AuthConfig()
    cache: CacheConfig = CacheConfig()
    backend: ProxyBackendConfig = ProxyBackendConfig()
    log: LogConfig = LogConfig()
    metrics: MetricsConfig = MetricsConfig()
