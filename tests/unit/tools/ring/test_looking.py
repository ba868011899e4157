"""Commands that look and change nothing: plan, show, verify, diff, plot, compose."""

from __future__ import annotations

import sys

import pytest
from lxml import etree

from objstore.ring.builderfile import load_builder, save_builder
from tests.unit.tools.ring.conftest import HOUR, NOW, Shell

NEW = "r1z7-10.1.0.7:6200/sda=100"


def test_a_plan_is_what_then_happens(shell: Shell) -> None:
    shell.build()
    before = shell.files()
    planned = shell.facts(f"plan object.builder --add {NEW} --used 192GB --rate 10MB/s --seed 5")
    assert shell.files() == before
    shell.done(f"add object.builder {NEW}")
    assert shell.facts("plan object.builder --seed 5")["replicas_moved"] == planned["replicas_moved"]
    (shell.folder / "old.builder").write_bytes(before["object.builder"])
    shell.done("rebalance object.builder --seed 5")
    moved = shell.facts("diff old.builder object.builder")
    assert moved["replicas_moved"] == planned["replicas_moved"] == 27
    assert planned["bytes_moved"] == 27 * 10**9
    assert planned["seconds"] == 27 * 100
    assert planned["rebalances"] == 1
    after = {device["id"]: device["partitions"] for device in shell.facts("show object.builder")["devices"]}
    assert {device["id"]: device["after"] for device in planned["devices"]} == after
    assert sum(zone["arrivals"] for zone in planned["zones"]) == 27


def test_a_plan_tells_what_min_part_hours_holds_back(shell: Shell) -> None:
    shell.build()
    shell.clock.seconds -= 24 * HOUR
    planned = shell.facts(f"plan object.builder --add {NEW}")
    assert (planned["locked_partitions"], planned["replicas_moved"]) == (64, 0)
    assert planned["moved_by_later_rebalances"] == [27]
    assert "64 partitions are locked" in shell.done(f"plan object.builder --add {NEW}")


def test_a_plan_names_the_worst_partition(shell: Shell) -> None:
    shell.build(devices=3)
    shell.done("set object.builder --min-part-hours 0")
    planned = shell.facts("plan object.builder --replicas 2")
    assert planned["worst_partition_after"] is None
    text = shell.done("plan object.builder --weight z1=10000")
    assert "replicas in one" in text or "none is worse placed" in text


def test_the_first_plan_has_no_before(shell: Shell) -> None:
    shell.done("create object.builder --part-power 4")
    shell.done("add object.builder " + " ".join(f"r1z{zone}-10.0.0.{zone}:6200/sda=1" for zone in (1, 2, 3)))
    planned = shell.facts("plan object.builder")
    assert (planned["before"], planned["replicas_moved"]) == (None, 48)
    assert "it was never balanced" in shell.done("show object.builder")


def test_verify_is_content_with_what_a_rebalance_wrote(shell: Shell) -> None:
    shell.build()
    assert {each["verdict"] for each in shell.facts("verify object.builder")} == {"ok"}


def test_verify_claims_of_a_ring_only_what_a_ring_tells(shell: Shell) -> None:
    shell.build()
    of_builder = [each["what"] for each in shell.facts("verify object.builder")]
    of_ring = [each["what"] for each in shell.facts("verify object.ring.gz")]
    assert len(of_ring) == 5
    assert set(of_ring[1:]) < set(of_builder)
    for of_builders_alone in ("no device holds more than its limit", "there is a time of the last move"):
        assert any(what.startswith(of_builders_alone) for what in of_builder)
        assert not any(what.startswith(of_builders_alone) for what in of_ring)


def test_verify_finds_a_ring_whose_partitions_have_moved_since(shell: Shell) -> None:
    shell.build()
    (shell.folder / "old.ring.gz").write_bytes((shell.folder / "object.ring.gz").read_bytes())
    shell.done(f"add object.builder {NEW}")
    shell.done("rebalance object.builder")
    status, out, _ = shell("verify object.builder old.ring.gz")
    assert status == 1
    assert " warning  27 replicas are not on the same device in both\n" in out
    assert " warning  the devices are not the same in both\n" in out
    assert "broken" not in out


