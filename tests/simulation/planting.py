"""How bugs are planted: a name of the program is bound to something else, in this process, for the rest of its life."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Mutant:
    """A planted bug. It has to be caught within so many `seeds`."""

    plant: Callable[[], None]
    seeds: int

    @property
    def name(self) -> str:
        """The name of the function that plants it."""
        return self.plant.__name__


def replace(name: str, new: Any, *owners: Any) -> None:
    """Bind `name` to `new` in modules or classes; raises AttributeError where there is no such name to replace."""
    for owner in owners:
        getattr(owner, name)
        setattr(owner, name, new)


# The present hour in the simulation, and any other, is before it: timestamps compare as text.
AFTER_ALL_TIME: Final = "9"


def nothing(*_: Any, **__: Any) -> None:
    """What should be done is not."""


def always(answer: Any) -> Callable[..., Any]:
    """Whatever is asked."""
    return lambda *_, **__: answer
