"""What does not pass the gatekeeper."""

from __future__ import annotations

import pytest

from objstore.headers import INTERNAL_NAMES
from objstore.http.messages import Response
from tests.unit.proxy.swift.harness import Proxy

INTERNAL = [
    "X-Backend-Storage-Policy-Index",
    "X-Account-Sysmeta-Quota-Bytes",
    "X-Container-Sysmeta-Anything",
    "X-Object-Sysmeta-Slo-Etag",
    "X-Object-Transient-Sysmeta-Crypto",
    *sorted(INTERNAL_NAMES),
]


@pytest.mark.parametrize("name", INTERNAL)
def test_internal_headers_pass_in_neither_direction(proxy: Proxy, name: str) -> None:
    admin = proxy.token("admin:admin", "admin")
    proxy.handlers.answers["GET", "/AUTH_test/c/o"] = Response(200, {name: "1", name.lower(): "2", "Etag": "e"})
    answer = proxy.send("GET", "/v1/AUTH_test/c/o", {name: "forged", "X-Auth-Token": admin})
    assert answer.status == 200
    assert proxy.seen.header(name) is None
    assert {"Content-Type", "Etag", "X-Trans-Id", "X-Openstack-Request-Id"} == answer.headers.keys()


@pytest.mark.parametrize("kind", ["Account", "Container"])
def test_system_metadata_cannot_be_removed_either(proxy: Proxy, kind: str) -> None:
    admin = proxy.token("admin:admin", "admin")
    header = f"X-Remove-{kind}-Sysmeta-Quota-Bytes"
    proxy.send("POST", "/v1/AUTH_test", {header: "x", "X-Auth-Token": admin})
    assert proxy.seen.header(header) is None


def test_timestamps_of_clients_get_another_name(proxy: Proxy) -> None:
    admin = proxy.token("admin:admin", "admin")
    proxy.send("PUT", "/v1/AUTH_test/c/o", {"X-Timestamp": "1.0", "X-Auth-Token": admin})
    assert proxy.seen.header("X-Timestamp") is None
    assert proxy.seen.header("X-Backend-Inbound-X-Timestamp") == "1.0"


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x", "a\nb", "a\rb", "a\0b"])
@pytest.mark.parametrize("method", ["PUT", "POST", "COPY"])
def test_control_characters_are_not_stored(proxy: Proxy, method: str, value: str) -> None:
    answer = proxy.send(method, "/v1/AUTH_test/c/o", {"X-Object-Meta-A": value})
    assert answer.status == 400
    assert not proxy.handlers.requests


def test_many_names_do_not_fill_the_memory(proxy: Proxy) -> None:
    for number in range(5000):
        proxy.send("GET", "/healthcheck", {f"X-Custom-{number}": "1"})
    answer = proxy.send("GET", "/healthcheck", {"X-Backend-Anything": "1"})
    assert answer.status == 200
