"""Each server of a cluster from its configuration file to its end."""

from __future__ import annotations

from collections.abc import Callable
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
from objstore.http.probes import HealthChecked
from objstore.ring.rings import Rings
from objstore.runtime import Runtime
from objstore.tools import assembly
from objstore.tools.serving import Service, open_socket, options_of

Config = TypeVar("Config", AccountConfig, ContainerConfig, ObjectConfig, ProxyConfig)
Make = Callable[[Config, Cluster, Runtime], WsgiApplication]


def run_proxy(path: Path) -> None:
    """Serve until told to stop. Raises ConfigError, OperatorProblem."""
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


def _proxy(config: ProxyConfig, cluster: Cluster, runtime: Runtime) -> WsgiApplication:
    rings = Rings(config.ring_dir, runtime.clock)
    return assembly.make_proxy(config, cluster, rings, HttpTransport(config.backend.conn_timeout), runtime)


def _object(config: ObjectConfig, cluster: Cluster, runtime: Runtime) -> WsgiApplication:
    server = assembly.make_object_server(config, cluster, HttpTransport(config.backend.conn_timeout), runtime)
    return _operated("object", server, config, runtime)


def _container(config: ContainerConfig, cluster: Cluster, runtime: Runtime) -> WsgiApplication:
    server = assembly.make_container_server(config, cluster, HttpTransport(config.backend.conn_timeout), runtime)
    return _operated("container", server, config, runtime)


def _account(config: AccountConfig, cluster: Cluster, runtime: Runtime) -> WsgiApplication:
    return _operated("account", assembly.make_account_server(config, cluster, runtime), config, runtime)


def _operated(
    name: str, server: WsgiApplication, config: AccountConfig | ContainerConfig | ObjectConfig, runtime: Runtime
) -> WsgiApplication:
    """A storage server with what its operators need."""
    if config.metrics.wanted or config.log.has_access_lines:
        figures = RequestFigures(runtime.metrics, name) if config.metrics.wanted else None
        server = Observed(server, runtime, figures)
    return HealthChecked(server, config.healthcheck.disable_path)


def _run(name: str, path: Path, kind: type[Config], make: Make[Config]) -> None:
    """Read everything, listen, serve. A reload reads the files again; the address stays."""
    config = load(path, kind)
    cluster = Cluster.load(config.cluster)
    runtime = assembly.make_runtime(name, name, config.log, config.metrics)

    def make_again() -> WsgiApplication:
        fresh = load(path, kind)
        return make(fresh, Cluster.load(fresh.cluster), runtime)

    listener = open_socket(config.server.bind)
    service = Service(make_again, runtime, options_of(config.server, cluster.limits), listener, config.metrics)
    service.run(config.server.workers, config.server.drain_timeout)


def run_object_updater(path: Path) -> None:
    """Deliver pending updates until told to stop. Raises ConfigError, OperatorProblem."""
    config = load(path, ObjectConfig)
    cluster = Cluster.load(config.cluster)
    runtime = assembly.make_runtime("object", "object-updater", config.log, config.metrics)
    transport = HttpTransport(config.backend.conn_timeout)
    rings = Rings(config.ring_dir, runtime.clock)
    daemon.run([assembly.make_object_updater(config, cluster, rings, transport, runtime)], runtime)


def run_container_updater(path: Path) -> None:
    """Report containers to their accounts until told to stop. Raises ConfigError, OperatorProblem."""
    config = load(path, ContainerConfig)
    cluster = Cluster.load(config.cluster)
    runtime = assembly.make_runtime("container", "container-updater", config.log, config.metrics)
    transport = HttpTransport(config.backend.conn_timeout)
    rings = Rings(config.ring_dir, runtime.clock)
    daemon.run([assembly.make_container_updater(config, cluster, rings, transport, runtime)], runtime)
