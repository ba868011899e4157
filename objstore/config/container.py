"""container.toml: the container server and its daemons."""

from msgspec import Struct

from objstore.config.sections import (
    BackendConfig,
    ContainerServerConfig,
    DatabaseAuditorConfig,
    DatabaseReplicatorConfig,
    StorageServiceConfig,
)
from objstore.config.units import Count, Positive, Seconds


class ContainerBackendConfig(BackendConfig, frozen=True):
    """[backend] of a container server, which tells account servers of its containers."""

    node_timeout: Seconds = 3.0


class ContainerUpdaterConfig(Struct, frozen=True):
    """[updater]: tells accounts how many objects and bytes their containers hold.

    `containers_per_second` counts those it looks at; 0 is without limit. An account whose servers have not taken a
    report is left alone for `account_suppression_time`.
    """

    interval: Seconds = 300.0
    concurrency: Positive = 4
    containers_per_second: Count = 50
    account_suppression_time: Seconds = 60.0


class ReconcilerConfig(Struct, frozen=True):
    """[reconciler]: moves objects that lie in another policy than their container's."""

    interval: Seconds = 30.0
    concurrency: Positive = 1
    reclaim_age: Seconds = 7 * 86_400.0


class PartReclaimerConfig(Struct, frozen=True):
    """[reclaimer]: deletes parts of uploads that were aborted, or whose objects are gone.

    They stay for `delay` after that. All uploads are looked at every `sweep_interval`. `databases_per_second` counts
    those it looks at; 0 is without limit.
    """

    interval: Seconds = 300.0
    concurrency: Positive = 4
    databases_per_second: Count = 50
    delay: Seconds = 3600.0
    sweep_interval: Seconds = 86_400.0
    reclaim_age: Seconds = 7 * 86_400.0


class NotifierConfig(Struct, frozen=True):
    """[notifier]: tells webhooks of events in buckets.

    timeout: for each wait for a webhook. While one takes nothing, pauses between attempts grow up to `longest_pause`.
    An event that it has not taken after `give_up` is dropped.
    """

    interval: Seconds = 1.0
    timeout: Seconds = 10.0
    longest_pause: Seconds = 300.0
    give_up: Seconds = 3 * 86_400.0


class ContainerConfig(StorageServiceConfig, frozen=True):
    server: ContainerServerConfig = ContainerServerConfig()
    backend: ContainerBackendConfig = ContainerBackendConfig()
    updater: ContainerUpdaterConfig = ContainerUpdaterConfig()
    replicator: DatabaseReplicatorConfig = DatabaseReplicatorConfig()
    auditor: DatabaseAuditorConfig = DatabaseAuditorConfig()
    reconciler: ReconcilerConfig = ReconcilerConfig()
    reclaimer: PartReclaimerConfig = PartReclaimerConfig()
    notifier: NotifierConfig = NotifierConfig()
