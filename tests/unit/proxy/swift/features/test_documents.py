"""The cross-domain policy, and where data is stored."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from objstore.config.proxy import CrossDomainConfig, ListEndpointsConfig, ProxyConfig
from objstore.proxy.core.info import PRESENT, ContainerInfo
from tests.unit.proxy.swift.harness import Proxy

POLICY = '<allow-access-from domain="*" secure="false" />'


def test_the_policy_is_there_for_everybody(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, ProxyConfig(cross_domain=CrossDomainConfig(POLICY)))
    answer = proxy.send("GET", "/crossdomain.xml")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/xml")
    assert f"<cross-domain-policy>\n{POLICY}\n</cross-domain-policy>".encode() in answer.read_all()


@pytest.mark.parametrize("path", ["/crossdomain.xml", "/endpoints/AUTH_test/c/o"])
def test_without_configuration_there_is_none(proxy: Proxy, path: str) -> None:
    assert proxy.send("GET", path).status == 412


class FakeRing:
    def __init__(self, name: str) -> None:
        self.name = name

    def partition_of(self, digest: bytes) -> int:
        return len(digest)

    def primaries(self, partition: int) -> tuple[Any, ...]:
        return (SimpleNamespace(address="10.0.0.1:6200", device=self.name),)


def endpoints(folder: Path, path: str) -> tuple[int, Any]:
    proxy = Proxy(folder, ProxyConfig(list_endpoints=ListEndpointsConfig(enabled=True)))
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(PRESENT, policy_index=1)
    rings = cast(Any, proxy.context).rings
    rings.account, rings.container = FakeRing("a"), FakeRing("c")
    rings.object = lambda index: FakeRing(f"o{index}")
    answer = proxy.send("GET", f"/endpoints/{path}")
    content = answer.read_all()
    return answer.status, msgspec.json.decode(content) if answer.status == 200 else None


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("AUTH_test", "http://10.0.0.1:6200/a/16/AUTH_test"),
        ("v1/AUTH_test/c", "http://10.0.0.1:6200/c/16/AUTH_test/c"),
        ("AUTH_test/c/o o", "http://10.0.0.1:6200/o1/16/AUTH_test/c/o%20o"),
    ],
)
def test_where_data_is(tmp_path: Path, path: str, url: str) -> None:
    assert endpoints(tmp_path, path) == (200, [url])


def test_what_a_request_there_needs(tmp_path: Path) -> None:
    _, listed = endpoints(tmp_path, "v2/AUTH_test/c/o")
    assert listed["headers"] == {"X-Backend-Storage-Policy-Index": "1"}
    assert len(listed["endpoints"]) == 1


@pytest.mark.parametrize(("path", "status"), [("", 400), ("AUTH_test//o", 400), ("AUTH_test/none/o", 404)])
def test_paths_of_nothing(tmp_path: Path, path: str, status: int) -> None:
    assert endpoints(tmp_path, path)[0] == status
