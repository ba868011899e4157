import pytest

from objstore.devices import Device


@pytest.mark.parametrize(("ip", "address"), [("10.0.0.1", "10.0.0.1:6200"), ("fe80::1", "[fe80::1]:6200")])
def test_address(ip: str, address: str) -> None:
    assert Device(0, 1, 1, ip, 6200, ip, 6300, "sda", 1.0).address == address
