"""Hosts that name accounts and containers."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from objstore.config.proxy import DomainRemapConfig, ProxyConfig
from objstore.http.messages import Environ, StartResponse
from objstore.proxy.swift.host_names import SENT_PATH, HostNames, Resolve, host_sections
from tests.doubles import ManualClock


class Seen:
    """The application behind: remembers what it is asked."""

    def __init__(self) -> None:
        self.environ: Environ = {}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        self.environ = environ
        return ()


class Hosts:
    def __init__(self, resolve: Resolve | None = None, **options: Any) -> None:
        self.seen = Seen()
        self.clock = ManualClock(1000.0)
        threads = SimpleNamespace(call_within=lambda _, function, *arguments: function(*arguments))
        runtime = cast(Any, SimpleNamespace(threads=threads, clock=self.clock, log=None))
        config = ProxyConfig(domain_remap=DomainRemapConfig(storage_domains=("store.example",), **options))
        self.application = HostNames(self.seen, config, runtime, resolve)

    def ask(self, host: str, path: str = "/o") -> str:
        """The path that arrives, or the status of a refusal."""
        statuses: list[str] = []
        self.seen.environ = {}
        environ = {"HTTP_HOST": host, "PATH_INFO": path, "SERVER_NAME": "here"}
        self.application(environ, lambda status, headers: statuses.append(status))
        return statuses[0] if statuses else self.seen.environ["PATH_INFO"]


@pytest.mark.parametrize(
    ("host", "path", "arrives"),
    [
        ("AUTH_a.store.example", "/", "/v1/AUTH_a"),
        ("auth-a.store.example:8080", "/c/o", "/v1/AUTH_a/c/o"),
        ("c.AUTH-a.Store.Example", "/o", "/v1/AUTH_a/c/o"),
        ("c.AUTH-a.store.example", "/", "/v1/AUTH_a/c/"),
        ("c.auth-a-b.store.example", "/v1", "/v1/AUTH_a-b/c/v1"),
        ("service-a.store.example", "/", "/v1/SERVICE_a"),
        ("nobody.store.example", "/o", "/o"),
        ("store.example", "/o", "/o"),
        ("elsewhere.example", "/o", "/o"),
        ("", "/o", "/o"),
        ("b.c.AUTH-a.store.example", "/o", "400 Bad Request"),
    ],
)
def test_where_hosts_lead(host: str, path: str, arrives: str) -> None:
    hosts = Hosts()
    assert hosts.ask(host, path) == arrives
    if arrives != path and not arrives.startswith("4"):
        assert hosts.seen.environ[SENT_PATH] == path


def test_accounts_without_prefix_have_the_default() -> None:
    assert Hosts(default_reseller_prefix="AUTH").ask("c.a.store.example") == "/v1/AUTH_a/c/o"


def test_a_cname_is_followed_and_remembered() -> None:
    asked: list[str] = []

    def resolve(host: str) -> tuple[str, float]:
        asked.append(host)
        return {"www.shop.example": "c.auth-a.store.example"}.get(host, ""), 60.0

    hosts = Hosts(resolve, cname_lookup_depth=1)
    for _ in range(2):
        assert hosts.ask("www.shop.example:80") == "/v1/AUTH_a/c/o"
        assert hosts.seen.environ["HTTP_HOST"] == "c.auth-a.store.example:80"
    assert asked == ["www.shop.example"]
    hosts.clock.elapsed = 61.0
    hosts.ask("www.shop.example")
    assert len(asked) == 2


def test_names_that_lead_elsewhere() -> None:
    names = {"a.example": "b.example", "b.example": "c.auth-a.store.example"}
    assert Hosts(lambda host: (names.get(host, ""), 60.0), cname_lookup_depth=1).ask("a.example") == "400 Bad Request"
    assert Hosts(lambda host: (names.get(host, ""), 60.0), cname_lookup_depth=2).ask("a.example") == "/v1/AUTH_a/c/o"
    assert Hosts(lambda host: ("", 60.0), cname_lookup_depth=2).ask("d.example") == "/o"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]:8080", "localhost", "here", "plain", "c.auth-a.store.example"])
def test_hosts_that_dns_is_not_asked_about(host: str) -> None:
    def resolve(_host: str) -> tuple[str, float]:
        raise AssertionError

    Hosts(resolve, cname_lookup_depth=1).ask(host)


def test_what_info_says() -> None:
    assert host_sections(DomainRemapConfig()) == {}
    config = DomainRemapConfig(storage_domains=("a.example",), cname_lookup_depth=1)
    assert host_sections(config) == {
        "domain_remap": {"default_reseller_prefix": None},
        "cname_lookup": {"lookup_depth": 1},
    }
