"""object.toml: the object server and its daemons."""

from msgspec import Struct

from objstore.config.sections import (
    BackendConfig,
    DevicesConfig,
    LogConfig,
    MetricsConfig,
    ObjectServerConfig,
)
from objstore.config.units import Seconds


class ObjectBackendConfig(BackendConfig, frozen=True):
    """[backend] of an object server, which tells container servers what it stored."""

    node_timeout: Seconds = 3.0
    container_update_timeout: Seconds = 1.0


class ObjectConfig(Struct, frozen=True):
    """The whole file."""

    cluster: str = "/etc/objstore/objstore.toml"
    ring_dir: str = "/etc/objstore"
    server: ObjectServerConfig = ObjectServerConfig()
    devices: DevicesConfig = DevicesConfig()
    backend: ObjectBackendConfig = ObjectBackendConfig()
    log: LogConfig = LogConfig()
    metrics: MetricsConfig = MetricsConfig()
