"""Drawings of plain shapes, as SVG 1.1 (W3C Recommendation)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from lxml import etree

NAMESPACE: Final = "http://www.w3.org/2000/svg"
FONT: Final = "DejaVu Sans, Verdana, sans-serif"
FONT_SIZE: Final = 12
CHARACTER_WIDTH: Final = 0.62  # of the font size, on average
INK: Final = "#222222"
FAINT: Final = "#d8d8d8"
BLUE: Final = "#3b6fb6"
ORANGE: Final = "#e08a1e"
GREEN: Final = "#3f9a5b"
RED: Final = "#c23b3b"


class Drawing:
    """A page in pixels, x to the right, y down."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self._root = etree.Element(f"{{{NAMESPACE}}}svg", nsmap={None: NAMESPACE})  # type: ignore[dict-item]
        self._root.set("width", f"{width:g}")
        self._root.set("height", f"{height:g}")
        self._root.set("viewBox", f"0 0 {width:g} {height:g}")
        self._root.set("font-family", FONT)
        self._add("title").text = _clean(title)
        self.rectangle(0, 0, width, height, "#ffffff")
        self.text(20, 30, title, size=16, weight="bold")

    def rectangle(self, x: float, y: float, width: float, height: float, fill: str, hint: str = "") -> None:
        """`hint` is shown when a pointer rests on it."""
        element = self._add("rect", x=x, y=y, width=max(width, 0), height=max(height, 0), fill=fill)
        if hint:
            etree.SubElement(element, f"{{{NAMESPACE}}}title").text = _clean(hint)

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str = INK, dashes: str = "") -> None:
        """A thin line; `dashes` such as "4 3"."""
        element = self._add("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=colour)
        if dashes:
            element.set("stroke-dasharray", dashes)

    def path(self, points: list[tuple[float, float]], colour: str) -> None:
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        element = self._add("polyline", points=text, fill="none", stroke=colour)
        element.set("stroke-width", "1.5")

    def text(
        self, x: float, y: float, text: str, *, anchor: str = "start", size: int = FONT_SIZE, weight: str = "normal",
        turn: float = 0.0, colour: str = INK,
    ) -> None:  # fmt: skip
        """`y` is that of the base line; turned by degrees around its own place."""
        element = self._add("text", x=x, y=y, fill=colour)
        element.set("font-size", str(size))
        element.set("text-anchor", anchor)
        if weight != "normal":
            element.set("font-weight", weight)
        if turn:
            element.set("transform", f"rotate({turn:g} {x:.1f} {y:.1f})")
        element.text = _clean(text)

    def legend(self, x: float, y: float, entries: list[tuple[str, str]]) -> None:
        """A row of colours and what they mean."""
        for colour, text in entries:
            self.rectangle(x, y - 10, 12, 12, colour)
            self.text(x + 17, y, text)
            x += 40 + width_of(text)

    def content(self) -> bytes:
        return etree.tostring(self._root, xml_declaration=True, encoding="UTF-8", pretty_print=True)

    def _add(self, tag: str, **attributes: float | str) -> etree._Element:
        element = etree.SubElement(self._root, f"{{{NAMESPACE}}}{tag}")
        for name, value in attributes.items():
            element.set(name, f"{value:.1f}" if isinstance(value, float) else str(value))
        return element


def _clean(text: str) -> str:
    """XML cannot hold control characters."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def width_of(text: str, size: int = FONT_SIZE) -> float:
    """About how wide a text is."""
    return len(text) * CHARACTER_WIDTH * size


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` on pixels from `begin` to `end`."""

    low: float
    high: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        """The pixel of a value."""
        span = self.high - self.low or 1.0
        return self.begin + (self.end - self.begin) * (value - self.low) / span

    def ticks(self, about: int = 5) -> list[float]:
        """Round values, about so many."""
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        step = 10.0 ** math.floor(math.log10(span / about))
        step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= about)
        first = math.ceil(self.low / step - 1e-9)
        return [place * step for place in range(first, math.floor(self.high / step + 1e-9) + 1)]


def readable_number(value: float) -> str:
    """1.5k, 20M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
