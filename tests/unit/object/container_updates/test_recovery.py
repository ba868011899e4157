"""After a kill: the container updates of the last writes are sent again, and no others."""

import errno
import os
from array import array
from pathlib import Path
from types import SimpleNamespace

import pytest

from objstore.config.object import UpdaterConfig
from objstore.daemon import run_once
from objstore.devices import Device
from objstore.object.container_updates import sender
from objstore.object.container_updates.recovery import ATTEMPTS, WRITE_SECONDS_MAX, UpdateRecovery
from objstore.object.container_updates.sender import ContainerUpdateSender
from objstore.object.container_updates.session import WriterSession, left_marks
from objstore.object.engine import make_engine
from objstore.ring.ring import Ring
from tests.unit.object.harness import EXPIRES, QUEUE, ServedFolder, at

NODES = [Device(n, 1, n, f"10.0.0.{n}", 6201, f"10.0.0.{n}", 6201, "sdb", 1.0) for n in range(3)]
RING = Ring(0, NODES, [array("H", [0]), array("H", [1]), array("H", [2])])
OTHER = "/sda/7/a/c/other"


@pytest.fixture
def recovery(store: ServedFolder, tmp_path: Path) -> UpdateRecovery:
    rings = SimpleNamespace(container=RING, object=lambda index: RING)
    engine = make_engine("file", store.runtime, 0)
    return UpdateRecovery(UpdaterConfig(), store.context(rings=rings), engine, str(tmp_path / "recon"))


def session(store: ServedFolder, tmp_path: Path) -> WriterSession:
    begun = WriterSession(str(tmp_path / "recon"), str(store.root), store.runtime.random, store.runtime.log)
    begun.begin()
    return begun


def kill(begun: WriterSession) -> None:
    """What the system does with a lock when its process is killed."""
    begun._held.close()


def marks(store: ServedFolder, tmp_path: Path) -> list[str]:
    return sorted(os.listdir(tmp_path / "recon/object-writers"))


def write_unheard(store: ServedFolder) -> None:
    """Two writes of which no container server has heard, and nothing is queued: a kill was faster."""
    store.put(1)
    store.put(1, path=OTHER)
    store.delete(2, path=OTHER)
    store.transport.requests.clear()


def test_what_was_written_before_a_kill_is_sent_again(
    store: ServedFolder, recovery: UpdateRecovery, tmp_path: Path
) -> None:
    begun = session(store, tmp_path)
    write_unheard(store)
    kill(begun)
    run_once(recovery)
    assert {request.node for request, _ in store.transport.requests} == set(NODES)
    found = {(row.name, row.timestamp, row.deleted, row.size) for row in store.transport.rows}
    assert found == {("o", at(1), False, 4), ("other", at(2), True, 0)}
    assert marks(store, tmp_path) == []
    assert [name for name in store.files() if name.startswith("async_pending")] == []
    store.transport.requests.clear()
    run_once(recovery)
    assert store.transport.requests == []


def test_what_a_post_has_changed_and_what_expires(
    store: ServedFolder, recovery: UpdateRecovery, tmp_path: Path
) -> None:
    begun = session(store, tmp_path)
    store.put(1, **{name.replace("-", "_"): str(value) for name, value in QUEUE.items()})
    store.post(3, Content_Type="image/png", X_Delete_At=str(EXPIRES))
    store.transport.requests.clear()
    kill(begun)
    run_once(recovery)
    listed = next(row for row in store.transport.rows if row.name == "o")
    assert (listed.content_type, listed.content_type_timestamp, listed.meta_timestamp) == ("image/png", at(3), at(3))
    assert any(row.name == f"{EXPIRES:010d}-a/c/o" for row in store.transport.rows)
    assert {request.path.account for request, _ in store.transport.requests} == {"a", ".expiring_objects"}


def test_nothing_is_sent_while_the_process_lives_or_after_it_has_ended(
    store: ServedFolder, recovery: UpdateRecovery, tmp_path: Path
) -> None:
    begun = session(store, tmp_path)
    write_unheard(store)
    run_once(recovery)
    assert len(marks(store, tmp_path)) == 1
    begun.end()
    assert marks(store, tmp_path) == []
    run_once(recovery)
    assert store.transport.requests == []


