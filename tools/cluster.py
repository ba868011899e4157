"""objstore cluster: a cluster of several nodes on this machine's loopback addresses, for trials and tests."""

from __future__ import annotations

import http.client
import time
from pathlib import Path
from typing import Final

import click
from click import Context

from objstore.config.units import Address
from objstore.logs import LEVELS
from objstore.tools.commands import OperatorProblem, policy_option
from objstore.tools.loopback import DAEMONS, SERVICES, STORAGE_SERVICES, ClusterPlan, LoopbackCluster, Node

START_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05

directory_option = click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("cluster"),
    show_default=True,
    help="The folder of the cluster.",
)
node_option = click.option("--node", type=int, default=None, help="This node only (from 1).")


@click.group()
def cluster() -> None:
    """A cluster on loopback: node N has the address 127.0.0.N."""


@cluster.command()
@directory_option
@click.option("--nodes", type=click.IntRange(1), default=4, show_default=True, help="How many nodes.")
@click.option("--devices-per-node", type=click.IntRange(1), default=1, show_default=True, help="Devices of each.")
@click.option("--replicas", type=click.IntRange(1), default=3, show_default=True, help="Replicas of everything.")
@policy_option
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes of each service.")
@click.option(
    "--first-port",
    type=click.IntRange(1, 65528),
    default=6200,
    show_default=True,
    help="Port of the object servers; the others have the seven that follow.",
)
@click.option("--memcached", default="", metavar="HOST:PORT", help="A memcached that the proxies share.")
@click.option("--tls", is_flag=True, help="Servers ask each other over TLS.")
@click.option("--log-level", type=click.Choice(list(LEVELS)), default="info", show_default=True, help="What is logged.")
def make(
    directory: Path,
    nodes: int,
    devices_per_node: int,
    replicas: int,
    policies: tuple[str, ...],
    workers: int,
    first_port: int,
    memcached: str,
    tls: bool,
    log_level: str,
) -> None:
    """Write configuration, rings and empty devices."""
    if memcached:
        try:
            Address.parse(memcached)
        except ValueError as error:
            raise click.UsageError(f"--memcached: {error}") from None
    plan = ClusterPlan(nodes, devices_per_node, replicas, workers, first_port, memcached, log_level, policies)
    made = LoopbackCluster.make(directory, plan, tls=tls)
    click.echo(f"made {len(made.nodes)} nodes; start them with: objstore cluster start --directory {made.directory}")


@cluster.command()
@directory_option
@node_option
def start(directory: Path, node: int | None) -> None:
    """Start the servers in the background and wait until they answer."""
    opened = LoopbackCluster.open(directory)
    chosen = opened.chosen(node)
    opened.start(chosen)
    wait_until_answering(chosen)
    for each in chosen:
        click.echo(f"{each.name}: http://{each.address('proxy')}")


def wait_until_answering(nodes: list[Node]) -> None:
    """Wait for all services of nodes that have been started. Raises OperatorProblem if one ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    for node in nodes:
        for service in SERVICES:
            _wait_until_it_answers(node, service, deadline)


def _wait_until_it_answers(node: Node, service: str, deadline: float) -> None:
    process = node.process(service)
    while not _answers(node, service):
        if process.process_id is None:
            raise OperatorProblem(f"the {service} server of {node.name} ended", f"see {process.log_file}")
        if time.monotonic() > deadline:
            raise OperatorProblem(f"the {service} server of {node.name} does not answer", f"see {process.log_file}")
        time.sleep(POLL_SECONDS)


def _answers(node: Node, service: str) -> bool:
    connection = http.client.HTTPConnection(node.ip, node.port(service), timeout=2)
    try:
        connection.request("GET", "/healthcheck")
        return connection.getresponse().status < 500
    except OSError:
        return False
    finally:
        connection.close()


@cluster.command()
@directory_option
@node_option
def stop(directory: Path, node: int | None) -> None:
    """Let the servers finish what they do and end."""
    opened = LoopbackCluster.open(directory)
    opened.stop(opened.chosen(node))


@cluster.command()
@directory_option
@click.pass_context
def status(context: Context, directory: Path) -> None:
    """Show what runs. Exit status 1 if something does not."""
    complete = True
    for node in LoopbackCluster.open(directory).nodes:
        for service in (*SERVICES, *DAEMONS):
            process_id = node.process(service).process_id
            complete = complete and process_id is not None
            state = f"runs as process {process_id}" if process_id is not None else "does not run"
            address = node.address(service) if service in SERVICES else ""
            click.echo(f"{node.name} {service:<17} {address:<15} {state}")
    context.exit(0 if complete else 1)


@cluster.command("add-node")
@directory_option
def add_node(directory: Path) -> None:
    """Make one more node, which is in no ring yet."""
    node = LoopbackCluster.open(directory).add_node().nodes[-1]
    click.echo(f"made {node.name}; start it with: objstore cluster start --node {node.number}")
    click.echo("then add its devices, rebalance and publish:")
    for service in STORAGE_SERVICES:
        for device in node.devices(service):
            place = f"r{device.region}z{device.zone}-{device.address}R{device.on_replication.address}/{device.device}"
            click.echo(f"  {service}: {place}={device.weight:g}")


@cluster.command("kill-node")
@directory_option
@click.argument("node", type=int)
def kill_node(directory: Path, node: int) -> None:
    """End all servers of NODE at once, as a power cut would."""
    opened = LoopbackCluster.open(directory)
    opened.kill(opened.chosen(node))


@cluster.command()
@directory_option
@click.argument("node", type=int)
def wipe(directory: Path, node: int) -> None:
    """Replace the devices of NODE, which must be stopped, by empty ones."""
    opened = LoopbackCluster.open(directory)
    opened.wipe(opened.chosen(node))
