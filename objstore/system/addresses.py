"""Which addresses are this machine's, and so which devices of a ring."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import netifaces

from objstore.config.units import Address
from objstore.devices import Device

_UNBOUND = ("", "0.0.0.0", "::")


def own_addresses() -> frozenset[str]:
    """The addresses of all interfaces of this machine, IPv6 ones without their zone."""
    found = set()
    for interface in netifaces.interfaces():
        for family in (netifaces.AF_INET, netifaces.AF_INET6):
            for entry in netifaces.ifaddresses(interface).get(family, ()):
                found.add(_canonical(entry["addr"].partition("%")[0]))
    return frozenset(found)


def is_mine(bind: Address) -> Callable[[Device], bool]:
    """A test of whether a device of a ring is served by the server that listens on `bind`."""
    addresses = own_addresses() if bind.host in _UNBOUND else frozenset({_canonical(bind.host)})

    def test(device: Device) -> bool:
        return device.port == bind.port and _canonical(device.ip) in addresses

    return test


def _canonical(address: str) -> str:
    """One spelling of an IP address; a name stays as it is."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address
