"""Years that did not happen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lxml import etree

from objstore.config.loading import load
from objstore.tools.ring.replay import Replay
from objstore.tools.ring.scenario import Scenario
from tests.tidy.repository import ROOT
from tests.unit.tools.ring.conftest import Shell

SAMPLE = ROOT / "docs/examples/growth.toml"
SMALL = """
days = 30
[ring]
part_power = 6
[data]
used = "1TB"
rate = "1MB"
[[devices]]
zone = 1
servers = 2
devices = 2
[[devices]]
zone = 2
servers = 2
devices = 2
[[devices]]
zone = 3
servers = 2
devices = 2
"""


def replay(folder: Path, more: str = "") -> Replay:
    path = folder / "scenario.toml"
    path.write_text(SMALL + more)
    return Replay(load(path, Scenario))


def test_nothing_happens_by_itself(tmp_path: Path) -> None:
    outcome = replay(tmp_path).run(lambda days: None)
    assert [step.what for step in outcome.steps] == ["begin", "end"]
    assert (outcome.exposure, outcome.moved_bytes, outcome.rebalances) == ([], 0.0, 0)


def test_growth_moves_what_the_new_devices_need(tmp_path: Path) -> None:
    outcome = replay(tmp_path, '[[events]]\nday = 3\nwhat = "add"\nzone = 4\nservers = 2\ndevices = 2\n').run(print)
    assert outcome.steps[1].what == "4 devices added in r1z4"
    assert outcome.moved_bytes == pytest.approx(1e12 / 4, rel=0.05)
    assert outcome.steps[-1].balance < 5


def test_a_lost_device_is_exposure_until_it_is_replaced_and_filled(tmp_path: Path) -> None:
    events = '[[events]]\nday = 2\nwhat = "lose"\n[[events]]\nday = 5\nwhat = "replace"\n'
    outcome = replay(tmp_path, events).run(lambda days: None)
    (exposure,) = outcome.exposure
    filling_hours = 1e12 / 12 / 1e6 / 3600
    assert (exposure.replicas_lost, exposure.partitions_most) == (1, 16)
    assert exposure.hours == pytest.approx(3 * 24 + filling_hours, rel=0.01)
    assert exposure.partition_hours == pytest.approx(16 * (3 * 24 + filling_hours / 2), rel=0.1)
    assert outcome.moved_bytes == 0
    assert outcome.rebuilt_bytes == pytest.approx(1e12 / 12)


def test_a_device_removed_from_the_ring_is_rebuilt_by_others(tmp_path: Path) -> None:
    events = '[[events]]\nday = 2\nwhat = "lose"\n[[events]]\nday = 3\nwhat = "remove"\n'
    outcome = replay(tmp_path, events).run(lambda days: None)
    assert outcome.steps[-1].exposed == []
    assert outcome.steps[-1].devices == 11
    assert outcome.rebuilt_bytes == pytest.approx(1e12 / 12, rel=0.01)


def test_a_ring_left_with_fewer_devices_than_replicas_is_not_rebalanced(tmp_path: Path) -> None:
    events = '[[events]]\nday = 2\nwhat = "lose"\ndevices = 10\n[[events]]\nday = 3\nwhat = "remove"\n'
    outcome = replay(tmp_path, events).run(lambda days: None)
    assert outcome.steps[-2].what.startswith("rebalance; no rebalance: 3 replicas need 3 devices")
    assert outcome.rebalances == 0


def test_all_replicas_can_be_lost(tmp_path: Path) -> None:
    events = '[[events]]\nday = 2\nwhat = "lose"\ndevices = 12\n'
    outcome = replay(tmp_path, events).run(lambda days: None)
    assert outcome.steps[-1].exposed == [0, 0, 64]
    assert [each.replicas_lost for each in outcome.exposure] == [3]


def test_the_sample_gives_the_same_outcome_twice_and_a_drawing(shell: Shell) -> None:
    line = f"simulate {SAMPLE} --json --plot year.svg"
    first = shell.done(line)
    assert first == shell.done(line)
    facts = json.loads(first)
    assert facts["steps"][-1]["day"] == 365
    assert facts["steps"][-1]["balance"] < 1
    etree.parse("year.svg")
    assert "partition-hours" in shell.done(f"simulate {SAMPLE}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("days = 1", "ring"),
        (SMALL.replace("30", "-1"), "days"),
        (SMALL + '[[events]]\nday = 1\nwhat = "add"\n', "needs a zone"),
        (SMALL + '[[events]]\nday = 1\nwhat = "explode"\n', "explode"),
        (SMALL.replace("used", "unused"), "unused"),
        ("nonsense", "nonsense"),
    ],
)
def test_scenarios_that_make_no_sense_are_refused(shell: Shell, content: str, reason: str) -> None:
    (shell.folder / "bad.toml").write_text(content)
    assert "bad.toml" in shell.refused("simulate bad.toml")