def test_verify_finds_a_ring_older_than_its_builder(shell: Shell) -> None:
    shell.build()
    shell.done(f"add object.builder {NEW}")
    status, out, _ = shell("verify object.builder")
    assert status == 1
    assert "the ring has version" in out


def test_verify_finds_what_is_broken(shell: Shell) -> None:
    shell.build()
    builder = load_builder("object.builder")
    assert builder.layout is not None
    builder.layout.ids[1, 5] = builder.layout.ids[0, 5]
    save_builder(builder, "object.builder", "by hand", NOW)
    status, out, _ = shell("verify object.builder")
    assert status == 2
    assert "1 partitions have two replicas on one device" in out
    assert "  broken  1 replicas are not on the same device in both" in out


def test_diff_knows_devices_by_their_place(shell: Shell) -> None:
    shell.build()
    (shell.folder / "old.ring.gz").write_bytes((shell.folder / "object.ring.gz").read_bytes())
    assert shell.facts("diff old.ring.gz object.ring.gz")["replicas_moved"] == 0
    shell.done("remove object.builder 0")
    shell.done(f"add object.builder {NEW}")
    shell.done("set object.builder --weight 1=50")
    shell.done("rebalance object.builder")
    found = shell.facts("diff old.ring.gz object.ring.gz")
    assert [device["ip"] for device in found["added"]] == ["10.1.0.7"]
    assert [device["ip"] for device in found["removed"]] == ["10.1.0.1"]
    assert found["changed"][0]["changes"] == {"weight": [100.0, 50.0]}
    left = {row["name"]: row["departures"] for row in found["tiers"] if row["tier"] == "zone"}
    assert left["r1z1"] == 32


def test_rings_of_two_regions_are_composed(shell: Shell) -> None:
    shell.build("one", region=1)
    shell.build("two", region=2)
    assert "64 partitions, 6 replicas, 12 devices" in shell.done("compose object.ring.gz one.ring.gz two.ring.gz")
    assert "version 2" in shell.done("compose object.ring.gz one.ring.gz two.ring.gz")
    assert shell.facts("show object.ring.gz")["regions"] == 2


SVG = "{http://www.w3.org/2000/svg}"


def texts(path: str) -> set[str]:
    """What is written in a drawing."""
    return {"".join(each.itertext()).strip() for each in etree.parse(path).getroot().iter(f"{SVG}text")}


@pytest.mark.parametrize("devices", [4, 200])
def test_plots_name_what_they_show(shell: Shell, devices: int) -> None:
    shell.build(devices=4)
    (shell.folder / "old.builder").write_bytes((shell.folder / "object.builder").read_bytes())
    more = " ".join(f"r1z{n % 9 + 1}-10.2.0.{n % 200 + 1}:6200/sd{n}=100" for n in range(devices - 4))
    if more:
        shell.done(f"add object.builder {more}")
        shell.done("rebalance object.builder")
    shell.done("plot object.builder --against old.builder -o ring.svg")
    written = texts("ring.svg")
    assert {f"Fill of each device ({devices})", "partitions", "replicas", "held", "leave", "arrive"} <= written
    zones = {f"r1z{zone}" for zone in range(1, 5 if devices == 4 else 10)}
    assert zones <= written
    assert len(written) < 400, "many devices share a bar"


def test_the_same_ring_gives_the_same_drawing(shell: Shell) -> None:
    shell.build()
    drawings = []
    for _ in range(2):
        shell.done("plot object.builder -o ring.svg")
        drawings.append((shell.folder / "ring.svg").read_bytes())
    assert drawings[0] == drawings[1]


def test_hostile_names_do_not_break_the_drawing(shell: Shell) -> None:
    shell.done("create object.builder --part-power 4 --replicas 1")
    shell.done("add object.builder 'r1z1-10.0.0.1:6200/<&>\"$^$=1'")
    shell.done("rebalance object.builder")
    shell.done("plot object.builder -o ring.svg")
    assert any('<&>"$^$' in text for text in texts("ring.svg"))
    assert "[bold]" not in shell.done("show object.builder")


def test_without_matplotlib_one_line_says_how_to_get_it(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.build()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    refused = shell.refused("plot object.builder -o ring.svg")
    assert refused == "charts need matplotlib; install it with: pip install 'objstore[plot]'"
