"""Logins and tokens."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

import pytest

from objstore import passwords
from objstore.config.loading import ConfigError
from objstore.config.proxy import AuthConfig, ProxyConfig
from objstore.login_throttle import ADDRESS_FAILURES_MAX, CLIENT_FAILURES_MAX
from objstore.passwords import KeyChecker, TooManyLogins
from objstore.proxy.swift.features.tempauth import PAUSED_MAX, REFUSAL_PAUSE_SECONDS
from objstore.system import concurrency
from objstore.system.concurrency import Event, spawn
from objstore.system.shared_counters import WINDOW_SECONDS
from tests.unit.proxy.swift.harness import Proxy

TESTER = {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long refused logins were kept waiting, which they are not here."""
    made: list[float] = []
    monkeypatch.setattr(concurrency, "sleep", made.append)
    return made


def works(proxy: Proxy, token: str) -> bool:
    return proxy.send("GET", "/v1/AUTH_test", {"X-Auth-Token": token}).status == 200


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/auth/v1.0", TESTER),
        ("/auth/v1.0/", TESTER),
        ("/auth/v1", TESTER),
        ("/auth/v1.0", {"X-Storage-User": "test:tester", "X-Storage-Pass": "testing"}),
        ("/auth/v1/test/auth", {"X-Storage-User": "tester", "X-Storage-Pass": "testing"}),
        ("/auth/v1/test/auth", TESTER),
    ],
)
def test_login(proxy: Proxy, path: str, headers: dict[str, str]) -> None:
    answer = proxy.send("GET", path, headers)
    assert answer.status == 200
    assert answer.headers["X-Auth-Token"] == answer.headers["X-Storage-Token"]
    assert answer.headers["X-Auth-Token-Expires"] == "86400"
    assert answer.headers["X-Storage-Url"] == "http://store.example:8080/v1/AUTH_test"
    assert works(proxy, answer.headers["X-Auth-Token"])


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/auth/v1.0", {}, 401),
        ("/auth/v1.0", TESTER | {"X-Auth-Key": "wrong"}, 401),
        ("/auth/v1.0", TESTER | {"X-Auth-Key": ""}, 401),
        ("/auth/v1.0", TESTER | {"X-Auth-Key": "t\xc3\xa4"}, 401),
        ("/auth/v1.0", TESTER | {"X-Auth-Key": "\xff"}, 412),
        ("/auth/v1.0", TESTER | {"X-Auth-User": "test"}, 401),
        ("/auth/v1.0", TESTER | {"X-Auth-User": "test:nobody"}, 401),
        ("/auth/v1.0", TESTER | {"X-Auth-User": ":tester"}, 401),
        ("/auth/v1/test2/auth", TESTER, 401),
        ("/auth/v2.0", TESTER, 404),
        ("/auth/", TESTER, 404),
    ],
)
def test_failed_login(proxy: Proxy, path: str, headers: dict[str, str], status: int) -> None:
    answer = proxy.send("GET", path, headers)
    assert answer.status == status
    assert "X-Auth-Token" not in answer.headers
    assert ("Www-Authenticate" in answer.headers) is (status == 401)


def test_login_methods(proxy: Proxy) -> None:
    assert proxy.send("POST", "/auth/v1.0", TESTER).status == 405


def test_a_user_may_have_an_url_of_its_own(tmp_path: Path) -> None:
    users = 'users = [{account = "a", name = "b", key = "c", url = "https://s.example/v1/AUTH_a"}]'
    answer = Proxy(tmp_path, users=users).send("GET", "/auth/v1.0", {"X-Auth-User": "a:b", "X-Auth-Key": "c"})
    assert answer.headers["X-Storage-Url"] == "https://s.example/v1/AUTH_a"


@pytest.mark.parametrize("key", ["secret", "se$ret", "schlüssel"])
def test_keys_may_be_hashed(tmp_path: Path, key: str) -> None:
    stored = passwords.hashed(key, b"0123456789abcdef")
    proxy = Proxy(tmp_path, users=f'users = [{{account = "a", name = "b", key = "{stored}"}}]')
    sent = key.encode().decode("latin-1")
    assert proxy.send("GET", "/auth/v1.0", {"X-Auth-User": "a:b", "X-Auth-Key": sent}).status == 200
    assert proxy.send("GET", "/auth/v1.0", {"X-Auth-User": "a:b", "X-Auth-Key": "other"}).status == 401
    assert proxy.send("GET", "/auth/v1.0", {"X-Auth-User": "a:x", "X-Auth-Key": sent}).status == 401
    assert proxy.send("GET", "/auth/v1.0", {"X-Auth-User": "a:b", "X-Auth-Key": stored}).status == 401


def test_tokens_expire(proxy: Proxy) -> None:
    token = proxy.token("test:tester", "testing")
    proxy.clock.seconds += 86_399
    assert works(proxy, token)
    proxy.clock.seconds += 2
    assert not works(proxy, token)
    assert not works(proxy, token)


