"""A replay as charts: how full devices are, balance, moves and lost replicas over the days."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from objstore.tools.charts.page import BLUE, GREEN, INK, ORANGE, RED, Panel, readable_number
from objstore.tools.ring.replay import ReplayOutcome, ReplayStep
from objstore.tools.units import readable_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Label = Callable[[float], str]
Curve = tuple[str, str, list[tuple[float, float]]]  # colour, meaning, points (day, value)
BARS_ACROSS: Final = 350


def timeline_panels(outcome: ReplayOutcome, days: float) -> list[Panel]:
    """All charts of a replay."""
    steps = outcome.steps
    fullest: Curve = (ORANGE, "fullest device", [(step.day, step.fullest_bytes) for step in steps])
    mean: Curve = (BLUE, "mean of the devices", [(step.day, step.mean_bytes) for step in steps])
    devices: Curve = (GREEN, "devices that work", _stairs(steps, lambda step: float(step.devices)))
    balances = _stairs([step for step in steps if math.isfinite(step.balance)], lambda step: step.balance)
    exposed = max((len(step.exposed) for step in steps), default=0)
    lost: list[Curve] = [
        (colour, f"{replicas} lost", [(step.day, float(_lost(step, replicas))) for step in steps])
        for replicas, colour in zip(range(1, exposed + 1), (ORANGE, RED, INK, BLUE, GREEN), strict=False)
    ]
    moved: Curve = (BLUE, "moved by rebalances", [(step.day, step.moved_bytes) for step in steps if step.moved_bytes])
    farthest = "Balance: the device farthest from its share"
    at_events = "Partitions with lost replicas, at the moment of each event"
    return [
        _panel("Data on a device", "bytes", readable_bytes, [mean, fullest], days),
        _panel("Devices", "devices", readable_number, [devices], days),
        _panel(farthest, "percent", readable_number, [(RED, "", balances)], days),
        _panel("Data moved", "bytes", readable_bytes, [moved], days, bars=True),
        _panel(at_events, "partitions", readable_number, lost, days, bars=True),
    ]


def _lost(step: ReplayStep, replicas: int) -> int:
    return step.exposed[replicas - 1] if replicas <= len(step.exposed) else 0


def _stairs(steps: Sequence[ReplayStep], value: Callable[[ReplayStep], float]) -> list[tuple[float, float]]:
    """What stays as it is until the next event."""
    points: list[tuple[float, float]] = []
    for step in steps:
        if points:
            points.append((step.day, points[-1][1]))
        points.append((step.day, value(step)))
    return points


def _panel(heading: str, unit: str, label: Label, curves: Sequence[Curve], days: float, *, bars: bool = False) -> Panel:
    def draw(axes: Axes) -> None:
        for colour, meaning, points in curves:
            across, up = [day for day, _ in points], [value for _, value in points]
            if bars:
                axes.bar(across, up, days / BARS_ACROSS, color=colour, label=meaning)
            else:
                axes.plot(across, up, color=colour, label=meaning)
        axes.set_title(heading, loc="left", fontweight="bold")
        axes.set(xlabel="days", ylabel=unit, xlim=(0, days))
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(lambda value, _place: label(value))
        if any(meaning for _, meaning, points in curves if points):
            axes.legend(fontsize=7.5, frameon=False, ncols=4, loc="lower right", bbox_to_anchor=(1, 1))

    return draw
