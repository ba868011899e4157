"""objstore ring plan: what rebalances would do, computed on a builder that is then thrown away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import click
import numpy as np

from objstore.devices import Device
from objstore.ring.builder import SECONDS_PER_HOUR, RingBuilder
from objstore.ring.builderfile import load_builder
from objstore.ring.moves import Moves, WorstPartition, moves_between, worst_partition
from objstore.ring.quality import Quality
from objstore.ring.tiers import LEVEL_NAMES, Ints
from objstore.system.wallclock import WallClock
from objstore.tools.output import echo_json, echo_table, json_option, progress, quiet_option
from objstore.tools.ring.changes import (
    BuilderChanges,
    add_option,
    limit_option,
    overload_option,
    place_of,
    remove_option,
    replicas_option,
    weight_option,
)
from objstore.tools.units import RATE, SIZE, finite, readable_bytes, readable_percent, readable_seconds

ROUNDS_MAX: Final = 24


@dataclass(frozen=True, eq=False)
class Forecast:
    """`moves` are those of the first rebalance, `moves_later` counts the replicas that the following ones move.

    `moves_later` ends with the last rebalance that moves anything. `after` is the quality after the first one,
    `final` after the last. `locked` is how many partitions min_part_hours keeps where they are now. Arrays are by
    device id.
    """

    builder: RingBuilder
    held_before: Ints
    held_after: Ints
    moves: Moves
    moves_later: list[int]
    locked: int
    before: Quality | None
    after: Quality
    final: Quality
    worst_before: WorstPartition | None
    worst_after: WorstPartition | None

    def seconds(self, bytes_per_partition: float, bytes_per_second: float) -> float:
        """How long the copying of the first rebalance takes when every device takes in so much a second."""
        most = int(self.moves.arrivals.max(initial=0))
        return most * bytes_per_partition / bytes_per_second


def forecast(builder: RingBuilder, seed: int, now_seconds: float) -> Forecast:
    """Rebalance the builder until nothing moves any more, min_part_hours apart. Changes the builder.

    Raises BuilderError when it cannot be rebalanced.
    """
    old, tiers = builder.layout, builder.tiers
    size = len(tiers.weights)
    locked = int(np.count_nonzero(builder.locked(now_seconds)))
    first = builder.plan(seed, now_seconds)
    moves = moves_between(old, first.layout, tiers)
    worst_before = None if old is None else worst_partition(old, tiers)
    worst_after = worst_partition(first.layout, tiers)
    builder.adopt(first, now_seconds)
    later, final = _later(builder, seed, now_seconds)
    return Forecast(
        builder=builder,
        held_before=np.zeros(size, np.int64) if old is None else old.held(size),
        held_after=first.layout.held(size),
        moves=moves,
        moves_later=later,
        locked=locked,
        before=first.before,
        after=first.after,
        final=final or first.after,
        worst_before=worst_before,
        worst_after=worst_after,
    )


def _later(builder: RingBuilder, seed: int, now_seconds: float) -> tuple[list[int], Quality | None]:
    later: list[int] = []
    final = None
    for _ in range(ROUNDS_MAX):
        now_seconds += builder.settings.min_part_hours * SECONDS_PER_HOUR + 1
        plan = builder.plan(seed, now_seconds)
        if not plan.moved_count:
            break
        builder.adopt(plan, now_seconds)
        later.append(plan.moved_count)
        final = plan.after
    return later, final


DEVICES_SHOWN: Final = 40
DEFAULT_SEED: Final = 0
FIGURES: Final = ("before", "after", "departures", "arrivals")


@click.command()
@click.argument("builder")
@add_option
@remove_option
@weight_option
@limit_option
@replicas_option
@overload_option
@click.option("--bytes-per-partition", type=SIZE, metavar="SIZE", help="What one replica of a partition holds.")
@click.option("--used", type=SIZE, metavar="SIZE", help="What all devices hold together, replicas counted; not both.")
@click.option("--rate", type=RATE, default="100MB/s", show_default=True, help="What a device takes in a second.")
@click.option("--seed", type=click.IntRange(0), default=DEFAULT_SEED, show_default=True, help="That of the rebalance.")
@click.option("--all", "every", is_flag=True, help=f"Every device; else the {DEVICES_SHOWN} that move most.")
@json_option
@quiet_option
def plan(
    builder: str,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    weights: tuple[str, ...],
    limits: tuple[str, ...],
    replicas: float | None,
    overload: float | None,
    bytes_per_partition: float | None,
    used: float | None,
    rate: float,
    seed: int,
    every: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show what the next rebalance would do. Nothing is changed.

    Without options that is what waits in the builder file; the changes that options name come on top of it.
    """
    if bytes_per_partition is not None and used is not None:
        raise click.UsageError("give --bytes-per-partition or --used, not both")
    opened = load_builder(builder)
    if used is not None:
        bytes_per_partition = used / _replica_count(opened)
    lines = BuilderChanges(add, remove, weights, limits, replicas=replicas, overload=overload).apply(opened)
    waiting = sorted(opened.removed)
    devices = dict(opened.devices)
    with progress("planning", None, quiet):
        found = forecast(opened, seed, WallClock().now())
    shown = _Shown(found, devices, bytes_per_partition, rate)
    if as_json:
        echo_json({"changes": lines, "leaving": waiting} | shown.facts())
    else:
        shown.echo(lines, every)


