"""Tables that the files of several services have in common."""

import re
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from objstore.config.units import (
    Address,
    Bind,
    Count,
    Positive,
    Reserve,
    ReserveSpace,
    Seconds,
    Secret,
    Workers,
    processor_count,
)


class ServerConfig(Struct, frozen=True):
    """[server]: where the service listens and how it treats its connections."""

    bind: Bind
    workers: Workers = field(default_factory=processor_count)
    max_clients: Count = 1024
    client_timeout: Seconds = 60.0
    keepalive_timeout: Seconds = 60.0
    drain_timeout: Seconds = 86_400.0
    tls_cert: str = ""
    tls_key: str = ""


class ProxyServerConfig(ServerConfig, frozen=True):
    bind: Bind = Address("0.0.0.0", 8080)
    max_clients_per_address: Count = 512
    proxy_protocol: bool = False

    def __post_init__(self) -> None:
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("tls_cert and tls_key come together: give both or neither")


class StorageServerConfig(ServerConfig, frozen=True):
    """[server] of a storage server. It answers whoever reaches it, so by default it listens on loopback alone."""

    def __post_init__(self) -> None:
        if self.tls_cert or self.tls_key:
            raise ValueError(
                "tls_cert and tls_key are for proxies: proxies and daemons speak plain HTTP to storage servers, "
                "so with TLS none of them could reach this one"
            )


class ObjectServerConfig(StorageServerConfig, frozen=True):
    bind: Bind = Address("127.0.0.1", 6200)


class ContainerServerConfig(StorageServerConfig, frozen=True):
    bind: Bind = Address("127.0.0.1", 6201)


class AccountServerConfig(StorageServerConfig, frozen=True):
    bind: Bind = Address("127.0.0.1", 6202)


class CloudServerConfig(Struct, frozen=True):
    """[server] of a cloud service: identity, image, compute. Each request has a thread while it is answered."""

    bind: Bind
    threads: Annotated[int, Meta(ge=1, le=1000)] = 16
    client_timeout: Seconds = 60.0
    drain_timeout: Seconds = 30.0
    tls_cert: str = ""
    tls_key: str = ""

    def __post_init__(self) -> None:
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("tls_cert and tls_key come together: give both or neither")


class IdentityClientConfig(Struct, frozen=True):
    """[identity] of a service that asks the identity service whose a token is: where, and as which user."""

    url: str = ""
    user: str = ""
    password: Secret = ""
    user_domain: str = "Default"
    project: str = "service"
    project_domain: str = "Default"

    def __post_init__(self) -> None:
        if self.url and not re.fullmatch(r"https?://[^/]+/.*", self.url):
            raise ValueError(f"url is as in http://HOST:5000/v3, not {self.url!r}")
        if self.url and not self.user:
            raise ValueError("user is missing: as whom the service logs in")


class DevicesConfig(Struct, frozen=True):
    """[devices]: the disks of a storage server."""

    root: str = "/srv/node"
    mount_check: bool = True
    reserve: ReserveSpace = Reserve(percent=1.0)


class BackendConfig(Struct, frozen=True):
    """[backend]: how a service talks to the storage servers."""

    conn_timeout: Seconds = 0.5
    node_timeout: Seconds = 10.0


class LogConfig(Struct, frozen=True):
    """[log]: lines on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    max_line_length: Count = 0

    @property
    def has_access_lines(self) -> bool:
        """Whether each request has a line."""
        return self.level in ("debug", "info")


class HealthcheckConfig(Struct, frozen=True):
    """[healthcheck]: what load balancers and operators' programs ask."""

    disable_path: str = ""


class ReplicationConfig(Struct, frozen=True):
    """[replication]: an address apart from the clients', for operators and for servers among themselves."""

    bind: Bind | None = None


class ReconConfig(Struct, frozen=True):
    """[recon]: where daemons report, for operators to ask the servers about."""

    directory: str = "/var/cache/objstore"


class MetricsConfig(Struct, frozen=True):
    """[metrics]: where Prometheus reads them, and their mirror for StatsD.

    The processes of a service put the metrics that `bind` serves together in `directory`.
    """

    bind: Bind | None = None
    directory: str = "/run/objstore"
    statsd: Bind | None = None
    statsd_prefix: str = ""

    @property
    def wanted(self) -> bool:
        """Whether anybody reads the metrics."""
        return self.bind is not None or self.statsd is not None


class StorageServiceConfig(Struct, frozen=True):
    """What the files of account, container and object servers have in common."""

    cluster: str = "/etc/objstore/objstore.toml"
    ring_dir: str = "/etc/objstore"
    devices: DevicesConfig = DevicesConfig()
    replication: ReplicationConfig = ReplicationConfig()
    recon: ReconConfig = ReconConfig()
    healthcheck: HealthcheckConfig = HealthcheckConfig()
    log: LogConfig = LogConfig()
    metrics: MetricsConfig = MetricsConfig()


class DatabaseReplicatorConfig(Struct, frozen=True):
    """[replicator]: brings all replicas of each database to the same state.

    Rows go in batches of `per_diff`, `max_diffs` of them to one peer in one pass; a peer that is farther
    behind gets the whole database.
    """

    interval: Seconds = 30.0
    concurrency: Positive = 8
    databases_per_second: Count = 50
    per_diff: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    max_diffs: Positive = 100
    node_timeout: Seconds = 10.0
    reclaim_age: Seconds = 7 * 86_400.0


class DatabaseAuditorConfig(Struct, frozen=True):
    """[auditor]: reads every database, and sets aside those that are damaged."""

    interval: Seconds = 1800.0
    databases_per_second: Count = 200
