"""Names that are refused where the operator wants it."""

from __future__ import annotations

from pathlib import Path

import pytest

from objstore.config.proxy import NameCheckConfig, ProxyConfig
from tests.unit.proxy.swift.harness import Proxy


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/AUTH_test/c/fine..name", 401),
        ("/v1/AUTH_test/c/" + "\xc3\xa4" * 200, 401),
        ("/v1/AUTH_test/c/it's", 400),
        ('/v1/AUTH_test/c/"', 400),
        ("/v1/AUTH_test/c/`", 400),
        ("/v1/AUTH_test/c/<", 400),
        ("/v1/AUTH_test/>/o", 400),
        ("/v1/AUTH_test/c/.", 400),
        ("/v1/AUTH_test/../c", 400),
        ("/v1/AUTH_test/c/a/../b", 400),
        ("/v1/AUTH_test/c/" + "x" * 240, 400),
        ("/v1/AUTH_test/c/\xff", 412),
    ],
)
def test_names(tmp_path: Path, path: str, status: int) -> None:
    strict = Proxy(tmp_path, ProxyConfig(name_check=NameCheckConfig(enabled=True)))
    assert strict.send("GET", path).status == status


def test_it_is_off_by_default(proxy: Proxy) -> None:
    assert proxy.send("GET", "/v1/AUTH_test/c/it's").status == 401
