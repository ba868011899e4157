"""Brings ring files to servers: staged everywhere first, then put into use everywhere."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from objstore.config.units import Address
from objstore.errors import StoreError, reason_of
from objstore.http.signing import Signer
from objstore.ring.errors import RingFileError
from objstore.ring.format import read_ring
from objstore.ring.receiver import ACTIVATE_PATH, NAME, ROUTE
from objstore.ring.ring import Ring

AT_A_TIME: Final = 16
REASON_CHARACTERS: Final = 200


@dataclass(frozen=True)
class RingToPublish:
    """A ring file; what is sent is what was read here."""

    name: str
    path: str
    ring: Ring
    content: bytes

    @property
    def sha256(self) -> str:
        """As the activation names it."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def md5(self) -> str:
        """As /recon/ringmd5 has it."""
        return hashlib.md5(self.content, usedforsecurity=False).hexdigest()


@dataclass(eq=False)
class ServerRefused(StoreError):
    """A server could not be reached, or did not take what it was sent."""

    server: Address
    reason: str

    message = "{server}: {reason}"


def open_ring(path: str) -> RingToPublish:
    """Read a ring file under a name that servers know. Raises RingFileError."""
    name = os.path.basename(path)
    if NAME.fullmatch(name) is None:
        raise RingFileError(path, "servers know account.ring.gz, container.ring.gz, object.ring.gz, object-N.ring.gz")
    ring = read_ring(path)
    with open(path, "rb") as file:
        return RingToPublish(name, path, ring, file.read())


def servers_of(rings: Iterable[RingToPublish]) -> list[Address]:
    """The replication addresses of all servers that the rings name, each once, in order."""
    places = {Address(device.replication_ip, device.replication_port) for each in rings for device in each.ring.devices}
    return sorted(places, key=lambda place: (place.host, place.port))


@dataclass(frozen=True)
class Pusher:
    """Sends signed requests; `timeout_seconds` is for each step of each."""

    signer: Signer
    timeout_seconds: float

    def stage(self, server: Address, ring: RingToPublish) -> int | None:
        """Let a server keep a ring without using it; the version it uses now. Raises ServerRefused."""
        answer = self._send(server, "PUT", f"/{ROUTE}/{ring.name}", ring.content)
        version = answer.get("running_version")
        return version if isinstance(version, int) else None

    def activate(self, server: Address, rings: Sequence[RingToPublish]) -> None:
        """Let a server use the rings it has staged. Raises ServerRefused, also when it then uses others."""
        body = json.dumps({"rings": {ring.name: ring.sha256 for ring in rings}}).encode()
        answer = self._send(server, "POST", ACTIVATE_PATH, body)
        if answer != {ring.name: ring.md5 for ring in rings}:
            raise ServerRefused(server, "it uses other rings than those it was told to")

    def _send(self, server: Address, method: str, path: str, body: bytes) -> dict[str, Any]:
        headers = self.signer.headers(method, path, hashlib.sha256(body).hexdigest())
        try:
            with closing(http.client.HTTPConnection(server.host, server.port, timeout=self.timeout_seconds)) as link:
                try:
                    link.request(method, path, body, headers)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # it may have refused before it had read everything: its answer says why
                answer = link.getresponse()
                text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ServerRefused(server, reason_of(error)) from error
        if answer.status not in (200, 201):
            reason = text.decode("utf-8", "replace").strip()[:REASON_CHARACTERS]
            raise ServerRefused(server, f"{answer.status} {reason}")
        try:
            parsed: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise ServerRefused(server, "its answer is not understood") from error
        return parsed


def everywhere(
    servers: Sequence[Address], work: Callable[[Address], None], done: Callable[[int], None]
) -> list[ServerRefused]:
    """Do something with all servers, several at a time; the failures, in the order of the servers."""

    def attempt(server: Address) -> ServerRefused | None:
        try:
            work(server)
        except ServerRefused as failure:
            return failure
        finally:
            done(1)
        return None

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return [failure for failure in pool.map(attempt, servers) if failure is not None]
