"""Sizes, rates, durations and shares, as operators write and read them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import click

from objstore.config.units import parse_bytes, parse_seconds

UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
PER_SECOND: Final = "/s"


class Measure(click.ParamType[float]):
    """A number with a unit; what cannot be read is refused."""

    def __init__(self, name: str, parse: Callable[[str], float]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number in bytes, bytes a second, seconds or parts of one."""
        if isinstance(value, int | float):
            return float(value)
        try:
            return self._parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _share(text: str) -> float:
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"expected a share such as 0.1 or 10%, got {text!r}")
    return number


def parse_rate(text: str) -> float:
    """Read "200MB/s" as bytes a second, more than 0. Raises ValueError."""
    rate = parse_bytes(text.removesuffix(PER_SECOND))
    if not rate:
        raise ValueError("a rate must be more than 0")
    return rate


def parse_percent(text: str) -> float:
    """Read "5" or "5%", more than 0 and at most 100. Raises ValueError."""
    percent = 100 * _share(f"{text.removesuffix('%')}%")
    if not 0 < percent <= 100:
        raise ValueError(f"expected more than 0 and at most 100 percent, got {text!r}")
    return percent


def parse_timeout(text: str) -> float:
    """Read "10s" as seconds, more than 0. Raises ValueError."""
    seconds = parse_seconds(text)
    if not seconds:
        raise ValueError("it must be more than 0")
    return seconds


SIZE: Final = Measure("size", parse_bytes)
RATE: Final = Measure("rate", parse_rate)
DURATION: Final = Measure("duration", parse_seconds)
TIMEOUT: Final = Measure("duration", parse_timeout)
PERCENT: Final = Measure("percent", parse_percent)
SHARE: Final = Measure("share", _share)


def readable_bytes(count: float) -> str:
    """12.3 TB; powers of 1000, as disks are sold."""
    power = 0
    while count >= 999.5 and power < len(UNITS) - 1:
        count /= 1000
        power += 1
    digits = 0 if power == 0 or count >= 99.5 else 1
    return f"{count:.{digits}f} {UNITS[power]}"


def readable_seconds(seconds: float) -> str:
    """The two largest units: 3 d 4 h, 25 min, 12 s."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def readable_percent(percent: float) -> str:
    """Two digits; a balance is infinite where a device without weight holds something."""
    return "unlimited" if math.isinf(percent) else f"{percent:.2f}%"


def finite(number: float) -> float | None:
    """For JSON, which has no infinity: null."""
    return number if math.isfinite(number) else None
