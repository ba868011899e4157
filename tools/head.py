"""objstore head: what a storage server itself says of an account, a container or an object."""

from __future__ import annotations

import click

from objstore.client.connections import ServerAddress
from objstore.client.errors import ClientError
from objstore.client.requests import HttpClient
from objstore.cluster import Cluster
from objstore.http.handshake import Handshake
from objstore.tools.commands import OperatorProblem
from objstore.tools.units import TIMEOUT


@click.command()
@click.argument("url")
@click.option("-H", "--header", "headers", multiple=True, metavar="NAME:VALUE", help="Sent with the request.")
@click.option(
    "--cluster", default="/etc/objstore/objstore.toml", show_default=True, help="The objstore.toml of the cluster."
)
@click.option("--timeout", type=TIMEOUT, default=10.0, show_default=True, help="How long to wait for the server.")
@click.pass_context
def head(context: click.Context, url: str, headers: tuple[str, ...], cluster: str, timeout: float) -> None:
    """Ask one replica for its headers, as `objstore locate` writes it. The exit status is 1 if it has nothing."""
    sent = {}
    for each in headers:
        name, colon, value = each.partition(":")
        if not colon:
            raise click.UsageError(f"{each!r} is no NAME:VALUE")
        sent[name.strip()] = value.strip()
    try:
        server, target = ServerAddress.of_url(url)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    try:
        with HttpClient.with_limits(timeout, Handshake.of(Cluster.load(cluster))) as http:
            response = http.pool.send(server, "HEAD", target, sent, None)
    except ClientError as error:
        raise OperatorProblem(error.brief, "is the server up, and of this cluster?") from error
    with response:
        click.echo(response.status)
        for name, value in response.headers.items():
            click.echo(f"{name}: {value}")
        context.exit(0 if response.status < 300 else 1)
