"""The compute service as a process: its API, the placer, and what only a leader does."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from objstore.client.identity import IdentityClient, ServiceUser
from objstore.cloud.callers import Callers
from objstore.cloud.database import SqlDatabase
from objstore.cloud.serving import serve, stop_on_signals
from objstore.cloud.web import WebApplication
from objstore.compute.api.application import compute_application
from objstore.compute.api.flavors import seed_flavors
from objstore.compute.core import hosts
from objstore.compute.core.context import PLACEMENT, ComputeContext, ComputeLimits
from objstore.compute.ec2.application import by_identity, ec2_application
from objstore.compute.images import ImageDirectory
from objstore.compute.leader import leadership
from objstore.compute.scheduler.placer import Placer, Ratios
from objstore.config.cell import ComputeApiConfig
from objstore.config.sections import CloudServerConfig
from objstore.errors import StoreError, reason_of
from objstore.logs import Logger, get_logger
from objstore.metrics import Metrics

MIGRATIONS: Final = Path(__file__).parent / "model/migrations"
PLACE_SECONDS: Final = 2.0  # how late a server is placed that another process made and left
KEEP_SECONDS: Final = 5.0


def context_of(config: ComputeApiConfig, database: SqlDatabase, identity: IdentityClient) -> ComputeContext:
    """What operations need, by the configuration."""
    scheduler, quota = config.scheduler, config.quota
    limits = ComputeLimits(
        quotas={
            "instances": quota.instances,
            "cores": quota.cores,
            "ram": quota.ram,
            "metadata_items": quota.metadata_items,
            "key_pairs": quota.key_pairs,
            "server_groups": quota.server_groups,
            "server_group_members": quota.server_group_members,
        },
        host_down_seconds=scheduler.host_down,
        lease_seconds=scheduler.lease,
        reclaim_seconds=config.reclaim_after,
        build_attempts=scheduler.attempts,
        zone=config.availability_zone,
    )
    return ComputeContext(database, ImageDirectory(config.image_url, identity), limits)


def identity_client(config: ComputeApiConfig) -> IdentityClient:
    own = config.identity
    return IdentityClient(
        own.url, ServiceUser(own.user, own.password, own.user_domain, own.project, own.project_domain)
    )


def run_compute_api(config: ComputeApiConfig, listening: Callable[[object], object] = lambda _: None) -> None:
    """Serve until SIGTERM. Raises DatabaseUnusable, OSError."""
    log, stop, metrics = get_logger("compute"), threading.Event(), Metrics()
    stop_on_signals(stop)
    database = SqlDatabase(config.database, MIGRATIONS)
    database.upgrade()
    database.run(seed_flavors)
    identity = identity_client(config)
    context = context_of(config, database, identity)
    ratios = config.scheduler
    placer = Placer(context, Ratios(ratios.cpu_ratio, ratios.ram_ratio, ratios.disk_ratio, ratios.reserved_ram_mb))
    leader = leadership(config.coordination, f"{socket.gethostname()}-{os.getpid()}")
    threads = [
        threading.Thread(target=_loop, args=(log, stop, "placing", lambda: _place(context, placer)), daemon=True),
        threading.Thread(
            target=_loop,
            args=(log, stop, "keeping", lambda: (leader.holds() and hosts.keep(context), stop.wait(KEEP_SECONDS))),
            daemon=True,
        ),
    ]
    callers = Callers(identity)
    ec2 = ec2_application(context, by_identity(identity), callers, config.ec2.region)
    beside = msgspec.structs.replace(config.server, bind=config.ec2.bind)
    threads.append(threading.Thread(target=_serve_beside, args=(ec2, beside, log, stop), daemon=True))
    application = compute_application(context, callers, metrics, polls_max=max(1, config.server.threads // 2))
    for thread in threads:
        thread.start()
    try:
        serve(application, config.server, log, stop, listening)
    finally:
        stop.set()
        for thread in threads:
            thread.join(KEEP_SECONDS)
        database.close()


def _serve_beside(application: WebApplication, server: CloudServerConfig, log: Logger, stop: threading.Event) -> None:
    """Serve the second API; the service ends if that cannot be."""
    try:
        serve(application, server, log, stop)
    except OSError as error:
        log.error("the EC2 API cannot be served", address=server.bind, reason=reason_of(error))
        stop.set()


def _place(context: ComputeContext, placer: Placer) -> None:
    """Place what waits, and wait for what comes."""
    context.signal.wait_until(PLACEMENT, placer.step, PLACE_SECONDS)


def _loop(log: Logger, stop: threading.Event, name: str, step: Callable[[], object]) -> None:
    """Repeat a step until the service ends; one that fails is repeated after a pause."""
    while not stop.is_set():
        try:
            step()
        except StoreError as error:
            log.warning("a step failed", step=name, reason=str(error))
            stop.wait(KEEP_SECONDS)
        except Exception:
            log.exception("a step failed unexpectedly", step=name)
            stop.wait(KEEP_SECONDS)
