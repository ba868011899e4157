"""Which addresses are this machine's, and so which devices of a ring; and which addresses are one client's."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any

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


def client_network(peer: Sequence[Any]) -> bytes:
    """What limits by client address count as one client: an IPv4 address, or the /64 of an IPv6 address.

    `peer` is the address of a socket; a socket without an IP address has b"".
    """
    if not peer:
        return b""
    host: str = peer[0]
    try:
        if ":" not in host:
            return socket.inet_pton(socket.AF_INET, host)
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        return b""
    # IPv4 clients of a socket for both kinds of addresses have ::ffff:a.b.c.d.
    return packed[12:] if packed.startswith(b"\0" * 10 + b"\xff\xff") else packed[:8]


def _canonical(address: str) -> str:
    """One spelling of an IP address; a name stays as it is."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address
