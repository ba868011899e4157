"""What one worker of a service serves, and how."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from contextlib import closing
from typing import cast

import pytest

from objstore.config.sections import MetricsConfig
from objstore.http.messages import Environ, Response, StartResponse
from objstore.http.operations import ServiceApps
from objstore.http.server import HttpServer, ServerOptions
from objstore.logs import Logger, Sink
from objstore.runtime import Runtime
from objstore.tools.serving import Service


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return Response(200)(environ, start_response)


def test_tls_is_for_clients_alone() -> None:
    # Other servers and operators' commands speak plain HTTP to the replication address.
    options = ServerOptions(tls=ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
    runtime = Runtime(Logger("proxy", Sink(write=lambda line: None)))
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as front,
        closing(socket.create_server(("127.0.0.1", 0))) as back,
    ):
        apps = ServiceApps(app, app)
        service = Service(lambda: apps, runtime, lambda: options, front, MetricsConfig(), replication_listener=back)
        public, replication = (cast(HttpServer, server) for server in service.start(0))
    assert public.options.tls is options.tls
    assert replication.options.tls is None


def test_a_reload_takes_renewed_certificates_or_changes_nothing() -> None:
    contexts = iter([ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) for _ in range(2)])
    runtime = Runtime(Logger("proxy", Sink(write=lambda line: None)))
    made: list[ServerOptions] = []

    def options() -> ServerOptions:
        made.append(ServerOptions(tls=next(contexts)))
        return made[-1]

    with closing(socket.create_server(("127.0.0.1", 0))) as front:
        service = Service(lambda: ServiceApps(app), runtime, options, front, MetricsConfig())
        first = cast(HttpServer, service.start(0)[0]).options
        service._reload()
        second = cast(HttpServer, service.start(0)[0]).options
        assert [first, second] == made
        assert first.tls is not second.tls
        with pytest.raises(StopIteration):  # the third certificate cannot be read
            service._reload()
        assert cast(HttpServer, service.start(0)[0]).options is second
