"""object.toml: the object server and its daemons."""

from typing import Literal

from msgspec import Struct

from objstore.config.sections import BackendConfig, ObjectServerConfig, StorageServiceConfig
from objstore.config.units import Bytes, Count, Positive, Seconds


class ObjectBackendConfig(BackendConfig, frozen=True):
    """[backend] of an object server, which tells container servers what it stored."""

    node_timeout: Seconds = 3.0
    container_update_timeout: Seconds = 1.0


class StorageConfig(Struct, frozen=True):
    """[storage]: how objects are stored.

    `allowed_headers` are stored with an object beside its user metadata, in canonical spelling.
    """

    engine: str = "file"
    keep_cache_size: Bytes = 5 * 1024 * 1024
    allowed_headers: tuple[str, ...] = (
        "Content-Disposition",
        "Content-Encoding",
        "X-Delete-At",
        "X-Object-Manifest",
        "X-Static-Large-Object",
        "Cache-Control",
        "Content-Language",
        "Expires",
        "X-Robots-Tag",
    )


class ReplicatorConfig(Struct, frozen=True):
    """[replicator]: brings replicas together, and empties handoffs.

    `bandwidth` in bytes and `objects_per_second` limit what it sends and fetches; 0 is without limit. These and
    `concurrency` apply to each device.
    """

    interval: Seconds = 30.0
    concurrency: Positive = 4
    bandwidth: Bytes = 0
    objects_per_second: Count = 0
    node_timeout: Seconds = 60.0
    lock_timeout: Seconds = 15.0
    reclaim_age: Seconds = 7 * 86_400.0


class AuditorConfig(Struct, frozen=True):
    """[auditor]: reads what is stored and sets aside what is damaged; 0 is without limit.

    `zero_byte_files_per_second` is of the quick pass, which reads metadata only. `watchers` see every object.

    A pass over few files does not go as fast as it may: it is spread over `shortest_pass`, a quick one over
    `shortest_quick_pass`.
    """

    interval: Seconds = 30.0
    concurrency: Positive = 1
    bytes_per_second: Bytes = 10_000_000
    files_per_second: Count = 20
    zero_byte_files_per_second: Count = 50
    shortest_pass: Seconds = 86_400.0
    shortest_quick_pass: Seconds = 2 * 3600.0
    watchers: tuple[str, ...] = ()
    dark_data_action: Literal["log", "delete", "quarantine"] = "log"
    dark_data_grace_age: Seconds = 7 * 86_400.0


class UpdaterConfig(Struct, frozen=True):
    """[updater]: delivers the container updates that could not be delivered at once.

    `objects_per_second` counts updates; `max_objects_per_container_per_second` is without limit at 0.
    """

    interval: Seconds = 300.0
    concurrency: Positive = 8
    objects_per_second: Count = 50
    max_objects_per_container_per_second: Count = 0
    per_container_ratelimit_buckets: Positive = 1000
    max_deferred_updates: Count = 10_000
    node_timeout: Seconds = 10.0


class RelinkerConfig(Struct, frozen=True):
    """[relinker]: gives objects their places when the part power of a ring is increased.

    `files_per_second` limits what it links or removes; 0 is without limit.
    """

    interval: Seconds = 60.0
    files_per_second: Count = 0


class DelayConfig(Struct, frozen=True):
    """[[delay_reaping]]: how long expired objects of an account, or of one container, are kept."""

    account: str
    container: str = ""
    delay: Seconds = 0.0


class ExpirerConfig(Struct, frozen=True):
    """[expirer]: deletes objects whose time is over.

    With `processes`, so many expirers set up by hand share the work, and this one is number `process`; with 0 all
    object servers share it.
    """

    interval: Seconds = 300.0
    concurrency: Positive = 1
    tasks_per_second: Count = 50
    processes: Count = 0
    process: Count = 0
    reclaim_age: Seconds = 7 * 86_400.0

    def __post_init__(self) -> None:
        if self.process and self.process >= self.processes:
            raise ValueError("process counts from 0 and must be below processes")


class ObjectConfig(StorageServiceConfig, frozen=True):
    server: ObjectServerConfig = ObjectServerConfig()
    backend: ObjectBackendConfig = ObjectBackendConfig()
    storage: StorageConfig = StorageConfig()
    replicator: ReplicatorConfig = ReplicatorConfig()
    auditor: AuditorConfig = AuditorConfig()
    updater: UpdaterConfig = UpdaterConfig()
    expirer: ExpirerConfig = ExpirerConfig()
    relinker: RelinkerConfig = RelinkerConfig()
    delay_reaping: tuple[DelayConfig, ...] = ()
