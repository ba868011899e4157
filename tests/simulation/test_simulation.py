"""Some seeds of the simulation: fixed ones, and a few that nobody has run before."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOURS = "1.5"


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own: a simulation patches the program."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.parametrize("first", ["fixed-a", "fixed-b", "fixed-c", "fixed-d"])
def test_fixed_seeds(first: str) -> None:
    done = simulate("many", "--first", first, "--count", "5", "--hours", HOURS, "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr


def test_fresh_seeds() -> None:
    """The seeds are printed, so that a failing one can be replayed."""
    done = simulate("many", "--first", f"fresh-{secrets.token_hex(3)}", "--count", "3", "--hours", HOURS, "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_seed_replays_exactly() -> None:
    traces = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "one", "replay", "--hours", HOURS],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        traces.add(done.stdout.rpartition("trace ")[2])
    assert len(traces) == 1


@pytest.mark.parametrize("name", ["names_are_not_flushed", "one_is_a_quorum", "metadata_is_not_replicated"])
def test_a_planted_bug_is_caught(name: str) -> None:
    """A few of them; `make mutants` plants all."""
    done = simulate("mutants", name, "--hours", "4", "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
