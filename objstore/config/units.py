"""Values of options that carry a unit: durations, sizes, shares, addresses.

Each is a plain type to the program and a readable text in the file; a Unit turns the one into the other.
"""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Final, Self

from msgspec import Meta, Struct

NUMBER: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z%]*)\s*", re.ASCII)
SECONDS_OF: Final[dict[str, int | Fraction]] = {
    "": 1,
    "ms": Fraction(1, 1000),
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86_400,
    "w": 604_800,
}
BYTES_OF: Final[dict[str, int | Fraction]] = (
    {"": 1, "B": 1}
    | {f"{letter}iB": 1024**power for power, letter in enumerate("KMGTP", start=1)}
    | {f"{letter}B": 1000**power for power, letter in enumerate("KMGTP", start=1)}
)


@dataclass(frozen=True, slots=True)
class Unit:
    """How the value of an option is read from what the file holds: `parse` raises ValueError."""

    parse: Callable[[object], object]


@dataclass(frozen=True, slots=True)
class SecretMark:
    """Marks an option that the environment may give, since a file may be read by more people."""


class Address(Struct, frozen=True):
    """Where a server listens: port 0 lets the system choose."""

    host: str
    port: int

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read "host:port", an IPv6 host in brackets. Raises ValueError."""
        host, colon, port = str(value).rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            host = ""
        if not (isinstance(value, str) and host and colon and port.isascii() and port.isdigit()):
            raise ValueError(f'expected "host:port", got {value!r}')
        if int(port) > 65535:
            raise ValueError(f"no such port: {port}")
        return cls(host, int(port))

    @property
    def is_public(self) -> bool:
        """Whether it is reached from networks the operator may not think of: all interfaces, or a global address."""
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return False  # a name, which is not looked up
        return address.is_unspecified or address.is_global

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Reserve(Struct, frozen=True):
    """Space to leave free on a device: a share of it in percent, or a number of bytes."""

    percent: float = 0.0
    bytes: int = 0

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read "1%", "10GiB" or bytes. Raises ValueError."""
        if isinstance(value, str) and value.rstrip().endswith("%"):
            return cls(percent=parse_percent(value))
        return cls(bytes=parse_bytes(value))


def parse_seconds(value: object) -> float:
    """Read 10, 0.5, "500ms", "10s", "2m", "1h", "7d" or "1w" as seconds. Raises ValueError."""
    return float(_scaled(value, SECONDS_OF, 'a duration such as 10, "10s" or "2m"'))


def parse_bytes(value: object) -> int:
    """Read 65536, "64KiB" (powers of 1024) or "64KB" (powers of 1000) as bytes. Raises ValueError."""
    count = _scaled(value, BYTES_OF, 'a size such as 65536, "64KiB" or "1GB"')
    if count.denominator != 1:
        raise ValueError(f"not a whole number of bytes: {value!r}")
    return int(count)


def parse_percent(value: object) -> float:
    """Read 1, 0.5 or "1%" as percent, at most 100. Raises ValueError."""
    percent = float(_scaled(value, {"": 1, "%": 1}, 'a share such as 1 or "1%"'))
    if percent > 100:
        raise ValueError(f"more than 100 percent: {value!r}")
    return percent


def parse_workers(value: object) -> int:
    """Read a number of processes, or "auto" for one per processor. Raises ValueError."""
    if value == "auto":
        return processor_count()
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f'expected "auto" or a number from 1, got {value!r}')
    return value


def processor_count() -> int:
    return len(os.sched_getaffinity(0))


def _scaled(value: object, factors: Mapping[str, int | Fraction], expected: str) -> Fraction:
    text = str(value)
    match = NUMBER.fullmatch(text)
    if match is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected {expected}, got {value!r}")
    number, unit = match.groups()
    if unit not in factors:
        raise ValueError(f"unknown unit {unit!r} in {value!r}; known: {', '.join(filter(None, factors))}")
    return Fraction(number) * factors[unit]


Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Unit(parse_seconds)]
Bytes = Annotated[int, Unit(parse_bytes)]
Workers = Annotated[int, Unit(parse_workers)]
Bind = Annotated[Address, Unit(Address.parse)]
ReserveSpace = Annotated[Reserve, Unit(Reserve.parse)]
Secret = Annotated[str, SecretMark()]
