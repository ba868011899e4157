"""Who may do what with accounts, containers and objects."""

from __future__ import annotations

import json

import pytest

from objstore.proxy.core.info import PRESENT, AccountInfo, ContainerInfo
from tests.unit.proxy.swift.harness import Proxy

KEYS = {
    "test:tester": "testing",
    "test:tester3": "testing3",
    "test2:tester2": "testing2",
    "test5:tester5": "testing5",
    "audit:reader": "reading",
    "admin:admin": "admin",
}


def status(proxy: Proxy, user: str, method: str, path: str, headers: dict[str, str] | None = None) -> int:
    token = {"X-Auth-Token": proxy.token(user, KEYS[user])} if user else {}
    return proxy.send(method, path, token | (headers or {})).status


@pytest.mark.parametrize(
    ("user", "method", "path", "expected"),
    [
        ("test:tester", "GET", "/v1/AUTH_test", 200),
        ("test:tester", "POST", "/v1/AUTH_test", 200),
        ("test:tester", "PUT", "/v1/AUTH_test", 403),
        ("test:tester", "DELETE", "/v1/AUTH_test", 403),
        ("test:tester", "PUT", "/v1/AUTH_test/c", 201),
        ("test:tester", "DELETE", "/v1/AUTH_test/c/o", 200),
        ("test:tester", "GET", "/v1/AUTH_test2", 403),
        ("test:tester", "GET", "/v1/AUTH_testing", 403),
        ("test:tester", "GET", "/v1/OTHER_test", 403),
        ("test:tester", "GET", "/v1/AUTH_", 403),
        ("test:tester", "GET", "/v1/test", 403),
        ("test:tester", "GET", "/v1/.expiring_objects/1/o", 403),
        ("test:tester3", "GET", "/v1/AUTH_test", 403),
        ("test:tester3", "GET", "/v1/AUTH_test/c/o", 403),
        ("", "GET", "/v1/AUTH_test/c/o", 401),
        ("admin:admin", "PUT", "/v1/AUTH_test", 201),
        ("admin:admin", "DELETE", "/v1/AUTH_test", 200),
        ("admin:admin", "PUT", "/v1/AUTH_test/c/o", 201),
        ("admin:admin", "GET", "/v1/SERVICE_test", 200),
        ("admin:admin", "GET", "/v1/.expiring_objects", 403),
        ("admin:admin", "GET", "/v1/AUTH_.internal", 403),
        ("audit:reader", "GET", "/v1/AUTH_test/c/o", 200),
        ("audit:reader", "HEAD", "/v1/AUTH_test", 200),
        ("audit:reader", "PUT", "/v1/AUTH_test/c/o", 403),
        ("audit:reader", "POST", "/v1/AUTH_test", 403),
    ],
)
def test_rights_by_birth(proxy: Proxy, user: str, method: str, path: str, expected: int) -> None:
    assert status(proxy, user, method, path) == expected


@pytest.mark.parametrize(
    ("read_acl", "user", "path", "expected"),
    [
        (".r:*", "", "/v1/AUTH_test/c/o", 200),
        (".r:*", "", "/v1/AUTH_test/c", 401),
        (".r:*,.rlistings", "", "/v1/AUTH_test/c", 200),
        (".rlistings", "", "/v1/AUTH_test/c", 401),
        (".r:*", "test2:tester2", "/v1/AUTH_test/c/o", 200),
        (".r:a.example", "", "/v1/AUTH_test/c/o", 401),
        ("test:tester3", "test:tester3", "/v1/AUTH_test/c", 200),
        ("test:tester3", "test:tester3", "/v1/AUTH_test/c/o", 200),
        ("test:tester3", "test2:tester2", "/v1/AUTH_test/c/o", 403),
        ("test2", "test2:tester2", "/v1/AUTH_test/c/o", 200),
        ("service", "test5:tester5", "/v1/AUTH_test/c/o", 200),
        ("test2", "test2:tester2", "/v1/AUTH_test", 403),
        ("\xff", "test2:tester2", "/v1/AUTH_test/c/o", 412),
    ],
)
def test_readers(proxy: Proxy, read_acl: str, user: str, path: str, expected: int) -> None:
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(PRESENT, read_acl=read_acl)
    assert status(proxy, user, "GET", path) == expected


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("PUT", "/v1/AUTH_test/c/o", 201),
        ("POST", "/v1/AUTH_test/c/o", 200),
        ("DELETE", "/v1/AUTH_test/c/o", 200),
        ("GET", "/v1/AUTH_test/c/o", 403),
        ("POST", "/v1/AUTH_test/c", 403),
        ("PUT", "/v1/AUTH_test/c", 403),
        ("DELETE", "/v1/AUTH_test/c", 403),
    ],
)
def test_writers(proxy: Proxy, method: str, path: str, expected: int) -> None:
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(PRESENT, write_acl="test2:tester2,.r:*")
    assert status(proxy, "test2:tester2", method, path) == expected
    assert not proxy.seen.owner
    assert status(proxy, "", method, path) == 401


