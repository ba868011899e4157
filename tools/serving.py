"""Runs the servers and daemons of a cluster, each from its configuration file to its end."""

from __future__ import annotations

import resource
import signal
import socket
import ssl
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from objstore import daemon
from objstore.cluster import Cluster
from objstore.config.account import AccountConfig
from objstore.config.container import ContainerConfig
from objstore.config.loading import load
from objstore.config.object import ObjectConfig
from objstore.config.proxy import ProxyConfig
from objstore.config.sections import MetricsConfig, ProxyServerConfig, ServerConfig
from objstore.config.units import Address
from objstore.daemon import Job, Runner
from objstore.errors import StoreError, reason_of
from objstore.http.access import Observed, RequestMetrics
from objstore.http.client import HttpTransport
from objstore.http.handshake import Handshake
from objstore.http.heads import HeadLimits
from objstore.http.messages import WsgiApplication
from objstore.http.operations import HealthChecked, MetricsPage, ServiceApps, proxy_apps, storage_apps
from objstore.http.server import HttpServer, ServerOptions
from objstore.limits import Limits
from objstore.logs import Logger
from objstore.ring.daemon_context import DaemonContext
from objstore.ring.rings import Rings
from objstore.runtime import Runtime
from objstore.system.addresses import is_mine
from objstore.system.processes import give_memory_back
from objstore.system.workers import ConnectionBalance, Master, Server, listen, run_servers
from objstore.tools import assembly
from objstore.tools.commands import OperatorProblem

# A connection each for clients and servers, files under way, and databases that are kept open.
DESCRIPTORS_WANTED: Final = 65_536
# A client that uploads more slowly, once it has used up its client_timeout, is not going to end.
BODY_BYTES_PER_SECOND_MIN: Final = 1024

Report = Callable[[str, BaseException], None]
# Makes the application afresh, from configuration read afresh. May raise StoreError.
MakeApps = Callable[[], ServiceApps]


def open_socket(address: Address) -> socket.socket:
    """Listen on an address. Raises OperatorProblem."""
    try:
        return listen(address.host, address.port)
    except OSError as error:
        raise OperatorProblem(
            f"cannot listen on {address}: {error.strerror or error}",
            "end what uses the address, or choose another one",
        ) from error


def allow_many_descriptors() -> None:
    """Raise this process's limit as far as the system lets it, up to what any service can use."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(DESCRIPTORS_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def reporter(log: Logger) -> Report:
    """Where servers report errors; those that nobody foresaw with their traceback."""

    def report(message: str, error: BaseException) -> None:
        if isinstance(error, StoreError):
            log.error(message, error=str(error))
            return
        log.error(message, error=repr(error), traceback="".join(traceback.format_exception(error)).rstrip())

    return report


def options_of(config: ServerConfig, limits: Limits) -> ServerOptions:
    """How an HTTP server treats its connections. Raises OperatorProblem when the TLS files do not fit."""
    addresses, rate, proxy_protocol = 0, 0, False  # storage servers serve few addresses, and trust them
    if isinstance(config, ProxyServerConfig):
        addresses, rate = config.max_clients_per_address, BODY_BYTES_PER_SECOND_MIN
        proxy_protocol = config.proxy_protocol
    return ServerOptions(
        client_timeout_seconds=config.client_timeout,
        keepalive_timeout_seconds=config.keepalive_timeout,
        body_bytes_per_second_min=rate,
        max_connections=config.max_clients,
        max_connections_per_address=addresses,
        head=HeadLimits(
            line_bytes=limits.max_request_line,
            header_bytes=limits.max_header_size,
            headers=limits.max_header_count,
        ),
        tls=tls_context(config),
        proxy_protocol=proxy_protocol,
    )


def tls_context(config: ServerConfig) -> ssl.SSLContext | None:
    """Raises OperatorProblem, which names the file that cannot be used."""
    if not config.tls_cert:
        return None
    for path in (config.tls_cert, config.tls_key):
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise OperatorProblem(
                f"{path} cannot be read: {reason_of(error)}", "it is a TLS file of [server]"
            ) from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A key that is sealed with a password is refused: nobody is there to type it.
        context.load_cert_chain(config.tls_cert, config.tls_key, password="")
    except (OSError, ssl.SSLError) as error:
        raise OperatorProblem(
            f"the TLS files {config.tls_cert} and {config.tls_key} cannot be used: {error}",
            "check that both are in PEM without a password, and that the key belongs to the certificate",
        ) from error
    return context


class BackgroundWork:
    """Jobs beside the answering of requests, until the worker that does them drains."""

    def __init__(self, jobs: Sequence[Job], runtime: Runtime) -> None:
        self._runner = Runner(jobs, runtime)

    def serve(self) -> None:
        self._runner.run()

    def drain(self, seconds: float, successor: bool) -> None:
        """Steps are short, so that the runner's own patience is enough."""
        self._runner.stop()


