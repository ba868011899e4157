from __future__ import annotations

from objstore.ring.builderfile import load_builder
from tests.unit.tools.ringbuilder.conftest import NOW, Shell


def weights() -> dict[int, float]:
    return {device.id: device.weight for device in load_builder("object.builder").devices.values()}


def test_devices_are_added_in_both_forms(shell: Shell) -> None:
    shell.done("object.builder create 6 3 1")
    out = shell.done("object.builder add r2z1-10.0.0.1:6200/sda 100 r2z3-[::1]:6200R[::2]:6300/sdb_'on shelf 1' 1.5")
    assert out.splitlines() == [
        'Device d0r2z1-10.0.0.1:6200R10.0.0.1:6200/sda_"" with 100.0 weight got id 0',
        'Device d1r2z3-[::1]:6200R[::2]:6300/sdb_"on shelf 1" with 1.5 weight got id 1',
    ]
    by_options = "--region 1 --zone 2 --ip host-1 --port 6200 --device sdc --weight 5 --meta there"
    assert shell.done(f"object.builder add {by_options}") == (
        'Device d2r1z2-host-1:6200Rhost-1:6200/sdc_"there" with 5.0 weight got id 2\n'
    )
    short = "-r 1 -z 2 -i ::3 -p 6200 -j 10.0.0.9 -q 6300 -d sdd -w 5 -m there"
    assert "d3r1z2-[::3]:6200R10.0.0.9:6300/sdd" in shell.done(f"object.builder add {short}")
    assert weights() == {0: 100.0, 1: 1.5, 2: 5.0, 3: 5.0}


def test_a_device_without_a_region_is_in_the_first(shell: Shell) -> None:
    shell.done("object.builder create 6 3 1")
    answer = shell("object.builder add z7-10.0.0.1:6200/sda 100")
    assert answer.status == 0
    assert answer.err == "WARNING: no region given for sda: it is in region 1\n"
    assert "d0r1z7" in answer.out


def test_weights_are_set_in_pairs_and_by_options(shell: Shell) -> None:
    shell.build()
    assert shell.done("object.builder set_weight d0 5 z1 6.5").splitlines() == [
        'd0r1z0-10.0.0.0:6200R10.1.0.0:6300/sd0_"shelf0" weight set to 5.0',
        'd1r1z1-10.0.0.1:6200R10.1.0.1:6300/sd1_"shelf1" weight set to 6.5',
    ]
    shell.done("object.builder set_weight --ip 10.0.0.2 --weight 100 7")
    assert weights() == {0: 5.0, 1: 6.5, 2: 7.0, 3: 100.0, 4: 100.0, 5: 100.0}


def test_many_devices_are_asked_about(shell: Shell) -> None:
    shell.build()
    answer = shell("object.builder set_weight r1 5", typed="y\n")
    assert answer.status == 0
    assert answer.out.startswith("Matched more than one device:\n    d0r1z0-10.0.0.0")
    assert "Are you sure you want to update the weight for these 6 devices?" in answer.out
    assert set(weights().values()) == {5.0}
    assert "Are you sure" not in shell.done("object.builder set_weight r1 6 --yes")
    assert set(weights().values()) == {6.0}


def test_whoever_does_not_say_yes_changes_nothing(shell: Shell) -> None:
    shell.build()
    for line in ("set_weight r1 5", "set_zone r1 5", "set_region r1 5", "remove r1", "set_info r1 _x"):
        assert shell.refused(f"object.builder {line}", typed="n\n") == "aborted; nothing was changed"
        assert shell.refused(f"object.builder {line}") == "aborted; nothing was changed"


def test_regions_and_zones_are_set(shell: Shell) -> None:
    shell.build()
    assert shell.done("object.builder set_region d0 7 d1 8").endswith('/sd1_"shelf1" region set to 8\n')
    assert shell.done("object.builder set_zone --id 2 9").startswith("d2r1z9-10.0.0.2")
    devices = load_builder("object.builder").devices
    assert [(devices[key].region, devices[key].zone) for key in range(3)] == [(7, 0), (8, 1), (1, 9)]


