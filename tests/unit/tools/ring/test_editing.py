"""Commands that change builder files, and what they refuse."""

from __future__ import annotations

import pytest

from objstore.ring.builderfile import load_builder
from tests.unit.tools.ring.conftest import HOUR, Shell

NEW = "r1z7-10.1.0.7:6200/sda=100"


def test_a_ring_from_nothing(shell: Shell) -> None:
    shell.build()
    facts = shell.facts("show object.builder")
    assert (facts["kind"], facts["partitions"], facts["replicas"], facts["zones"]) == ("builder", 64, 3.0, 6)
    assert [device["partitions"] for device in facts["devices"]] == [32] * 6
    assert facts["history"][-1]["what"] == "rebalance --seed 1"
    ring = shell.facts("show object.ring.gz")
    assert (ring["kind"], ring["version"]) == ("ring", facts["version"])


def test_changes_wait_for_the_rebalance(shell: Shell) -> None:
    shell.build()
    shell.done("set object.builder --weight 0=0 --limit z2=10 --overload 10% --replicas 2.5 --min-part-hours 2")
    facts = shell.facts("show object.builder")
    assert (facts["overload"], facts["replicas"], facts["min_part_hours"]) == (0.1, 2.5, 2.0)
    assert (facts["devices"][0]["weight"], facts["devices"][1]["limit"]) == (0.0, 10)
    assert facts["devices"][0]["partitions"] == 32
    shell.done("rebalance object.builder --seed 2")
    assert shell.facts("show object.builder")["devices"][0]["partitions"] == 0


def test_places_addresses_and_meta_of_devices_can_be_changed(shell: Shell) -> None:
    shell.build()
    told = shell.done(
        "set object.builder --region 0=4 --zone 0=9 --info 0=10.9.0.1:6209R10.8.0.1:6309/sdq_a=b --info 1=_shelf"
    )
    assert "device 0 is now" in told
    builder = load_builder("object.builder")
    device = builder.devices[0]
    assert (device.region, device.zone, device.ip, device.port) == (4, 9, "10.9.0.1", 6209)
    assert (device.replication_ip, device.replication_port) == ("10.8.0.1", 6309)
    assert (device.device, device.meta, builder.devices[1].meta) == ("sdq", "a=b", "shelf")
    assert builder.devices[1].port == 6200
    assert "info 1=_shelf" in builder.history[-1].what


def test_a_removed_device_gives_everything_at_once(shell: Shell) -> None:
    shell.build()
    assert "leaves with the next rebalance" in shell.done("remove object.builder 3")
    assert [each["leaving"] for each in shell.facts("show object.builder")["devices"]].count(True) == 1
    shell.done("rebalance object.builder")
    assert [each["id"] for each in shell.facts("show object.builder")["devices"]] == [0, 1, 2, 4, 5]


def test_nothing_to_move_is_told_by_the_exit_status(shell: Shell) -> None:
    shell.build()
    before = shell.files()
    assert shell("rebalance object.builder")[:2] == (1, "nothing needs to be moved\n")
    shell.clock.seconds -= 24 * HOUR
    shell.done(f"add object.builder {NEW}")
    assert shell("rebalance object.builder")[:2] == (
        1,
        "nothing can be moved for another 1 h (min_part_hours)\n",
    )
    assert shell.files()["object.ring.gz"] == before["object.ring.gz"]


