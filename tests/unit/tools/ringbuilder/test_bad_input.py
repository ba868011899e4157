"""Whatever is wrong: one clear line, exit status 2, files as they were. `Shell.refused` checks all three."""

from __future__ import annotations

import errno
import os
from unittest.mock import patch

import pytest

from objstore.ring import builderfile
from objstore.ring.builderfile import builder_lock
from objstore.system import files
from objstore.tools.ring_builder import SUBCOMMANDS
from tests.unit.tools.ringbuilder.conftest import Shell

ARGUMENTS = {
    "add": "r1z1-10.0.0.77:6200/sda 1",
    "list_parts": "d0",
    "remove": "d0",
    "search": "d0",
    "set_info": "d0 _x",
    "set_limit": "d0 5",
    "set_min_part_hours": "2",
    "set_overload": "0.1",
    "set_region": "d0 1",
    "set_replicas": "2",
    "set_weight": "d0 5",
    "set_zone": "d0 1",
}
READS_THE_RING = {"version", "write_builder"}
READS_THE_BUILDER = sorted(SUBCOMMANDS.keys() - READS_THE_RING - {"create"})


@pytest.mark.parametrize("name", ["", *READS_THE_BUILDER])
def test_a_builder_that_is_not_there(shell: Shell, name: str) -> None:
    reason = shell.refused(f"object.builder {name} {ARGUMENTS.get(name, '')}")
    assert reason == "object.builder: no such builder file; create it first"
    assert not list(shell.folder.iterdir())


@pytest.mark.parametrize("name", ["", *READS_THE_BUILDER])
@pytest.mark.parametrize("kept", [0, 10, 300, -1])
def test_a_truncated_builder(shell: Shell, name: str, kept: int) -> None:
    shell.build()
    path = shell.folder / "object.builder"
    path.write_bytes(path.read_bytes()[:kept])
    reason = shell.refused(f"object.builder {name} {ARGUMENTS.get(name, '')}")
    assert reason.startswith("object.builder: not a valid builder file: ")


@pytest.mark.parametrize("place", [0, 30, 200, -100, -1])
def test_a_builder_with_one_wrong_bit(shell: Shell, place: int) -> None:
    shell.build()
    path = shell.folder / "object.builder"
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    for line in ("", "rebalance", "set_weight d0 5"):
        assert "not a valid builder file" in shell.refused(f"object.builder {line}")


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x1f\x8b", b"\x80\x02}q\x00."])
def test_what_is_no_builder(shell: Shell, content: bytes) -> None:
    (shell.folder / "object.builder").write_bytes(content)
    for line in ("", "rebalance", "add r1z1-10.0.0.1:6200/sda 1"):
        assert "not a valid builder file" in shell.refused(f"object.builder {line}")


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
@pytest.mark.parametrize("name", sorted(READS_THE_RING))
def test_a_truncated_ring(shell: Shell, name: str, kept: int) -> None:
    shell.build()
    path = shell.folder / "object.ring.gz"
    path.with_name("lost.ring.gz").write_bytes(path.read_bytes()[:kept])
    assert "lost.ring.gz: not a valid ring file: " in shell.refused(f"lost.ring.gz {name}")


@pytest.mark.parametrize("name", sorted(READS_THE_RING))
def test_a_ring_that_is_not_there(shell: Shell, name: str) -> None:
    assert "no such ring file" in shell.refused(f"object.ring.gz {name}")


def test_validate_of_a_damaged_ring(shell: Shell) -> None:
    shell.build()
    path = shell.folder / "object.ring.gz"
    path.write_bytes(path.read_bytes()[:-9])
    assert "not a valid ring file" in shell.refused("object.builder validate")


def test_a_folder_is_no_builder(shell: Shell) -> None:
    (shell.folder / "object.builder").mkdir()
    assert "Is a directory" in shell.refused("object.builder")


