"""objstore compute-api: the compute service; objstore usage report: what projects have used of it."""

from __future__ import annotations

import datetime
from pathlib import Path

import click
import msgspec

from objstore.tools.serve import config_option

UNITS = ("server", "running", "vcpu", "ram_gb", "disk_gb")


@click.command("compute-api")
@config_option
def compute_api(path: Path) -> None:
    """Run the compute service: its API, the EC2 API, and the scheduler."""
    from objstore.compute.service import run_compute_api
    from objstore.config.cell import ComputeApiConfig
    from objstore.config.loading import load
    from objstore.logs import SINK

    config = load(path, ComputeApiConfig)
    SINK.configure(config.log.level, config.log.max_line_length)
    run_compute_api(config)


@click.group()
def usage() -> None:
    """What projects have used."""


@usage.command()
@config_option
@click.option("--start", type=click.DateTime(), help="From when on, UTC. Default: four weeks ago.")
@click.option("--end", type=click.DateTime(), help="Until when, UTC. Default: now.")
@click.option("--project", help="Of this project only, by its id.")
@click.option(
    "--rates",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A rate card: TOML with a price for an hour of server, running, vcpu, ram_gb and disk_gb.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of CSV.")
def report(
    path: Path,
    start: datetime.datetime | None,
    end: datetime.datetime | None,
    project: str | None,
    rates: Path | None,
    as_json: bool,
) -> None:
    """Print the hours of servers by project, and what they cost.

    Disks count while a server exists; processors and memory count while it runs.
    """
    from objstore.cloud.database import SqlDatabase
    from objstore.compute.core import metering
    from objstore.compute.service import MIGRATIONS
    from objstore.config.cell import ComputeApiConfig
    from objstore.config.loading import load

    config = load(path, ComputeApiConfig)
    end = end or datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    start = start or end - datetime.timedelta(weeks=4)
    database = SqlDatabase(config.database, MIGRATIONS)
    try:
        with database.reading() as session:
            found = metering.usage(session, start, end, project)
            rows = metering.report(found, _rate_card(rates))
    finally:
        database.close()
    click.echo(msgspec.json.encode(rows).decode() if as_json else metering.as_csv(rows), nl=as_json)


def _rate_card(path: Path | None) -> dict[str, float]:
    """Prices by unit. Raises ClickException for what is none."""
    if path is None:
        return {}
    try:
        card = msgspec.toml.decode(path.read_bytes(), type=dict[str, float])
    except msgspec.MsgspecError as error:
        raise click.ClickException(f"{path}: {error}") from error
    if unknown := set(card) - set(UNITS):
        raise click.ClickException(f"{path}: unknown units {', '.join(sorted(unknown))}; known: {', '.join(UNITS)}")
    return card
