"""How often accounts and containers may be written and listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from objstore.config.proxy import ProxyConfig, RateLimitConfig
from objstore.config.sections import ProxyServerConfig
from objstore.proxy.core.info import PRESENT, AccountInfo, ContainerInfo
from objstore.proxy.swift.features import rate_limit
from objstore.proxy.swift.features.rate_limit import BURST_SECONDS, rate_at
from tests.unit.proxy.swift.harness import Proxy

RATES = ((100, 10.0), (1100, 1.0))


class Limited:
    """A proxy with limits, whose requests sleep on a clock that stands still otherwise."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, objects: int = 1100, own: str = "") -> None:
        config = RateLimitConfig(
            enabled=True, account_writes=1.0, container_writes=RATES, container_listings=RATES, max_sleep=3.0
        )
        self.proxy = Proxy(folder, ProxyConfig(rate_limit=config, server=ProxyServerConfig(workers=1)))
        self.proxy.info.accounts["AUTH_test"] = AccountInfo(PRESENT, sysmeta={"Global-Write-Ratelimit": own})
        self.proxy.info.containers["/AUTH_test/c"] = ContainerInfo(PRESENT, object_count=objects)
        self.token = {"X-Auth-Token": self.proxy.token("test:tester", "testing")}
        self.slept = 0.0
        monkeypatch.setattr(rate_limit.concurrency, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.proxy.clock.elapsed += seconds

    def send(self, method: str, path: str, count: int) -> list[int]:
        return [self.proxy.send(method, f"/v1/AUTH_test{path}", self.token).status for _ in range(count)]


@pytest.mark.parametrize(("method", "path"), [("PUT", "/c/o"), ("DELETE", "/c/o"), ("GET", "/c"), ("PUT", "/new")])
def test_who_is_too_fast_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, path: str) -> None:
    limited = Limited(tmp_path, monkeypatch)
    limited.send(method, path, int(BURST_SECONDS) + 1)
    assert limited.slept == 0
    assert limited.send(method, path, 2)[0] < 300
    assert limited.slept == pytest.approx(2.0)


@pytest.mark.parametrize(("method", "path"), [("GET", "/c/o"), ("HEAD", "/c"), ("GET", ""), ("POST", "")])
def test_the_rest_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, path: str) -> None:
    limited = Limited(tmp_path, monkeypatch)
    limited.send(method, path, 30)
    assert limited.slept == 0


def test_who_would_wait_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = Limited(tmp_path, monkeypatch)
    monkeypatch.setattr(rate_limit.concurrency, "sleep", lambda _: None)  # as if all came at once
    statuses = limited.send("PUT", "/c/o", 20)
    assert statuses == [201] * 9 + [498] * 11
    limited.proxy.clock.elapsed += 2
    assert limited.send("PUT", "/c/o", 3) == [201, 201, 498]


@pytest.mark.parametrize(
    ("own", "status", "slept"), [("BLACKLIST", 497, 30.0), ("WHITELIST", 201, 0.0), ("2", 201, 12.0), ("", 201, 24.0)]
)
def test_accounts_have_limits_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, status: int, slept: float
) -> None:
    limited = Limited(tmp_path, monkeypatch, objects=1100 if not own else 0, own=own)
    assert set(limited.send("PUT", "/c/o", 30)) == {status}
    assert limited.slept == pytest.approx(slept, abs=3.0)


def test_the_reseller_sets_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = Limited(tmp_path, monkeypatch)
    admin = {"X-Auth-Token": limited.proxy.token("admin:admin", "admin")}
    for given, status in (("5", 200), ("blacklist", 200), ("", 200), ("fast", 400), ("²", 400)):
        sent = {"X-Account-Write-Ratelimit": given}
        assert limited.proxy.send("POST", "/v1/AUTH_test", limited.token | sent).status == 403
        assert limited.proxy.send("POST", "/v1/AUTH_test", admin | sent).status == status
        if status == 200:
            assert limited.proxy.seen.header("X-Account-Sysmeta-Global-Write-Ratelimit") == given.upper()


@pytest.mark.parametrize(("objects", "rate"), [(0, 0), (99, 0), (100, 10), (600, 5.5), (1100, 1), (10**9, 1)])
def test_rates_lie_between(objects: int, rate: float) -> None:
    assert rate_at(RATES, objects) == pytest.approx(rate)


def test_rates_stand_in_order() -> None:
    with pytest.raises(ValueError, match="in the order"):
        RateLimitConfig(container_writes=RATES[::-1])
