"""Stores and accounts of which nothing is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from objstore.config.proxy import ProxyConfig, ReadOnlyConfig
from objstore.proxy.core.info import PRESENT, AccountInfo
from tests.unit.proxy.swift.harness import Proxy


@pytest.mark.parametrize(
    ("account", "store", "method", "deletes", "status"),
    [
        ("", False, "PUT", False, 201),
        ("true", False, "PUT", False, 405),
        ("true", False, "POST", False, 405),
        ("true", False, "DELETE", False, 405),
        ("true", False, "DELETE", True, 200),
        ("true", False, "GET", False, 200),
        ("", True, "PUT", False, 405),
        ("", True, "GET", False, 200),
        ("false", True, "PUT", False, 201),
    ],
)
def test_which_writes_are_refused(
    tmp_path: Path, account: str, store: bool, method: str, deletes: bool, status: int
) -> None:
    config = ReadOnlyConfig(enabled=True, store=store, allow_deletes=deletes)
    proxy = Proxy(tmp_path, ProxyConfig(read_only=config))
    proxy.info.accounts["AUTH_test"] = AccountInfo(PRESENT, sysmeta={"Read-Only": account})
    token = {"X-Auth-Token": proxy.token("test:tester", "testing")}
    assert proxy.send(method, "/v1/AUTH_test/c/o", token).status == status


def test_only_the_reseller_sets_it(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, ProxyConfig(read_only=ReadOnlyConfig(enabled=True)))
    proxy.info.accounts["AUTH_test"] = AccountInfo(PRESENT, sysmeta={"Read-Only": "true"})
    sent = {"X-Account-Read-Only": "false"}
    owner = {"X-Auth-Token": proxy.token("test:tester", "testing")}
    assert proxy.send("POST", "/v1/AUTH_test", owner | sent).status == 403
    reseller = {"X-Auth-Token": proxy.token("admin:admin", "admin")}
    assert proxy.send("POST", "/v1/AUTH_test", reseller | sent).status == 200
    assert proxy.seen.header("X-Account-Sysmeta-Read-Only") == "false"


def test_a_copy_is_a_write_to_the_account_it_goes_to(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, ProxyConfig(read_only=ReadOnlyConfig(enabled=True)))
    proxy.info.accounts["AUTH_test"] = AccountInfo(PRESENT, sysmeta={"Read-Only": "true"})
    sent = {"X-Auth-Token": proxy.token("test:tester", "testing"), "Destination": "c/o"}
    assert proxy.send("COPY", "/v1/AUTH_test/c/o", sent).status == 405
    assert proxy.send("COPY", "/v1/AUTH_test/c/o", sent | {"Destination-Account": "AUTH_test2"}).status == 200


@pytest.mark.parametrize("destination", ["AUTH_other", "AUTH%5Fother", "%41UTH_other"])
def test_nothing_is_copied_to_such_an_account(tmp_path: Path, destination: str) -> None:
    proxy = Proxy(tmp_path, ProxyConfig(read_only=ReadOnlyConfig(enabled=True)))
    proxy.info.accounts["AUTH_other"] = AccountInfo(PRESENT, sysmeta={"Read-Only": "true"})
    headers = {"X-Auth-Token": proxy.token("test:tester", "testing"), "Destination": "c/o"}
    assert proxy.send("COPY", "/v1/AUTH_test/c/o", headers | {"Destination-Account": destination}).status == 405
