from __future__ import annotations

import re

import pytest

from objstore.devices import Device
from objstore.ring.builder import new_builder
from objstore.ring.builderfile import load_builder, save_builder
from objstore.ring.settings import RingSettings
from objstore.tools.ringbuilder.report import table
from objstore.tools.ringbuilder.showing import tier_reports
from tests.unit.tools.ringbuilder.conftest import NOW, Shell


def test_show_tells_what_operators_look_for(shell: Shell) -> None:
    shell.build(devices=4)
    head, counts, hours, overload, ring, headings, first, *_ = shell.done("object.builder").splitlines()
    assert head == "object.builder, build version 5"
    assert counts == "64 partitions, 3.000000 replicas, 1 regions, 4 zones, 4 devices, 0.00 balance, 0.00 dispersion"
    assert hours == "The minimum number of hours before a partition can be reassigned is 1 (1:00:00 remaining)"
    assert overload == "The overload factor is 0.00% (0.000000)"
    assert ring == "Ring file object.ring.gz is up-to-date"
    names = "Devices: id region zone ip address:port replication ip:port name weight partitions balance flags meta"
    assert headings.split() == names.split()
    assert first.split() == ["0", "1", "0", "10.0.0.0:6200", "10.1.0.0:6300", "sd0", "100.00", "48", "0.00", "shelf0"]


def test_show_of_a_builder_without_devices(shell: Shell) -> None:
    shell.done("object.builder create 6 3 1")
    out = shell.done("object.builder")
    assert "0 devices, 0.00 balance, 0.00 dispersion" in out
    assert "There are no devices in this ring yet." in out
    assert "not found, probably it hasn't been written yet" in out


def test_show_tells_removed_and_drained_devices(shell: Shell) -> None:
    shell.build()
    shell.done("object.builder remove d0")
    shell.done("object.builder set_weight d1 0")
    removed, drained = shell.done("object.builder").splitlines()[6:8]
    assert removed.split()[6:] == ["0.00", "32", "999.99", "DEL", "shelf0"]
    assert drained.split()[6:] == ["0.00", "32", "999.99", "shelf1"]
    assert "is obsolete" in shell.done("object.builder")


def test_a_builder_none_of_whose_devices_has_weight_can_be_shown(shell: Shell) -> None:
    shell.build()
    assert shell("object.builder set_weight z0 0 z1 0 z2 0 z3 0 z4 0 z5 0").status == 0
    assert "999.99 balance, 0.00 dispersion" in shell.done("object.builder")
    assert "cannot take all partitions" in shell.refused("object.builder dispersion")
    assert "no device has weight" in shell.refused("object.builder rebalance")


def test_a_builder_with_limits_that_leave_no_place_can_be_shown(shell: Shell) -> None:
    shell.build(devices=3)
    shell.done("object.builder set_limit r1 1 --yes")
    assert "999.99 balance" in shell.done("object.builder")
    shell.clock.seconds = NOW + 3601
    assert "leave no place" in shell.refused("object.builder rebalance")


def test_a_bad_ring_file_does_not_hide_the_builder(shell: Shell) -> None:
    shell.build()
    (shell.folder / "object.ring.gz").write_bytes(b"nothing")
    assert "cannot be used: not a valid ring file" in shell.done("object.builder")


def test_the_name_of_the_ring_stands_for_the_builder(shell: Shell) -> None:
    shell.build()
    answer = shell("object.ring.gz search d1")
    assert answer.status == 0
    assert answer.err == "Note: using object.builder instead of object.ring.gz as builder file\n"


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ("d1", [1]),
        ("z2", [2]),
        ("r1", [0, 1, 2, 3, 4, 5]),
        ("-10.0.0.3", [3]),
        ("R:6300", [0, 1, 2, 3, 4, 5]),
        ("_shelf4", [4]),
        ("d1 d5", [1, 5]),
        ("--id 3", [3]),
        ("--region 1 --zone 3", [3]),
        ("-i 10.0.0.3 -p 6200 -j 10.1.0.3 -q 6300 -d sd3 -m elf -w 100", [3]),
    ],
)
def test_search(shell: Shell, words: str, ids: list[int]) -> None:
    shell.build()
    lines = shell.done(f"object.builder search {words}").splitlines()[1:]
    assert [int(line.split()[0]) for line in lines] == ids


def test_list_parts_counts_replicas_on_the_devices(shell: Shell) -> None:
    shell.build(devices=3)
    lines = shell.done("object.builder list_parts d0 z1").splitlines()
    assert lines[0].split() == ["Partition", "Matches"]
    assert [line.split() for line in lines[1:]] == [[str(partition), "2"] for partition in range(64)]


def test_list_parts_has_the_most_matches_first(shell: Shell) -> None:
    shell.build()
    counts = [int(line.split()[1]) for line in shell.done("object.builder list_parts z0 z1 z2").splitlines()[1:]]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == 96


