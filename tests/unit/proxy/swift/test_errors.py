"""Errors and transaction ids."""

from __future__ import annotations

import re
from pathlib import Path

from objstore.config.proxy import ProxyConfig
from objstore.http.errors import VALUE_ERRORS, HttpError
from objstore.http.messages import Response
from objstore.policies import UnknownPolicy
from objstore.proxy.auth.policy import MalformedAccessPolicy
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.swift.errors import ANSWERS
from objstore.system.concurrency import WaitTimeout
from tests.unit.proxy.reachable import reachable_errors
from tests.unit.proxy.swift.harness import Proxy


def test_every_error_that_reaches_the_edge_has_a_status() -> None:
    assert reachable_errors((S3Error, MalformedAccessPolicy)) <= ANSWERS.keys() | VALUE_ERRORS.keys()


def test_every_answer_has_an_id(proxy: Proxy) -> None:
    answer = proxy.send("GET", "/healthcheck")
    assert re.fullmatch(r"tx[0-9a-f]{21}-[0-9a-f]{10}", answer.headers["X-Trans-Id"])
    assert int(answer.headers["X-Trans-Id"][-10:], 16) == 1_700_000_000
    assert answer.headers["X-Openstack-Request-Id"] == answer.headers["X-Trans-Id"]
    assert answer.headers["X-Trans-Id"] != proxy.send("GET", "/healthcheck").headers["X-Trans-Id"]


def test_suffix_and_extra(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, ProxyConfig(transaction_suffix="-east"))
    answer = proxy.send("GET", "/healthcheck", {"X-Trans-Id-Extra": "mine\x80" + "x" * 40, "X-Trans-Id": "forged"})
    assert answer.headers["X-Trans-Id"].endswith("-east-mine%80" + "x" * 27)


def test_refusals_are_rendered_without_internal_headers(proxy: Proxy) -> None:
    proxy.handlers.error = HttpError(409, "older", {"X-Backend-Timestamp": "1", "X-Reason": "2"})
    answer = proxy.send("GET", "/v1/AUTH_test/c")
    assert (answer.status, answer.read_all()) == (409, b"older")
    assert answer.headers["X-Reason"] == "2"
    assert "X-Backend-Timestamp" not in answer.headers
    assert "X-Trans-Id" in answer.headers


def test_a_reason_is_a_page_that_runs_nothing(proxy: Proxy) -> None:
    proxy.handlers.error = HttpError(400, "no policy <script>&\u00e4")
    answer = proxy.send("GET", "/v1/AUTH_test/c")
    assert answer.headers["Content-Type"] == "text/html; charset=UTF-8"
    assert answer.read_all() == "no policy &lt;script&gt;&amp;\u00e4".encode()


def test_every_answer_has_a_type(proxy: Proxy) -> None:
    admin = {"X-Auth-Token": proxy.token("admin:admin", "admin")}
    proxy.handlers.answers["DELETE", "/AUTH_test/c/o"] = Response(204)
    proxy.handlers.answers["GET", "/AUTH_test/c/o"] = Response(200, {"Content-Type": "image/png"})
    deleted, got = (proxy.send(method, "/v1/AUTH_test/c/o", admin) for method in ("DELETE", "GET"))
    assert (deleted.status, deleted.headers["Content-Type"]) == (204, "text/html; charset=UTF-8")
    assert (got.status, got.headers["Content-Type"]) == (200, "image/png")


def test_foreseen_errors_are_answered_and_not_logged(proxy: Proxy) -> None:
    proxy.handlers.error = WaitTimeout()
    assert proxy.send("GET", "/v1/AUTH_test/c").status == 503
    assert not [line for line in proxy.lines if "traceback" in line]


def test_what_operators_should_look_at_is_logged_too(proxy: Proxy) -> None:
    proxy.handlers.error = UnknownPolicy(7)
    answer = proxy.send("GET", "/v1/AUTH_test/c")
    assert answer.status == 500
    assert b"policy" not in answer.read_all()
    assert [line for line in proxy.lines if "traceback" in line]


def test_a_bug_is_logged_once_under_the_id_that_the_client_gets(proxy: Proxy) -> None:
    proxy.handlers.error = KeyError("secret detail")
    answer = proxy.send("GET", "/v1/AUTH_test/c")
    assert answer.status == 500
    assert b"secret" not in answer.read_all()
    (line,) = [line for line in proxy.lines if "traceback" in line]
    assert answer.headers["X-Trans-Id"] in line
    assert "secret detail" in line
