"""What the types of the service files refuse beyond types and units; samples and defaults: tests/tidy."""

import pytest

from objstore.config.loading import ConfigError, loads
from objstore.config.object import ObjectConfig
from objstore.config.proxy import ProxyConfig
from objstore.config.units import Address, Reserve
from objstore.config.users import User, UsersConfig


def test_each_service_has_its_own_port_and_timeouts() -> None:
    proxy, storage = loads("", ProxyConfig), loads("", ObjectConfig)
    assert (proxy.server.bind, storage.server.bind) == (Address("0.0.0.0", 8080), Address("0.0.0.0", 6200))
    assert (proxy.backend.node_timeout, storage.backend.node_timeout) == (10.0, 3.0)
    assert storage.devices.reserve == Reserve(percent=1.0)


@pytest.mark.parametrize("line", ['tls_cert = "a.pem"', 'tls_key = "a.pem"'])
def test_certificate_and_key_come_together(line: str) -> None:
    with pytest.raises(ConfigError, match=r":1: server: tls_cert and tls_key come together"):
        loads(f"[server]\n{line}", ProxyConfig)
    assert loads('[server]\ntls_cert = "a"\ntls_key = "b"', ProxyConfig).server.tls_key == "b"


def test_users() -> None:
    text = '[[users]]\naccount = "test"\nname = "tester"\nkey = "testing"\ngroups = [".admin"]\n'
    assert loads(text, UsersConfig).users == (User("test", "tester", "testing", (".admin",)),)
    with pytest.raises(ConfigError, match="test:tester needs both parts and may stand there once"):
        loads(text * 2, UsersConfig)
    with pytest.raises(ConfigError, match="test: needs both parts"):
        loads(text.replace('"tester"', '""'), UsersConfig)
