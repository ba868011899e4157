"""Puts the servers of a store together from their configuration. Explicit, so that it can be read.

Each function imports the server it makes: a process loads only those it runs.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from objstore.daemon import ComparingWorker, Job, Spread, UnchangedPasses
from objstore.http.operations import Handler
from objstore.logs import SINK, get_logger
from objstore.metrics import Metrics, StatsD
from objstore.mounts import DeviceRoot
from objstore.runtime import Runtime
from objstore.system.processes import keep_memory_of

if TYPE_CHECKING:
    from objstore.cluster import Cluster
    from objstore.config.account import AccountConfig
    from objstore.config.container import ContainerConfig
    from objstore.config.object import ObjectConfig, ReplicatorConfig
    from objstore.config.proxy import ProxyConfig
    from objstore.config.sections import (
        DatabaseAuditorConfig,
        DatabaseReplicatorConfig,
        DevicesConfig,
        LogConfig,
        MetricsConfig,
    )
    from objstore.db.location import DatabaseWorker
    from objstore.http.messages import WsgiApplication
    from objstore.http.transport import Transport
    from objstore.object.engine import StorageEngine
    from objstore.object.relinker import Choice, ObjectRelinker
    from objstore.object.server import ObjectServer
    from objstore.ring.daemon_context import DaemonContext, IsMine
    from objstore.ring.rings import Rings


def make_runtime(server: str, service: str, log: LogConfig, metrics: MetricsConfig) -> Runtime:
    """What every part of a service is handed; also sets up where its log lines go.

    The `server` answers for the metrics of all services of its name: its own and its daemons'.
    """
    SINK.configure(log.level, log.max_line_length)
    statsd = None
    if metrics.statsd is not None:
        statsd = StatsD(metrics.statsd.host, metrics.statsd.port, metrics.statsd_prefix)
    if metrics.bind is None:
        return Runtime(log=get_logger(service), metrics=Metrics(statsd=statsd))
    shared = Metrics.shared(os.path.join(metrics.directory, server), service, statsd)
    return Runtime(log=get_logger(service), metrics=shared)


def make_devices(config: DevicesConfig) -> DeviceRoot:
    """The disks of a storage server."""
    return DeviceRoot(config.root, config.mount_check, config.reserve)


def make_rings(ring_dir: str, cluster: Cluster, runtime: Runtime) -> Rings:
    """All rings of the cluster, read before any worker is forked. Raises RingFileError for the first bad one."""
    from objstore.ring.rings import Rings

    rings = Rings(ring_dir, runtime.clock)
    rings.load(cluster.policies)
    return rings


def make_account_server(config: AccountConfig, cluster: Cluster, runtime: Runtime) -> WsgiApplication:
    """The account server of one node."""
    from objstore.account.server import AccountServer

    return AccountServer(config, cluster, make_devices(config.devices), runtime)


def make_container_server(
    config: ContainerConfig, cluster: Cluster, transport: Transport, runtime: Runtime
) -> WsgiApplication:
    """The container server of one node; the transport leads to account servers."""
    from objstore.container.server import ContainerServer

    return ContainerServer(config, cluster, make_devices(config.devices), transport, runtime)


def make_object_server(
    config: ObjectConfig, cluster: Cluster, rings: Rings, transport: Transport, runtime: Runtime, is_mine: IsMine
) -> ObjectServer:
    """The object server of one node; the transport leads to container servers."""
    from objstore.object.server import ObjectServer

    devices = make_devices(config.devices)
    return ObjectServer(config, cluster, devices, transport, runtime, rings.refreshed_object, is_mine, rings.object)


def make_context(
    config: AccountConfig | ContainerConfig | ObjectConfig, cluster: Cluster, runtime: Runtime
) -> DaemonContext:
    """Those of the daemons of a storage server, as a process of their own: they use the network."""
    from objstore.http.client import HttpTransport
    from objstore.http.handshake import Handshake
    from objstore.recon import ReconFolder
    from objstore.ring.daemon_context import DaemonContext
    from objstore.system.addresses import is_mine

    return DaemonContext(
        cluster=cluster,
        devices=make_devices(config.devices),
        rings=make_rings(config.ring_dir, cluster, runtime),
        transport=HttpTransport(config.backend.conn_timeout, Handshake.of(cluster)),
        runtime=runtime,
        recon=ReconFolder(config.recon.directory),
        is_mine=is_mine(config.server.bind),
    )


def _paced(
    worker: DatabaseWorker,
    config: DatabaseReplicatorConfig | DatabaseAuditorConfig,
    unchanged: UnchangedPasses | None = None,
) -> Job:
    """At the pace of its configuration, which counts databases."""
    return Job(worker, config.interval, config.databases_per_second / worker.databases_per_step, unchanged=unchanged)


def _unchanged(
    worker: ComparingWorker, config: DatabaseReplicatorConfig | ReplicatorConfig, context: DaemonContext
) -> UnchangedPasses:
    return UnchangedPasses(worker, config.interval, context.runtime.clock)


def _engine(config: ObjectConfig, context: DaemonContext) -> StorageEngine:
    import objstore.object.file_engine  # noqa: F401  # registers itself
    from objstore.object.engine import make_engine

    return make_engine(config.storage.engine, context.runtime, 0)


def make_object_auditors(config: ObjectConfig, context: DaemonContext, engine: StorageEngine) -> list[Job]:
    """The daemons that look for damage: one that reads everything, and a quick one. Raises UnknownWatcher."""
    from objstore.object.auditor import ObjectAuditor
    from objstore.object.watchers import DarkData, WatcherParts, make_watchers

    parts = WatcherParts(config.auditor, context)
    watchers = make_watchers(config.auditor.watchers, {"dark_data": DarkData}, parts)
    full = ObjectAuditor(config.auditor, context, engine, watchers)
    quick = ObjectAuditor(config.auditor, context, engine, None)
    interval, spread = config.auditor.interval, Spread(config.auditor.shortest_pass, lambda: full.progress)
    quick_spread = Spread(config.auditor.shortest_quick_pass, lambda: quick.progress)
    return [Job(full, interval, spread=spread), Job(quick, interval, spread=quick_spread)]


def make_object_expirer(config: ObjectConfig, context: DaemonContext) -> Job:
    """The daemon that deletes objects whose time is over."""
    from objstore.object.expirer import ObjectExpirer

    expirer = ObjectExpirer(config.expirer, context, config.delay_reaping, config.backend.node_timeout)
    return Job(expirer, config.expirer.interval, config.expirer.tasks_per_second / config.expirer.concurrency)


def make_relinker(
    config: ObjectConfig, context: DaemonContext, engine: StorageEngine | None = None, choice: Choice | None = None
) -> ObjectRelinker:
    """What gives objects their places when a part power is increased: the daemon, or with a `choice` the command."""
    from objstore.object.relinker import ObjectRelinker

    chosen_engine = engine or _engine(config, context)
    return ObjectRelinker(config.relinker, context, chosen_engine, choice)


def make_object_daemons(config: ObjectConfig, context: DaemonContext) -> list[Job]:
    """All daemons of an object server."""
    from objstore.object.container_updates.correction import RowCorrection
    from objstore.object.container_updates.recovery import INTERVAL_SECONDS, UpdateRecovery
    from objstore.object.container_updates.updater import Updater
    from objstore.object.device_check import CHECK_SECONDS, DeviceCheck
    from objstore.object.replication.replicator import ObjectReplicator

    engine = _engine(config, context)
    _keep_memory_of_segments(context.cluster)
    correction = RowCorrection(context.cluster.hasher, context.runtime.threads)
    replicator = ObjectReplicator(config.replicator, context, engine, correction.list_instead)
    relinker = make_relinker(config, context, engine)
    return [
        Job(DeviceCheck(context, engine), CHECK_SECONDS),
        Job(Updater(config.updater, context, engine), config.updater.interval),
        Job(UpdateRecovery(config.updater, context, engine, config.recon.directory), INTERVAL_SECONDS),
        Job(replicator, config.replicator.interval, unchanged=_unchanged(replicator, config.replicator, context)),
        Job(relinker, config.relinker.interval),
        *make_object_auditors(config, context, engine),
        make_object_expirer(config, context),
    ]


def make_container_daemons(config: ContainerConfig, context: DaemonContext) -> list[Job]:
    """All daemons of a container server."""
    from objstore.container.consistency import ContainerAuditor, ContainerReplicator
    from objstore.container.notifier import EventNotifier
    from objstore.container.reclaimer import PartReclaimer
    from objstore.container.reconciler import ContainerReconciler
    from objstore.container.updater import ContainerUpdater
    from objstore.db.repair import DatabaseRepairer

    timeout_seconds = config.backend.node_timeout
    replicator = ContainerReplicator(config.replicator, context)
    reconciler = ContainerReconciler(config.reconciler, context, timeout_seconds)
    updater = ContainerUpdater(config.updater, context, timeout_seconds)
    return [
        Job(updater, config.updater.interval),
        Job(reconciler, config.reconciler.interval),
        Job(PartReclaimer(config.reclaimer, context, timeout_seconds), config.reclaimer.interval),
        Job(EventNotifier(config.notifier, context, timeout_seconds), config.notifier.interval),
        _paced(replicator, config.replicator, _unchanged(replicator, config.replicator, context)),
        Job(repairer := DatabaseRepairer(replicator), repairer.interval_seconds),
        _paced(ContainerAuditor(context), config.auditor),
    ]


def make_account_daemons(config: AccountConfig, context: DaemonContext) -> list[Job]:
    """All daemons of an account server."""
    from objstore.account.consistency import AccountAuditor, AccountReplicator
    from objstore.account.reaper import AccountReaper
    from objstore.db.repair import DatabaseRepairer

    replicator = AccountReplicator(config.replicator, context)
    reaper = AccountReaper(config.reaper, context, config.backend.node_timeout)
    return [
        Job(reaper, config.reaper.interval),
        _paced(replicator, config.replicator, _unchanged(replicator, config.replicator, context)),
        Job(repairer := DatabaseRepairer(replicator), repairer.interval_seconds),
        _paced(AccountAuditor(context), config.auditor),
    ]


def make_routes(
    server: str,
    config: AccountConfig | ContainerConfig | ObjectConfig | ProxyConfig,
    devices: DevicesConfig | None,
    cluster: Cluster,
    rings: Rings,
    runtime: Runtime,
) -> dict[str, Handler]:
    """What a service answers to operators, by the first segment of the path; a proxy has no devices."""
    from objstore.http.signing import Signer
    from objstore.operators import recon
    from objstore.recon import ReconFolder
    from objstore.ring import receiver

    signer = Signer(cluster.hasher.derived_key(receiver.KEY_PURPOSE), runtime.clock)
    root = None if devices is None else make_devices(devices)
    subject = recon.Subject(server, rings.in_use, config.cluster, root)
    return {
        receiver.ROUTE: receiver.RingReceiver(config.ring_dir, signer, runtime).handle,
        recon.ROUTE: recon.ReconPages(subject, cluster, ReconFolder(config.recon.directory), runtime).handle,
    }


def make_proxy_daemons(
    config: ProxyConfig, cluster: Cluster, rings: Rings, transport: Transport, runtime: Runtime
) -> list[Job]:
    """What one of the workers of a proxy does beside the answering of requests."""
    from objstore.proxy.core.cache import make_cache
    from objstore.proxy.core.context import make_context
    from objstore.proxy.s3.lifecycle.daemon import LifecycleDaemon
    from objstore.proxy.shared_users import FOLLOW_SECONDS, UserFollower
    from objstore.recon import ReconFolder

    context = make_context(config, cluster, rings, transport, runtime, make_cache(config.cache, runtime))
    recon = ReconFolder(config.recon.directory)
    jobs = [Job(UserFollower(context, recon), FOLLOW_SECONDS)] if config.auth.shared_users else []
    if config.s3.enabled:
        lifecycle = LifecycleDaemon(config.lifecycle, context, recon)
        jobs.append(Job(lifecycle, config.lifecycle.interval))
    return jobs


def _keep_memory_of_segments(cluster: Cluster) -> None:
    """Fragments of segments are made and given up all the time where there are policies of them."""
    codes = [policy.scheme.code for policy in cluster.policies]
    largest = max((code.segment_size for code in codes if code is not None), default=0)
    if largest:
        keep_memory_of(2 * largest, 8 * largest)


def make_proxy(
    config: ProxyConfig, cluster: Cluster, rings: Rings, transport: Transport, runtime: Runtime
) -> WsgiApplication:
    """A proxy; the transport leads to all storage servers. Raises ConfigError and other StoreErrors."""
    from objstore.proxy.core.cache import make_cache
    from objstore.proxy.core.context import make_context
    from objstore.proxy.swift.pipeline import ProxyApplication

    _keep_memory_of_segments(cluster)
    context = make_context(config, cluster, rings, transport, runtime, make_cache(config.cache, runtime))
    application: WsgiApplication
    if config.s3.enabled:
        from objstore.proxy.front import Front
        from objstore.proxy.s3.application import S3Application
        from objstore.proxy.s3.told_objects import ToldObjects

        s3 = S3Application(context)
        told = replace(context, objects=ToldObjects(context)) if cluster.webhooks else context
        swift = ProxyApplication(told, observe=s3.observe)
        application = Front(swift, s3, config.s3.domains, config.s3.website_domains)
    else:
        application = ProxyApplication(context)
    if config.domain_remap.storage_domains:
        from objstore.proxy.swift.host_names import HostNames

        application = HostNames(application, config, runtime)
    return application
