"""Each server of a cluster from its configuration file to its end."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from objstore import daemon
from objstore.cluster import Cluster
from objstore.config.account import AccountConfig
from objstore.config.container import ContainerConfig
from objstore.config.loading import load
from objstore.config.object import ObjectConfig
from objstore.config.proxy import ProxyConfig
from objstore.http.access import Observed, RequestFigures
from objstore.http.client import HttpTransport
from objstore.http.messages import WsgiApplication
from objstore.http.operations import Sides, proxy_sides, storage_sides
from objstore.http.probes import HealthChecked
from objstore.ring.daemon_context import DaemonContext
from objstore.ring.errors import RingMissing
from objstore.ring.format import read_ring
from objstore.ring.rings import ACCOUNT_FILE, CONTAINER_FILE, Rings, object_file
from objstore.runtime import Runtime
from objstore.system.addresses import is_mine
from objstore.tools import assembly
from objstore.tools.problems import OperatorProblem
from objstore.tools.serving import Service, open_socket, options_of

Config = TypeVar("Config", AccountConfig, ContainerConfig, ObjectConfig, ProxyConfig)
Make = Callable[[Config, Cluster, Runtime], Sides]
StorageConfig = TypeVar("StorageConfig", AccountConfig, ContainerConfig, ObjectConfig)
MakeDaemons = Callable[[StorageConfig, DaemonContext], list[daemon.Job]]


def run_proxy(path: Path) -> None:
    """Serve until told to stop. Raises ConfigError, OperatorProblem, RingFileError."""
    _run("proxy", path, ProxyConfig, _proxy)


def run_object(path: Path) -> None:
    """Serve until told to stop. Raises ConfigError, OperatorProblem."""
    _run("object", path, ObjectConfig, _object)


def run_container(path: Path) -> None:
    """Serve until told to stop. Raises ConfigError, OperatorProblem."""
    _run("container", path, ContainerConfig, _container)


def run_account(path: Path) -> None:
    """Serve until told to stop. Raises ConfigError, OperatorProblem."""
    _run("account", path, AccountConfig, _account)


def _proxy(config: ProxyConfig, cluster: Cluster, runtime: Runtime) -> Sides:
    rings = Rings(config.ring_dir, runtime.clock)
    application = assembly.make_proxy(config, cluster, rings, HttpTransport(config.backend.conn_timeout), runtime)
    routes = assembly.make_routes("proxy", config, None, cluster, rings, runtime)
    return proxy_sides(application, routes, runtime.log)


def _object(config: ObjectConfig, cluster: Cluster, runtime: Runtime) -> Sides:
    rings = Rings(config.ring_dir, runtime.clock)
    transport = HttpTransport(config.backend.conn_timeout)
    server = assembly.make_object_server(config, cluster, rings, transport, runtime, is_mine(config.server.bind))
    return _operated("object", server, config, cluster, rings, runtime)


def _container(config: ContainerConfig, cluster: Cluster, runtime: Runtime) -> Sides:
    server = assembly.make_container_server(config, cluster, HttpTransport(config.backend.conn_timeout), runtime)
    return _operated("container", server, config, cluster, Rings(config.ring_dir, runtime.clock), runtime)


def _account(config: AccountConfig, cluster: Cluster, runtime: Runtime) -> Sides:
    server = assembly.make_account_server(config, cluster, runtime)
    return _operated("account", server, config, cluster, Rings(config.ring_dir, runtime.clock), runtime)


def _operated(
    name: str,
    server: WsgiApplication,
    config: AccountConfig | ContainerConfig | ObjectConfig,
    cluster: Cluster,
    rings: Rings,
    runtime: Runtime,
) -> Sides:
    """A storage server with what its operators need."""
    if config.metrics.wanted or config.log.has_access_lines:
        figures = RequestFigures(runtime.metrics, name) if config.metrics.wanted else None
        server = Observed(server, runtime, figures)
    server = HealthChecked(server, config.healthcheck.disable_path)
    routes = assembly.make_routes(name, config, config.devices, cluster, rings, runtime)
    return storage_sides(server, routes, config.replication.bind is not None, runtime.log)


def _run(name: str, path: Path, kind: type[Config], make: Make[Config]) -> None:
    """Read everything, listen, serve. A reload reads the files again; the address stays."""
    config = load(path, kind)
    cluster = Cluster.load(config.cluster)
    runtime = assembly.make_runtime(name, name, config.log, config.metrics)
    if isinstance(config, ProxyConfig):
        _look_at_rings(config.ring_dir, cluster, runtime)

    def make_again() -> Sides:
        fresh = load(path, kind)
        return make(fresh, Cluster.load(fresh.cluster), runtime)

    listener = open_socket(config.server.bind)
    replication = None if config.replication.bind is None else open_socket(config.replication.bind)
    options = options_of(config.server, cluster.limits)
    service = Service(make_again, runtime, options, listener, config.metrics, replication_listener=replication)
    service.run(config.server.workers, config.server.drain_timeout)


def _look_at_rings(ring_dir: str, cluster: Cluster, runtime: Runtime) -> None:
    """A proxy with a bad ring could but answer 500; a missing one may be published yet. Raises RingFileError."""
    names = [ACCOUNT_FILE, CONTAINER_FILE, *(object_file(policy.index) for policy in cluster.policies)]
    for path in (os.path.join(ring_dir, name) for name in names):
        try:
            read_ring(path)
        except RingMissing:
            runtime.log.warning("there is no such ring yet", ring=path)


def run_object_daemons(path: Path, only: Sequence[str], once: bool) -> None:
    """See run_daemons."""
    _run_daemons("object", load(path, ObjectConfig), assembly.make_object_daemons, only, once)


def run_container_daemons(path: Path, only: Sequence[str], once: bool) -> None:
    """See run_daemons."""
    _run_daemons("container", load(path, ContainerConfig), assembly.make_container_daemons, only, once)


def run_account_daemons(path: Path, only: Sequence[str], once: bool) -> None:
    """See run_daemons."""
    _run_daemons("account", load(path, AccountConfig), assembly.make_account_daemons, only, once)


def _run_daemons(
    server: str, config: StorageConfig, make: MakeDaemons[StorageConfig], only: Sequence[str], once: bool
) -> None:
    """Run the daemons of a storage server, or `only` those of the names, until told to stop, or `once` all through.

    Raises ConfigError, OperatorProblem.
    """
    cluster = Cluster.load(config.cluster)
    runtime = assembly.make_runtime(server, f"{server}-daemons", config.log, config.metrics)
    jobs = make(config, assembly.make_context(config, cluster, runtime))
    chosen = [job for job in jobs if not only or job.worker.name.removeprefix(f"{server}-") in only]
    if len(chosen) < len(set(only)):
        names = ", ".join(job.worker.name.removeprefix(f"{server}-") for job in jobs)
        raise OperatorProblem(f"no such daemon among {', '.join(only)}", f"the daemons of this server are {names}")
    if not once:
        daemon.run(chosen, runtime)
        return
    for job in chosen:
        daemon.run_once(job.worker)
    runtime.metrics.share()
