import pytest

from objstore.devices import Device


@pytest.mark.parametrize(("ip", "address"), [("10.0.0.1", "10.0.0.1:6200"), ("fe80::1", "[fe80::1]:6200")])
def test_address(ip: str, address: str) -> None:
    assert Device(0, 1, 1, ip, 6200, ip, 6300, "sda", 1.0).address == address


@pytest.mark.parametrize(
    ("address", "ip", "port"), [("10.0.0.1:6200", "10.0.0.1", 6200), (" [fe80::1]:6201 ", "fe80::1", 6201)]
)
def test_a_device_named_by_its_address(address: str, ip: str, port: int) -> None:
    device = Device.at(address, " sda ")
    assert (device.ip, device.port, device.device) == (ip, port, "sda")
    assert device.address == address.strip()


@pytest.mark.parametrize("address", ["", "10.0.0.1", ":6200", "10.0.0.1:", "10.0.0.1:6x", "10.0.0.1:٣"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ValueError, match="bad server address"):
        Device.at(address, "sda")
