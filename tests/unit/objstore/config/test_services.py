"""What the types of the service files refuse beyond types and units; samples and defaults: tests/tidy."""

from typing import Any

import pytest
from msgspec import Struct

from objstore.config.account import AccountConfig
from objstore.config.container import ContainerConfig
from objstore.config.loading import ConfigError, loads
from objstore.config.object import ObjectConfig
from objstore.config.proxy import ProxyConfig
from objstore.config.units import Address, Reserve
from objstore.config.users import Derivation, HashedKey, User, UsersConfig, parse_key


def test_each_service_has_its_own_port_and_timeouts() -> None:
    proxy, storage = loads("", ProxyConfig), loads("", ObjectConfig)
    assert (proxy.server.bind, storage.server.bind) == (Address("0.0.0.0", 8080), Address("127.0.0.1", 6200))
    assert (proxy.backend.node_timeout, storage.backend.node_timeout) == (10.0, 3.0)
    assert storage.devices.reserve == Reserve(percent=1.0)


@pytest.mark.parametrize("line", ['tls_cert = "a.pem"', 'tls_key = "a.pem"'])
def test_certificate_and_key_come_together(line: str) -> None:
    with pytest.raises(ConfigError, match=r":1: server: tls_cert and tls_key come together"):
        loads(f"[server]\n{line}", ProxyConfig)
    assert loads('[server]\ntls_cert = "a"\ntls_key = "b"', ProxyConfig).server.tls_key == "b"


@pytest.mark.parametrize("kind", [AccountConfig, ContainerConfig, ObjectConfig])
@pytest.mark.parametrize("line", ['tls_cert = "a.pem"', 'tls_key = "a.pem"', 'tls_cert = "a"\ntls_key = "b"'])
def test_tls_would_cut_a_storage_server_off(kind: type[Struct], line: str) -> None:
    with pytest.raises(ConfigError, match=r":1: server: .* are for proxies: .* speak plain HTTP to storage servers"):
        loads(f"[server]\n{line}", kind)
    assert loads('[server]\ntls_cert = ""\ntls_key = ""', kind) == loads("", kind)


@pytest.mark.parametrize("kind", [AccountConfig, ContainerConfig, ObjectConfig])
def test_a_storage_server_listens_on_loopback_unless_an_address_is_given(kind: Any) -> None:
    assert loads("", kind).server.bind.host == "127.0.0.1"
    assert loads('[server]\nbind = "0.0.0.0:7000"', kind).server.bind == Address("0.0.0.0", 7000)


def test_users() -> None:
    text = '[[users]]\naccount = "test"\nname = "tester"\nkey = "testing"\ngroups = [".admin"]\n'
    assert loads(text, UsersConfig).users == (User("test", "tester", "testing", (".admin",)),)
    with pytest.raises(ConfigError, match="test:tester needs both parts and may stand there once"):
        loads(text * 2, UsersConfig)
    with pytest.raises(ConfigError, match="test: needs both parts"):
        loads(text.replace('"tester"', '""'), UsersConfig)


@pytest.mark.parametrize(
    "key",
    [
        "scrypt$16384$8$1$c2FsdA==",
        "scrypt$16384$8$1$c2FsdA==$a2V5$",
        "scrypt$16384$8$one$c2FsdA==$a2V5",
        "scrypt$16384$8$0$c2FsdA==$a2V5",
        "scrypt$16000$8$1$c2FsdA==$a2V5",
        "scrypt$1048576$8$1$c2FsdA==$a2V5",
        "scrypt$16384$8$1$c2FsdA==$a?V5",
        "scrypt$16384$8$1$c2FsdA==$",
        "pbkdf2_sha256$-1$c2FsdA==$a2V5",
    ],
)
def test_a_malformed_hashed_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="test:tester has a hashed key that is malformed") as caught:
        loads(f'[[users]]\naccount = "test"\nname = "tester"\nkey = "{key}"\n', UsersConfig)
    assert key not in str(caught.value)


def test_keys_that_are_not_hashed() -> None:
    assert [parse_key(key) for key in ("", "scrypt", "a$b", "$scrypt$1")] == [None] * 4
    known = parse_key("pbkdf2_sha256$10$c2FsdA==$a2V5")
    assert known == HashedKey(Derivation("pbkdf2_sha256", (10,), 3), b"salt", b"key")