def test_a_builder_in_a_folder_that_is_not_there(shell: Shell) -> None:
    assert "No such file or directory" in shell.refused("nowhere/object.builder create 6 3 1")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nonsense", "unknown command: 'nonsense'"),
        ("add", "give devices and their weights"),
        ("add r1z1-10.0.0.77:6200/sda", "the weight of r1z1-10.0.0.77:6200/sda is missing"),
        ("add garbage 100", "invalid device to add: 'garbage'"),
        ("add r1z1-10.0.0.77:6200/sda x", "the weight must be a number, not 'x'"),
        ("add r1z1-10.0.0.77:6200/sda nan", "a weight must be a number of 0 or more, not nan"),
        ("add r1z1-10.0.0.77:6200/sda inf", "a weight must be a number of 0 or more, not inf"),
        ("add r1z1-10.0.0.77:6200/sda 1e300", "a weight must be 0 or 1e-06 to 1e+18, not 1e+300"),
        ("add r1z1-10.0.0.77:6200/sda 1e-300", "a weight must be 0 or 1e-06 to 1e+18, not 1e-300"),
        ("add r1z1-10.0.0.77:6200/sda -1", "a weight must be a number of 0 or more, not -1.0"),
        ("add r1z1-10.0.0.0:6200/sd0 100", "sd0 on 10.0.0.0:6200 is in the ring already, with the id 0"),
        ("add r1z1-h:1/a 1 r1z1-h:1/a 1", "a on h:1 is in the ring already, with the id 6"),
        ("add r1z1-10.0.0.300:6200/sda 1", "'10.0.0.300' is neither an IP address nor a host name"),
        ("add r1z1-1.2.3:6200/sda 1", "'1.2.3' is neither an IP address nor a host name"),
        ("add r1z1-[::g]:6200/sda 1", "invalid device to add"),
        ("add r1z1-10.0.0.77:0/sda 1", "a port must be 1 to 65535, not 0"),
        ("add r1z1-10.0.0.77:65536/sda 1", "a port must be 1 to 65535, not 65536"),
        ("add r1z1-10.0.0.77:6200/.. 1", "'..' is no name for a device"),
        ("add -r 1 -z 1 -i 10.0.0.77 -p 6200 -d sda", "--weight is missing"),
        ("add -r 1 -z 1 -i 10.0.0.777 -p 6200 -d sda -w 1", "neither an IP address nor a host name"),
        ("add -r x -z 1 -i 10.0.0.77 -p 6200 -d sda -w 1", "the region must be a whole number"),
        ("add -r 1 r1z1-10.0.0.77:6200/sda 1", "give devices and their weights"),
        ("add --nothing 1", "--nothing"),
        ("set_weight", "give pairs of a search value and WEIGHT"),
        ("set_weight d0", "give pairs of a search value and WEIGHT"),
        ("set_weight d0 x", "the weight must be a number, not 'x'"),
        ("set_weight d0 nan", "a weight must be a number of 0 or more, not nan"),
        ("set_weight d0 -5", "a weight must be a number of 0 or more, not -5.0"),
        ("set_weight d77 5", "no device matches"),
        ("set_weight xyz 5", "invalid search value: 'xyz'"),
        ("set_weight --id 0", "give WEIGHT and nothing else"),
        ("set_weight --id x 5", "the id must be a whole number"),
        ("set_region d0 x", "the region must be a whole number"),
        ("set_zone d0 -1", "the zone must be a whole number of 0 or more, not '-1'"),
        ("set_info d0", "give pairs"),
        ("set_info d0 nonsense", "invalid change of a device: 'nonsense'"),
        ("set_info d0 10.0.0.1:6200/sd1", "sd1 on 10.0.0.1:6200 is in the ring already, with the id 1"),
        ("set_info d0 10.0.0.300", "neither an IP address nor a host name"),
        ("set_info --id 0 --change-port x", "the port must be a whole number"),
        ("set_info --change-port 1", "say which devices"),
        ("remove", "say which devices"),
        ("remove d77", "no device matches"),
        ("remove --id 1 d2", "say which devices"),
        ("remove --meta '' --yes", "an option that chooses devices is empty"),
        ("set_weight --ip '' 5", "an option that chooses devices is empty"),
        ("search", "say which devices"),
        ("search ''", "invalid search value: ''"),
        ("search d77", "no device matches"),
        ("list_parts d77", "no device matches"),
        ("set_min_part_hours", "Missing argument 'HOURS'"),
        ("set_min_part_hours x", "min_part_hours must be a number, not 'x'"),
        ("set_min_part_hours -1", "min_part_hours must be 0 or more"),
        ("set_min_part_hours nan", "min_part_hours must be 0 or more"),
        ("set_replicas 0", "the replica count must be 1 to 256"),
        ("set_replicas nan", "the replica count must be 1 to 256"),
        ("set_replicas x", "the replica count must be a number, not 'x'"),
        ("set_overload -0.1", "the overload must be 0 or more"),
        ("set_overload inf", "the overload must be 0 or more"),
        ("set_overload x%", "the overload must be a number, not 'x'"),
        ("rebalance now", "Got unexpected extra argument (now)"),
        ("rebalance --format-version 3", "'3' is not one of '1', '2'"),
        ("write_ring --dev-id-bytes 4", "device ids of 4 bytes need a ring file of version 2"),
        ("write_builder", "exists already"),
        ("increase_partition_power", "prepare the increase"),
        ("cancel_increase_partition_power", "only a prepared increase"),
        ("finish_increase_partition_power", "no increase"),
    ],
)
def test_wrong_words(shell: Shell, line: str, reason: str) -> None:
    shell.build()
    assert reason in shell.refused(f"object.builder {line}")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("", "Missing argument"),
        ("6 3", "Missing argument"),
        ("x 3 1", "the part power must be a whole number"),
        ("-1 3 1", "the part power must be a whole number"),
        ("25 3 1", "the part power must be 0 to 24"),
        ("6 0 1", "the replica count must be"),
        ("6 nan 1", "the replica count must be"),
        ("6 3 -1", "min_part_hours must be"),
        ("6 3 1 4", "unexpected extra argument"),
    ],
)
def test_a_builder_that_cannot_be(shell: Shell, words: str, reason: str) -> None:
    assert reason in shell.refused(f"object.builder create {words}")


