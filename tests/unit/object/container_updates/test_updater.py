"""The updater: every row that its container can learn from, to every server, until all have it."""

import errno
import os
from array import array
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from objstore.config.object import UpdaterConfig
from objstore.daemon import Step, run_once
from objstore.devices import Device
from objstore.object.container_updates import delivery
from objstore.object.container_updates import updater as updater_module
from objstore.object.container_updates.delivery import RECLAIM_SECONDS
from objstore.object.container_updates.pending import PendingUpdate, load, pending_path, save
from objstore.object.container_updates.updater import LEFTOVER_SECONDS, Updater
from objstore.object.engine import make_engine
from objstore.ring.ring import Ring
from objstore.rows import ObjectRow
from objstore.system import files
from tests.unit.object.harness import NOW, ServedFolder, at

NODES = [Device(n, 1, n, f"10.0.0.{n}", 6201, f"10.0.0.{n}", 6201, "sdb", 1.0) for n in range(3)]
RING = Ring(0, NODES, [array("H", [0]), array("H", [1]), array("H", [2])])
OBJECT_RING = Ring(0, NODES, [array("H", [0])])


@pytest.fixture
def updater(store: ServedFolder) -> Updater:
    return make(store)


def make(store: ServedFolder, **config: int) -> Updater:
    settings = UpdaterConfig(**{"objects_per_second": 0, **config})
    rings = SimpleNamespace(container=RING, object=lambda index: OBJECT_RING)
    return Updater(settings, store.context(rings=rings), make_engine("file", store.runtime, 0))


def pending(store: ServedFolder) -> list[str]:
    return [name for name in store.files() if name.startswith("async_pending")]


def undelivered(store: ServedFolder, *seconds: int) -> None:
    """PUTs whose container nobody could be told of."""
    store.transport.status = None
    for second in seconds:
        assert store.put(second).status == 201
    store.transport.status = 202
    store.transport.requests.clear()


def test_nothing_to_do(updater: Updater) -> None:
    assert updater.step() is Step.IDLE


def test_every_server_of_the_container_gets_the_row(store: ServedFolder, updater: Updater) -> None:
    undelivered(store, 1)
    assert run_once(updater) is Step.IDLE
    assert [request.node for request, _ in store.transport.requests] == NODES
    assert {row.timestamp for row in store.transport.rows} == {at(1)}
    assert pending(store) == []
    assert not list((store.root / "sda/async_pending").iterdir())


def test_a_server_has_longer_for_many_rows_than_for_one_while_a_client_waits(
    store: ServedFolder, updater: Updater
) -> None:
    undelivered(store, 1)
    store.transport.timeouts.clear()
    run_once(updater)
    assert set(store.transport.timeouts) == {10.0}
    undelivered(store, 2)
    store.transport.timeouts.clear()
    run_once(make(store, node_timeout=7))
    assert set(store.transport.timeouts) == {7}


def test_a_row_that_is_wholly_outdone_is_not_sent(store: ServedFolder, updater: Updater) -> None:
    undelivered(store, 1, 2, 3)
    assert len(pending(store)) == 3
    run_once(updater)
    assert {row.timestamp for row in store.transport.rows} == {at(3)}
    assert pending(store) == []


def record(store: ServedFolder, *rows: ObjectRow) -> None:
    """Rows of one object that its container was not told."""
    for row in rows:
        update = PendingUpdate("a", "c", row)
        save(pending_path(str(store.root / "sda/async_pending"), store.cluster.hasher, update), update)


STORED = ObjectRow("o", at(1), 1, "text/plain", "etag")
DELETED = ObjectRow("o", at(2), 0, "application/deleted", "noetag", deleted=True)
OVERWRITTEN = ObjectRow("o", at(2), 2, "text/html", "other")
TYPED = replace(STORED, content_type="image/png", content_type_timestamp=at(2), meta_timestamp=at(2))
POSTED = replace(STORED, meta_timestamp=at(3))


@pytest.mark.parametrize("older", [DELETED, OVERWRITTEN, TYPED])
def test_what_a_post_with_a_faster_clock_does_not_say_is_sent(
    store: ServedFolder, updater: Updater, older: ObjectRow
) -> None:
    record(store, POSTED, older)
    run_once(updater)
    assert [row for row in store.transport.rows if row == POSTED] == [POSTED] * 3
    assert [row for row in store.transport.rows if row == older] == [older] * 3
    assert len(store.transport.requests) == 3
    assert pending(store) == []


def test_of_many_posts_only_the_newest_is_sent(store: ServedFolder, updater: Updater) -> None:
    record(store, *(replace(STORED, meta_timestamp=at(second)) for second in range(2, 9)), STORED)
    assert len(pending(store)) == 8
    run_once(updater)
    assert store.transport.rows == [replace(STORED, meta_timestamp=at(8))] * 3
    assert pending(store) == []


