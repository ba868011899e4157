"""Bars of how full devices and tiers are, and of what moves, for a handful of devices as for a hundred thousand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from objstore.tools.charts.svg import (
    BLUE,
    FAINT,
    FONT_SIZE,
    GREEN,
    INK,
    ORANGE,
    RED,
    Axis,
    Drawing,
    readable_number,
    width_of,
)

WIDTH: Final = 1100.0
LEFT: Final = 130.0
RIGHT: Final = 30.0
PLOT_HEIGHT: Final = 220.0
HEAD: Final = 60.0
GAP: Final = 40.0
LABEL_CHARACTERS_MAX: Final = 28
LABEL_SIZE: Final = 11
SLANTED: Final = -45.0
SLOPE: Final = 0.71
BARS_MAX: Final = 60  # more are put together


@dataclass(frozen=True)
class Fill:
    """How much something holds and should hold; both in partitions. Several devices put together have a range."""

    label: str
    held: float
    ideal: float
    low: float = 0.0
    high: float = 0.0
    count: int = 1


@dataclass(frozen=True)
class Move:
    """How many replicas leave something and arrive at it."""

    label: str
    departures: int
    arrivals: int


@dataclass(frozen=True)
class Panel:
    """A plot under its heading; `draw` is given the y of its top."""

    height: float
    draw: Callable[[Drawing, float], None]


def together(fills: Sequence[Fill]) -> list[Fill]:
    """At most BARS_MAX bars: beyond, neighbours share one, which shows their mean and their range."""
    if len(fills) <= BARS_MAX:
        return [Fill(each.label, each.held, each.ideal, each.held, each.held) for each in fills]
    bars = []
    for bar in range(BARS_MAX):
        group = fills[len(fills) * bar // BARS_MAX : len(fills) * (bar + 1) // BARS_MAX]
        held, ideal = (sum(values) / len(group) for values in zip(*((f.held, f.ideal) for f in group), strict=True))
        relative = [each.held / each.ideal if each.ideal else 1.0 for each in group]
        label = group[0].label if len(group) == 1 else f"{group[0].label} +{len(group) - 1}"
        bars.append(Fill(label, held, ideal, ideal * min(relative), ideal * max(relative), len(group)))
    return bars


def page(title: str, panels: Sequence[Panel]) -> bytes:
    """All panels below one another."""
    drawing = Drawing(WIDTH, HEAD + sum(panel.height + GAP for panel in panels), title)
    top = HEAD
    for panel in panels:
        panel.draw(drawing, top)
        top += panel.height + GAP
    return drawing.content()


def fill_panel(heading: str, fills: Sequence[Fill]) -> Panel:
    """Partitions held by each, and a mark where the ideal is."""
    bars = together(fills)
    most = max((max(each.held, each.ideal, each.high) for each in bars), default=0.0)
    labels = [each.label for each in bars]
    grouped = any(each.count > 1 for each in bars)

    def draw(drawing: Drawing, top: float) -> None:
        axis = _frame(drawing, top, heading, "partitions", most)
        entries = [(BLUE, "held"), (ORANGE, "more than 5% above the ideal"), (RED, "more than 5% below")]
        drawing.legend(LEFT, top + 32, entries)
        _legend_mark(drawing, top, entries, "ideal" + (" (mean; thin line: range of the devices in a bar)" * grouped))
        for place, bar in enumerate(bars):
            _fill_bar(drawing, axis, bar, *_slot(place, len(bars)))
        _labels(drawing, axis.begin, labels)

    return Panel(40 + PLOT_HEIGHT + _label_height(labels), draw)


def move_panel(heading: str, moves: Sequence[Move]) -> Panel:
    """Replicas that leave and arrive, side by side."""
    shown = _most_active(moves)
    most = max((max(each.departures, each.arrivals) for each in shown), default=0)
    labels = [each.label for each in shown]
    hidden = len(moves) - len(shown)
    name = heading if not hidden else f"{heading}; the {len(shown)} of {len(moves)} with most"

    def draw(drawing: Drawing, top: float) -> None:
        axis = _frame(drawing, top, name, "replicas", float(most))
        drawing.legend(LEFT, top + 32, [(ORANGE, "leave"), (GREEN, "arrive")])
        for place, each in enumerate(shown):
            left, width = _slot(place, len(shown))
            for half, (count, colour, word) in enumerate(
                ((each.departures, ORANGE, "leave"), (each.arrivals, GREEN, "arrive"))
            ):
                y = axis.at(count)
                hint = f"{each.label}: {count} {word}"
                drawing.rectangle(left + half * width / 2, y, width / 2, axis.begin - y, colour, hint)
        _labels(drawing, axis.begin, labels)

    return Panel(40 + PLOT_HEIGHT + _label_height(labels), draw)


def _most_active(moves: Sequence[Move]) -> list[Move]:
    """The BARS_MAX with most, in their order."""
    order = sorted(range(len(moves)), key=lambda place: -(moves[place].departures + moves[place].arrivals))
    return [moves[place] for place in sorted(order[:BARS_MAX])]


def _fill_bar(drawing: Drawing, axis: Axis, bar: Fill, left: float, width: float) -> None:
    colour = BLUE
    if bar.ideal and abs(bar.held / bar.ideal - 1) > 0.05:
        colour = ORANGE if bar.held > bar.ideal else RED
    elif not bar.ideal and bar.held:
        colour = ORANGE
    y = axis.at(bar.held)
    hint = f"{bar.label}: {bar.held:.0f} of {bar.ideal:.1f}"
    drawing.rectangle(left, y, width, axis.begin - y, colour, hint)
    if bar.count > 1:
        middle = left + width / 2
        drawing.line(middle, axis.at(bar.low), middle, axis.at(bar.high))
    ideal = axis.at(bar.ideal)
    drawing.rectangle(left - width * 0.1, ideal - 1, width * 1.2, 2, INK)


def _legend_mark(drawing: Drawing, top: float, entries: list[tuple[str, str]], text: str) -> None:
    x = LEFT + sum(40 + width_of(name) for _, name in entries)
    drawing.rectangle(x, top + 27, 14, 2, INK)
    drawing.text(x + 19, top + 32, text)


def _frame(drawing: Drawing, top: float, heading: str, unit: str, most: float) -> Axis:
    """Heading, axis with its ticks, and lines across; gives the axis, which begins at the bottom."""
    drawing.text(LEFT, top + 12, heading, size=14, weight="bold")
    axis = Axis(0.0, (most or 1.0) * 1.05, top + 40 + PLOT_HEIGHT, top + 50)
    for value in axis.ticks():
        y = axis.at(value)
        drawing.line(LEFT, y, WIDTH - RIGHT, y, FAINT if value else INK)
        drawing.text(LEFT - 6, y + 4, readable_number(value), anchor="end")
    middle = (axis.begin + axis.end) / 2
    drawing.text(40, middle, unit, anchor="middle", turn=-90.0)
    return axis


def _slot(place: int, count: int) -> tuple[float, float]:
    """(left, width) of a bar, with room beside it; few bars are not drawn broader than a label needs."""
    room = (WIDTH - LEFT - RIGHT) / count
    width = min(room * 0.7, 90.0)
    return LEFT + room * place + (room - width) / 2, width


def _labels(drawing: Drawing, bottom: float, labels: Sequence[str]) -> None:
    room = (WIDTH - LEFT - RIGHT) / max(len(labels), 1)
    flat = _fits(labels)
    for place, label in enumerate(labels):
        x = LEFT + room * (place + 0.5)
        if flat:
            drawing.text(x, bottom + 16, _cut(label), anchor="middle", size=LABEL_SIZE)
        else:
            drawing.text(x + 4, bottom + 12, _cut(label), anchor="end", size=LABEL_SIZE, turn=SLANTED)


def _fits(labels: Sequence[str]) -> bool:
    room = (WIDTH - LEFT - RIGHT) / max(len(labels), 1)
    return all(width_of(_cut(label), LABEL_SIZE) < room - 8 for label in labels)


def _label_height(labels: Sequence[str]) -> float:
    if _fits(labels):
        return 22.0
    longest = max((width_of(_cut(label), LABEL_SIZE) for label in labels), default=0.0)
    return longest * SLOPE + FONT_SIZE


def _cut(label: str) -> str:
    """The end of a label tells more than its beginning."""
    return label if len(label) <= LABEL_CHARACTERS_MAX else "…" + label[-LABEL_CHARACTERS_MAX + 1 :]
