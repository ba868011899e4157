"""`objstore ring publish`."""

from __future__ import annotations

from typing import Final

import click

from objstore.cluster import Cluster
from objstore.config.units import Address
from objstore.http.signing import Signer
from objstore.ring.receiver import KEY_PURPOSE
from objstore.system.wallclock import WallClock
from objstore.tools.problems import OperatorProblem
from objstore.tools.ring.output import progress, quiet_option
from objstore.tools.ring.pushing import Pusher, RingToPublish, ServerRefused, everywhere, open_ring, servers_of
from objstore.tools.ring.units import TIMEOUT

NAMED_MAX: Final = 10  # servers named in an error


class _AddressType(click.ParamType[Address]):
    name = "address"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        """HOST:PORT."""
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
    signer = Signer(Cluster.load(cluster).hasher.derived_key(KEY_PURPOSE), WallClock())
    servers = [server for server in dict.fromkeys([*servers_of(opened), *to]) if server not in without]
    pusher = Pusher(signer, timeout)
    _stage(pusher, servers, opened, older, quiet)
    with progress("activating", len(servers), quiet) as advance:
        failures = everywhere(servers, lambda server: pusher.activate(server, opened), advance)
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
