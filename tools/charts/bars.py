"""Bars of how full devices and tiers are, and of what moves, for a handful of devices as for a hundred thousand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from objstore.tools.charts.page import BLUE, GREEN, INK, ORANGE, RED, Panel, printable, readable_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BARS_MAX: Final = 60  # more are put together
LABEL_CHARACTERS_MAX: Final = 28
FLAT_CHARACTERS_MAX: Final = 110  # of all labels together, beside one another
OFF_BALANCE: Final = 0.05


@dataclass(frozen=True)
class Fill:
    """How much something holds and should hold; both in partitions. Several devices put together have a range."""

    label: str
    held: float
    ideal: float
    low: float = 0.0
    high: float = 0.0
    count: int = 1

    @property
    def colour(self) -> str:
        """By how far it is from its ideal."""
        if (self.ideal and abs(self.held / self.ideal - 1) <= OFF_BALANCE) or (not self.ideal and not self.held):
            return BLUE
        return ORANGE if self.held > self.ideal else RED


@dataclass(frozen=True)
class Move:
    """How many replicas leave something and arrive at it."""

    label: str
    departures: int
    arrivals: int


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


def fill_panel(heading: str, fills: Sequence[Fill]) -> Panel:
    """Partitions held by each, and a mark where the ideal is."""
    bars = together(fills)
    grouped = any(each.count > 1 for each in bars)
    meanings = ((BLUE, "held"), (ORANGE, "more than 5% above the ideal"), (RED, "more than 5% below"))

    def draw(axes: Axes) -> None:
        for colour, meaning in meanings:
            chosen = [(place, bar.held) for place, bar in enumerate(bars) if bar.colour == colour]
            axes.bar([place for place, _ in chosen], [held for _, held in chosen], 0.7, color=colour, label=meaning)
        places = range(len(bars))
        ideal = "ideal" + " (mean; thin line: range of the devices in a bar)" * grouped
        ends = [place - 0.42 for place in places], [place + 0.42 for place in places]
        axes.hlines([bar.ideal for bar in bars], *ends, colors=INK, linewidths=1.5, label=ideal)
        if grouped:
            axes.vlines(list(places), [bar.low for bar in bars], [bar.high for bar in bars], colors=INK, linewidths=0.8)
        _finish(axes, heading, "partitions", [bar.label for bar in bars])

    return draw


def move_panel(heading: str, moves: Sequence[Move]) -> Panel:
    """Replicas that leave and arrive, side by side."""
    shown = _most_active(moves)
    name = heading if len(shown) == len(moves) else f"{heading}; the {len(shown)} of {len(moves)} with most"

    def draw(axes: Axes) -> None:
        places = range(len(shown))
        leave, arrive = [each.departures for each in shown], [each.arrivals for each in shown]
        axes.bar([place - 0.18 for place in places], leave, 0.36, color=ORANGE, label="leave")
        axes.bar([place + 0.18 for place in places], arrive, 0.36, color=GREEN, label="arrive")
        _finish(axes, name, "replicas", [each.label for each in shown])

    return draw


def _most_active(moves: Sequence[Move]) -> list[Move]:
    """The BARS_MAX with most, in their order."""
    order = sorted(range(len(moves)), key=lambda place: -(moves[place].departures + moves[place].arrivals))
    return [moves[place] for place in sorted(order[:BARS_MAX])]


def _finish(axes: Axes, heading: str, unit: str, labels: Sequence[str]) -> None:
    """Heading, legend and axes; labels are slanted where they have no room beside one another."""
    flat = sum(map(len, labels)) <= FLAT_CHARACTERS_MAX
    axes.set_xticks(range(len(labels)), [_cut(printable(label)) for label in labels])
    axes.tick_params(axis="x", labelsize=7.5, rotation=0 if flat else 45)
    if not flat:
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
    axes.yaxis.set_major_formatter(readable_number)
    axes.set_ylim(0, max(axes.get_ylim()[1], 1))
    axes.set(ylabel=unit, xlim=(-0.6, max(len(labels), 4) - 0.4))
    axes.legend(fontsize=7.5, frameon=False, ncols=4, loc="lower right", bbox_to_anchor=(1, 1))
    axes.set_title(heading, loc="left", fontweight="bold")


def _cut(label: str) -> str:
    """The end of a label tells more than its beginning."""
    return label if len(label) <= LABEL_CHARACTERS_MAX else "…" + label[-LABEL_CHARACTERS_MAX + 1 :]