def _replica_count(builder: RingBuilder) -> float:
    settings = (builder.layout or builder).settings
    return settings.partition_count * settings.exact_replicas


class _Shown:
    """A forecast as people and programs want it. `devices` are those before the rebalance, by id."""

    def __init__(
        self, found: Forecast, devices: dict[int, Device], bytes_per_partition: float | None, rate: float
    ) -> None:
        self.found = found
        self._devices = devices
        self._bytes = bytes_per_partition
        self._rate = rate

    def facts(self) -> dict[str, Any]:
        found = self.found
        facts: dict[str, Any] = {
            "replicas_moved": found.moves.count,
            "partitions_touched": found.moves.partitions,
            "locked_partitions": found.locked,
            "rebalances": 1 + len(found.moves_later),
            "moved_by_later_rebalances": found.moves_later,
            "before": _quality_facts(found.before),
            "after": _quality_facts(found.after),
            "final": _quality_facts(found.final),
            "worst_partition_before": self._worst_facts(found.worst_before),
            "worst_partition_after": self._worst_facts(found.worst_after),
            "zones": self._zone_facts(),
            "devices": [self._device_facts(device) for device in self._devices.values()],
        }
        if self._bytes is not None:
            facts["bytes_moved"] = round(found.moves.count * self._bytes)
            facts["seconds"] = found.seconds(self._bytes, self._rate)
        return facts

    def echo(self, changes: Sequence[str], every: bool) -> None:
        for line in changes:
            click.echo(line)
        self._echo_moves()
        self._echo_quality()
        self._echo_zones()
        self._echo_devices(every)

    def _echo_moves(self) -> None:
        moves, total = self.found.moves, int(self.found.held_after.sum())
        size = "" if self._bytes is None else f", {readable_bytes(moves.count * self._bytes)}"
        click.echo(f"{moves.count} of {total} replicas move ({100 * moves.count / total:.2f}%){size}")
        if self._bytes is not None:
            seconds = self.found.seconds(self._bytes, self._rate)
            click.echo(f"about {readable_seconds(seconds)} at {readable_bytes(self._rate)}/s into each device")
        else:
            click.echo("give --bytes-per-partition or --used to see bytes and time")
        hours = self.found.builder.settings.min_part_hours
        if self.found.locked:
            click.echo(f"{self.found.locked} partitions are locked: they were moved less than {hours:g} hours ago")
        later = self.found.moves_later
        if later:
            click.echo(
                f"rebalances that follow, at least {hours:g} hours apart: {len(later)}, "
                f"moving {', '.join(map(str, later))} replicas"
            )
        else:
            click.echo("no further rebalance is needed")

    def _echo_quality(self) -> None:
        found = self.found
        rows = [
            (name, *_quality_cells(quality), self._worst_text(worst))
            for name, quality, worst in (
                ("before", found.before, found.worst_before),
                ("after", found.after, found.worst_after),
            )
            if quality is not None
        ]
        if found.moves_later:
            rows.append(("in the end", *_quality_cells(found.final), ""))
        echo_table(("<", "balance", "dispersion", "<worst partition"), rows)

    def _echo_zones(self) -> None:
        rows = []
        for zone in self._zone_facts():
            cells = [str(zone[name]) for name in FIGURES]
            rows.append((f"r{zone['region']}z{zone['zone']}", *cells, *self._size_cell(zone["arrivals"])))
        echo_table(("<zone", "before", "after", "leave", "arrive", *self._size_heading), rows)

    def _echo_devices(self, every: bool) -> None:
        moves = self.found.moves
        activity = moves.departures + moves.arrivals
        chosen = sorted(self._devices, key=lambda device_id: (-int(activity[device_id]), device_id))
        hidden = 0 if every else max(len(chosen) - DEVICES_SHOWN, 0)
        rows = []
        for device_id in sorted(chosen[: len(chosen) - hidden]):
            facts = self._device_facts(self._devices[device_id])
            cells = [str(facts[name]) for name in FIGURES]
            rows.append((str(device_id), facts["device"], *cells, *self._size_cell(facts["arrivals"])))
        echo_table(("id", "<device", "before", "after", "leave", "arrive", *self._size_heading), rows)
        if hidden:
            click.echo(f"{hidden} devices with fewer moves are not shown; --all shows them")

    @property
    def _size_heading(self) -> tuple[str, ...]:
        return () if self._bytes is None else ("bytes in",)

    def _size_cell(self, partitions: int) -> tuple[str, ...]:
        return () if self._bytes is None else (readable_bytes(partitions * self._bytes),)

    def _device_facts(self, device: Device) -> dict[str, Any]:
        found = self.found
        counts = {
            "before": found.held_before,
            "after": found.held_after,
            "departures": found.moves.departures,
            "arrivals": found.moves.arrivals,
        }
        facts: dict[str, Any] = {"id": device.id, "device": place_of(device)}
        facts |= {name: int(by_device[device.id]) for name, by_device in counts.items()}
        if self._bytes is not None:
            facts["bytes_in"] = round(facts["arrivals"] * self._bytes)
        return facts

    def _zone_facts(self) -> list[dict[str, Any]]:
        zones: dict[tuple[int, int], dict[str, Any]] = {}
        for device in self._devices.values():
            empty = {"region": device.region, "zone": device.zone}
            zone = zones.setdefault((device.region, device.zone), empty)
            for name, value in self._device_facts(device).items():
                if name not in ("id", "device"):
                    zone[name] = zone.get(name, 0) + value
        return [zones[key] for key in sorted(zones)]

    def _worst_text(self, worst: WorstPartition | None) -> str:
        if worst is None:
            return "none is worse placed than it must be"
        name = f"{worst.partition}: {worst.sharing} replicas in one {worst.level_name} where {worst.allowed} would do"
        return f"{name} (devices {', '.join(map(str, worst.device_ids))})"

    def _worst_facts(self, worst: WorstPartition | None) -> dict[str, Any] | None:
        if worst is None:
            return None
        facts = {"partition": worst.partition, "level": LEVEL_NAMES[worst.level], "replicas_sharing": worst.sharing}
        return facts | {"allowed": worst.allowed, "devices": list(worst.device_ids)}


def _quality_facts(quality: Quality | None) -> dict[str, Any] | None:
    if quality is None:
        return None
    return {"balance": finite(quality.balance), "dispersion": quality.dispersion, "closeness": quality.closeness}


def _quality_cells(quality: Quality) -> tuple[str, str]:
    return readable_percent(quality.balance), f"{quality.dispersion:.2f}%"