def test_a_row_saved_while_another_of_its_moment_is_sent_is_kept(store: ServedFolder, updater: Updater) -> None:
    """Two POSTs of one moment: one reached the object before it was overwritten, and one afterwards."""
    later = replace(OVERWRITTEN, meta_timestamp=at(3))
    record(store, POSTED)
    start = store.transport.start

    def start_and_record(*arguments: Any) -> Any:
        record(store, later)
        return start(*arguments)

    store.transport.start = start_and_record  # type: ignore[method-assign]
    run_once(updater)
    assert [load(str(store.root / "sda" / name)).row for name in pending(store)] == [later]
    run_once(updater)
    assert store.transport.rows == [POSTED] * 3 + [later] * 3
    assert pending(store) == []


def test_records_named_by_an_earlier_version_are_delivered(store: ServedFolder, updater: Updater) -> None:
    record(store, STORED)
    path = store.root / "sda" / pending(store)[0]
    path.rename(path.with_name(path.name.rpartition("-")[0]))
    run_once(updater)
    assert store.transport.rows == [STORED] * 3
    assert pending(store) == []


@pytest.mark.parametrize("status", [None, 404, 503])
def test_what_is_refused_stays(store: ServedFolder, updater: Updater, status: int | None) -> None:
    undelivered(store, 1)
    store.transport.status = status
    run_once(updater)
    assert len(pending(store)) == 1
    store.transport.status = 202
    run_once(updater)
    assert pending(store) == []


def test_who_has_the_row_is_not_told_again(store: ServedFolder, updater: Updater) -> None:
    undelivered(store, 1)
    store.transport.status_of = {0: None, 2: 503}
    run_once(updater)
    assert len(pending(store)) == 1
    store.transport.status_of = {}
    store.transport.requests.clear()
    run_once(updater)
    assert [request.node.id for request, _ in store.transport.requests] == [0, 2]
    assert pending(store) == []


@pytest.mark.parametrize("at_first", [{}, {0: None, 1: 202, 2: 503}], ids=["taken by none", "taken by one"])
def test_rows_of_a_container_that_is_long_gone_are_dropped(
    store: ServedFolder, updater: Updater, at_first: dict[int, int | None]
) -> None:
    undelivered(store, 1)
    store.transport.status = 404
    store.transport.status_of = at_first
    run_once(updater)
    store.transport.status_of = {}
    store.clock.seconds = NOW + RECLAIM_SECONDS - 2
    run_once(updater)
    assert len(pending(store)) == 1
    store.clock.seconds += 4
    run_once(updater)
    assert pending(store) == []


def test_rows_that_a_server_may_still_take_are_kept_however_old(store: ServedFolder, updater: Updater) -> None:
    undelivered(store, 1)
    store.transport.status_of = {0: None, 1: 404}
    store.clock.seconds = NOW + 2 * RECLAIM_SECONDS
    run_once(updater)
    assert len(pending(store)) == 1


def test_rows_of_what_has_been_replaced_are_dropped(store: ServedFolder, updater: Updater) -> None:
    """The container would show them, were it made again after its servers had forgotten the deletion."""
    store.transport.status = None
    for name in ("deleted", "changed", "kept"):
        assert store.put(1, path=f"/sda/0/a/c/{name}").status == 201
    store.transport.status = 202
    assert store.delete(2, path="/sda/0/a/c/deleted").status == 204
    assert store.post(2, path="/sda/0/a/c/changed").status == 202
    store.transport.status = 404
    run_once(updater)
    left = [load(str(store.root / "sda" / name)).row for name in pending(store)]
    assert sorted((row.name, row.timestamp) for row in left) == [("changed", at(1)), ("kept", at(1))]


def test_rows_of_a_policy_that_is_gone_wait(store: ServedFolder, updater: Updater) -> None:
    undelivered(store, 1)
    path = str(store.root / "sda" / pending(store)[0])
    update = load(path)
    save(path, replace(update, row=replace(update.row, policy_index=9)))
    store.transport.status = 404
    run_once(updater)
    assert len(pending(store)) == 1


def test_an_unreadable_record_is_moved_aside_and_the_one_before_it_sent(store: ServedFolder, updater: Updater) -> None:
    undelivered(store, 1, 2)
    (Path(store.root) / "sda" / pending(store)[-1]).write_bytes(b"{")
    run_once(updater)
    assert {row.timestamp for row in store.transport.rows} == {at(1)}
    assert pending(store) == []
    assert [name for name in store.files() if name.startswith("quarantined/async_pending")]


