"""ETags in quotation marks."""

from __future__ import annotations

from pathlib import Path

import pytest

from objstore.config.proxy import EtagQuoterConfig, ProxyConfig
from objstore.http.messages import Response
from objstore.proxy.core.info import PRESENT, AccountInfo, ContainerInfo
from tests.unit.proxy.swift.harness import Proxy


def quoting(folder: Path, *, by_default: bool = False) -> Proxy:
    proxy = Proxy(folder, ProxyConfig(etag_quoter=EtagQuoterConfig(enabled=True, enable_by_default=by_default)))
    proxy.handlers.answers["GET", "/AUTH_test/c/o"] = Response(200, {"Etag": "abc"})
    return proxy


def etag(proxy: Proxy) -> str:
    token = {"X-Auth-Token": proxy.token("test:tester", "testing")}
    return proxy.send("GET", "/v1/AUTH_test/c/o", token).headers["Etag"]


@pytest.mark.parametrize(
    ("container", "account", "by_default", "expected"),
    [
        ("", "", False, "abc"),
        ("", "", True, '"abc"'),
        ("true", "", False, '"abc"'),
        ("false", "true", True, "abc"),
        ("", "true", False, '"abc"'),
        ("", "false", True, "abc"),
    ],
)
def test_who_chooses(tmp_path: Path, container: str, account: str, by_default: bool, expected: str) -> None:
    proxy = quoting(tmp_path, by_default=by_default)
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(PRESENT, sysmeta={"Rfc-Compliant-Etags": container})
    proxy.info.accounts["AUTH_test"] = AccountInfo(PRESENT, sysmeta={"Rfc-Compliant-Etags": account})
    assert etag(proxy) == expected


@pytest.mark.parametrize(("kind", "path"), [("Account", "/v1/AUTH_test"), ("Container", "/v1/AUTH_test/c")])
@pytest.mark.parametrize(("given", "kept"), [("yes", "true"), ("false", "false"), ("", "")])
def test_the_choice_is_kept(tmp_path: Path, kind: str, path: str, given: str, kept: str) -> None:
    proxy = quoting(tmp_path)
    token = {"X-Auth-Token": proxy.token("test:tester", "testing")}
    assert proxy.send("POST", path, token | {f"X-{kind}-Rfc-Compliant-Etags": given}).status == 200
    assert proxy.seen.header(f"X-{kind}-Sysmeta-Rfc-Compliant-Etags") == kept


def test_the_choice_is_shown(tmp_path: Path) -> None:
    proxy = quoting(tmp_path)
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(PRESENT, sysmeta={"Rfc-Compliant-Etags": "true"})
    token = {"X-Auth-Token": proxy.token("test:tester", "testing")}
    assert proxy.send("HEAD", "/v1/AUTH_test/c", token).headers["X-Container-Rfc-Compliant-Etags"] == "True"
