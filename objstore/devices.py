"""A disk of the cluster and the server that serves it."""

from typing import Self

from msgspec import Struct
from msgspec.structs import replace


class Device(Struct, frozen=True, gc=False):
    """One device of a ring; `device` is its folder's name below the server's device root."""

    id: int
    region: int
    zone: int
    ip: str
    port: int
    replication_ip: str
    replication_port: int
    device: str
    weight: float
    meta: str = ""

    @classmethod
    def at(cls, address: str, device: str) -> Self:
        """A device named by "ip:port" and its folder, for which no ring is at hand. Raises ValueError."""
        ip, _, port = address.strip().rpartition(":")
        if not (ip and port.isascii() and port.isdecimal()):
            raise ValueError(f"bad server address {address!r}")
        ip = ip.strip("[]")
        return cls(-1, 0, 0, ip, int(port), ip, int(port), device.strip(), 0.0)

    @property
    def on_replication(self) -> Self:
        """The device as reached at its server's replication address."""
        return replace(self, ip=self.replication_ip, port=self.replication_port)

    @property
    def address(self) -> str:
        """ "ip:port", an IPv6 address in brackets, as it stands in a URL or a Host header."""
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"
