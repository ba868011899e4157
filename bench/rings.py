"""How fast rings are built, saved, loaded and looked up, beside Swift's builder, and how well they come out.

python -m objstore.bench.rings --swift-python PYTHON     PYTHON is the interpreter of a Swift install

Three replicas in five zones, random weights. Everything of one size is measured in one process of its own, ours and
Swift's by turns, so that memory is that of the one size and both see the same machine.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any, Final

import click

from objstore.bench.command import calibration_ms
from objstore.tools.commands import OperatorProblem

OURS: Final = [sys.executable, "-m", "objstore.bench.ring_figures"]
PEER: Final = Path(__file__).with_name("ring_figures_swift.py")
REPLICAS: Final = 3
ZONES: Final = 5
SERVERS_PER_ZONE: Final = 250
WEIGHTS: Final = (50.0, 200.0)
SEED: Final = 1

Figures = dict[str, float]


def question_of(part_power: int, device_count: int) -> dict[str, Any]:
    """A cluster of so many devices, and one to be added."""
    random = Random(SEED)
    devices = [_device(number, random.uniform(*WEIGHTS)) for number in range(device_count + 1)]
    return {"part_power": part_power, "replicas": REPLICAS, "devices": devices[:-1], "added": devices[-1]}


def _device(number: int, weight: float) -> dict[str, Any]:
    zone, server = number % ZONES, number // ZONES % SERVERS_PER_ZONE
    ip = f"10.{zone}.0.{server}"
    place = {"id": number, "region": 1, "zone": zone, "ip": ip, "port": 6200, "device": f"d{number}"}
    return place | {"replication_ip": ip, "replication_port": 6200, "weight": weight, "meta": ""}


def ask(command: list[str], question: dict[str, Any]) -> Figures:
    """The figures of one run. Raises OperatorProblem when it fails."""
    run = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True, check=False)
    if run.returncode:
        raise OperatorProblem(f"{' '.join(command)} failed: {run.stderr.strip()[-500:]}", "see what it says")
    figures: Figures = json.loads(run.stdout)
    return figures


def medians(runs: list[Figures]) -> Figures:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def compare(size: tuple[int, int], swift_python: str, repeat: int) -> None:
    """Measure one size and print it; with `swift_python` beside Swift's."""
    question = question_of(*size)
    peer = [swift_python, str(PEER)]
    ours, theirs, quiet = [], [], []
    for _ in range(repeat):
        quiet.append(f"{calibration_ms():.0f}")
        ours.append(ask(OURS, question))
        if swift_python:
            theirs.append(ask(peer, question))
    click.echo(f"\n2^{size[0]} partitions, {size[1]} devices   calibration={'/'.join(quiet)} ms")
    swift = medians(theirs) if theirs else {}
    for name, value in medians(ours).items():
        beside = f" {swift[name]:12.3f} {swift[name] / value:9.1f}x" if name in swift and value else ""
        click.echo(f"  {name:<20} {value:12.3f}{beside}")


def _sizes(_context: click.Context, _option: click.Parameter, words: tuple[str, ...]) -> list[tuple[int, int]]:
    try:
        return [(int(power), int(devices)) for power, devices in (word.split(":") for word in words)]
    except ValueError:
        raise click.BadParameter("a size is PART_POWER:DEVICES, such as 18:100") from None


@click.command()
@click.option("--swift-python", envvar="OBJSTORE_SWIFT_PYTHON", default="", help="Interpreter of a Swift install.")
@click.option("--repeat", default=1, show_default=True, help="How many runs; the median counts.")
@click.option(
    "--size", "sizes", multiple=True, default=("18:100", "18:1000"), show_default=True, callback=_sizes,
    help="PART_POWER:DEVICES, measured beside Swift.",
)  # fmt: skip
@click.option(
    "--large", "large", multiple=True, default=("22:10000", "24:100000"), show_default=True, callback=_sizes,
    help="PART_POWER:DEVICES, measured for ours alone.",
)  # fmt: skip
def rings(swift_python: str, repeat: int, sizes: list[tuple[int, int]], large: list[tuple[int, int]]) -> None:
    """Measure the ring builder; figures are ours, Swift's, and how many times ours Swift's is."""
    for size in sizes:
        compare(size, swift_python, repeat)
    for size in large:
        compare(size, "", repeat)


if __name__ == "__main__":
    rings()
