"""Puts one question to many servers at a time, each with a time limit of its own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
from msgspec import Struct

from objstore.client.connections import ServerAddress
from objstore.client.errors import ClientError
from objstore.client.requests import HttpClient
from objstore.config.units import Address
from objstore.devices import Device
from objstore.http.handshake import Handshake

AT_A_TIME: Final = 64


class ReconServer(Struct, frozen=True, order=True):
    """A server of a kind ("account", "container", "object", "proxy") at its replication address."""

    kind: str
    host: str
    port: int

    @property
    def name(self) -> str:
        """As it is shown."""
        return f"{self.kind} {Address(self.host, self.port)}"


class ReconAnswer(Struct, frozen=True):
    """What a server answered, parsed JSON, or why there is none. `asked` and `answered` are Unix seconds."""

    server: ReconServer
    value: Any = None
    failure: str = ""
    asked: float = 0.0
    answered: float = 0.0

    @property
    def shown(self) -> Any:
        return {"error": self.failure} if self.failure else self.value


def servers_of(kind: str, devices: Iterable[Device], region: int | None, zone: int | None) -> list[ReconServer]:
    """The servers of the devices of a ring, each once, in order."""
    return sorted(
        {
            ReconServer(kind, device.replication_ip, device.replication_port)
            for device in devices
            if region in (None, device.region) and zone in (None, device.zone)
        }
    )


def ask_all(
    servers: Sequence[ReconServer], page: str, timeout_seconds: float, handshake: Handshake
) -> list[ReconAnswer]:
    """GET /recon/PAGE of all, once each; the answers in the order of the servers."""
    with ThreadPoolExecutor(AT_A_TIME) as pool, HttpClient.with_limits(timeout_seconds, handshake) as http:
        return list(pool.map(lambda server: _ask(http, server, page), servers))


def _ask(http: HttpClient, server: ReconServer, page: str) -> ReconAnswer:
    asked = time.time()
    try:
        with http.request(ServerAddress(server.host, server.port), "GET", f"/recon/{page}") as response:
            content = response.read()
        return ReconAnswer(server, msgspec.json.decode(content), asked=asked, answered=time.time())
    except ClientError as error:
        return ReconAnswer(server, failure=error.brief)
    except msgspec.DecodeError:
        return ReconAnswer(server, failure="its answer is not understood")
