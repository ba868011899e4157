"""Devices that were out of touch with all others for longer than tombstones last: what is set aside and what is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from objstore.contact_record import ContactRecord, read_contact_record
from tests.unit.object.replication.cluster import DAY, Replicas, at


@pytest.fixture
def replicas(tmp_path: Path) -> Replicas:
    """Two replicas that have been in touch; then the second server is gone for nine days."""
    made = Replicas(tmp_path, count=3, replicas=2)
    made.put(0, "o", 1)
    made.put(1, "o", 1)
    made.replicate(0, 1)
    made.pass_time(60)
    made.replicate(0, 1)
    made.servers[1].down = True
    for _ in range(9):
        made.pass_time(DAY)
        made.replicate(0)
    return made


def noted(replicas: Replicas, number: int) -> ContactRecord:
    note = read_contact_record(str(replicas.servers[number].root / "sda"), "objects")
    assert note is not None
    return note


@pytest.mark.parametrize("first", [0, 1])
def test_an_emptied_disk_does_not_make_the_last_copy_a_stranger(replicas: Replicas, first: int) -> None:
    """Whether it has not ended a pass yet or has just done so: it knows nothing as it is new."""
    shutil.rmtree(replicas.servers[1].root / "sda")
    (replicas.servers[1].root / "sda").mkdir()
    replicas.servers[1].down = False
    replicas.replicate(first)
    replicas.replicate(1 - first)
    assert replicas.names(0, "o") == replicas.names(1, "o") == [at(1) + ".data"]
    assert not (replicas.servers[0].root / "sda/quarantined").exists()


@pytest.mark.parametrize("first", [0, 1])
def test_who_was_away_too_is_no_witness(replicas: Replicas, first: int) -> None:
    """It has not lost its disk, but missed the write."""
    shutil.rmtree(replicas.servers[1].root / "sda/objects")
    replicas.servers[1].down = False
    replicas.replicate(first)
    replicas.replicate(1 - first)
    assert replicas.names(0, "o") == replicas.names(1, "o") == [at(1) + ".data"]


def test_a_pass_that_reaches_nobody_leaves_the_note_and_the_next_renews_its_end(replicas: Replicas) -> None:
    began = noted(replicas, 1).since
    assert noted(replicas, 0) == ContactRecord(began, began + 60)
    replicas.servers[1].down = False
    replicas.replicate(0)
    assert noted(replicas, 0) == ContactRecord(replicas.clock.now(), replicas.clock.now())


@pytest.fixture
def handoff(tmp_path: Path) -> Replicas:
    """The fourth server is away for eight days; two objects lie there, of which one is deleted meanwhile."""
    made = Replicas(tmp_path)
    made.replicate(0, 1, 2)
    made.put(3, "deleted", 1)
    made.put(3, "known", 1)
    made.pass_time(10)
    made.replicate(3)  # to its primaries, and then it gives both up
    made.put(3, "deleted", 2, b"left on the handoff")
    made.put(3, "known", 1)
    for number in range(3):
        made.delete(number, "deleted", 3)
    for _ in range(4):
        made.pass_time(2 * DAY)
        made.replicate(0, 1, 2)
    assert made.names(0, "deleted") == []
    return made


def test_a_device_that_was_away_brings_nothing_deleted_back(handoff: Replicas) -> None:
    """Nor is it lost: what nobody else knows of is set aside."""
    handoff.replicate(3)
    assert handoff.stored(0, "deleted") is None
    assert list((handoff.servers[3].root / "sda/quarantined/objects").iterdir())
    assert handoff.stored(0, "known") is not None
    assert handoff.files(3) == {}


def test_what_may_have_been_deleted_is_withheld_until_all_can_be_asked(handoff: Replicas) -> None:
    handoff.servers[1].down = True
    for _ in range(3):
        handoff.replicate(3)
        assert [handoff.names(number, "deleted") for number in range(4)] == [[], [], [], [at(2) + ".data"]]
    handoff.servers[1].down = False
    handoff.replicate(3)
    assert [handoff.names(number, "deleted") for number in range(4)] == [[]] * 4


def test_a_version_that_was_removed_meanwhile_is_set_aside_alone(tmp_path: Path) -> None:
    made = Replicas(tmp_path)
    made.replicate(0, 1, 2)
    for number in range(4):
        made.put(number, "o", 1, mode="keep")
        made.put(number, "o", 2, mode="keep")
    made.pass_time(10)
    made.replicate(3)  # it gives both up
    for second in (1, 2):
        made.put(3, "o", second, mode="keep")
    for number in range(3):
        made.remove(number, "o", 1, 3)
    for _ in range(4):
        made.pass_time(2 * DAY)
        made.replicate(0, 1, 2)
    assert made.names(0, "o") == [f"{at(2)}!.data"]
    made.replicate(3)
    assert [made.names(number, "o") for number in range(3)] == [[f"{at(2)}!.data"]] * 3
    assert made.names(3, "o") == []
    aside = made.servers[3].root.glob("sda/quarantined/objects/*/*")
    assert sorted(path.name for path in aside) == [f"{at(1)}!.data"]
