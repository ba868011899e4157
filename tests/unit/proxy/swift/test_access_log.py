"""The line and the figures of each request."""

from __future__ import annotations

from pathlib import Path

from objstore.config.proxy import ProxyConfig, ProxyLogConfig
from objstore.config.sections import MetricsConfig
from objstore.config.units import Address
from objstore.proxy.swift.request import SwiftRequest
from tests.unit.proxy.swift.harness import Proxy, environ_of


def test_a_line_tells_the_request(proxy: Proxy) -> None:
    token = proxy.token("test:tester", "testing")
    answer = proxy.send("PUT", "/v1/AUTH_test/c/o \xc3\xa4", {"X-Auth-Token": token, "User-Agent": "me"}, b"12345")
    line = proxy.lines[-1]
    for part in (
        "client=127.0.0.9",
        "method=PUT",
        "path=/v1/AUTH_test/c/o%20%C3%A4",
        "status=201",
        "user=test:tester",
        "received=5",
        "sent=0",
        "ttfb=",
        "duration=",
        f"trans_id={answer.headers['X-Trans-Id']}",
        "agent=me",
    ):
        assert f" {part}" in line, part


def test_secrets_are_masked(proxy: Proxy) -> None:
    token = proxy.token("test:tester", "testing")
    headers = {"X-Auth-Token": token, "Referer": "http://a/?temp_url_sig=deadbeef"}
    proxy.send("GET", "/v1/AUTH_test/c/o", headers, query="temp_url_sig=deadbeef&x=1")
    assert token[:16] + "..." in proxy.lines[-1]
    whole = "".join(proxy.lines)
    assert token[:20] not in whole
    assert "deadbeef" not in whole
    assert "testing" not in whole


def test_a_client_that_left_is_499(proxy: Proxy) -> None:
    request = SwiftRequest(environ_of("GET", "/healthcheck"), proxy.context.cluster.limits)
    proxy.handle(request)
    for told in request.environ["objstore.sent"]:
        told(1, False)
    assert "status=499 sent=1" in proxy.lines[-1]


def test_errors_are_logged_with_their_status(proxy: Proxy) -> None:
    proxy.handlers.error = KeyError("x")
    proxy.send("GET", "/v1/AUTH_test/c/o")
    assert "status=500" in proxy.lines[-1]


def test_figures(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, ProxyConfig(metrics=MetricsConfig(bind=Address("127.0.0.1", 0))))
    proxy.send("GET", "/v1/AUTH_test/c/o")
    proxy.send("PUT", "/v1/AUTH_test/c", body=b"123")
    proxy.send("BREW", "/coffee")
    text = proxy.context.runtime.metrics.render().decode()
    assert 'proxy_requests_total{kind="object",method="GET",status="401"} 1.0' in text
    assert 'proxy_received_bytes_total{kind="container"} 3.0' in text
    assert 'method="other"' in text
    assert "BREW" not in text


def test_nothing_is_done_for_nobody(tmp_path: Path) -> None:
    quiet = ProxyLogConfig(level="warning")
    statsd = MetricsConfig(statsd=Address("127.0.0.1", 8125))
    for config, waits in (
        (ProxyConfig(log=quiet), False),
        (ProxyConfig(log=quiet, metrics=statsd), True),
        (ProxyConfig(), True),
    ):
        proxy = Proxy(tmp_path, config)
        request = SwiftRequest(environ_of("GET", "/healthcheck"), proxy.context.cluster.limits)
        proxy.handle(request)
        assert ("objstore.sent" in request.environ) is waits