def test_a_step_handles_one_directory(store: ServedFolder, updater: Updater) -> None:
    store.transport.status = None
    for number in range(3):
        store.put(1, path=f"/sda/7/a/c/o{number}")
    store.transport.status = 202
    assert len(list((store.root / "sda/async_pending").iterdir())) == 3
    assert [updater.step() for _ in range(4)] == [Step.BUSY, Step.BUSY, Step.BUSY, Step.IDLE]


def test_what_a_crash_left_of_a_save_goes_after_a_while(store: ServedFolder, updater: Updater) -> None:
    folder = store.root / "sda/async_pending/abc"
    folder.mkdir(parents=True)
    for name, age_seconds in (("new.7.1.tmp", 0.0), ("old.7.2.tmp", LEFTOVER_SECONDS + 1)):
        (folder / name).write_bytes(b"{")
        os.utime(folder / name, (NOW - age_seconds, NOW - age_seconds))
    store.clock.seconds = NOW
    run_once(updater)
    assert [each.name for each in folder.iterdir()] == ["new.7.1.tmp"]


def test_a_container_takes_so_many_a_second_and_others_go_on(
    store: ServedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.transport.status = None
    for number in range(4):
        assert store.put(1, path=f"/sda/7/a/busy/o{number}").status == 201
    assert store.put(1, path="/sda/7/a/quiet/o").status == 201
    store.transport.status = 202
    store.transport.requests.clear()
    seconds = [1000.0]
    monkeypatch.setattr(store.clock, "monotonic", lambda: seconds[0])
    slept: list[float] = []

    def sleep(duration: float) -> None:
        slept.append(duration)
        seconds[0] += duration

    monkeypatch.setattr("objstore.object.container_updates.updater.concurrency.sleep", sleep)
    limited = make(store, max_objects_per_container_per_second=2)
    run_once(limited)
    assert pending(store) == []
    assert sum(slept) == pytest.approx(1.5)
    first = [request.path.container for request, _ in store.transport.requests[:6]]
    assert sorted(set(first)) == ["busy", "quiet"]


def test_what_waits_is_bounded_and_found_again(store: ServedFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    store.transport.status = None
    for number in range(5):
        assert store.put(1, path=f"/sda/7/a/c/o{number}").status == 201
    store.transport.status = 202
    seconds = [1000.0]
    monkeypatch.setattr(store.clock, "monotonic", lambda: seconds[0])
    monkeypatch.setattr(
        "objstore.object.container_updates.updater.concurrency.sleep",
        lambda duration: seconds.__setitem__(0, seconds[0] + duration),
    )
    limited = make(store, max_objects_per_container_per_second=1, max_deferred_updates=2)
    run_once(limited)
    assert len(pending(store)) == 2
    run_once(limited)
    assert pending(store) == []


def test_a_device_that_cannot_be_read_holds_no_other_up(store: ServedFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    (store.root / "a-failing").mkdir()
    undelivered(store, 1)
    listed = files.list_directory

    def fail(path: str) -> list[str]:
        if "a-failing" in path:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return listed(path)

    monkeypatch.setattr(files, "list_directory", fail)
    run_once(make(store))
    assert pending(store) == []


def test_a_record_that_cannot_be_read_holds_no_other_up(store: ServedFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    record(store, DELETED, POSTED)
    unreadable = str(store.root / "sda" / pending(store)[-1])

    def fail(path: str) -> PendingUpdate:
        if path == unreadable:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return load(path)

    monkeypatch.setattr(updater_module, "load", fail)
    run_once(make(store))
    assert store.transport.rows == [DELETED] * 3
    assert [str(store.root / "sda" / name) for name in pending(store)] == [unreadable]
    assert any(b"Input/output error" in line for line in store.lines)


def test_a_record_that_cannot_be_removed_holds_no_other_up(
    store: ServedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(store, DELETED, POSTED)
    unremovable = str(store.root / "sda" / pending(store)[-1])
    unlink_quietly = files.unlink_quietly

    def fail(path: str) -> bool:
        if path == unremovable:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return unlink_quietly(path)

    monkeypatch.setattr(files, "unlink_quietly", fail)
    run_once(make(store))
    assert [str(store.root / "sda" / name) for name in pending(store)] == [unremovable]


def test_a_full_device_delivers_what_is_pending(store: ServedFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """That some have a row already cannot be noted: they are told again."""
    undelivered(store, 1)
    store.transport.status_of = {0: None}

    def fail(path: str, *_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(delivery, "save", fail)
    run_once(make(store))
    assert len(pending(store)) == 1
    store.transport.status_of = {}
    run_once(make(store))
    assert pending(store) == []
