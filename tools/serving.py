"""Runs one HTTP application in prefork workers, until it is told to stop."""

from __future__ import annotations

import resource
import signal
import socket
import ssl
import traceback
from collections.abc import Callable, Sequence
from typing import Final

from objstore.config.sections import MetricsConfig, ServerConfig
from objstore.config.units import Address
from objstore.daemon import Job, Runner
from objstore.http.heads import HeadLimits
from objstore.http.operations import Sides
from objstore.http.probes import MetricsPage
from objstore.http.server import HttpServer, ServerOptions
from objstore.http.workers import ConnectionBalance, Master, Server, listen, run_servers
from objstore.limits import Limits
from objstore.logs import Logger
from objstore.runtime import Runtime
from objstore.system.processes import give_memory_back
from objstore.tools.problems import OperatorProblem

# A connection each for clients and servers, files under way, and databases that are kept open.
DESCRIPTORS_WANTED: Final = 65_536

Report = Callable[[str, BaseException], None]
# Makes the application afresh, from configuration read afresh. May raise StoreError.
MakeSides = Callable[[], Sides]


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
    """Where servers report errors that nobody foresaw."""

    def report(message: str, error: BaseException) -> None:
        log.error(message, error=repr(error), traceback="".join(traceback.format_exception(error)).rstrip())

    return report


def options_of(config: ServerConfig, limits: Limits) -> ServerOptions:
    """How an HTTP server treats its connections. Raises OperatorProblem when the TLS files do not fit."""
    return ServerOptions(
        client_timeout_seconds=config.client_timeout,
        keepalive_timeout_seconds=config.keepalive_timeout,
        max_connections=config.max_clients,
        head=HeadLimits(
            line_bytes=limits.max_request_line,
            header_bytes=limits.max_header_size,
            headers=limits.max_header_count,
        ),
        tls=_tls_context(config),
    )


def _tls_context(config: ServerConfig) -> ssl.SSLContext | None:
    if not config.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.tls_cert, config.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise OperatorProblem(
            f"the TLS files {config.tls_cert} and {config.tls_key} cannot be used: {error}",
            "check the paths, and that the key belongs to the certificate",
        ) from error
    return context


class BackgroundWork:
    """Jobs beside the answering of requests, until the worker that does them drains."""

    def __init__(self, jobs: Sequence[Job], runtime: Runtime) -> None:
        self._runner = Runner(jobs, runtime)

    def serve(self) -> None:
        """See Server."""
        self._runner.run()

    def drain(self, seconds: float) -> None:
        """See Server; steps are short, so that the runner's own patience is enough."""
        self._runner.stop()


class Service:
    """One application, the sockets its two sides answer on, and the socket on which Prometheus is answered."""

    def __init__(
        self,
        make: MakeSides,
        runtime: Runtime,
        options: ServerOptions,
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
        self._options = options
        self._listener = listener
        self._metrics_listener = None if metrics.bind is None else open_socket(metrics.bind)
        self._jobs = jobs
        self._report = reporter(runtime.log)
        self._balance = ConnectionBalance()
        self._replication_listener = replication_listener
        self._sides = make()

    def run(self, workers: int, drain_seconds: float) -> None:
        """Serve until SIGTERM or SIGINT, then drain; SIGHUP reloads. 0 workers serve in this process."""
        log = self._runtime.log
        allow_many_descriptors()
        give_memory_back()
        log.info("started", address=Address(*self._listener.getsockname()[:2]), workers=workers)
        if workers == 0:
            self._balance.join(0)
            run_servers(self.start(0), (signal.SIGTERM, signal.SIGINT), drain_seconds)
        else:
            finish = self._runtime.metrics.share
            Master(
                self.start, workers, self._report, self._balance, self._reload, drain_seconds, finish, self._ended
            ).run()
        log.info("stopped")

    def _reload(self) -> None:
        self._sides = self._make()
        self._runtime.log.info("configuration reloaded")

    def _ended(self, process: int, expected: bool) -> None:
        if not expected:
            self._runtime.log.error("a worker died; another takes its place", process=process)
        self._runtime.metrics.forget_process(process)

    def start(self, index: int) -> list[Server]:
        """What worker number `index` does, in its own process."""
        # A fork copies the generator's state: without a new seed all workers would draw the same numbers.
        self._runtime.random.seed()
        self._runtime.metrics.join()
        servers: list[Server] = [
            HttpServer(self._sides.public, [self._listener], self._options, self._report, self._balance)
        ]
        if self._replication_listener is not None and self._sides.replication is not None:
            application, listeners = self._sides.replication, [self._replication_listener]
            servers.append(HttpServer(application, listeners, self._options, self._report))
        if self._metrics_listener is not None:
            page = MetricsPage(self._runtime)
            servers.append(HttpServer(page, [self._metrics_listener], ServerOptions(), self._report))
        if index == 0 and self._jobs:
            servers.append(BackgroundWork(self._jobs, self._runtime))
        return servers
