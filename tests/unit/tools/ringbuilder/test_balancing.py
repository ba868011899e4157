from __future__ import annotations

from pathlib import Path

import pytest

from objstore.ring.builderfile import load_builder
from objstore.ring.format import read_ring
from tests.unit.tools.ringbuilder.conftest import NOW, Shell


def test_the_first_rebalance_writes_builder_and_ring(shell: Shell) -> None:
    shell.build()
    assert read_ring("object.ring.gz").devices == load_builder("object.builder").ring().devices
    assert "up-to-date" in shell.done("object.builder")


def test_rebalance_tells_what_it_did(shell: Shell) -> None:
    shell.done("object.builder create 6 3 1")
    shell.done("object.builder add r1z1-10.0.0.1:6200/a 1 r1z2-10.0.0.2:6200/b 1 r1z3-10.0.0.3:6200/c 1")
    out = shell.done("object.builder rebalance")
    assert out == "Reassigned 192 (100.00%) replicas of partitions. Balance is now 0.00.  Dispersion is now 0.00\n"


def test_what_is_balanced_stays_as_it_is(shell: Shell) -> None:
    shell.build()
    shell.clock.seconds = NOW + 3601
    before = shell.files()
    answer = shell("object.builder rebalance")
    assert (answer.status, answer.err) == (1, "")
    assert answer.out == "No partitions could be reassigned.\nThere is no need to do so at this time.\n"
    assert shell.files() == before


def test_what_was_just_moved_has_to_wait(shell: Shell) -> None:
    shell.build()
    shell.done("object.builder set_weight d0 50")
    shell.clock.seconds = NOW + 600
    answer = shell("object.builder rebalance")
    assert answer.status == 1
    assert answer.out.endswith("at least min_part_hours: 1 hours (0:50:00 remaining)\n")
    shell.clock.seconds = NOW + 3601
    assert shell("object.builder rebalance").status == 0


def test_pretending_lifts_the_wait(shell: Shell) -> None:
    shell.build()
    shell.done("object.builder set_weight d0 50")
    shell.done("object.builder pretend_min_part_hours_passed")
    assert "(0:00:00 remaining)" in shell.done("object.builder")
    shell.done("object.builder rebalance")


def test_force_writes_even_what_has_not_changed(shell: Shell) -> None:
    shell.build()
    (shell.folder / "object.ring.gz").unlink()
    assert shell("object.builder rebalance --force").status == 0
    assert read_ring("object.ring.gz").version == load_builder("object.builder").version


def test_a_device_that_holds_nothing_is_still_removed(shell: Shell) -> None:
    shell.build()
    shell.done("object.builder add r1z9-10.0.0.9:6200/sdz 0")
    shell.done("object.builder remove d6")
    shell.done("object.builder rebalance")
    assert 6 not in load_builder("object.builder").devices


def test_fewer_replicas_are_a_change_although_nothing_moves(shell: Shell) -> None:
    shell.build(devices=3)
    shell.done("object.builder set_replicas 2")
    shell.clock.seconds = NOW + 3601
    shell("object.builder rebalance")
    assert read_ring("object.ring.gz").replica_count == 2


def test_a_bad_balance_is_a_warning(shell: Shell) -> None:
    shell.build()
    shell.done("object.builder set_weight d0 0 d1 0")
    shell.clock.seconds = NOW + 3601
    answer = shell("object.builder rebalance")
    assert answer.status == 1
    assert "NOTE: Balance of 999.99 indicates you should push this ring, wait at least 1 hours" in answer.out


def test_more_devices_than_partitions_can_serve_is_a_warning(shell: Shell) -> None:
    shell.done("object.builder create 1 1 1")
    shell.done("object.builder add r1z1-h1:1/a 1 r1z2-h2:1/b 1 r1z3-h3:1/c 1")
    answer = shell("object.builder rebalance")
    assert answer.status == 1
    assert "NOTE: Balance of 100.00 indicates too few partitions" in answer.out


@pytest.mark.parametrize("seed", ["7", "text", "-3", "ü"])
def test_the_same_seed_gives_the_same_ring(shell: Shell, seed: str) -> None:
    for name in ("one", "two"):
        shell.done(f"{name}.builder create 6 3 1")
        shell.done(
            f"{name}.builder add r1z1-10.0.0.1:6200/a 1 r1z2-10.0.0.2:6200/b 1 r1z3-10.0.0.3:6200/c 1 r1z4-h:1/d 1"
        )
        shell(f"{name}.builder rebalance --seed={seed}")
    assert Path("one.ring.gz").read_bytes() == Path("two.ring.gz").read_bytes()


