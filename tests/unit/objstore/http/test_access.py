"""Lines and figures of a storage server's requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from objstore.http.access import SENT, Observed, RequestMetrics
from objstore.http.messages import Environ, Response, StartResponse
from objstore.logs import Logger, Sink
from objstore.runtime import Runtime


class Server:
    """A runtime, its log lines, and an observed application that answers 201."""

    def __init__(self, level: str, counted: bool) -> None:
        self.lines: list[str] = []
        self.runtime = Runtime(Logger("object", Sink(level, write=lambda line: self.lines.append(line.decode()))))
        figures = RequestMetrics(self.runtime.metrics, "object") if counted else None
        self.observed = Observed(self.application, self.runtime, figures)

    def application(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        return Response(201, {}, b"done")(environ, start_response)

    def send(self, method: str, path: str, sent: int = 4, complete: bool = True, **more: str) -> list[Any]:
        """One request as the HTTP server does it; the arguments of `start_response`."""
        environ: Environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "REMOTE_ADDR": "127.0.0.9", **more}
        started: list[Any] = []
        body = self.observed(environ, lambda *arguments: started.extend(arguments))
        assert list(body) == [b"done"]
        for told in environ[SENT]:
            told(sent, complete)
        return started

    @property
    def text(self) -> str:
        return self.runtime.metrics.render().decode()


def test_a_line_tells_the_request() -> None:
    server = Server("info", counted=False)
    started = server.send("PUT", "/d1/7/a/c/o \xc3\xa4", CONTENT_LENGTH="12", HTTP_X_TRANS_ID="tx1", QUERY_STRING="x=1")
    assert started == ["201 Created", [("Content-Length", "4")]]
    (line,) = server.lines
    for part in (
        "client=127.0.0.9",
        "method=PUT",
        "path=/d1/7/a/c/o%20%C3%A4",
        "status=201",
        "sent=4",
        "ttfb=",
        "duration=",
        "trans_id=tx1",
        'query="x=1"',
        "received=12",
    ):
        assert f" {part}" in line, part
    assert server.text == ""


def test_the_path_is_logged_as_it_was_sent() -> None:
    server = Server("info", counted=False)
    server.send("GET", "/d1/7/a/c/o o", **{"objstore.raw_path": "/d1/7/a/c/o%20%6f"})
    assert " path=/d1/7/a/c/o%20%6f " in server.lines[0]


def test_requests_are_counted() -> None:
    server = Server("warning", counted=True)
    server.send("PUT", "/d1/7/a/c/o", sent=0, CONTENT_LENGTH="12")
    server.send("GET", "/d1/7/a/c/o")
    server.send("GET", "/d1/7/a/c/o", sent=1, complete=False)
    server.send("BREW", "/coffee", CONTENT_LENGTH="0")
    assert server.lines == []
    lines = server.text.splitlines()
    assert 'object_requests_total{method="PUT",status="201"} 1.0' in lines
    assert 'object_requests_total{method="GET",status="201"} 1.0' in lines
    assert 'object_requests_total{method="GET",status="499"} 1.0' in lines
    assert 'object_requests_total{method="other",status="201"} 1.0' in lines
    assert 'object_request_duration_seconds_count{method="GET"} 2.0' in lines
    assert "object_received_bytes_total 12.0" in lines
    assert "object_sent_bytes_total 9.0" in lines


@pytest.mark.parametrize("arguments", [("200 OK", []), ("200 OK", [], (None, None, None))])
def test_an_error_for_start_response_is_passed_on(arguments: tuple[Any, ...]) -> None:
    server = Server("warning", counted=True)
    passed: list[Any] = []

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response(*arguments)
        return ()

    observed = Observed(application, server.runtime, None)
    observed({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *given: passed.extend(given))
    assert passed == list(arguments)
