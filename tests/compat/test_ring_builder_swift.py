"""objstore-ring-builder beside swift-ring-builder: the same words, files that go both ways, the same rings."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest

from objstore.devices import Device
from objstore.ring.builder import RingBuilder
from objstore.ring.builderfile import load_builder
from objstore.ring.format import read_ring
from objstore.ring.quality import shares_by_weight
from objstore.ring.swift_import import convert_swift_builder
from tests.compat.test_ring_swift import PATHS, SWIFT_PYTHON, ask_swift, assert_same_places
from tests.programs import Outcome, Program

pytestmark = pytest.mark.skipif(not SWIFT_PYTHON, reason="OBJSTORE_SWIFT_PYTHON names no Swift install's interpreter")

OURS = ("objstore.tools.ringbuilder.session", "objstore.ring.builder", "objstore.ring.builderfile")

FOUR = " ".join(f"r1z{n}-10.0.0.{n}:6200R10.1.0.{n}:6300/sd{n}_shelf-{n} {100 + n}" for n in range(1, 5))
REGIONS = " ".join(f"r{n % 2}z{n % 3}-10.0.{n % 3}.{n}:6200/sd{n} {n * 10}" for n in range(1, 13))


@dataclass(frozen=True)
class Command:
    """A ring builder, called in a folder."""

    program: Program
    folder: Path

    def __call__(self, line: str) -> Outcome:
        outcome = self.program.call(self.folder, line.split())
        assert "Traceback" not in outcome.stderr, outcome.stderr
        return outcome


@pytest.fixture(scope="module")
def programs() -> Iterator[dict[str, Program]]:
    made = {
        "swift": Program(
            "swift-ring-builder", SWIFT_PYTHON, "swift.cli.ringbuilder", "error_handling_main", "tests.compat.ring_peer"
        ),
        "ours": Program("objstore-ring-builder", sys.executable, "objstore.tools.ring_builder", "main", *OURS),
    }
    yield made
    for program in made.values():
        program.end()


@pytest.fixture
def swift(programs: dict[str, Program], tmp_path: Path) -> Command:
    folder = tmp_path / "swift"
    folder.mkdir()
    return Command(programs["swift"], folder)


@pytest.fixture
def ours(programs: dict[str, Program], tmp_path: Path) -> Command:
    folder = tmp_path / "ours"
    folder.mkdir()
    return Command(programs["ours"], folder)


def run_all(command: Command, lines: list[str], name: str = "object.builder") -> list[int]:
    """The exit status of each line."""
    return [command(f"{name} {line}").status for line in lines]


BALANCED = ["create 7 3 1", f"add {FOUR}", "rebalance --seed 1"]
SHAPES = {
    "new": ["create 7 3 1"],
    "not balanced": ["create 7 3 1", f"add {FOUR}"],
    "balanced": BALANCED,
    "fractional": ["create 7 2.4 24", f"add {FOUR}", "rebalance --seed 1"],
    "one replica": ["create 7 1 24", f"add {FOUR}", "rebalance --seed 1"],
    "more replicas wanted": [*BALANCED, "set_replicas 3.5"],
    "fewer replicas wanted": [*BALANCED, "set_replicas 2"],
    "two regions": ["create 7 3 1", f"add {REGIONS}", "set_overload 20%", "rebalance --seed 1"],
    "to be removed": [*BALANCED, "remove d1"],
    "removed": [*BALANCED, "remove d1", "rebalance --seed 2"],
    "removed and added to": [
        *BALANCED,
        "remove d1",
        "rebalance --seed 2",
        "add r1z9-[::9]:6200/sdz 70",
        "pretend_min_part_hours_passed",
        "rebalance --seed 3",
        "remove d2",
        "rebalance --seed 4",
    ],
    "drained": [*BALANCED, "set_weight d1 0", "pretend_min_part_hours_passed", "rebalance --seed 2"],
    "prepared": [*BALANCED, "prepare_increase_partition_power"],
    "increased": [*BALANCED, "prepare_increase_partition_power", "increase_partition_power"],
    "finished": [
        *BALANCED,
        "prepare_increase_partition_power",
        "increase_partition_power",
        "finish_increase_partition_power",
    ],
    "cancelled": [*BALANCED, "prepare_increase_partition_power", "cancel_increase_partition_power"],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_builder_of_swift_becomes_one_of_ours_with_the_same_ring(swift: Command, shape: str) -> None:
    assert 2 not in run_all(swift, SHAPES[shape])
    builder = convert_swift_builder(str(swift.folder / "object.builder"))
    if builder.layout is None:
        assert shape in ("new", "not balanced")
        return
    assert swift("object.builder write_ring").status == 0
    theirs, converted = read_ring(str(swift.folder / "object.ring.gz")), builder.ring()
    assert converted.devices == theirs.devices
    assert converted.rows == theirs.rows
    assert (converted.part_power, converted.next_part_power) == (theirs.part_power, theirs.next_part_power)
    assert converted.version == theirs.version


def test_what_a_ring_does_not_tell_is_converted_too(swift: Command) -> None:
    run_all(swift, [*SHAPES["to be removed"], "set_overload 0.25", "set_min_part_hours 7", "set_replicas 2.5"])
    builder = convert_swift_builder(str(swift.folder / "object.builder"))
    settings = builder.settings
    assert (settings.overload, settings.min_part_hours, settings.replicas) == (0.25, 7, 2.5)
    assert builder.removed == {1}
    moved_at = builder.moved_at
    assert moved_at is not None
    written = (swift.folder / "object.builder").stat().st_mtime
    assert moved_at.min() == moved_at.max()
    assert abs(written - float(moved_at[0])) < 60


def test_unlocked_partitions_are_converted_as_such(swift: Command) -> None:
    run_all(swift, [*BALANCED, "pretend_min_part_hours_passed"])
    builder = convert_swift_builder(str(swift.folder / "object.builder"))
    assert not builder.locked(float((swift.folder / "object.builder").stat().st_mtime)).any()


def needed_moves(builder: RingBuilder) -> float:
    """Replicas that devices lack which should have more: no rebalance can do with fewer moves."""
    assert builder.layout is not None
    tiers = builder.tiers
    shares = shares_by_weight(builder.settings, tiers)
    return float(np.maximum(shares - builder.layout.held(len(shares)), 0).sum())


@pytest.mark.parametrize("seed", range(8))
def test_a_converted_builder_moves_no_more_than_needed(swift: Command, seed: int) -> None:
    devices = " ".join(f"r1z{n % 5}-10.0.{n % 5}.{n}:6200/sd{n} {100 + 7 * ((n * seed) % 13)}" for n in range(40))
    run_all(swift, ["create 11 3 1", f"add {devices}", f"rebalance --seed {seed}"])
    builder = convert_swift_builder(str(swift.folder / "object.builder"))
    builder.pretend_min_part_hours_passed()
    builder.add(Device(builder.next_id, 1, 2, "10.0.2.99", 6200, "10.0.2.99", 6200, "new", 130.0))
    needed = needed_moves(builder)
    plan = builder.rebalance(seed, 2e9)
    assert plan.moved_count <= 1.05 * needed + len(builder.devices)
    assert builder.plan(seed, 3e9).moved_count == 0


WORDS = [
    ["create 8 3 1", f"add {FOUR}", "rebalance", "validate", "version", "rebalance", "search d1", "search d99"],
    ["create 8 3 1", "add z1-10.0.0.1:6200/sda 100", "add z1-10.0.0.1:6200/sda 100", "add nonsense 1", "nonsense"],
    [*BALANCED, "set_weight d0 50", "set_weight r1 10", "set_weight r1 10 --yes", "set_weight d0 x", "set_weight"],
    [*BALANCED, "set_info d0 10.9.9.9:1R10.8.8.8:2/sdx_new", "set_info d0 10.0.0.2:6200/sd2", "write_ring", "version"],
    [*BALANCED, "set_info -d sd2 -J 10.7.7.7 -Q 5 -M text -P 7 -I 10.6.6.6 -D sdy", "set_info :6200 _all --yes"],
    [*BALANCED, "set_region d0 2 d1 2 --yes", "set_zone --ip 10.0.0.3 9", "set_zone d0 x", "set_region d99 1"],
    [*BALANCED, "remove d0", "rebalance", "remove d1 d2", "remove d99", "list_parts d1", "list_parts d0"],
    [*BALANCED, "set_overload 10%", "set_overload 0.5", "set_overload 300%", "set_overload x", "set_replicas 2.5"],
    [*BALANCED, "set_replicas 0", "set_replicas x", "set_min_part_hours 5", "set_min_part_hours", "dispersion"],
    [*BALANCED, "set_weight d0 10", "rebalance", "pretend_min_part_hours_passed", "rebalance", "rebalance --force"],
    [*BALANCED, *SHAPES["increased"][3:], "rebalance", "remove d0", "increase_partition_power", "set_weight d0 1"],
    [
        *BALANCED,
        "finish_increase_partition_power",
        "prepare_increase_partition_power",
        "prepare_increase_partition_power",
    ],
    [
        *BALANCED,
        "remove d0",
        "remove d0",
        "remove z1",
        "remove d0 d1 --yes",
        "set_weight d0 5",
        "search d0",
        "search d9",
    ],
    ["create 6 3", "create x 3 1", "create 6 0 1", "create 6 3 -1", "search d0"],
    [*BALANCED, "search r1z2-10.0.0.2:6200R10.1.0.2:6300/sd2_shelf", "search :1", "search R:6300", "search"],
    [*BALANCED, "write_ring --format-version 2 --dev-id-bytes 4", "version", "write_ring --format-version 9"],
    [*BALANCED, "set_replicas 5", "pretend_min_part_hours_passed", "rebalance"],
    [*BALANCED, "set_replicas 4.25", "pretend_min_part_hours_passed", "rebalance"],
    [*BALANCED, "remove d0", "remove d1", "rebalance"],
    [*BALANCED, "set_weight d0 0", "set_weight d1 0", "pretend_min_part_hours_passed", "rebalance"],
    ["create 6 3 1", "add r1z1-10.0.0.1:6200/sda 100 r1z2-10.0.0.2:6200/sda 100", "rebalance"],
]


@pytest.mark.parametrize("lines", WORDS, ids=[str(number) for number in range(len(WORDS))])
def test_the_same_words_end_with_the_same_status_and_devices(swift: Command, ours: Command, lines: list[str]) -> None:
    for line in lines:
        theirs, mine = swift(f"object.builder {line}"), ours(f"object.builder {line}")
        assert mine.status == theirs.status, (line, theirs, mine)
    if not (swift.folder / "object.builder").exists():
        return
    converted = convert_swift_builder(str(swift.folder / "object.builder"))
    built = load_builder(str(ours.folder / "object.builder"))
    assert built.settings == converted.settings
    assert built.removed == converted.removed
    assert built.devices == converted.devices
    assert built.next_part_power == converted.next_part_power


# What docs/reference/ring-builder.md says of them: the lines before, the line, and what Swift's and ours end with.
DIFFERENT = {
    "a builder that was never balanced has no ring": (["create 6 3 1", f"add {FOUR}"], "write_ring", 0, 2),
    "a search takes several values": (BALANCED, "search d0 d1", 2, 0),
    "hours are 0 or more": (BALANCED, "set_min_part_hours -1", 0, 2),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_ends_otherwise(swift: Command, ours: Command, name: str) -> None:
    before, line, theirs, mine = DIFFERENT[name]
    for command, status in ((swift, theirs), (ours, mine)):
        run_all(command, before)
        assert command(f"object.builder {line}").status == status


def test_hours_below_zero_are_converted_to_none(swift: Command) -> None:
    run_all(swift, [*BALANCED, "set_min_part_hours -1"])
    builder = convert_swift_builder(str(swift.folder / "object.builder"))
    assert builder.settings.min_part_hours == 0
    assert not builder.locked(float((swift.folder / "object.builder").stat().st_mtime)).any()


@pytest.mark.parametrize("form", ["--format-version 1", "--format-version 2", "--format-version 2 --dev-id-bytes 4"])
@pytest.mark.parametrize("shape", ["balanced", "fractional", "two regions", "removed", "prepared", "increased"])
def test_swift_finds_everything_with_our_rings(swift: Command, ours: Command, shape: str, form: str) -> None:
    assert 2 not in run_all(ours, [*SHAPES[shape], f"write_ring {form}"])
    path = ours.folder / "object.ring.gz"
    assert_same_places(read_ring(str(path)), str(path))
    (swift.folder / "object.ring.gz").write_bytes(path.read_bytes())
    shown = swift("object.ring.gz version")
    assert (shown.status, shown.stdout) == (0, ours("object.ring.gz version").stdout)


def test_swift_goes_on_with_our_ring(swift: Command, ours: Command) -> None:
    run_all(ours, SHAPES["two regions"])
    (swift.folder / "object.ring.gz").write_bytes((ours.folder / "object.ring.gz").read_bytes())
    assert swift("object.ring.gz write_builder 1").status == 0
    assert swift("object.builder validate").status == 0
    converted = convert_swift_builder(str(swift.folder / "object.builder"))
    ring = read_ring(str(ours.folder / "object.ring.gz"))
    assert converted.ring().rows == ring.rows
    assert converted.ring().devices == tuple(msgspec.structs.replace(device) for device in ring.devices)


def test_handoffs_are_those_of_swift_also_while_a_device_is_drained(swift: Command, ours: Command) -> None:
    run_all(ours, [*SHAPES["two regions"], "set_weight d3 0", "write_ring"])
    path = str(ours.folder / "object.ring.gz")
    ring = read_ring(path)
    for partition, primaries, handoffs in ask_swift(PATHS, "locate", path):
        assert [device.id for device in ring.primaries(partition)] == primaries
        assert {device.id for device in ring.handoffs(partition)} == set(handoffs)