@pytest.mark.parametrize("kind", ["admin", "read-write", "read-only"])
@pytest.mark.parametrize(
    ("method", "path", "least"),
    [
        ("GET", "/v1/AUTH_test", "read-only"),
        ("HEAD", "/v1/AUTH_test/c", "read-only"),
        ("GET", "/v1/AUTH_test/c/o", "read-only"),
        ("PUT", "/v1/AUTH_test/c/o", "read-write"),
        ("PUT", "/v1/AUTH_test/c", "read-write"),
        ("POST", "/v1/AUTH_test", "admin"),
        ("PUT", "/v1/AUTH_test", "nobody"),
        ("DELETE", "/v1/AUTH_test", "nobody"),
    ],
)
def test_account_lists(proxy: Proxy, kind: str, method: str, path: str, least: str) -> None:
    order = ["read-only", "read-write", "admin", "nobody"]
    access = {"Core-Access-Control": json.dumps({kind: ["test2"]})}
    proxy.info.accounts["AUTH_test"] = AccountInfo(PRESENT, sysmeta=access)
    allowed = order.index(kind) >= order.index(least)
    assert (status(proxy, "test2:tester2", method, path) < 300) is allowed
    assert proxy.seen.owner is (allowed and kind == "admin")
    assert status(proxy, "test:tester3", method, path) == 403


def test_services_need_both_tokens(proxy: Proxy) -> None:
    service = {"X-Service-Token": proxy.token("test5:tester5", "testing5")}
    member = {"X-Service-Token": proxy.token("test:tester3", "testing3")}
    assert status(proxy, "test:tester", "GET", "/v1/SERVICE_test") == 403
    assert status(proxy, "test:tester", "GET", "/v1/SERVICE_test", service) == 200
    assert status(proxy, "test:tester", "GET", "/v1/SERVICE_test", member) == 403
    assert status(proxy, "test:tester3", "GET", "/v1/SERVICE_test", service) == 403
    assert status(proxy, "test:tester", "GET", "/v1/SERVICE_test2", service) == 403
    assert status(proxy, "test:tester", "GET", "/v1/SERVICE_test", {"X-Service-Token": "bad"}) == 401
    assert status(proxy, "", "GET", "/v1/SERVICE_test", service) == 401


@pytest.mark.parametrize(
    ("header", "value", "expected"),
    [
        ("X-Container-Read", " .ref : * , test", ".r:*,test"),
        ("X-Container-Read", "", ""),
        ("X-Container-Write", "test , test2:x", "test,test2:x"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_container_lists_are_stored_clean(proxy: Proxy, method: str, header: str, value: str, expected: str) -> None:
    assert status(proxy, "test:tester", method, "/v1/AUTH_test/c", {header: value}) < 300
    assert proxy.seen.header(header) == expected


@pytest.mark.parametrize(
    ("header", "value"), [("X-Container-Read", ".r:"), ("X-Container-Write", ".r:*"), ("X-Container-Read", ".x:y")]
)
def test_malformed_container_lists(proxy: Proxy, header: str, value: str) -> None:
    assert status(proxy, "test:tester", "POST", "/v1/AUTH_test/c", {header: value}) == 400


def test_account_lists_are_kept_as_system_metadata(proxy: Proxy) -> None:
    given = {"X-Account-Access-Control": '{ "read-only": ["x"] }'}
    assert status(proxy, "test:tester", "POST", "/v1/AUTH_test", given) == 200
    assert proxy.seen.header("X-Account-Sysmeta-Core-Access-Control") == '{"read-only":["x"]}'
    assert proxy.seen.header("X-Account-Access-Control") is None
    assert status(proxy, "test:tester", "POST", "/v1/AUTH_test", {"X-Account-Access-Control": "no"}) == 400
    for removal in ({"X-Account-Access-Control": "{}"}, {"X-Remove-Account-Access-Control": "x"}):
        assert status(proxy, "test:tester", "POST", "/v1/AUTH_test", removal) == 200
        assert proxy.seen.header("X-Account-Sysmeta-Core-Access-Control") == ""