class Service:
    """The apps of one service, the sockets they answer on, and the socket on which Prometheus is answered."""

    def __init__(
        self,
        make: MakeApps,
        runtime: Runtime,
        options: Callable[[], ServerOptions],
        listener: socket.socket,
        metrics: MetricsConfig,
        jobs: Sequence[Job] = (),
        replication_listener: socket.socket | None = None,
    ) -> None:
        """Makes the application and listens at once, so that what is wrong is said before anything is forked.

        One of the workers also does the `jobs`. Raises OperatorProblem.
        """
        self._make = make
        self._runtime = runtime
        self._make_options = options
        self._options = options()
        self._listener = listener
        self._metrics_listener = None if metrics.bind is None else open_socket(metrics.bind)
        self._jobs = jobs
        self._report = reporter(runtime.log)
        self._balance = ConnectionBalance()
        self._replication_listener = replication_listener
        self._apps = make()

    def run(self, workers: int, drain_seconds: float, stop_seconds: float | None = None) -> None:
        """Serve until SIGTERM or SIGINT, then drain; SIGHUP reloads. 0 workers serve in this process.

        What is under way may take `drain_seconds`, or `stop_seconds` if that is given and nobody takes over.
        """
        stop_seconds = drain_seconds if stop_seconds is None else stop_seconds
        log = self._runtime.log
        allow_many_descriptors()
        give_memory_back()
        log.info("started", address=Address(*self._listener.getsockname()[:2]), workers=workers)
        if workers == 0:
            self._balance.join(0)
            run_servers(self.start(0), (signal.SIGTERM, signal.SIGINT), stop_seconds)
            self._finish()
        else:
            Master(
                self.start,
                workers,
                self._report,
                self._balance,
                self._reload,
                drain_seconds,
                stop_seconds,
                self._finish,
                self._ended,
            ).run()
        log.info("stopped")

    def _reload(self) -> None:
        self._apps, self._options = self._make(), self._make_options()
        self._runtime.log.info("configuration reloaded")

    def _finish(self) -> None:
        if self._apps.session is not None:
            self._apps.session.end()
        self._runtime.metrics.share()

    def _ended(self, process: int, expected: bool) -> None:
        if not expected:
            self._runtime.log.error("a worker died; another takes its place", process=process)
        self._runtime.metrics.forget_process(process)

    def start(self, index: int) -> list[Server]:
        """What worker number `index` does, in its own process."""
        # A fork copies the generator's state: without a new seed all workers would draw the same numbers.
        self._runtime.random.seed()
        self._runtime.metrics.join()
        if self._apps.session is not None:
            self._apps.session.begin()
        options = replace(self._options, handshake=None) if self._apps.for_anybody else self._options
        servers: list[Server] = [HttpServer(self._apps.public, [self._listener], options, self._report, self._balance)]
        if self._replication_listener is not None and self._apps.replication is not None:
            # Operators and other servers ask there without TLS, also where clients need it.
            application, listeners = self._apps.replication, [self._replication_listener]
            options = replace(self._options, tls=None, proxy_protocol=False)
            servers.append(HttpServer(application, listeners, options, self._report))
        if self._metrics_listener is not None:
            page = MetricsPage(self._runtime)
            servers.append(HttpServer(page, [self._metrics_listener], ServerOptions(), self._report))
        if index == 0 and self._jobs:
            servers.append(BackgroundWork(self._jobs, self._runtime))
        return servers


Config = TypeVar("Config", AccountConfig, ContainerConfig, ObjectConfig, ProxyConfig)
Make = Callable[[Config, Cluster, Runtime], ServiceApps]
MakeJobs = Callable[[Config, Cluster, Runtime], list[Job]]
StorageConfig = TypeVar("StorageConfig", AccountConfig, ContainerConfig, ObjectConfig)
MakeDaemons = Callable[[StorageConfig, DaemonContext], list[daemon.Job]]


def run_proxy(path: Path) -> None:
    """Serve until told to stop. Raises ConfigError, OperatorProblem, RingFileError."""
    _run("proxy", path, ProxyConfig, _proxy, _proxy_daemons)


def run_object(path: Path) -> None:
    """Serve until told to stop. Raises ConfigError, OperatorProblem, RingFileError."""
    _run("object", path, ObjectConfig, _object)


def run_container(path: Path) -> None:
    """Serve until told to stop. Raises ConfigError, OperatorProblem, RingFileError."""
    _run("container", path, ContainerConfig, _container)


def run_account(path: Path) -> None:
    """Serve until told to stop. Raises ConfigError, OperatorProblem, RingFileError."""
    _run("account", path, AccountConfig, _account)