def test_without_a_seed_the_history_tells_the_one_drawn(shell: Shell) -> None:
    shell.build()
    (shell.folder / "object.builder").rename("first.builder")
    shell.done("object.builder create 6 3 1")
    shell.done("object.builder add r1z1-10.0.0.1:6200/a 1 r1z2-10.0.0.2:6200/b 1 r1z3-10.0.0.3:6200/c 1")
    shell.done("object.builder rebalance")
    assert load_builder("object.builder").history[-1].what.startswith("rebalance --seed ")


def test_debug_tells_who_gives_and_who_gets(shell: Shell) -> None:
    shell.build()
    shell.done("object.builder add r1z6-10.0.0.6:6200/sd6 100")
    shell.clock.seconds = NOW + 3601
    answer = shell("object.builder rebalance --debug")
    assert answer.status == 0
    lines = [line.split() for line in answer.err.splitlines()]
    assert lines[0] == ["Device", "gives", "gets"]
    assert sum(int(line[1]) for line in lines[1:]) == sum(int(line[2]) for line in lines[1:]) > 0
    assert lines[-1][0].startswith("d6r1z6-10.0.0.6")


def test_replaced_files_are_backed_up(shell: Shell) -> None:
    shell.build()
    ring = (shell.folder / "object.ring.gz").read_bytes()
    builder = (shell.folder / "object.builder").read_bytes()
    shell.clock.seconds = NOW + 3601
    shell.done("object.builder add r1z6-10.0.0.6:6200/sd6 100")
    shell.clock.seconds = NOW + 3602
    shell.done("object.builder rebalance")
    assert (shell.folder / f"backups/{NOW + 3602:.6f}.object.ring.gz").read_bytes() == ring
    assert (shell.folder / f"backups/{NOW + 3601:.6f}.object.builder").read_bytes() == builder


def test_write_ring_after_a_change_of_info(shell: Shell) -> None:
    shell.build()
    shell.done("object.builder set_info d0 10.5.5.5")
    shell.done("object.builder write_ring")
    assert read_ring("object.ring.gz").devices[0].ip == "10.5.5.5"


def test_a_lost_builder_is_made_from_the_ring(shell: Shell) -> None:
    shell.build(replicas=2.5)
    ring = load_builder("object.builder").ring()
    (shell.folder / "object.builder").unlink()
    answer = shell("object.ring.gz write_builder")
    assert (answer.status, answer.out) == (0, "")
    assert answer.err == "WARNING: min_part_hours may not be what it was in the lost builder\n"
    builder = load_builder("object.builder")
    again = builder.ring()
    assert (again.devices, again.rows, again.version) == (ring.devices, ring.rows, ring.version)
    assert builder.settings.min_part_hours == 24
    assert builder.next_id == 6
    assert shell("object.builder rebalance").status == 1
    (shell.folder / "object.builder").unlink()
    shell.done("object.ring.gz write_builder 3")
    assert load_builder("object.builder").settings.min_part_hours == 3


def test_a_part_power_increase_step_by_step(shell: Shell) -> None:
    shell.build()
    assert "The next partition power is now 7." in shell.done("object.builder prepare_increase_partition_power")
    assert "Preparing increase of partition power (6 -> 7)" in shell.done("object.builder")
    shell.done("object.builder write_ring")
    assert read_ring("object.ring.gz").next_part_power == 7
    for line in ("rebalance", "add r1z1-10.0.0.77:6200/sda 1", "remove d0", "prepare_increase_partition_power"):
        assert "part power is being increased" in shell.refused(f"object.builder {line}")
    assert "The partition power is now 7." in shell.done("object.builder increase_partition_power")
    assert "128 partitions" in shell.done("object.builder")
    shell.refused("object.builder cancel_increase_partition_power")
    shell.refused("object.builder increase_partition_power")
    shell.done("object.builder finish_increase_partition_power")
    shell.refused("object.builder finish_increase_partition_power")
    shell.done("object.builder write_ring")
    ring = read_ring("object.ring.gz")
    assert (ring.part_power, ring.next_part_power) == (7, None)


def test_a_part_power_increase_is_cancelled(shell: Shell) -> None:
    shell.build()
    shell.done("object.builder prepare_increase_partition_power")
    assert "The partition power stays 6." in shell.done("object.builder cancel_increase_partition_power")
    assert "cancelled the increase; it is 6" in shell.done("object.builder")
    shell.done("object.builder finish_increase_partition_power")
    assert load_builder("object.builder").next_part_power is None


def test_only_rings_of_objects_grow(shell: Shell) -> None:
    shell.build("container")
    assert "only be increased in rings of objects" in shell.refused(
        "container.builder prepare_increase_partition_power"
    )
