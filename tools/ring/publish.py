"""objstore ring publish: ring files are staged on all servers first, then put into use on all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import click

from objstore.client.connections import ServerAddress
from objstore.client.errors import ClientError
from objstore.client.requests import HttpClient, RequestBody
from objstore.cluster import Cluster
from objstore.config.units import Address
from objstore.errors import StoreError
from objstore.http.handshake import Handshake
from objstore.http.signing import Signer
from objstore.ring.errors import RingFileError
from objstore.ring.format import read_ring
from objstore.ring.receiver import ACTIVATE_PATH, KEY_PURPOSE, NAME, ROUTE
from objstore.ring.ring import Ring
from objstore.system.wallclock import WallClock
from objstore.tools.commands import OperatorProblem
from objstore.tools.output import progress, quiet_option
from objstore.tools.units import TIMEOUT

AT_A_TIME: Final = 16


@dataclass(frozen=True)
class RingToPublish:
    """A ring file; what is sent is what was read here."""

    name: str
    path: str
    ring: Ring
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def md5(self) -> str:
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
    """Sends signed requests, each once: an operator who repeats the command does no harm."""

    signer: Signer
    http: HttpClient

    def stage(self, server: Address, ring: RingToPublish) -> int | None:
        """Let a server keep a ring without using it; the version it uses now. Raises ServerRefused."""
        answer = self._send(server, "PUT", f"/{ROUTE}/{ring.name}", ring.content)
        version = answer.get("running_version")
        return version if isinstance(version, int) else None

    def activate(self, server: Address, rings: Sequence[RingToPublish], older: bool) -> None:
        """Let a server use the rings it has staged. Raises ServerRefused, also when it then uses others."""
        wanted: dict[str, Any] = {"rings": {ring.name: ring.sha256 for ring in rings}}
        body = json.dumps(wanted | ({"older": True} if older else {})).encode()
        answer = self._send(server, "POST", ACTIVATE_PATH, body)
        if answer != {ring.name: ring.md5 for ring in rings}:
            raise ServerRefused(server, "it uses other rings than those it was told to")

    def _send(self, server: Address, method: str, path: str, body: bytes) -> dict[str, Any]:
        headers = self.signer.headers(method, path, hashlib.sha256(body).hexdigest())
        where = ServerAddress(server.host, server.port)
        try:
            with self.http.request(where, method, path, headers=headers, body=RequestBody(body)) as response:
                parsed: dict[str, Any] = json.loads(response.read())
        except ClientError as error:
            raise ServerRefused(server, error.brief) from error
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


NAMED_MAX: Final = 10  # servers named in an error


class _AddressType(click.ParamType[Address]):
    name = "address"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        try:
            return Address.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("rings", metavar="RING...", nargs=-1, required=True)
@click.option("--to", multiple=True, type=_AddressType(), metavar="HOST:PORT", help="Also to this one, as a proxy.")
@click.option("--without", multiple=True, type=_AddressType(), metavar="HOST:PORT", help="Not to this one: it is down.")
@click.option(
    "--cluster", default="/etc/objstore/objstore.toml", show_default=True, help="The objstore.toml of the cluster."
)
@click.option("--older", is_flag=True, help="Also replace newer rings than these.")
@click.option("--timeout", type=TIMEOUT, default=60.0, show_default=True, help="How long to wait for a server.")
@quiet_option
def publish(
    rings: tuple[str, ...],
    to: tuple[Address, ...],
    without: tuple[Address, ...],
    cluster: str,
    older: bool,
    timeout: float,
    quiet: bool,
) -> None:
    """Bring ring files to all servers named in them, over the replication interface, and put them into use.

    First every server gets and checks the rings; only when all have them they are put into use, everywhere at once. If
    one of them fails before, nothing changes. Requests are signed with a key that comes from the secrets in
    objstore.toml. To publish again does no harm.
    """
    opened = [open_ring(path) for path in rings]
    if len({ring.name for ring in opened}) < len(opened):
        raise click.UsageError("two of the rings have the same name")
    known = Cluster.load(cluster)
    signer = Signer(known.hasher.derived_key(KEY_PURPOSE), WallClock())
    servers = [server for server in dict.fromkeys([*servers_of(opened), *to]) if server not in without]
    pusher = Pusher(signer, HttpClient.with_limits(timeout, Handshake.of(known)))
    _stage(pusher, servers, opened, older, quiet)
    with progress("activating", len(servers), quiet) as advance:
        failures = everywhere(servers, lambda server: pusher.activate(server, opened, older), advance)
    if failures:
        remedy = f"the other {len(servers) - len(failures)} use the new rings: see to these and publish again"
        raise OperatorProblem(f"not activated on {_named(failures)}", remedy)
    for ring in opened:
        click.echo(f"{ring.name} version {ring.ring.version} (md5 {ring.md5}) is in use on {len(servers)} servers")


def _stage(pusher: Pusher, servers: list[Address], rings: list[RingToPublish], older: bool, quiet: bool) -> None:
    """Bring all rings everywhere. Raises OperatorProblem when that fails, or a server has a newer one."""

    def stage(server: Address) -> None:
        for ring in rings:
            running = pusher.stage(server, ring)
            if running is not None and running > ring.ring.version and not older:
                reason = f"it uses version {running} of {ring.name}, newer than {ring.ring.version}; see --older"
                raise ServerRefused(server, reason)

    with progress("staging", len(servers), quiet) as advance:
        failures = everywhere(servers, stage, advance)
    if failures:
        remedy = "nothing was put into use anywhere; --without HOST:PORT leaves out a server that is down"
        raise OperatorProblem(f"not staged on {_named(failures)}", remedy)


def _named(failures: list[ServerRefused]) -> str:
    """The servers by what is wrong with them."""
    by_reason: dict[str, list[str]] = {}
    for failure in failures:
        by_reason.setdefault(failure.reason, []).append(str(failure.server))
    return ", ".join(f"{_several(servers)} ({reason})" for reason, servers in by_reason.items())


def _several(servers: list[str]) -> str:
    more = len(servers) - NAMED_MAX
    return " ".join(servers[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
