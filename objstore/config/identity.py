"""identity.toml: users, projects, tokens and the catalog of services."""

from __future__ import annotations

from msgspec import Struct

from objstore.config.sections import CloudServerConfig, LogConfig
from objstore.config.units import Address, Bind, Seconds, Secret


class IdentityServerConfig(CloudServerConfig, frozen=True):
    bind: Bind = Address("127.0.0.1", 5000)


class TokensConfig(Struct, frozen=True):
    """[tokens]: how long a login holds."""

    life: Seconds = 3600.0


class FirstStartConfig(Struct, frozen=True):
    """[first_start]: the administrator that the first start makes; later starts do not look at it."""

    user: str = "admin"
    password: Secret = ""


class CatalogConfig(Struct, frozen=True):
    """One [[catalog]] entry: a service, and where clients find it. "{project_id}" in a URL is the token's project."""

    type: str
    name: str
    url: str
    internal_url: str = ""
    admin_url: str = ""


class IdentityConfig(Struct, frozen=True):
    """`url` is where clients reach this service, without the version."""

    database: str = "sqlite:////var/lib/objstore/identity.sqlite"
    keys: str = "/var/lib/objstore/identity-keys"
    url: str = "http://127.0.0.1:5000"
    region: str = "RegionOne"
    server: IdentityServerConfig = IdentityServerConfig()
    tokens: TokensConfig = TokensConfig()
    first_start: FirstStartConfig = FirstStartConfig()
    catalog: tuple[CatalogConfig, ...] = ()
    log: LogConfig = LogConfig()
