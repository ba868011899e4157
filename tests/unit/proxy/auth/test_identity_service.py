"""Tokens and access keys of an identity service, as the store's proxy takes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from objstore.client.errors import ServerUnreachable
from objstore.client.identity import IdentityClient
from objstore.config.proxy import ProxyConfig, ProxyIdentityConfig
from objstore.logs import Logger, Sink
from objstore.paths import ResourcePath
from objstore.proxy.auth.access import Access, Attempt, Rights
from objstore.proxy.auth.identity import Identity
from objstore.proxy.auth.identity_service import (
    KEY_SECONDS,
    TOKEN_SECONDS,
    UNKNOWN_SECONDS,
    IdentityServiceDown,
    IdentityServiceUsers,
    service_users,
)
from objstore.runtime import Runtime
from tests.doubles import ManualClock

CONFIG = ProxyConfig(identity=ProxyIdentityConfig(url="http://127.0.0.1:1/v3", user="store", password="sesame"))
DEFAULT = {"id": "default", "name": "Default"}


def document(*roles: str, domain: dict[str, str] = DEFAULT, **more: Any) -> dict[str, Any]:
    return {
        "user": {"id": "u1", "name": "alice", "domain": domain},
        "project": {"id": "p1", "name": "red", "domain": DEFAULT},
        "roles": [{"id": role, "name": role} for role in roles],
        "expires_at": "2100-01-01T00:00:00.000000Z",
        **more,
    }


class Service:
    """Answers in place of the identity service, and counts how often it is asked."""

    def __init__(self) -> None:
        self.tokens: dict[str, dict[str, Any]] = {}
        self.credentials: dict[str, Any] | None = None
        self.s3: dict[str, Any] | None = None
        self.asked: list[str] = []
        self.broken = False

    def validate(self, token: str) -> dict[str, Any] | None:
        self.asked.append(token)
        if self.broken:
            raise ServerUnreachable("server", "silence")
        return self.tokens.get(token)

    def request(self, method: str, path: str, *_: object, **__: object) -> Any:
        self.asked.append(path)
        if path == "/s3tokens":
            return None if self.s3 is None else {"token": self.s3}
        return self.credentials


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    service = Service()
    monkeypatch.setattr(IdentityClient, "validate", lambda _self, token: service.validate(token))
    monkeypatch.setattr(IdentityClient, "request", lambda _self, *how, **more: service.request(*how, **more))
    return service


@pytest.fixture
def users(service: Service, clock: ManualClock) -> IdentityServiceUsers:
    users = service_users(CONFIG, Runtime(Logger("test", Sink(write=lambda _line: None)), clock=clock))
    assert users is not None
    return users


def access(identity: Identity | None, account: str, reading: bool, granted: str = "") -> Access:
    attempt = Attempt(identity, ResourcePath(account, "c"), reading, False, granted, None, lambda: "")
    return Rights(CONFIG.auth).access(attempt)


@pytest.mark.parametrize(
    ("roles", "reads", "writes", "elsewhere"),
    [
        (("member", "reader"), Access.OWNER, Access.OWNER, Access.DENIED),
        (("admin",), Access.OWNER, Access.OWNER, Access.DENIED),
        (("swiftoperator",), Access.OWNER, Access.OWNER, Access.DENIED),
        (("reader",), Access.GRANTED, Access.DENIED, Access.DENIED),
        (("ResellerAdmin",), Access.OWNER, Access.OWNER, Access.OWNER),
        (("other",), Access.DENIED, Access.DENIED, Access.DENIED),
        ((".admin", ".reseller_admin", ".reseller_reader", ".reader"), Access.DENIED, Access.DENIED, Access.DENIED),
    ],
)
def test_roles(
    users: IdentityServiceUsers, roles: tuple[str, ...], reads: Access, writes: Access, elsewhere: Access
) -> None:
    identity = users.identity(document(*roles))
    assert identity.account == "AUTH_p1"
    assert [access(identity, "AUTH_p1", reading) for reading in (True, False)] == [reads, writes]
    assert access(identity, "AUTH_p2", True) is elsewhere


def test_readers_of_the_system_read_all(users: IdentityServiceUsers) -> None:
    token = document("reader", system={"all": True})
    del token["project"]
    identity = users.identity(token)
    assert access(identity, "AUTH_p2", True) is Access.GRANTED
    assert access(identity, "AUTH_p2", False) is Access.DENIED
    assert access(users.identity({**token, "system": {}}), "AUTH_p2", True) is Access.DENIED


@pytest.mark.parametrize(
    ("granted", "admitted"),
    [
        ("p1:u1", True),
        ("p1:*", True),
        ("*:u1", True),
        ("*:*", True),
        ("p2:u1", False),
        ("red:alice", True),
        ("*:alice", True),
        ("red:*", True),
        ("alice", False),
        ("accountant", True),
    ],
)
def test_access_lists_name_projects_users_and_roles(users: IdentityServiceUsers, granted: str, admitted: bool) -> None:
    found = access(users.identity(document("accountant")), "AUTH_p9", True, granted)
    assert found is (Access.GRANTED if admitted else Access.DENIED)


def test_names_of_other_domains_grant_nothing(users: IdentityServiceUsers) -> None:
    identity = users.identity(document("member", domain={"id": "d2", "name": "other"}))
    assert access(identity, "AUTH_p9", True, "red:alice") is Access.DENIED
    assert access(identity, "AUTH_p9", True, "p1:u1") is Access.GRANTED


def test_what_is_said_of_a_token_is_remembered(
    users: IdentityServiceUsers, service: Service, clock: ManualClock
) -> None:
    service.tokens["t"] = document("member")
    assert [users.identity_of("t"), users.identity_of("t")] == [users.identity(document("member"))] * 2
    assert service.asked == ["t"]
    clock.seconds += TOKEN_SECONDS
    service.tokens.clear()
    assert [users.identity_of("t"), users.identity_of("t")] == [None, None]
    assert service.asked == ["t", "t"]
    service.tokens["t"] = document("member")
    clock.seconds += UNKNOWN_SECONDS
    assert users.identity_of("t") is not None


def test_a_token_that_ends_meanwhile_is_none(users: IdentityServiceUsers, service: Service, clock: ManualClock) -> None:
    service.tokens["t"] = document("member", expires_at="1970-01-01T00:16:45.000000Z")
    assert users.identity_of("t") is not None
    clock.seconds = 1006.0
    assert users.identity_of("t") is None


def test_a_token_with_access_rules_is_not_for_the_store(users: IdentityServiceUsers, service: Service) -> None:
    service.tokens["t"] = document("member", application_credential={"id": "a", "access_rules": []})
    assert users.identity_of("t") is None


def test_a_service_that_is_down(users: IdentityServiceUsers, service: Service) -> None:
    service.broken = True
    with pytest.raises(IdentityServiceDown):
        users.identity_of("t")
    service.broken = False
    service.tokens["t"] = document("member")
    assert users.identity_of("t") is not None


def test_access_keys(users: IdentityServiceUsers, service: Service, clock: ManualClock) -> None:
    assert users.find_key("unknown") is None
    service.credentials = {"credential": {"type": "ec2", "blob": json.dumps({"access": "a", "secret": "s"})}}
    assert users.find_key("a") is None  # the user has no rights
    service.s3 = document("member")
    clock.seconds += UNKNOWN_SECONDS
    key = users.find_key("a")
    assert key is not None
    assert (key.id, key.secret, key.identity.account) == ("a", "s", "AUTH_p1")
    asked = len(service.asked)
    assert users.find_key("a") == key and len(service.asked) == asked
    clock.seconds += KEY_SECONDS
    service.credentials = {"credential": {"type": "cert", "blob": ""}}
    assert users.find_key("a") is None


def test_without_a_url_there_is_no_service() -> None:
    assert service_users(ProxyConfig(), Runtime(Logger("test", Sink(write=lambda _line: None)))) is None
