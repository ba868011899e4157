from __future__ import annotations

import pytest
from click.testing import CliRunner

from objstore.bench.ring_figures import Figures, measure
from objstore.bench.rings import medians, question_of, rings


def test_a_cluster_has_five_zones_random_weights_and_a_device_to_come() -> None:
    question = question_of(8, 20)
    devices = question["devices"]
    assert len({device["zone"] for device in devices}) == 5
    assert len({device["weight"] for device in devices}) == 20
    assert question["added"]["id"] == 20
    assert question_of(8, 20) == question


def test_figures_of_a_small_ring() -> None:
    figures: Figures = {}
    measure(question_of(8, 20), figures)
    assert figures["moved %"] == pytest.approx(figures["least %"], rel=0.05)
    assert figures["new device %"] == pytest.approx(100, abs=3)
    assert figures["dispersion %"] == 0
    assert all(value > 0 for name, value in figures.items() if not name.endswith("%"))


def test_medians_are_by_figure() -> None:
    assert medians([{"a": 1.0, "b": 5.0}, {"a": 3.0, "b": 4.0}, {"a": 2.0, "b": 6.0}]) == {"a": 2.0, "b": 5.0}


def test_the_command_measures_the_sizes_it_is_told_and_refuses_others() -> None:
    done = CliRunner().invoke(rings, ["--swift-python", "", "--size", "6:10", "--large", "7:12"])
    assert done.exit_code == 0, done.output
    assert "2^6 partitions, 10 devices" in done.output
    assert "2^7 partitions, 12 devices" in done.output
    wrong = CliRunner().invoke(rings, ["--size", "big"])
    assert wrong.exit_code == 2
    assert "PART_POWER:DEVICES" in wrong.output
