"""/healthcheck and /metrics."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from objstore.http.messages import Environ, Response, StartResponse, WsgiApplication
from objstore.http.operations import HealthChecked, MetricsPage
from objstore.logs import Logger, Sink
from objstore.runtime import Runtime


def ask(application: WsgiApplication, path: str, method: str = "GET") -> tuple[str, bytes]:
    """Status line and body."""
    lines: list[str] = []

    def start_response(line: str, headers: list[tuple[str, str]]) -> None:
        lines.append(line)

    body = b"".join(application({"REQUEST_METHOD": method, "PATH_INFO": path}, start_response))
    return lines[0], body


def teapot(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return Response(418, {}, b"short and stout")(environ, start_response)


def test_health_is_told_beside_the_proper_work(tmp_path: Path) -> None:
    switch = tmp_path / "out-of-service"
    server = HealthChecked(teapot, str(switch))
    assert ask(server, "/healthcheck") == ("200 OK", b"OK")
    assert ask(server, "/d1/7/healthcheck")[1] == b"short and stout"
    switch.touch()
    assert ask(server, "/healthcheck") == ("503 Service Unavailable", b"DISABLED BY FILE")
    assert ask(HealthChecked(teapot, ""), "/healthcheck") == ("200 OK", b"OK")


@pytest.mark.parametrize(("path", "method", "status"), [("/", "GET", "404"), ("/metrics", "POST", "405")])
def test_nothing_else_is_beside_the_figures(path: str, method: str, status: str) -> None:
    runtime = Runtime(Logger("object", Sink(write=lambda line: None)))
    assert ask(MetricsPage(runtime), path, method)[0].startswith(status)


def test_figures_are_served() -> None:
    runtime = Runtime(Logger("object", Sink(write=lambda line: None)))
    runtime.metrics.counter("objects", "Objects seen").add()
    status, body = ask(MetricsPage(runtime), "/metrics")
    assert status == "200 OK"
    assert b"objects_total 1.0\n" in body
