"""Simulations from the command line: `make simulate`, `make simulate-many` and `make mutants` call this."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
from typing import Final

from tests.simulation.driver import report, run_all, run_one, shrink
from tests.simulation.mutants import MUTANTS, failing_without, seeds_until_caught
from tests.simulation.plan import make_plan

FAILING_MAX: Final = 8  # that many failing seeds say enough


def one(chosen: argparse.Namespace) -> int:
    """Replay a seed, and shrink it if it fails."""
    result = run_one(make_plan(chosen.seed, chosen.hours))
    print(report(result, whole_trace=chosen.trace))
    if result.failed and chosen.shrink:
        print("shrinking ...")
        shortest = shrink(result.plan, 1, lambda line: print(line, flush=True))
        print(report(shortest, whole_trace=True))
    return int(result.failed)


def many(chosen: argparse.Namespace) -> int:
    """Run many seeds; says which fail."""
    first = chosen.first or secrets.token_hex(3)
    seeds = [f"{first}-{number}" for number in range(chosen.count)]
    began, failing, done = time.monotonic(), [], 0
    total = slowest = 0.0
    print(f"seeds {first}-0 to {first}-{chosen.count - 1}", flush=True)
    for done, result in enumerate(run_all([make_plan(seed, chosen.hours) for seed in seeds], chosen.jobs), 1):
        total, slowest = total + result.seconds, max(slowest, result.seconds)
        if result.failed:
            failing.append(result.plan.seed)
            print(f"FAILS: make simulate SEED={result.plan.seed} HOURS={chosen.hours:g}")
            for violation in result.violations[:3]:
                print(f"  * {violation[:600]}")
        if done % 50 == 0 or result.failed:
            print(f"{done} of {chosen.count} done, {len(failing)} fail", flush=True)
        if len(failing) == FAILING_MAX:
            break
    print(
        f"{done} seeds of {chosen.hours:g} virtual hours in {time.monotonic() - began:.0f} s:"
        f" {total / done:.1f} s each, {slowest:.1f} s at most; {len(failing)} fail {' '.join(failing)}"
    )
    return int(bool(failing))


def mutants(chosen: argparse.Namespace) -> int:
    """Plant every bug in turn; says within how many seeds it was caught."""
    wanted = [mutant for mutant in MUTANTS if not chosen.names or mutant.name in chosen.names]
    missed, used = [], set()
    for mutant in wanted:
        count, why = seeds_until_caught(mutant, chosen.jobs, chosen.hours)
        used.add(count)
        if not count:
            missed.append(mutant.name)
        verdict = f"caught by seed {count} of at most {mutant.seeds}: {why[:200]}" if count else "NOT CAUGHT"
        print(f"{mutant.name}: {verdict}", flush=True)
    unsound = failing_without(used - {0}, chosen.jobs, chosen.hours)
    print(f"{len(missed)} of {len(wanted)} not caught {' '.join(missed)}")
    print(f"{len(unsound)} seeds fail without any bug {' '.join(unsound)}")
    return int(bool(missed or unsound))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("one", help=one.__doc__)
    command.add_argument("seed")
    command.add_argument("--hours", type=float, default=10.0)
    command.add_argument("--trace", action="store_true", help="the whole trace, not its end alone")
    command.add_argument("--shrink", action="store_true")
    command.set_defaults(function=one)
    command = commands.add_parser("many", help=many.__doc__)
    command.add_argument("--count", type=int, default=100)
    command.add_argument("--hours", type=float, default=10.0)
    command.add_argument("--first", default="", help="what all seeds begin with; random by default")
    command.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    command.set_defaults(function=many)
    command = commands.add_parser("mutants", help=mutants.__doc__)
    command.add_argument("names", nargs="*")
    command.add_argument("--hours", type=float, default=10.0)
    command.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    command.set_defaults(function=mutants)
    chosen = parser.parse_args()
    code: int = chosen.function(chosen)
    return code


if __name__ == "__main__":
    sys.exit(main())
