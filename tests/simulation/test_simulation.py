"""Some seeds of the simulation: fixed ones, and a few that nobody has run before."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.mutants import MUTANTS

ROOT = Path(__file__).parents[2]
HOURS = "1"


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own: a simulation patches the program."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def simulate(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return run_python("-m", "tests.simulation", *arguments, **environment)


@pytest.mark.parametrize("first", [f"fixed-{letter}" for letter in "abcdefgh"])
def test_fixed_seeds(first: str) -> None:
    done = simulate("many", "--first", first, "--count", "2", "--hours", HOURS, "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr


def test_fresh_seeds() -> None:
    """The seeds are printed, so that a failing one can be replayed."""
    done = simulate("many", "--first", f"fresh-{secrets.token_hex(3)}", "--count", "2", "--hours", HOURS, "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_seed_replays_exactly() -> None:
    traces = set()
    for hash_seed in ("1", "2"):
        done = simulate("one", "replay", "--hours", HOURS, PYTHONHASHSEED=hash_seed)
        assert done.returncode == 0, done.stdout + done.stderr
        traces.add(done.stdout.rpartition("trace digest ")[2])
    assert len(traces) == 1


@pytest.mark.parametrize("name", ["tombstones_are_dropped_early", "rows_are_not_pushed"])
def test_a_planted_bug_is_caught(name: str) -> None:
    """A few of them; `make mutants` plants all."""
    done = simulate("mutants", name, "--hours", "2", "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr


PLANT_EACH = """
import os
from tests.simulation.mutants import MUTANTS
from tests.simulation.patching import load_program

load_program()
assert len({each.name for each in MUTANTS}) == len(MUTANTS)
for each in MUTANTS:
    process = os.fork()
    if not process:
        each.plant()
        os._exit(0)
    assert os.waitpid(process, 0)[1] == 0, each.name
"""


def test_every_bug_has_its_place_in_the_program() -> None:
    """What a mutant replaces is there: else it would change nothing."""
    done = run_python("-c", PLANT_EACH)
    assert done.returncode == 0, done.stdout + done.stderr


RACES = """
from tests.simulation.driver import run_one
from tests.simulation.plan import make_plan

result = run_one(make_plan("order-24", 2.0))
assert not result.failed, result.violations
assert result.answers["without an order"], result.answers
"""


def test_the_order_that_an_available_policy_does_not_keep_is_missed() -> None:
    """So the checks would see it if a strong policy did not keep it."""
    done = run_python("-c", RACES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_bug_is_documented() -> None:
    page = (ROOT / "docs/develop/simulation.md").read_text()
    shown = {(name, int(seeds)) for name, seeds in re.findall(r"^\| `(\w+)` \|.*\| (\d+) \|$", page, re.MULTILINE)}
    assert shown == {(mutant.name, mutant.seeds) for mutant in MUTANTS}