def test_the_same_seed_makes_the_same_ring(shell: Shell) -> None:
    for name in ("one", "two"):
        shell.build(name)
    files = shell.files()
    assert files["one.ring.gz"] == files["two.ring.gz"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("add object.builder r1z1-10.1.0.1:6200/sda=100", "sda on 10.1.0.1:6200 is in the ring already, with the id 0"),
        (f"add object.builder {NEW} {NEW}", "sda on 10.1.0.7:6200 is in the ring already, with the id 6"),
        ("add object.builder r1z7-10.1.0.7:6200/sda", "'r1z7-10.1.0.7:6200/sda' lacks the weight"),
        ("add object.builder r1z7-10.1.0.999:6200/sda=1", "'10.1.0.999' is neither an IP address nor a host name"),
        ("add object.builder r1z7-10.1.0.7:6200/sda=nan", "a weight must be a number of 0 or more, not nan"),
        ("add object.builder nonsense=1", "invalid device to add: 'nonsense'"),
        ("set object.builder --weight 0=inf", "a weight must be a number of 0 or more, not inf"),
        ("set object.builder --weight 99=1", "there is no device with the id 99"),
        ("set object.builder --overload nan", "Invalid value for '--overload'"),
        ("set object.builder --replicas 0", "the replica count must be 1 to 256"),
        ("set object.builder --replicas nan", "replicas must be a finite number, not nan"),
        ("set object.builder --limit 0=-1", "the limit must be a whole number of 0 or more, not '-1'"),
        ("set object.builder --zone 0=x", "the zone must be a whole number of 0 or more, not 'x'"),
        ("set object.builder --region 99=1", "there is no device with the id 99"),
        ("set object.builder --info 0", "lacks what changes"),
        ("set object.builder --info 0=300.1.1.1:1", "neither an IP address nor a host name"),
        ("set object.builder --info 0=???", "invalid change of a device"),
        ("set object.builder", "say what to set"),
        ("remove object.builder z9", "no device matches"),
        ("create object.builder --part-power 6", "object.builder: exists already"),
        ("create new.builder --part-power 25", "Invalid value for '--part-power'"),
        ("add missing.builder r1z1-10.1.0.1:6200/sda=1", "missing.builder: no such builder file"),
        ("rebalance object.ring.gz --seed -1", "Invalid value for '--seed'"),
        ("show missing", "missing: there is no such file"),
        ("plan object.builder --used 1TB --bytes-per-partition 1GB", "give --bytes-per-partition or --used, not both"),
        ("plan object.builder --rate 0", "Invalid value for '--rate'"),
        (
            "plan object.builder --remove 0 --remove 1 --remove 2 --remove 3 --remove 4 --remove 5",
            "no device has weight",
        ),
        ("plot object.builder -o missing/x.svg", "missing/x.svg cannot be written"),
        ("compose c.ring.gz object.ring.gz", "a composite ring needs two components"),
        ("compose c.ring.gz object.ring.gz object.ring.gz", "component 2 shares region 1 with another"),
        ("publish object.builder --cluster x", "object.builder: servers know"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(shell: Shell, line: str, reason: str) -> None:
    shell.build()
    assert reason in shell.refused(line)


TOO_FEW = "3 replicas need 3 devices with weight, and the ring has 2"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("remove object.builder 0 1 2 3", TOO_FEW),
        ("set object.builder --weight 0=0 --weight 1=0 --weight 2=0 --weight 3=0", TOO_FEW),
        ("set object.builder --replicas 7", "7 replicas need 7 devices with weight, and the ring has 6"),
    ],
)
def test_fewer_devices_than_replicas_are_refused_and_the_plan_says_so_before(
    shell: Shell, change: str, reason: str
) -> None:
    shell.build()
    if change.startswith("set"):
        assert reason in shell.refused(change.replace("set", "plan", 1))
    else:
        assert reason in shell.refused("plan object.builder --remove 0 --remove 1 --remove 2 --remove 3")
    shell.done(change)
    assert reason in shell.refused("plan object.builder")
    assert reason in shell.refused("rebalance object.builder")


@pytest.mark.parametrize("name", ["object.builder", "object.ring.gz"])
@pytest.mark.parametrize("command", ["show {}", "verify {}", "plot {} -o x.svg", "diff {} {}"])
def test_damaged_files_are_refused(shell: Shell, name: str, command: str) -> None:
    shell.build()
    path = shell.folder / name
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-20] + b"X" + whole[-19:], b"", b"nonsense"):
        path.write_bytes(damaged)
        assert name in shell.refused(command.replace("{}", name))


def test_the_part_power_grows_in_steps(shell: Shell) -> None:
    shell.build()
    assert "no increase of the part power to finish" in shell.refused("power object.builder finish")
    shell.done("power object.builder prepare")
    assert shell.facts("show object.ring.gz")["next_part_power"] == 7
    assert "finish or cancel that first" in shell.refused("rebalance object.builder")
    assert "finish or cancel that first" in shell.refused("set object.builder --replicas 2")
    shell.done("power object.builder increase")
    assert "only a prepared increase" in shell.refused("power object.builder cancel")
    shell.done("power object.builder finish")
    facts = shell.facts("show object.ring.gz")
    assert (facts["partitions"], facts["next_part_power"]) == (128, None)
    shell.done("verify object.builder")


def test_two_builders_at_once(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    from objstore.ring import builderfile

    shell.build()
    monkeypatch.setattr(builderfile, "LOCK_TIMEOUT_SECONDS", 0.0)
    with builderfile.builder_lock("object.builder"):
        assert "another builder is at work" in shell.refused(f"add object.builder {NEW}")
