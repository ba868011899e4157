"""Sums the metrics of several processes, from the files that they write into a folder they share.

A process writes all its metrics into one file, whole or not at all. When it has ended, what it counted is folded into
the service's file of former processes, so that the folder holds as many files as there are processes, and no counter
ever goes back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from enum import Enum
from typing import Final

import msgspec
from msgspec import Struct

from objstore.system import files

SUFFIX: Final = ".figures"
PAST: Final = "past"
# Names of files that the past remembers to hold; a reader that began before so many processes ended would count double.
FOLDED_MAX: Final = 100


class MetricType(Enum):
    """Counters only grow, gauges go up and down, histograms count what was observed by its size."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Family(Struct):
    """All series of one name. `series` holds pairs of label values and numbers.

    The numbers are the counter or gauge alone; of a histogram the sum of all that was observed, then how many fell
    into each bucket and, last, beyond.
    """

    name: str
    kind: MetricType
    description: str
    labels: tuple[str, ...]
    series: list[tuple[tuple[str, ...], list[float]]]


class Snapshot(Struct):
    """The metrics of a process; of former processes with the names of the files that were folded in."""

    families: list[Family]
    folded: tuple[str, ...] = ()


class MetricsFolder:
    """Where processes put their metrics together. `service` is the name of this process's kind among them."""

    def __init__(self, path: str, service: str) -> None:
        self._path = path
        self._service = service
        self._own = ""
        self._decoder = msgspec.msgpack.Decoder(Snapshot)

    def prepare(self) -> None:
        """Make the folder and remove what earlier runs of this service left. Raises OSError."""
        os.makedirs(self._path, exist_ok=True)
        for name in os.listdir(self._path):
            if name.startswith(f"{self._service}."):
                files.unlink_quietly(os.path.join(self._path, name))

    def join(self) -> None:
        """This process writes a file of its own from now on. Process ids are used again, hence the time."""
        self._own = f"{self._service}.{os.getpid()}.{time.time_ns()}{SUFFIX}"

    def write(self, families: list[Family]) -> None:
        """Tell the others what this process has counted. Raises OSError."""
        self._write(self._own, Snapshot(families))

    def fold(self, process_id: int) -> None:
        """A process has ended: its gauges no longer count, the rest does for ever. Raises OSError."""
        past = f"{self._service}.{PAST}{SUFFIX}"
        for name in self._names():
            if name.startswith(f"{self._service}.{process_id}."):
                snapshots = [found for found in (self._read(past), self._read(name)) if found is not None]
                lasting = [family for family in added(snapshots) if family.kind is not MetricType.GAUGE]
                folded = (*(each for snapshot in snapshots for each in snapshot.folded), name)
                self._write(past, Snapshot(lasting, folded[-FOLDED_MAX:]))
                files.unlink_quietly(os.path.join(self._path, name))

    def snapshots(self) -> list[Snapshot]:
        """What all processes have counted, those of the other services in this folder too."""
        found = {name: snapshot for name in self._names() if (snapshot := self._read(name)) is not None}
        folded = {name for snapshot in found.values() for name in snapshot.folded}
        return [snapshot for name, snapshot in found.items() if name not in folded]

    def _names(self) -> list[str]:
        # Files of former processes come last: a file that is folded meanwhile is then seen in one of the two at least,
        # and the past says of itself which files it holds.
        names = [name for name in os.listdir(self._path) if name.endswith(SUFFIX)]
        return sorted(names, key=lambda name: name.endswith(f".{PAST}{SUFFIX}"))

    def _read(self, name: str) -> Snapshot | None:
        try:
            with open(os.path.join(self._path, name), "rb") as file:
                return self._decoder.decode(file.read())
        except (FileNotFoundError, msgspec.DecodeError):
            return None  # it has been folded, or another version wrote it

    def _write(self, name: str, snapshot: Snapshot) -> None:
        path = os.path.join(self._path, name)
        # Not durable: after a crash of the machine all counts begin at zero.
        with open(f"{path}.{os.getpid()}.new", "wb") as file:
            file.write(msgspec.msgpack.encode(snapshot))
        os.replace(f"{path}.{os.getpid()}.new", path)


def added(snapshots: Iterable[Snapshot]) -> list[Family]:
    """The sums over all processes."""
    families: dict[tuple[str, tuple[str, ...]], tuple[Family, dict[tuple[str, ...], list[float]]]] = {}
    for snapshot in snapshots:
        for family in snapshot.families:
            _, sums = families.setdefault((family.name, family.labels), (family, {}))
            for labels, numbers in family.series:
                known = sums.get(labels)
                sums[labels] = numbers if known is None else [a + b for a, b in zip(known, numbers, strict=True)]
    return [
        Family(family.name, family.kind, family.description, family.labels, list(sums.items()))
        for family, sums in families.values()
    ]