@pytest.mark.parametrize("header", ["X-Auth-Token", "X-Storage-Token"])
@pytest.mark.parametrize(
    "token", ["garbage", "AUTH_tk", "AUTH_tk" + "0" * 32, "AUTH_tk" + "A" * 5000, "\xff", "OTHER_tkx"]
)
def test_bad_tokens(proxy: Proxy, header: str, token: str) -> None:
    answer = proxy.send("GET", "/v1/AUTH_test/c/o", {header: token})
    assert answer.status == 401
    assert answer.headers["Www-Authenticate"] == 'Swift realm="AUTH_test"'
    assert not proxy.handlers.requests


def test_a_realm_ends_no_header(proxy: Proxy) -> None:
    answer = proxy.send("GET", '/v1/AUTH_"\nContent-Length: 4\n\nhtml')
    assert answer.headers["Www-Authenticate"] == 'Swift realm="AUTH_%22%0AContent-Length%3A%204%0A%0Ahtml"'


def test_no_bit_of_a_token_can_be_changed(proxy: Proxy) -> None:
    token = proxy.token("test:tester3", "testing3")
    sealed = bytearray(urlsafe_b64decode(token[7:]))
    for place in range(len(sealed)):
        sealed[place] ^= 1
        assert not works(proxy, "AUTH_tk" + urlsafe_b64encode(sealed).decode())
        sealed[place] ^= 1


def test_tokens_are_good_on_every_proxy_of_the_cluster(proxy: Proxy, tmp_path: Path) -> None:
    token = proxy.token("test:tester", "testing")
    assert works(Proxy(tmp_path), token)
    other = Proxy(tmp_path, ProxyConfig(auth=AuthConfig(token_secret="another secret")))
    assert not works(other, token)
    assert works(other, other.token("test:tester", "testing"))


@pytest.mark.parametrize(
    "entry",
    ['key = "changed", groups = [".admin"]', 'key = "testing", groups = [".admin", ".reseller_admin"]', None],
)
def test_a_changed_user_needs_a_new_token(proxy: Proxy, tmp_path: Path, entry: str | None) -> None:
    token = proxy.token("test:tester", "testing")
    users = f'users = [{{account = "test", name = "tester", {entry}}}]' if entry else "users = []"
    assert not works(Proxy(tmp_path, users=users), token)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"users.toml"):
        Proxy(tmp_path, users="users = 3")


def test_guessing_is_slowed_down(proxy: Proxy, pauses: list[float]) -> None:
    wrong = TESTER | {"X-Auth-Key": "wrong"}
    for _ in range(CLIENT_FAILURES_MAX):
        assert proxy.send("GET", "/auth/v1.0", wrong).status == 401
    assert pauses == []
    answer = proxy.send("GET", "/auth/v1.0", TESTER)
    assert answer.status == 429
    assert pauses == [REFUSAL_PAUSE_SECONDS]
    assert 0 < int(answer.headers["Retry-After"]) <= WINDOW_SECONDS + 1
    assert proxy.send("GET", "/auth/v1.0", TESTER | {"X-Auth-User": "test2:tester2"}).status == 401
    proxy.clock.seconds += WINDOW_SECONDS + 1
    assert proxy.send("GET", "/auth/v1.0", TESTER).status == 200


def test_few_failures_are_logged(proxy: Proxy, pauses: list[float]) -> None:
    for number in range(ADDRESS_FAILURES_MAX + 20):
        proxy.send("GET", "/auth/v1.0", {"X-Auth-User": f"test:{number}", "X-Auth-Key": "secret key"})
    logged = [line for line in proxy.lines if 'msg="login' in line]
    assert [line.rpartition("times=")[2].strip() for line in logged] == ["1", "10", "100", "1", "10"]
    assert all("client=127.0.0.9" in line for line in logged)
    assert not any("secret key" in line for line in logged)


def test_more_than_can_be_checked(proxy: Proxy, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bool:
        raise TooManyLogins

    monkeypatch.setattr(KeyChecker, "is_right", refuse)
    answer = proxy.send("GET", "/auth/v1.0", TESTER)
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "2"
    assert pauses == [REFUSAL_PAUSE_SECONDS]


def test_only_so_many_are_kept_waiting(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    over: Event[None] = Event()
    monkeypatch.setattr(concurrency, "sleep", lambda seconds: over.wait(5))
    for _ in range(CLIENT_FAILURES_MAX):
        proxy.send("GET", "/auth/v1.0", TESTER | {"X-Auth-Key": "wrong"})
    waiting = [spawn(proxy.send, "GET", "/auth/v1.0", TESTER) for _ in range(PAUSED_MAX)]
    assert spawn(proxy.send, "GET", "/auth/v1.0", TESTER).wait(5).status == 429
    assert not any(task.dead for task in waiting)
    over.set()
    assert {task.wait(5).status for task in waiting} == {429}
