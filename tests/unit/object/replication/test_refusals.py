"""Devices without room, files that nobody takes, peers that answer nonsense: the rest goes on."""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from objstore.daemon import Step, run_once
from objstore.http.transport import BackendRequest
from objstore.mounts import DeviceFull
from objstore.object.replication import partition_lock, partitions
from objstore.object.replication.messages import CompareResponse
from objstore.object.replication.partitions import Partition
from objstore.object.replication.replicator import ObjectReplicator
from objstore.object.replication.server import ReplicationServer
from objstore.object.versions import ObjectVersions
from objstore.ring.ring import Ring
from objstore.system import files
from objstore.system.concurrency import WaitTimeout
from tests.unit.object.replication.cluster import DAY, PARTITION, Replicas, at


def fill(replicas: Replicas, *numbers: int) -> Callable[[], None]:
    """These devices have no room for any body; returns what gives them room again."""
    kept = [replicas.servers[number].devices for number in numbers]

    def refuse(device: str, size: int) -> None:
        raise DeviceFull(device)

    for devices in kept:
        devices.check_space = refuse  # type: ignore[method-assign]

    def empty() -> None:
        for devices in kept:
            del devices.check_space

    return empty


def no_room(*_arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def poison(replicas: Replicas, number: int) -> Path:
    """A file whose name is not that of the object in it: whoever is given it refuses."""
    replicas.put(number, "poison", 1)
    right = replicas.directory(number, "poison")
    wrong = right.with_name("0" * 29 + right.name[-3:])
    right.rename(wrong)
    return wrong


def test_a_file_that_is_refused_holds_nothing_else_up(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "SUFFIXES_AT_ONCE", 1)
    monkeypatch.setattr(partitions, "FILES_MAX", 1)
    wrong = poison(replicas, 0)
    for number in range(4):
        replicas.put(0, f"mine-{number}", 1)
        replicas.put(1, f"theirs-{number}", 1)
    replicas.replicate(0)
    for number in range(4):
        assert replicas.stored(1, f"mine-{number}") is not None
        assert replicas.stored(0, f"theirs-{number}") is not None
    assert wrong.exists()
    assert (replicas.servers[0].root / "sda/objects_replicated").exists()  # it is not apart from the others


def test_a_handoff_is_emptied_but_for_what_is_refused(replicas: Replicas) -> None:
    wrong = poison(replicas, 3)
    replicas.put(3, "o", 1)
    replicas.replicate(3)
    assert replicas.stored(0, "o") is not None
    assert [Path(name).parent.name for name in replicas.files(3)] == [wrong.name]


def test_a_full_device_takes_tombstones_and_a_handoff_the_rest(replicas: Replicas) -> None:
    for number in range(3):
        replicas.put(number, "deleted", 1)
        replicas.put(number, "kept", 1)
    replicas.put(0, "o", 1)
    replicas.delete(0, "deleted", 2)
    empty = fill(replicas, 1)
    replicas.replicate(0)
    assert replicas.names(1, "deleted") == replicas.names(2, "deleted") == [at(2) + ".ts"]
    assert [replicas.stored(number, "o") is not None for number in range(4)] == [True, False, True, True]
    assert len(replicas.files(3)) == 1
    replicas.replicate(3)
    assert replicas.stored(3, "o") is not None  # not every primary has it
    empty()
    replicas.replicate(3)
    assert replicas.files(3) == {}
    assert replicas.files(0) == replicas.files(1) == replicas.files(2)


def test_once_a_device_is_full_only_tombstones_are_sent_to_it(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "SUFFIXES_AT_ONCE", 1)
    for number in range(8):
        replicas.put(0, f"o{number}", 1)
        replicas.put(1, f"deleted-{number}", 1)
        replicas.delete(0, f"deleted-{number}", 2)
    asked = []

    def refuse(device: str, _size: int) -> None:
        asked.append(device)
        no_room()

    monkeypatch.setattr(replicas.servers[1].devices, "check_space", refuse)
    replicas.replicate(0)
    assert len(asked) == 1
    assert [replicas.names(1, f"deleted-{number}") for number in range(8)] == [[at(2) + ".ts"]] * 8
    assert all(replicas.stored(3, f"o{number}") is not None for number in range(8))


@pytest.mark.parametrize("trouble", ["down", "full"])
def test_a_further_handoff_takes_what_the_first_does_not(tmp_path: Path, trouble: str) -> None:
    replicas = Replicas(tmp_path, count=5)
    rows = [array("H", [0, 3]), array("H", [1, 4]), array("H", [2, 3])]
    replicas.use(Ring(1, replicas.devices, rows, 1))
    first, second = (node.id for node in replicas.rings[0].handoffs(PARTITION))
    replicas.put(0, "o", 1)
    os.rename(replicas.servers[1].root / "sda", replicas.servers[1].root / "away")
    if trouble == "down":
        replicas.servers[first].down = True
    else:
        fill(replicas, first)
    replicas.pass_time(10)
    replicas.replicate(0)
    assert replicas.stored(second, "o") is not None
    assert replicas.files(first) == {}


def test_an_old_deletion_on_a_handoff_still_reaches_what_it_deletes(replicas: Replicas) -> None:
    for number in range(3):
        replicas.put(number, "o", 1)
    replicas.delete(3, "o", 2)
    replicas.pass_time(8 * DAY)
    replicas.replicate(3)
    assert [replicas.names(number, "o") for number in range(3)] == [[at(2) + ".ts"]] * 3
    assert replicas.files(3) == {}


def test_a_device_without_room_for_a_lock_is_emptied_all_the_same(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    replicas.put(3, "o", 1)
    monkeypatch.setattr(partition_lock, "locked", no_room)
    replicas.replicate(3)
    assert replicas.files(3) == {}


def test_digests_are_computed_without_room_to_keep_them(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    replicas.put(3, "o", 1)
    replicas.pass_time(10)
    worker = replicas.replicator(3)
    make = files.make_directories
    monkeypatch.setattr(files, "make_directories", lambda path: no_room() if "/3/" in path else make(path))
    run_once(worker)
    assert replicas.files(3) == {}


@pytest.mark.parametrize("error", [WaitTimeout(), ValueError("unexpected")])
def test_a_pass_ends_whatever_happens_in_it(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    replicas.put(0, "o", 1)

    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(Partition, "sync", fail)
    worker = replicas.replicator(0)
    assert Step.IDLE in [step_of(worker) for _ in range(3)]
    assert not (replicas.servers[0].root / "sda/objects_replicated").exists()


def step_of(worker: ObjectReplicator) -> Step | None:
    """A step, None if it failed."""
    try:
        return worker.step()
    except ValueError:
        return None


def test_a_peer_that_names_what_is_no_suffix_is_not_listened_to(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    replicas.put(0, "o", 1)
    looked: list[str] = []

    def look(_self: Partition, suffixes: Sequence[str]) -> dict[str, ObjectVersions]:
        looked.extend(suffixes)
        return {}

    original = ReplicationServer._answers

    def answers(self: ReplicationServer, place: object, questions: list[object]) -> list[CompareResponse]:
        original(self, place, questions)  # type: ignore[arg-type]
        return [CompareResponse({"../../..": "digest"}) for _ in questions]

    monkeypatch.setattr(ReplicationServer, "_answers", answers)
    monkeypatch.setattr(Partition, "objects", look)
    asked: list[BackendRequest] = []
    replicas.before_request = asked.append
    replicas.replicate(0)
    assert "../../.." not in looked
    assert {request.query for request in asked} == {"step=compare"}


def test_a_peer_that_has_too_many_files_for_one_answer_is_asked_about_fewer(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("objstore.object.replication.server.NAMES_MAX", 2)
    for number in range(6):
        for second in range(3):
            replicas.put(1, f"o{number}", second, mode="keep")
    replicas.put(0, "o0", 3, mode="keep")
    replicas.replicate(0)
    assert replicas.files(0) == replicas.files(1)
    assert sum("step=versions" in request.query for request in replicas.requests) > 6