def _proxy(config: ProxyConfig, cluster: Cluster, runtime: Runtime) -> ServiceApps:
    rings = assembly.make_rings(config.ring_dir, cluster, runtime)
    application = assembly.make_proxy(
        config, cluster, rings, HttpTransport(config.backend.conn_timeout, Handshake.of(cluster)), runtime
    )
    routes = assembly.make_routes("proxy", config, None, cluster, rings, runtime)
    return proxy_apps(application, routes, runtime.log)


def _proxy_daemons(config: ProxyConfig, cluster: Cluster, runtime: Runtime) -> list[Job]:
    rings = assembly.make_rings(config.ring_dir, cluster, runtime)
    transport = HttpTransport(config.backend.conn_timeout, Handshake.of(cluster))
    return assembly.make_proxy_daemons(config, cluster, rings, transport, runtime)


def _no_daemons(_config: Config, _cluster: Cluster, _runtime: Runtime) -> list[Job]:
    return []


def _object(config: ObjectConfig, cluster: Cluster, runtime: Runtime) -> ServiceApps:
    rings = assembly.make_rings(config.ring_dir, cluster, runtime)
    transport = HttpTransport(config.backend.conn_timeout, Handshake.of(cluster))
    server = assembly.make_object_server(config, cluster, rings, transport, runtime, is_mine(config.server.bind))
    return replace(_operated("object", server, config, cluster, rings, runtime), session=server.session)


def _container(config: ContainerConfig, cluster: Cluster, runtime: Runtime) -> ServiceApps:
    server = assembly.make_container_server(
        config, cluster, HttpTransport(config.backend.conn_timeout, Handshake.of(cluster)), runtime
    )
    return _operated(
        "container", server, config, cluster, assembly.make_rings(config.ring_dir, cluster, runtime), runtime
    )


def _account(config: AccountConfig, cluster: Cluster, runtime: Runtime) -> ServiceApps:
    server = assembly.make_account_server(config, cluster, runtime)
    return _operated(
        "account", server, config, cluster, assembly.make_rings(config.ring_dir, cluster, runtime), runtime
    )


def _operated(
    name: str,
    server: WsgiApplication,
    config: AccountConfig | ContainerConfig | ObjectConfig,
    cluster: Cluster,
    rings: Rings,
    runtime: Runtime,
) -> ServiceApps:
    """A storage server with what its operators need."""
    if config.metrics.wanted or config.log.has_access_lines:
        counted = RequestMetrics(runtime.metrics, name) if config.metrics.wanted else None
        server = Observed(server, runtime, counted)
    server = HealthChecked(server, config.healthcheck.disable_path, rings.faults)
    routes = assembly.make_routes(name, config, config.devices, cluster, rings, runtime)
    return storage_apps(server, routes, config.replication.bind is not None, runtime.log)


def _run(
    name: str, path: Path, kind: type[Config], make: Make[Config], make_jobs: MakeJobs[Config] = _no_daemons
) -> None:
    """Read everything, listen, serve. A reload reads the files again; the address stays, and so do the jobs."""
    config = load(path, kind)
    runtime = assembly.make_runtime(name, name, config.log, config.metrics)

    def make_again() -> ServiceApps:
        fresh = load(path, kind)
        return make(fresh, Cluster.load(fresh.cluster), runtime)

    def options_again() -> ServerOptions:
        """TLS certificates are renewed while a service runs."""
        fresh = load(path, kind)
        cluster = Cluster.load(fresh.cluster)
        return replace(options_of(fresh.server, cluster.limits), handshake=Handshake.of(cluster))

    listener = open_socket(config.server.bind)
    replication = None if config.replication.bind is None else open_socket(config.replication.bind)
    jobs = make_jobs(config, Cluster.load(config.cluster), runtime)
    service = Service(make_again, runtime, options_again, listener, config.metrics, jobs, replication)
    service.run(config.server.workers, config.server.drain_timeout)


def run_object_daemons(path: Path, only: Sequence[str], once: bool) -> None:
    _run_daemons("object", load(path, ObjectConfig), assembly.make_object_daemons, only, once)


def run_container_daemons(path: Path, only: Sequence[str], once: bool) -> None:
    _run_daemons("container", load(path, ContainerConfig), assembly.make_container_daemons, only, once)


def run_account_daemons(path: Path, only: Sequence[str], once: bool) -> None:
    _run_daemons("account", load(path, AccountConfig), assembly.make_account_daemons, only, once)


def _run_daemons(
    server: str, config: StorageConfig, make: MakeDaemons[StorageConfig], only: Sequence[str], once: bool
) -> None:
    """Run the daemons of a storage server, or `only` those of the names, until told to stop, or `once` all through.

    Raises ConfigError, OperatorProblem, RingFileError.
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
