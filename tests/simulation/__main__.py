"""python -m tests.simulation SEED [--hours H]: one seed in this process."""

from __future__ import annotations

import argparse
import os
import sys

from tests.simulation.plan import make_plan


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seed")
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--story", action="store_true")
    chosen = parser.parse_args()
    from tests.simulation.run import run

    result = run(make_plan(chosen.seed, chosen.hours, 7))
    if chosen.story:
        print("\n".join(result.story))
    print(
        f"seed {chosen.seed}: {len(result.violations)} violations, {result.seconds:.1f} s, {result.requests} requests,"
        f" {result.changes} changes, trace {result.trace}"
    )
    for violation in result.violations:
        print("  ", violation[:1500])
    if chosen.story:
        print(sorted(result.answers.items()))
    sys.exit(1 if result.failed else 0)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    main()
