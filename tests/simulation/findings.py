"""What the checks have found out so far, shared by all of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.simulation.model import Write
from tests.simulation.world import World


@dataclass
class Findings:
    """What each object has turned out to be, None for gone; which containers are there; and all that is wrong."""

    world: World
    objects: dict[str, Write | None] = field(default_factory=dict)
    containers: dict[str, bool] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def wrong(self, text: str) -> None:
        """Something that must not be."""
        if text not in self.violations:
            self.violations.append(text)
            self.world.note("!!", "CHECK", text)
