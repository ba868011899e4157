"""A disk of the cluster and the server that serves it."""

from msgspec import Struct


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

    @property
    def address(self) -> str:
        """ "ip:port", an IPv6 address in brackets, as it stands in a URL or a Host header."""
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"
