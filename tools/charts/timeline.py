"""A replay as a drawing: how full devices are, balance, moves and lost replicas over the days."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from objstore.tools.charts.devices import LEFT, PLOT_HEIGHT, RIGHT, WIDTH, Panel, page
from objstore.tools.charts.svg import BLUE, FAINT, GREEN, INK, ORANGE, RED, Axis, Drawing, readable_number
from objstore.tools.ring.replay import ReplayOutcome, ReplayStep
from objstore.tools.units import readable_bytes

Label = Callable[[float], str]
Curve = tuple[str, str, list[tuple[float, float]]]  # colour, meaning, points (day, value)
BAR_WIDTH: Final = 3.0


def draw_timeline(title: str, outcome: ReplayOutcome, days: float) -> bytes:
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
    panels = [
        _curves("Data on a device", "bytes", readable_bytes, [mean, fullest], days),
        _curves("Devices", "devices", readable_number, [devices], days),
        _curves("Balance: the device farthest from its share", "percent", readable_number, [(RED, "", balances)], days),
        _bars("Data moved", "bytes", readable_bytes, [moved], days),
        _bars("Partitions with lost replicas, at the moment of each event", "partitions", readable_number, lost, days),
    ]
    return page(title, panels)


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


def _curves(heading: str, unit: str, label: Label, curves: Sequence[Curve], days: float) -> Panel:
    def draw(drawing: Drawing, top: float) -> None:
        across, up = _axes(drawing, top, (heading, unit), label, curves, days)
        for colour, _, points in curves:
            drawing.path([(across.at(day), up.at(value)) for day, value in points], colour)

    return Panel(PLOT_HEIGHT + 75, draw)


def _bars(heading: str, unit: str, label: Label, curves: Sequence[Curve], days: float) -> Panel:
    def draw(drawing: Drawing, top: float) -> None:
        across, up = _axes(drawing, top, (heading, unit), label, curves, days)
        for colour, _, points in curves:
            for day, value in points:
                y = up.at(value)
                hint = f"day {day:.1f}: {label(value)}"
                drawing.rectangle(across.at(day) - BAR_WIDTH / 2, y, BAR_WIDTH, up.begin - y, colour, hint)

    return Panel(PLOT_HEIGHT + 75, draw)


def _axes(
    drawing: Drawing, top: float, names: tuple[str, str], label: Label, curves: Sequence[Curve], days: float
) -> tuple[Axis, Axis]:
    """Draw both, with ticks, heading and legend; the one across and the one up."""
    heading, unit = names
    most = max((value for _, _, points in curves for _, value in points), default=0.0) or 1.0
    across = Axis(0.0, days, LEFT, WIDTH - RIGHT)
    up = Axis(0.0, most * 1.05, top + 40 + PLOT_HEIGHT, top + 50)
    drawing.text(LEFT, top + 12, heading, size=14, weight="bold")
    drawing.legend(LEFT, top + 32, [(colour, meaning) for colour, meaning, _ in curves if meaning])
    for value in up.ticks():
        y = up.at(value)
        drawing.line(LEFT, y, WIDTH - RIGHT, y, FAINT if value else INK)
        drawing.text(LEFT - 6, y + 4, label(value), anchor="end")
    for day in across.ticks(12):
        x = across.at(day)
        drawing.line(x, up.begin, x, up.begin + 4)
        drawing.text(x, up.begin + 17, f"{day:g}", anchor="middle")
    drawing.text((LEFT + WIDTH - RIGHT) / 2, up.begin + 33, "days", anchor="middle")
    drawing.text(40, (up.begin + up.end) / 2, unit, anchor="middle", turn=-90.0)
    return across, up
