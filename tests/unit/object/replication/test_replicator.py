"""Passes of replicators over a few servers: what they bring together, what they leave alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from objstore.http.transport import BackendRequest
from objstore.object.engine import PartitionDigests
from objstore.object.file_engine import suffixes
from objstore.object.metadata import ATTRIBUTE
from objstore.object.replication import comparison
from objstore.object.versions import SuffixDigest
from objstore.policies import Policy
from objstore.ring.ring import Ring
from objstore.system import concurrency
from tests.unit.object import memory_engine
from tests.unit.object.replication.cluster import DAY, PARTITION, Replicas, at


def agree(replicas: Replicas) -> bool:
    """Whether the primaries hold the same files."""
    return replicas.files(0) == replicas.files(1) == replicas.files(2)


def test_what_others_lack_is_pushed(replicas: Replicas) -> None:
    replicas.put(0, "small", 1)
    replicas.put(0, "empty", 1, b"")
    replicas.put(0, "large", 1, os.urandom(3 * 1024 * 1024 + 7))
    replicas.put(0, "changed", 1)
    replicas.post(0, "changed", 2, colour="blue")
    replicas.delete(0, "deleted", 3)
    replicas.replicate(0)
    assert agree(replicas)
    assert len(replicas.files(0)) == 6
    stored = replicas.stored(2, "changed")
    assert stored is not None and stored.info.headers == {"X-Object-Meta-Colour": "blue"}


def test_what_a_pass_has_done_is_among_the_figures(replicas: Replicas) -> None:
    replicas.put(0, "o", 1)
    replicas.put(1, "p", 1)
    replicas.replicate(0)
    figures = replicas.servers[0].runtime.metrics.render().decode()
    assert 'object_replicator_files_total{outcome="pushed"} 2.0' in figures
    assert 'object_replicator_files_total{outcome="pulled"} 1.0' in figures


def test_what_a_device_lacks_is_pulled(replicas: Replicas) -> None:
    replicas.put(0, "one", 1, os.urandom(200_000))
    replicas.put(1, "two", 1)
    replicas.replicate(2)  # has nothing: there is no partition to look through
    replicas.put(2, "three", 1)
    replicas.replicate(2)
    assert {*replicas.files(2)} >= {*replicas.files(0), *replicas.files(1)} - {"digests"}
    replicas.replicate()
    assert agree(replicas)


def test_the_newest_wins_everywhere(replicas: Replicas) -> None:
    replicas.put(0, "o", 1, b"old")
    replicas.put(1, "o", 2, b"new")
    replicas.delete(2, "o", 3)
    replicas.put(0, "p", 5, b"new")
    replicas.delete(1, "p", 4)
    replicas.replicate()
    assert [replicas.names(number, "o") for number in range(3)] == [[at(3) + ".ts"]] * 3
    assert [replicas.names(number, "p") for number in range(3)] == [[at(5) + ".data"]] * 3


def test_nothing_is_asked_for_twice_when_all_agree(replicas: Replicas) -> None:
    for number in range(3):
        replicas.put(number, "o", 1)
    replicas.pass_time(10)
    replicas.requests.clear()
    replicas.replicate(0)
    assert [request.query for request in replicas.requests] == ["step=compare"] * 2


@pytest.mark.parametrize(("at_once", "held"), [(1, [["0"], ["1"]]), (3, [["0", "1"]])])
def test_only_so_many_digests_are_held_at_a_time(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch, at_once: int, held: list[list[str]]
) -> None:
    made: Any = replicas.replicator(0)._comparison
    found: list[list[str]] = []

    def compare_some(device: Any, policy: Policy, partitions: Sequence[str], _ring: Ring) -> int:
        found.append(list(made._digests(device.path, policy, partitions, "", 1)))
        return len(found[-1])

    def digests(_policy: Policy, partition: str, *_: object) -> PartitionDigests:
        return PartitionDigests({"abc": "1", "def": "2"}, frozenset())

    monkeypatch.setattr(comparison, "SUFFIXES_AT_ONCE", at_once)
    monkeypatch.setattr(made._engine.device("d"), "digests", digests)
    monkeypatch.setattr(made, "_compare_some", compare_some)
    made.compare(SimpleNamespace(path="d"), Policy(0, "gold"), ["0", "1"])
    assert found == held


def test_a_partition_that_cannot_be_read_holds_no_other_up(replicas: Replicas) -> None:
    replicas.put(0, "o", 1)
    (replicas.servers[0].root / "sda/objects/1").write_bytes(b"no directory")
    replicas.replicate(0)
    assert replicas.names(1, "o") == replicas.names(2, "o") == [at(1) + ".data"]
    figures = replicas.servers[0].runtime.metrics.render().decode()
    assert 'object_replicator_files_total{outcome="failed"} 1.0' in figures
    assert sum(b"partition not replicated" in line and b"objects/1" in line for line in replicas.lines) == 1
    assert (replicas.servers[0].root / "sda" / "objects_replicated").exists()  # it is in touch with others


def test_non_ascii_metadata_damaged_by_sync(replicas: Replicas) -> None:
    """Names, values, and bytes that are no UTF-8 arrive as they were."""
    replicas.put(0, "snö/日本", 1, colour="blå", raw="\xff\xfe")
    replicas.post(0, "snö/日本", 2, colour="gr\xe5")
    replicas.replicate(0)
    assert agree(replicas)
    here, there = replicas.stored(0, "snö/日本"), replicas.stored(1, "snö/日本")
    assert here is not None and there is not None
    assert there.info == here.info
    assert there.info.headers == {"X-Object-Meta-Colour": "gr\xe5"}


def test_delete_markers_not_healed(replicas: Replicas) -> None:
    """A deletion that one replica missed reaches it, though its data looks whole."""
    for number in range(3):
        replicas.put(number, "o", 1)
    replicas.delete(0, "o", 2)
    replicas.replicate(1)
    assert replicas.names(1, "o") == [at(2) + ".ts"]
    replicas.replicate(0)
    assert replicas.names(2, "o") == [at(2) + ".ts"]


def test_tombstone_reclaimed_on_one_node_while_an_old_copy_returns_on_another(replicas: Replicas) -> None:
    """The deletion is remembered until every primary has it, however long one of them is away."""
    for number in range(3):
        replicas.put(number, "o", 1)
    replicas.servers[2].down = True
    replicas.delete(0, "o", 2)
    replicas.delete(1, "o", 2)
    replicas.pass_time(8 * DAY)
    replicas.replicate(0, 1)
    assert replicas.names(0, "o") == replicas.names(1, "o") == [at(2) + ".ts"]
    replicas.servers[2].down = False
    replicas.replicate()
    assert replicas.stored(0, "o") is None and replicas.stored(2, "o") is None
    replicas.pass_time(60)
    replicas.replicate()
    replicas.replicate()
    assert [replicas.names(number, "o") for number in range(3)] == [[]] * 3


def test_a_tombstone_is_kept_for_the_reclaim_age_and_then_forgotten_by_all(replicas: Replicas) -> None:
    for number in range(3):
        replicas.delete(number, "o", 1)
    replicas.pass_time(6 * DAY)
    replicas.replicate()
    assert replicas.names(0, "o") == [at(1) + ".ts"]
    replicas.pass_time(2 * DAY)
    replicas.replicate(0)
    replicas.replicate(1)
    assert replicas.names(0, "o") == replicas.names(1, "o") == []
    replicas.replicate()
    assert [replicas.names(number, "o") for number in range(3)] == [[]] * 3


def test_a_handoff_is_emptied_when_all_primaries_have_what_it_has(replicas: Replicas) -> None:
    replicas.put(3, "o", 1)
    replicas.delete(3, "p", 1)
    replicas.replicate(3)
    assert replicas.files(3) == {}
    assert not (replicas.servers[3].root / "sda/objects" / str(PARTITION)).exists()
    assert agree(replicas) and len(replicas.files(0)) == 2


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_handoff_keeps_all_while_a_primary_is_missing(replicas: Replicas, failing: int) -> None:
    replicas.put(3, "o", 1)
    replicas.servers[failing].down = True
    replicas.replicate(3)
    assert replicas.stored(3, "o") is not None
    assert sum(replicas.stored(number, "o") is not None for number in range(3)) == 2


def test_handoff_reverted_while_its_primary_is_being_wiped(replicas: Replicas) -> None:
    """What a primary has lost between being given it and being asked for it stays on the handoff."""
    replicas.put(3, "o", 1)
    replicas.lose_before_confirming(1, "o")
    replicas.replicate(3)
    assert replicas.stored(3, "o") is not None
    replicas.before_request = lambda _request: None
    replicas.replicate(3)
    assert replicas.files(3) == {} and agree(replicas)


def test_what_arrives_on_a_handoff_meanwhile_stays(replicas: Replicas) -> None:
    replicas.put(3, "o", 1)
    arrived = []

    def overwrite(request: BackendRequest) -> None:
        if request.query == "step=confirm" and not arrived:
            arrived.append(1)
            replicas.put(3, "o", 2, b"newer")

    replicas.before_request = overwrite
    replicas.replicate(3)
    assert replicas.names(3, "o") == [at(2) + ".data"]


def test_sync_with_an_outdated_ring_deletes_the_only_copy(replicas: Replicas) -> None:
    """Server 0 does not know yet that it is a primary: nobody whose ring is newer confirms to it."""
    replicas.put(0, "o", 1)
    replicas.use(replicas.ring_of([1, 2, 3], version=1))
    replicas.use(replicas.ring_of([0, 1, 2], version=2), 1, 2, 3)
    replicas.replicate(0)
    assert replicas.stored(0, "o") is not None


def test_nobody_confirms_what_it_will_give_up_itself(replicas: Replicas) -> None:
    """Two servers with rings of the same version, each of which takes the other for a primary."""
    replicas.put(0, "o", 1)
    replicas.put(3, "o", 1)
    replicas.use(replicas.ring_of([1, 2, 3]), 0)
    replicas.use(replicas.ring_of([0, 1, 2]), 3)
    replicas.replicate(0, 3)
    replicas.replicate(0, 3)
    assert replicas.stored(0, "o") is not None or replicas.stored(3, "o") is not None


def test_a_ring_that_changes_during_a_pass_stops_deletions(replicas: Replicas) -> None:
    replicas.put(3, "o", 1)

    def change(request: BackendRequest) -> None:
        if request.query == "step=push":
            replicas.use(replicas.ring_of([0, 1, 3], version=2), 3)

    replicas.before_request = change
    replicas.replicate(3)
    assert replicas.stored(3, "o") is not None


def test_two_syncs_of_one_partition_at_once(replicas: Replicas) -> None:
    """All servers at the same time, each pushing and pulling what the others push and pull."""
    for number in range(20):
        replicas.put(number % 4, f"o{number}", number, os.urandom(number * 10_000))
        replicas.put((number + 1) % 4, f"o{number}", number + 30, os.urandom(100))
    tasks = [concurrency.spawn(replicas.replicate, number) for number in (0, 1, 2, 3, 0, 3)]
    for task in tasks:
        task.wait()
    replicas.replicate()
    assert agree(replicas) and replicas.files(3) == {}
    assert sorted(map(len, (replicas.names(0, f"o{number}") for number in range(20)))) == [1] * 20


def test_healing_that_trusts_the_wrong_count(replicas: Replicas) -> None:
    """As many files on each of them, and not the same ones: it is names that are compared."""
    for number in range(3):
        replicas.put(number, f"only-{number}", 1)
    replicas.replicate()
    replicas.replicate()
    assert agree(replicas) and len(replicas.files(0)) == 3


def test_a_damaged_object_is_not_spread_and_comes_back_from_others(replicas: Replicas) -> None:
    for number in range(3):
        replicas.put(number, "o", 1, b"x" * 100_000)
    path = replicas.directory(0, "o") / (at(1) + ".data")
    content = bytearray(path.read_bytes())
    content[50_000] ^= 1
    path.write_bytes(bytes(content))
    for file in replicas.directory(1, "o").iterdir():
        file.unlink()
    replicas.replicate(0)
    assert replicas.names(1, "o") == []
    replicas.replicate(2)
    assert agree(replicas) and len(replicas.files(0)) == 1


def test_a_handoff_stands_in_for_a_device_that_is_gone(replicas: Replicas) -> None:
    replicas.put(0, "o", 1)
    os.rename(replicas.servers[1].root / "sda", replicas.servers[1].root / "away")
    replicas.pass_time(10)
    replicas.replicate(0)
    assert replicas.stored(3, "o") is not None
    os.rename(replicas.servers[1].root / "away", replicas.servers[1].root / "sda")
    replicas.pass_time(10)
    replicas.replicate()
    assert agree(replicas) and replicas.files(3) == {}


def test_obsolete_files_left_by_a_crash_are_removed(replicas: Replicas) -> None:
    for number in range(3):
        replicas.put(number, "o", 5)
    (replicas.directory(0, "o") / (at(1) + ".data")).write_bytes(b"old")
    replicas.replicate(0)
    assert replicas.names(0, "o") == [at(5) + ".data"]


def test_obsolete_files_on_a_handoff_do_not_outlive_the_tombstone(replicas: Replicas) -> None:
    """Primaries that have forgotten the object confirm the tombstone: what lies beneath it must not be left alone."""
    replicas.put(3, "o", 1)
    data = replicas.directory(3, "o") / (at(1) + ".data")
    content, attribute = data.read_bytes(), os.getxattr(data, ATTRIBUTE)
    replicas.delete(3, "o", 3)
    left = data.with_name(at(2) + ".data")
    left.write_bytes(content)
    os.setxattr(left, ATTRIBUTE, attribute)
    replicas.pass_time(8 * DAY)
    replicas.replicate(3)
    assert replicas.files(3) == {}
    assert all(replicas.stored(number, "o") is None for number in range(4))


def test_digest_cache_invalidated_between_reading_and_writing_it(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that comes while digests are computed is in no digest, and the next pass sees it."""
    for number in range(3):
        replicas.put(number, "o", 1)
    engine_root = replicas.servers[0].root / "sda"
    old = 1_600_000_000
    for path in [*engine_root.rglob("*"), engine_root]:
        os.utime(path, (old, old))
    original = suffixes.suffix_digest
    written = []

    def digest_and_write(*arguments: Any) -> SuffixDigest:
        made = original(*arguments)
        if not written:
            written.append(1)
            directory = replicas.directory(0, "o")
            (directory / (at(2) + ".ts")).write_bytes(b"")
            os.utime(directory.parent)
        return made

    monkeypatch.setattr(suffixes, "suffix_digest", digest_and_write)
    replicas.replicate(0)
    monkeypatch.undo()
    before = len(replicas.requests)
    replicas.replicate(0)
    assert "step=versions" in [request.query for request in replicas.requests[before:]]


def test_replicas_in_another_engine_agree_too(tmp_path: Path) -> None:
    replicas = Replicas(tmp_path, engine=memory_engine.NAME)
    replicas.put(0, "pushed", 1, os.urandom(200_000))
    replicas.post(0, "pushed", 2, colour="blue")
    replicas.put(1, "pulled", 1)
    replicas.delete(2, "pulled", 3)
    replicas.put(3, "given up by the handoff", 1)
    replicas.replicate()
    replicas.replicate()
    devices = [memory_engine.device_at(str(server.root / "sda")).objects_held for server in replicas.servers]
    held = [{key: set(versions) for key, versions in device.items()} for device in devices]
    assert held[0] == held[1] == held[2]
    assert sorted(map(len, held[0].values())) == [1, 1, 2]
    assert held[3] == {}
    stored = replicas.stored(2, "pushed")
    assert stored is not None and stored.info.headers == {"X-Object-Meta-Colour": "blue"}