def test_a_process_that_cut_a_write_off_has_not_ended_cleanly(
    store: ServedFolder, recovery: UpdateRecovery, tmp_path: Path
) -> None:
    begun = session(store, tmp_path)
    begun.unfinished = 1
    begun.end()
    run_once(recovery)
    assert marks(store, tmp_path) == []
    assert "sent again" in b"".join(store.lines).decode()


def test_a_write_is_unfinished_until_its_row_is_acknowledged_or_queued(
    store: ServedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [store.put(1).status, store.put(1).status, store.get("/sda/7/a").status] == [201, 409, 400]
    assert store.server.session.unfinished == 0

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sender, "save", fail)
    store.transport.status = None
    assert store.put(2).status == 507
    assert store.server.session.unfinished == 1


def test_a_write_that_is_cut_off_is_unfinished(store: ServedFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ContainerUpdateSender, "stored", cut_off)
    with pytest.raises(KeyboardInterrupt):
        store.put(1)
    assert store.server.session.unfinished == 1


def test_what_was_written_long_before_the_kill_is_left_alone(
    store: ServedFolder, recovery: UpdateRecovery, tmp_path: Path
) -> None:
    begun = session(store, tmp_path)
    write_unheard(store)
    (mark,) = left_after(begun, store, tmp_path)
    suffix, other = store.directory().parent, store.directory(OTHER).parent
    assert suffix != other
    last = os.stat(mark).st_mtime
    os.utime(suffix, (last, last - WRITE_SECONDS_MAX - 1))
    os.utime(other, (last, last - WRITE_SECONDS_MAX + 1))
    run_once(recovery)
    assert {row.name for row in store.transport.rows} == {"other"}


def left_after(begun: WriterSession, store: ServedFolder, tmp_path: Path) -> list[str]:
    kill(begun)
    return list(left_marks(str(tmp_path / "recon"), str(store.root)))


def test_marks_of_servers_of_other_devices_are_theirs(store: ServedFolder, tmp_path: Path) -> None:
    other = WriterSession(str(tmp_path / "recon"), "/srv/other", store.runtime.random, store.runtime.log)
    other.begin()
    kill(other)
    (tmp_path / "recon/object-writers/without-content-yet").touch()
    assert left_marks(str(tmp_path / "recon"), str(store.root)) == {}
    assert len(left_marks(str(tmp_path / "recon"), "/srv/other")) == 1


def test_servers_that_start_late_are_asked_again_and_then_updates_are_queued(
    store: ServedFolder, recovery: UpdateRecovery, tmp_path: Path
) -> None:
    begun = session(store, tmp_path)
    write_unheard(store)
    kill(begun)
    store.transport.status_of = {0: None}
    for _ in range(ATTEMPTS - 1):
        run_once(recovery)
        assert len(marks(store, tmp_path)) == 1
        assert [name for name in store.files() if name.startswith("async_pending")] == []
    run_once(recovery)
    assert marks(store, tmp_path) == []
    assert len([name for name in store.files() if name.startswith("async_pending")]) == 2


def test_a_damaged_object_keeps_no_other_back(store: ServedFolder, recovery: UpdateRecovery, tmp_path: Path) -> None:
    begun = session(store, tmp_path)
    write_unheard(store)
    kill(begun)
    (file,) = store.directory().iterdir()
    os.removexattr(file, "user.objstore.metadata")
    run_once(recovery)
    assert {row.name for row in store.transport.rows} == {"other"}
    assert marks(store, tmp_path) == []


def test_a_mark_that_cannot_be_made_does_not_keep_a_server_from_working(store: ServedFolder, tmp_path: Path) -> None:
    (tmp_path / "recon").write_text("not a folder")
    begun = session(store, tmp_path)
    assert store.put(1).status == 201
    begun.end()


def test_the_rows_of_all_versions_are_sent_again(store: ServedFolder, recovery: UpdateRecovery, tmp_path: Path) -> None:
    begun = session(store, tmp_path)
    store.put(1)
    for second in (2, 3):
        store.put(second, X_Backend_Version_Mode="keep")
    store.delete(4, X_Backend_Version_Mode="keep")
    store.delete(5, X_Backend_Version_Id=at(2))
    sent = {(row.timestamp, row.version, row.marker, row.deleted) for row in store.transport.rows}
    sent.remove((at(2), at(2), False, False))
    store.transport.requests.clear()
    store.transport.rows.clear()
    kill(begun)
    run_once(recovery)
    assert {(row.timestamp, row.version, row.marker, row.deleted) for row in store.transport.rows} == sent