@pytest.mark.parametrize(("version", "width"), [(1, 2), (2, 2), (2, 4)])
def test_version(shell: Shell, version: int, width: int) -> None:
    shell.build()
    shell.done(f"object.builder write_ring --format-version {version} --dev-id-bytes {width}")
    expected = f"object.ring.gz: Serialization version: {version} ({width}-byte IDs), build version: 7\n"
    assert shell.done("object.builder version") == shell.done("object.ring.gz version") == expected


def test_history(shell: Shell) -> None:
    shell.build()
    shell.clock.seconds = NOW + 61
    shell.done("object.builder set_info d0 '_on shelf 3'")
    lines = shell.done("object.builder history").splitlines()
    assert lines[0].split() == ["Version", "Time", "Command"]
    assert lines[-2].split(maxsplit=2) == ["7", "2027-01-15T08:00:00Z", "rebalance --seed 1"]
    assert lines[-1].split(maxsplit=2) == ["8", "2027-01-15T08:01:01Z", "set_info d0 '_on shelf 3'"]


def test_validate(shell: Shell) -> None:
    shell.build()
    assert shell.done("object.builder validate") == ""
    shell.done("object.builder set_weight d0 50")
    assert shell("object.builder validate").err == "WARNING: object.ring.gz is not up to date\n"
    (shell.folder / "object.ring.gz").unlink()
    answer = shell("object.builder validate")
    assert (answer.status, answer.err) == (1, "WARNING: object.ring.gz was not written yet\n")


def test_validate_sees_partitions_twice_on_a_device(shell: Shell) -> None:
    shell.build()
    builder = load_builder("object.builder")
    assert builder.layout is not None
    builder.layout.ids[1, :5] = builder.layout.ids[0, :5]
    save_builder(builder, "object.builder", "spoilt", NOW)
    shell.done("object.builder write_ring")
    answer = shell("object.builder validate")
    assert (answer.status, answer.err) == (1, "WARNING: 5 partitions are on one device twice\n")


def test_a_ring_that_was_never_balanced_is_not_valid(shell: Shell) -> None:
    shell.done("object.builder create 6 3 1")
    assert "never balanced" in shell.refused("object.builder validate")
    assert "never balanced" in shell.refused("object.builder list_parts d0")
    assert "never balanced" in shell.refused("object.builder dispersion")


def test_dispersion_warns_and_tells_the_overload_that_helps(shell: Shell) -> None:
    shell("object.builder create 6 2 0")
    shell("object.builder add z1-10.0.0.1:6200/sda 100 z1-10.0.0.2:6200/sda 100 z2-10.0.0.3:6200/sda 100")
    answer = shell("object.builder rebalance")
    assert answer.status == 1
    assert "NOTE: Dispersion of" in answer.out
    report = shell("object.builder dispersion")
    assert report.status == 1
    first, needed, worst = report.out.splitlines()
    assert first.startswith("Dispersion is ")
    assert float(needed.removeprefix("Required overload is ").removesuffix("%")) == pytest.approx(50, abs=0.1)
    assert worst.endswith("(r1z1)")
    shell("object.builder set_overload 51%")
    assert shell("object.builder rebalance").status == 0
    assert shell("object.builder dispersion").status == 0


def test_dispersion_by_tier(shell: Shell) -> None:
    shell.build(devices=3)
    lines = shell.done("object.builder dispersion --verbose").splitlines()
    assert lines[2].split() == ["Tier", "Parts", "%", "Max", "0", "1", "2", "3"]
    assert [line.split() for line in lines[3:7]] == [
        ["r1", "192", "0.00", "3", "0", "0", "0", "64"],
        ["r1z0", "64", "0.00", "1", "0", "64", "0", "0"],
        ["r1z0-10.0.0.0", "64", "0.00", "1", "0", "64", "0", "0"],
        ["r1z0-10.0.0.0/sd0", "64", "0.00", "1", "0", "64", "0", "0"],
    ]
    zones = shell.done(r"object.builder dispersion -v 'r\d+z\d+$'").splitlines()[3:]
    assert [line.split()[0] for line in zones] == ["r1z0", "r1z1", "r1z2"]
    assert len(shell.done("object.builder dispersion -v nothing").splitlines()) == 2
    assert "is no regular expression" in shell.refused("object.builder dispersion '('")


@pytest.mark.parametrize("replicas", [1, 2.5, 3])
def test_the_tiers_of_a_level_have_all_replicas(replicas: float) -> None:
    devices = [Device(n, n % 2, n % 3, f"10.0.0.{n % 4}", 1, "h", 1, f"d{n}", 1.0 + n) for n in range(9)]
    builder = new_builder(RingSettings(6, replicas), devices)
    builder.rebalance(1, 0.0)
    assert builder.layout is not None
    reports = tier_reports(builder, builder.layout, builder.tiers)
    for level in (r"r\d+", r"r\d+z\d+"):
        chosen = [each for each in reports if re.fullmatch(level, each.name)]
        assert sum(each.replicas for each in chosen) == 64 * replicas
    assert all(sum(each.partitions) == 64 for each in reports)


def test_a_table_is_as_wide_as_its_cells() -> None:
    assert table(("<a", "bb", "<c"), [("1", "2", ""), ("345", "6", "7")]) == "a   bb c\n1    2\n345  6 7"
