"""/healthcheck and /info."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from objstore.config.proxy import CapabilitiesConfig, NameCheckConfig, ProxyConfig
from objstore.config.sections import HealthcheckConfig
from objstore.proxy.swift.features.info import admin_signature
from tests.unit.proxy.swift.harness import NOW, Proxy


def read(proxy: Proxy, query: str = "") -> dict[str, Any]:
    answer = proxy.send("GET", "/info", query=query)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    shown: dict[str, Any] = msgspec.json.decode(answer.read_all())
    return shown


def test_healthcheck(tmp_path: Path) -> None:
    switch = tmp_path / "disabled"
    proxy = Proxy(tmp_path, ProxyConfig(healthcheck=HealthcheckConfig(str(switch))))
    assert proxy.send("GET", "/healthcheck").read_all() == b"OK"
    switch.touch()
    answer = proxy.send("GET", "/healthcheck")
    assert (answer.status, answer.read_all()) == (503, b"DISABLED BY FILE")


def test_what_everybody_sees(proxy: Proxy) -> None:
    shown = read(proxy)
    limits = {"account_quotas", "container_quotas"}
    versions = {"versioned_writes", "object_versioning"}
    bulk, web = {"bulk_delete", "bulk_upload"}, {"tempurl", "formpost", "staticweb"}
    assert shown.keys() == {"swift", "tempauth", "symlink", "dlo", "slo"} | bulk | web | versions | limits
    assert shown["tempauth"] == {"account_acls": True}
    store = shown["swift"]
    assert store["max_file_size"] == 5368709122
    assert store["allow_open_expired"] is False
    assert store["policies"] == [
        {"name": "gold", "aliases": "gold", "default": True},
        {"name": "silver", "aliases": "silver, Argent"},
    ]
    assert not {"valid_api_versions", "auto_create_account_prefix"} & store.keys()


def test_a_feature_that_is_on_tells_of_itself(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, ProxyConfig(name_check=NameCheckConfig(enabled=True)))
    assert read(proxy)["name_check"]["maximum_length"] == 255


def test_whole_sections_can_be_hidden(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, ProxyConfig(info=CapabilitiesConfig(disallowed_sections=("tempauth", "swift.version"))))
    shown = read(proxy)
    assert "tempauth" not in shown
    assert "version" not in shown["swift"]


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    assert Proxy(tmp_path, ProxyConfig(info=CapabilitiesConfig(expose=False))).send("GET", "/info").status == 403


def test_methods(proxy: Proxy) -> None:
    assert proxy.send("OPTIONS", "/info").headers["Allow"] == "GET, HEAD, OPTIONS"
    assert proxy.send("HEAD", "/info").status == 200
    assert proxy.send("PUT", "/info").status == 405


def test_administrators_see_more(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, ProxyConfig(info=CapabilitiesConfig(admin_key="key")))
    expires = int(NOW) + 10
    query = urlencode({"swiftinfo_sig": admin_signature("key", "GET", expires), "swiftinfo_expires": expires})
    shown = read(proxy, query)
    assert shown["admin"]["swift"]["valid_api_versions"] == ["v1", "v1.0"]
    assert shown["admin"]["disallowed_sections"]
    assert proxy.send("HEAD", "/info", query=query).status == 200
    proxy.clock.seconds += 20
    assert proxy.send("GET", "/info", query=query).status == 401


@pytest.mark.parametrize(
    ("signature", "expires"),
    [("0" * 40, "1700000010"), ("é", "1700000010"), ("0" * 40, "soon"), ("0" * 40, "9" * 5000)],
)
def test_bad_signatures(tmp_path: Path, signature: str, expires: str) -> None:
    proxy = Proxy(tmp_path, ProxyConfig(info=CapabilitiesConfig(admin_key="key")))
    query = urlencode({"swiftinfo_sig": signature, "swiftinfo_expires": expires})
    assert proxy.send("GET", "/info", query=query).status == 401


def test_without_a_key_nobody_is_an_administrator(proxy: Proxy) -> None:
    signature = admin_signature("", "GET", 1700000010)
    query = urlencode({"swiftinfo_sig": signature, "swiftinfo_expires": "1700000010"})
    assert proxy.send("GET", "/info", query=query).status == 403