def test_a_builder_without_devices_gives_no_ring(shell: Shell) -> None:
    shell.done("object.builder create 6 3 1")
    assert "no device has weight" in shell.refused("object.builder rebalance")
    assert "never balanced" in shell.refused("object.builder write_ring")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (["remove d0", "remove d1"], "3 replicas need 3 devices with weight, and the ring has 2"),
        (["set_weight d0 0 d1 0"], "3 replicas need 3 devices with weight, and the ring has 2"),
        (["set_replicas 4.5"], "4.5 replicas need 5 devices with weight, and the ring has 4"),
    ],
)
def test_fewer_devices_than_replicas_give_no_ring(shell: Shell, changes: list[str], reason: str) -> None:
    shell.build(devices=4)
    for line in changes:
        shell.done(f"object.builder {line}")
    for line in ("rebalance", "rebalance --force"):
        assert reason in shell.refused(f"object.builder {line}")


def test_a_new_ring_needs_a_device_for_each_replica(shell: Shell) -> None:
    shell.done("object.builder create 6 3 1")
    shell.done("object.builder add r1z1-10.0.0.1:6200/sda 100 r1z2-10.0.0.2:6200/sda 100")
    assert "3 replicas need 3 devices" in shell.refused("object.builder rebalance")
    shell.done("object.builder add r1z3-10.0.0.3:6200/sda 100")
    shell.done("object.builder rebalance")


def test_two_builders_at_once(shell: Shell) -> None:
    shell.build()
    with patch.object(builderfile, "LOCK_TIMEOUT_SECONDS", 0.0), builder_lock("object.builder"):
        for line in ("set_weight d0 5", "rebalance", "write_ring", "add r1z1-10.0.0.77:6200/sda 1"):
            assert shell.refused(f"object.builder {line}") == "object.builder: another builder is at work on it"
        assert shell("object.builder").status == 0, "looking is free"


def test_a_ring_that_cannot_be_written_leaves_the_builder_alone(shell: Shell) -> None:
    shell.done("object.builder create 6 3 1")
    shell.done("object.builder add r1z1-10.0.0.1:6200/a 1 r1z2-10.0.0.2:6200/b 1 r1z3-10.0.0.3:6200/c 1")
    assert "need a ring file of version 2" in shell.refused("object.builder rebalance --dev-id-bytes 4")


def test_a_ring_that_cannot_be_replaced_leaves_the_builder_alone(shell: Shell) -> None:
    shell.build()
    (shell.folder / "object.ring.gz").unlink()
    (shell.folder / "object.ring.gz").mkdir()
    assert "object.ring.gz: cannot be written: Is a directory" in shell.refused("object.builder rebalance --force")
    assert "object.ring.gz: cannot be written: Is a directory" in shell.refused("object.builder write_ring")


def test_a_full_disk_is_told(shell: Shell) -> None:
    shell.build()
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with patch.object(files, "write_atomically", side_effect=full):
        assert "No space left on device" in shell.refused("object.builder set_weight d0 5")
        assert "No space left on device" in shell.refused("object.builder rebalance --force")
    write = files.write_atomically

    def write_all_but_the_ring(path: str, content: bytes, mode: int) -> None:
        if path == "object.ring.gz":
            raise full
        write(path, content, mode)

    with patch.object(files, "write_atomically", write_all_but_the_ring):
        answer = shell("object.builder rebalance --force")
    assert (answer.status, answer.out) == (2, "")
    assert "the builder is saved, write_ring will do" in answer.err


@pytest.mark.parametrize("name", sorted(SUBCOMMANDS))
def test_help_needs_no_file(shell: Shell, name: str) -> None:
    shown = shell.done(f"object.builder {name} --help")
    assert shown.startswith(f"Usage: objstore-ring-builder FILE {name}")
    assert shell.done(f"help {name}") == shell.done(f"object.builder help {name}") == shown


def test_help_lists_everything(shell: Shell) -> None:
    shown = shell.done("--help")
    assert all(f"\n  {name} " in shown or f"\n  {name}\n" in shown for name in SUBCOMMANDS)
    assert shell.done("help") == shown
    assert shell("").status == 2
