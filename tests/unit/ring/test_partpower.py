from __future__ import annotations

from pathlib import Path

import pytest

from objstore.ring.builder import RingBuilder, cancel_increase, finish_increase, increase, new_builder, prepare_increase
from objstore.ring.builderfile import load_builder, save_builder
from objstore.ring.errors import BuilderError
from objstore.ring.settings import RingSettings
from tests.unit.ring.factories import make_devices

NOW = 1_000_000_000


def balanced(replicas: float = 2.5, part_power: int = 6) -> RingBuilder:
    builder = new_builder(RingSettings(part_power, replicas), make_devices(8))
    builder.rebalance(1, NOW)
    return builder


@pytest.mark.parametrize("replicas", [1, 2.5, 3])
def test_an_increase_keeps_every_object_on_its_devices(replicas: float) -> None:
    builder = balanced(replicas)
    before = builder.ring()
    prepare_increase(builder)
    assert (builder.ring().part_power, builder.ring().next_part_power) == (6, 7)
    increase(builder)
    after = builder.ring()
    assert (after.part_power, after.next_part_power) == (7, 7)
    for first_byte in range(256):
        digest = bytes([first_byte]) * 16
        assert before.primaries(before.partition_of(digest)) == after.primaries(after.partition_of(digest))
    finish_increase(builder)
    assert builder.ring().next_part_power is None
    assert builder.rebalance(1, NOW + 1).moved_count == 0


def test_a_cancelled_increase() -> None:
    builder = balanced()
    prepare_increase(builder)
    cancel_increase(builder)
    assert (builder.ring().part_power, builder.ring().next_part_power) == (6, 6)
    finish_increase(builder)
    assert builder.ring().next_part_power is None


def test_a_step_out_of_turn_is_refused() -> None:
    builder = balanced()
    for step in (increase, cancel_increase, finish_increase):
        with pytest.raises(BuilderError):
            step(builder)
    prepare_increase(builder)
    for step in (prepare_increase, finish_increase):
        with pytest.raises(BuilderError):
            step(builder)
    with pytest.raises(BuilderError, match="being increased"):
        builder.rebalance(1, NOW)
    increase(builder)
    for step in (prepare_increase, increase, cancel_increase):
        with pytest.raises(BuilderError):
            step(builder)


def test_a_builder_that_cannot_be_increased() -> None:
    with pytest.raises(BuilderError, match="never balanced"):
        prepare_increase(new_builder(RingSettings(6, 3), make_devices(4)))
    largest = new_builder(RingSettings(24, 1), make_devices(1))
    largest.layout = balanced().layout
    with pytest.raises(BuilderError, match="the largest there is"):
        prepare_increase(largest)


def test_an_increase_under_way_is_saved(tmp_path: Path) -> None:
    builder = balanced()
    prepare_increase(builder)
    increase(builder)
    save_builder(builder, str(tmp_path / "b"), "increase", NOW)
    again = load_builder(str(tmp_path / "b"))
    assert again.next_part_power == 7
    assert again.ring().rows == builder.ring().rows
