"""Devices that were out of touch with all others for longer than tombstones last: what is set aside and what is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from objstore.notes import Note, read_note
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


def noted(replicas: Replicas, number: int) -> Note:
    note = read_note(str(replicas.servers[number].root / "sda"), "objects")
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


def test_who_was_in_service_all_the_while_is_a_witness(replicas: Replicas) -> None:
    shutil.rmtree(replicas.servers[1].root / "sda/objects")
    replicas.servers[1].down = False
    replicas.replicate(0)
    assert replicas.names(0, "o") == replicas.names(1, "o") == []
    assert list((replicas.servers[0].root / "sda/quarantined/objects").iterdir())


def test_a_pass_that_reaches_nobody_leaves_the_note_and_the_next_renews_its_end(replicas: Replicas) -> None:
    began = noted(replicas, 1).since
    assert noted(replicas, 0) == Note(began, began + 60)
    replicas.servers[1].down = False
    replicas.replicate(0)
    assert noted(replicas, 0) == Note(began, replicas.clock.now())
