"""An object server with one device, whose ring doubles its partitions."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from objstore.config.object import ObjectConfig, RelinkerConfig
from objstore.daemon import run_once
from objstore.devices import Device
from objstore.http.messages import Response
from objstore.object.engine import make_engine
from objstore.object.part_power import partition_of
from objstore.object.relinker import Choice, ObjectRelinker
from objstore.object.relinkstate import RelinkTask
from objstore.object.server import ObjectServer
from objstore.paths import ResourcePath
from objstore.ring.ring import Ring
from objstore.ring.rings import Rings
from tests.unit.object.harness import ServedFolder, wait_for_discards

POWER = 4
DEVICE = Device(0, 1, 1, "10.0.0.1", 6200, "10.0.0.1", 6200, "sda", 100.0)
STATES = {
    "at rest": (POWER, None),
    "prepared": (POWER, POWER + 1),
    "increased": (POWER + 1, POWER + 1),
    "finished": (POWER + 1, None),
    "cancelled": (POWER, POWER),
}


def ring_in(state: str) -> Ring:
    power, following = STATES[state]
    return Ring(power, [DEVICE], [array("H", [0] * 2**power)], 1, following)


class Reports:
    """Stands for Recon."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}

    def report(self, daemon: str, **figures: Any) -> None:
        self.figures |= figures


class GrowingStore(ServedFolder):
    """All servers and daemons of it go by `ring`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.ring = ring_in("at rest")
        self.recon = Reports()
        self.server = ObjectServer(
            ObjectConfig(), self.cluster, self.devices, self.transport, self.runtime, lambda _index: self.ring
        )
        self.engine = make_engine("file", self.runtime, 0)

    def enter(self, state: str) -> None:
        """The ring has got to that state."""
        self.ring = ring_in(state)

    @property
    def rings(self) -> Rings:
        """As daemons see them."""
        return cast(Rings, SimpleNamespace(object=lambda _index: self.ring, refreshed_object=lambda _index: self.ring))

    def relinker(self, choice: Choice | None = None) -> ObjectRelinker:
        context = self.context(rings=self.rings, recon=self.recon)
        return ObjectRelinker(RelinkerConfig(), context, self.engine, choice)

    def run(self, task: str, partitions: Sequence[int] = ()) -> ObjectRelinker:
        """As the command does."""
        worker = self.relinker(Choice(RelinkTask(task), partitions=frozenset(partitions)))
        run_once(worker)
        return worker

    def path(self, name: str, power: int = POWER) -> str:
        """How a proxy that knows this part power asks for an object."""
        return f"/sda/{self.partition(name, power)}/a/c/{name}"

    def partition(self, name: str, power: int = POWER) -> str:
        return partition_of(self.cluster.hasher.hexdigest(ResourcePath("a", "c", name)), power)

    def moving(self, count: int = 3) -> list[str]:
        """Names of objects whose partition changes its number, each by another way."""
        names = (f"o{number}" for number in range(1000))
        return [name for name in names if self.partition(name) != self.partition(name, POWER + 1)][:count]

    def read(self, name: str, power: int = POWER) -> Response:
        return self.get(self.path(name, power))

    def places(self, name: str) -> dict[str, list[str]]:
        """The files of an object by the partition they lie in."""
        wait_for_discards(self.server._service.engine.device(str(self.root / "sda")))
        digest = self.cluster.hasher.hexdigest(ResourcePath("a", "c", name))
        found = (self.root / "sda").glob(f"objects/*/{digest[-3:]}/{digest}/*")
        places: dict[str, list[str]] = {}
        for file in sorted(found):
            places.setdefault(file.parts[-4], []).append(file.name)
        return places
