"""Cross-origin requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from objstore.config.proxy import AccountsConfig, CorsConfig, ProxyConfig
from objstore.http.messages import Response
from objstore.proxy.core.info import PRESENT, ContainerInfo
from tests.unit.proxy.store import ScriptedStore
from tests.unit.proxy.swift.harness import Proxy

ORIGIN = "http://a.example"
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"}


def container(allow_origin: str | None) -> ContainerInfo:
    return ContainerInfo(
        PRESENT,
        read_acl=".r:*",
        metadata={"Access-Control-Max-Age": "5", "Access-Control-Expose-Headers": "X-Own X-Two"}
        | ({} if allow_origin is None else {"Access-Control-Allow-Origin": allow_origin}),
    )


@pytest.mark.parametrize(
    ("allowed", "status"),
    [
        (None, 401),
        ("", 401),
        ("http://b.example", 401),
        ("http://b.example http://a.example", 200),
        ("http://b.example,http://a.example", 200),
        ("http://a.example, http://b.example", 200),
        ("*", 200),
    ],
)
def test_preflight(proxy: Proxy, allowed: str | None, status: int) -> None:
    proxy.info.containers["/AUTH_test/c"] = container(allowed)
    asked = PREFLIGHT | {"Access-Control-Request-Headers": "x-a, x-b"}
    answer = proxy.send("OPTIONS", "/v1/AUTH_test/c/o", asked)
    assert answer.status == status
    assert "COPY" in answer.headers["Allow"]
    if status == 200:
        assert answer.headers["Access-Control-Allow-Origin"] == ("*" if allowed == "*" else ORIGIN)
        assert answer.headers["Access-Control-Max-Age"] == "5"
        assert answer.headers["Access-Control-Allow-Headers"] == "x-a, x-b"
        assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
        assert "Access-Control-Request-Headers" in answer.headers["Vary"]
        assert ("Origin" in answer.headers["Vary"].split(", ")) is (allowed != "*")
    else:
        assert not [name for name in answer.headers if name.startswith("Access-Control-")]


def test_preflight_for_a_method_that_is_none(proxy: Proxy) -> None:
    proxy.info.containers["/AUTH_test/c"] = container("*")
    asked = PREFLIGHT | {"Access-Control-Request-Method": "BREW"}
    assert proxy.send("OPTIONS", "/v1/AUTH_test/c/o", asked).status == 401
    assert proxy.send("OPTIONS", "/v1/AUTH_test/c/o", {"Origin": ORIGIN}).status == 401


@pytest.mark.parametrize("managed", [False, True])
@pytest.mark.parametrize("path", ["/v1/AUTH_test", "/v1/AUTH_test/c", "/v1/AUTH_test/c/o"])
def test_options_and_refusals_tell_the_same_methods(tmp_path: Path, path: str, managed: bool) -> None:
    proxy = Proxy(tmp_path, ProxyConfig(accounts=AccountsConfig(allow_account_management=managed)))
    allowed = proxy.send("OPTIONS", path).headers["Allow"].split(", ")
    assert ("COPY" in allowed) is path.endswith("/o")
    assert ("DELETE" in allowed) is (managed or "c" in path.split("/"))
    store = ScriptedStore(AccountsConfig(allow_account_management=managed))
    refusal = store.send("PATCH", path)
    assert (refusal.status, refusal.headers["Allow"].split(", ")) == (405, allowed)


def test_preflight_for_a_method_of_other_resources(proxy: Proxy) -> None:
    proxy.info.containers["/AUTH_test/c"] = container("*")
    asked = PREFLIGHT | {"Access-Control-Request-Method": "COPY"}
    assert proxy.send("OPTIONS", "/v1/AUTH_test/c", asked).status == 401
    assert proxy.send("OPTIONS", "/v1/AUTH_test/c/o", asked).status == 200


def test_answers_say_what_scripts_may_read(proxy: Proxy) -> None:
    proxy.info.containers["/AUTH_test/c"] = container(ORIGIN)
    own = {"X-Object-Meta-Colour": "red", "X-Other": "1", "Vary": "Accept"}
    proxy.handlers.answers["GET", "/AUTH_test/c/o"] = Response(200, own)
    answer = proxy.send("GET", "/v1/AUTH_test/c/o", {"Origin": ORIGIN})
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"etag", "x-timestamp", "x-trans-id", "x-object-meta-colour", "x-own", "x-two"} <= set(exposed)
    assert "x-other" not in exposed
    assert len(exposed) == len(set(exposed))
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Vary"] == "Accept, Origin"


@pytest.mark.parametrize(("allowed", "vary"), [("http://b.example", "Accept, Origin"), (None, "Accept")])
def test_other_origins_get_no_marks(proxy: Proxy, allowed: str | None, vary: str) -> None:
    proxy.info.containers["/AUTH_test/c"] = container(allowed)
    proxy.handlers.answers["GET", "/AUTH_test/c/o"] = Response(200, {"Vary": "Accept"})
    answer = proxy.send("GET", "/v1/AUTH_test/c/o", {"Origin": ORIGIN})
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("Access-Control-")]
    assert answer.headers["Vary"] == vary


@pytest.mark.parametrize(("allowed", "vary"), [("http://b.example", "Origin"), ("*", None), (None, None)])
def test_refused_preflights_vary_too(proxy: Proxy, allowed: str | None, vary: str | None) -> None:
    proxy.info.containers["/AUTH_test/c"] = container(allowed)
    answer = proxy.send("OPTIONS", "/v1/AUTH_test/c/o", PREFLIGHT | {"Access-Control-Request-Method": "BREW"})
    assert (answer.status, answer.headers.get("Vary")) == (401, vary)


def test_refusals_are_marked_too(proxy: Proxy) -> None:
    proxy.info.containers["/AUTH_test/c"] = container("*")
    answer = proxy.send("PUT", "/v1/AUTH_test/c/o", {"Origin": ORIGIN})
    assert answer.status == 401
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_the_operator_may_allow_origins_everywhere(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, ProxyConfig(cors=CorsConfig(allow_origin=(ORIGIN,), expose_headers=("X-Site",))))
    assert proxy.send("OPTIONS", "/v1/AUTH_test/c/o", PREFLIGHT).status == 200
    assert proxy.send("OPTIONS", "/v1/AUTH_test", PREFLIGHT | {"Access-Control-Request-Method": "POST"}).status == 200
    answer = proxy.send("GET", "/v1/AUTH_test/c/o", {"Origin": ORIGIN})
    assert "x-site" in answer.headers["Access-Control-Expose-Headers"]


def test_without_strictness_everything_is_exposed(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, ProxyConfig(cors=CorsConfig(strict=False)))
    proxy.info.containers["/AUTH_test/c"] = container(None)
    proxy.handlers.answers["GET", "/AUTH_test/c/o"] = Response(200, {"X-Other": "1"})
    answer = proxy.send("GET", "/v1/AUTH_test/c/o", {"Origin": ORIGIN})
    assert "x-other" in answer.headers["Access-Control-Expose-Headers"]
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
