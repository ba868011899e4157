"""`objstore ring simulate`."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from objstore.config.loading import load
from objstore.tools.charts.page import write_page
from objstore.tools.charts.timeline import timeline_panels
from objstore.tools.output import echo_json, echo_table, json_option, progress, quiet_option
from objstore.tools.ring.replay import Replay, ReplayOutcome, ReplayStep
from objstore.tools.ring.scenario import Scenario
from objstore.tools.units import finite, readable_bytes, readable_percent

HEADINGS = (
    "day",
    "<event",
    "devices",
    "balance",
    "dispersion",
    "moved",
    "moved bytes",
    "<partitions with lost replicas",
)


@click.command()
@click.argument("scenario", metavar="SCENARIO.toml")
@click.option("--plot", metavar="FILE.svg", help="Draw fill, balance, moves and lost replicas over the days.")
@json_option
@quiet_option
def simulate(scenario: str, plot: str | None, as_json: bool, quiet: bool) -> None:
    """Replay years of growth and failures of devices, and what rebalances make of it.

    SCENARIO.toml says which devices there are at first, what comes and goes on which day, how often devices fail, and
    how fast they are filled. The same file gives the same outcome.
    """
    read = load(scenario, Scenario)
    replay = Replay(read)
    with progress("replaying", round(read.days * 1000), quiet) as advance:
        outcome = replay.run(lambda days: advance(round(days * 1000)))
    if plot is not None:
        write_page(plot, f"{scenario}: {read.days:g} days", timeline_panels(outcome, read.days))
    if as_json:
        echo_json(_facts(outcome))
    else:
        _echo(outcome)


def _facts(outcome: ReplayOutcome) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(outcome)
    for step in facts["steps"]:
        step["balance"] = finite(step["balance"])
    return facts


def _echo(outcome: ReplayOutcome) -> None:
    echo_table(HEADINGS, map(_cells, outcome.steps))
    last = outcome.steps[-1]
    click.echo(f"in the end: {last.devices} devices, balance {readable_percent(last.balance)}")
    click.echo(
        f"{outcome.rebalances} rebalances moved {readable_bytes(outcome.moved_bytes)}; {outcome.devices_lost} devices "
        f"were lost, and {readable_bytes(outcome.rebuilt_bytes)} copied again"
    )
    if not outcome.exposure:
        click.echo("no replica was ever lost")
    for each in outcome.exposure:
        click.echo(
            f"partitions that had lost {each.replicas_lost}: {each.partitions_most} at most, during {each.hours:.1f} "
            f"hours; {each.partition_hours:.0f} partition-hours"
        )


def _cells(step: ReplayStep) -> tuple[str, ...]:
    lost = ", ".join(f"{partitions} with {replicas}" for replicas, partitions in enumerate(step.exposed, 1))
    return (
        f"{step.day:.1f}",
        step.what,
        str(step.devices),
        readable_percent(step.balance),
        f"{step.dispersion:.2f}%",
        str(step.moved_replicas or ""),
        readable_bytes(step.moved_bytes) if step.moved_bytes else "",
        lost,
    )