def test_info_is_changed_in_pairs_and_by_options(shell: Shell) -> None:
    shell.build()
    assert shell.done("object.builder set_info d0 10.9.9.9:1R:2/sdx_new d1 _").splitlines() == [
        'Device d0r1z0-10.0.0.0:6200R10.1.0.0:6300/sd0_"shelf0" is now d0r1z0-10.9.9.9:1R10.1.0.0:2/sdx_"new"',
        'Device d1r1z1-10.0.0.1:6200R10.1.0.1:6300/sd1_"shelf1" is now d1r1z1-10.0.0.1:6200R10.1.0.1:6300/sd1_""',
    ]
    changes = (
        "--change-ip 10.8.8.8 --change-port 3 --change-replication-ip 10.7.7.7 --change-replication-port 4 "
        "--change-device sdy --change-meta ''"
    )
    assert shell.done(f"object.builder set_info --device sd2 {changes}").endswith(
        'is now d2r1z2-10.8.8.8:3R10.7.7.7:4/sdy_""\n'
    )
    assert shell.done("object.builder set_info d3 -M text -I ::1").endswith('3-[::1]:6200R10.1.0.3:6300/sd3_"text"\n')


def test_limits_are_set_shown_and_lifted(shell: Shell) -> None:
    shell.build()
    assert shell.done("object.builder set_limit d0 10 d1 none").splitlines() == [
        'd0r1z0-10.0.0.0:6200R10.1.0.0:6300/sd0_"shelf0" limit set to 10',
        'd1r1z1-10.0.0.1:6200R10.1.0.1:6300/sd1_"shelf1" limit set to none',
    ]
    shell.clock.seconds = NOW + 3601
    shell("object.builder rebalance")
    line = shell.done("object.builder search d0").splitlines()[1].split()
    assert line[7] == "10"
    assert line[9] == "MAX=10"
    shell.done("object.builder set_limit --id 0 none")
    assert load_builder("object.builder").limits == {}
    assert "the limit must be a whole number" in shell.refused("object.builder set_limit d0 few")


def test_removed_devices_stay_until_the_rebalance(shell: Shell) -> None:
    shell.build()
    answer = shell("object.builder remove d0 d1 --yes")
    assert answer.status == 0
    assert answer.out.splitlines()[-1] == (
        'd1r1z1-10.0.0.1:6200R10.1.0.1:6300/sd1_"shelf1" marked for removal and will be removed next rebalance.'
    )
    before = shell.folder.joinpath("object.builder").read_bytes()
    again = shell("object.builder remove d0")
    assert (again.status, again.out.count("marked for removal and will be removed next rebalance")) == (0, 1)
    assert shell.folder.joinpath("object.builder").read_bytes() == before
    assert "marked for removal already" in shell.refused("object.builder set_weight d1 5")
    shell.clock.seconds = NOW + 3601
    shell.done("object.builder rebalance")
    assert sorted(load_builder("object.builder").devices) == [2, 3, 4, 5]


def test_a_removal_passes_over_what_is_marked_already(shell: Shell) -> None:
    shell.build()
    shell.done("object.builder remove d0")
    assert shell.done("object.builder remove d0 d1").count("marked for removal") == 2
    assert load_builder("object.builder").removed == {0, 1}


def test_the_history_tells_what_was_said(shell: Shell) -> None:
    shell.build()
    shell.done("object.builder set_info d1 _'on shelf 3'")
    history = load_builder("object.builder").history
    assert [entry.what.split()[0] for entry in history] == ["create", "add", "rebalance", "set_info"]
    assert history[2].what == "rebalance --seed 1"
    assert history[3].what == "set_info d1 '_on shelf 3'"


def test_several_changes_are_made_together_or_not_at_all(shell: Shell) -> None:
    shell.build()
    assert "no device matches" in shell.refused("object.builder set_weight d0 5 d99 5")
    assert "a weight must be" in shell.refused("object.builder set_weight d0 5 d1 nan")
    assert "in the ring already" in shell.refused("object.builder set_info d0 /sdx d1 10.0.0.2:6200/sd2")
    assert "in the ring already" in shell.refused(
        "object.builder add r1z1-10.0.0.77:6200/sda 1 r1z1-10.0.0.0:6200/sd0 1"
    )
