"""Bugs, planted one at a time: each must be caught by the checks within so many seeds.

That shows that the simulation would find such a mistake.
"""

from __future__ import annotations

from typing import Final

from tests.simulation.database_bugs import DATABASE_BUGS
from tests.simulation.driver import run_all
from tests.simulation.fragment_bugs import FRAGMENT_BUGS
from tests.simulation.listing_bugs import LISTING_BUGS
from tests.simulation.object_bugs import OBJECT_BUGS
from tests.simulation.plan import make_plan
from tests.simulation.planting import Mutant
from tests.simulation.strong_bugs import STRONG_BUGS
from tests.simulation.upload_bugs import UPLOAD_BUGS
from tests.simulation.version_bugs import VERSION_BUGS

HOURS: Final = 10.0
MUTANTS: Final = (
    *OBJECT_BUGS,
    *FRAGMENT_BUGS,
    *VERSION_BUGS,
    *UPLOAD_BUGS,
    *STRONG_BUGS,
    *DATABASE_BUGS,
    *LISTING_BUGS,
)
# What the driver says of a run that came to no end, and what a planted bug brings about that does not fit the program.
BROKEN: Final = ("the simulation died", "the simulation failed", "AttributeError", "NameError", "TypeError")


def failing_without(numbers: set[int], jobs: int, hours: float) -> list[str]:
    """Which of these seeds fail although nothing is planted: then they have shown nothing."""
    plans = [make_plan(seed_of(number), hours) for number in sorted(numbers)]
    return [result.plan.seed for result in run_all(plans, jobs) if result.failed]


def seed_of(number: int) -> str:
    """The seeds are counted from 1."""
    return f"mutant-{number}"


def seeds_until_caught(mutant: Mutant, jobs: int, hours: float = HOURS) -> tuple[int, str]:
    """By which seed it was caught, and what was found; 0 if not by any of its number.

    A run that breaks off, or in which the bug itself stumbles, shows nothing about the checks, and does not count.
    """
    caught: dict[int, str] = {}
    for first in range(1, mutant.seeds + 1, jobs):
        numbers = range(first, min(first + jobs, mutant.seeds + 1))
        plans = [make_plan(seed_of(number), hours) for number in numbers]
        for result in run_all(plans, jobs, mutant.plant):
            found = [violation for violation in result.violations if not any(each in violation for each in BROKEN)]
            if found:
                caught[int(result.plan.seed.rpartition("-")[2])] = found[0]
        if caught:
            return min(caught), caught[min(caught)]
    return 0, ""
