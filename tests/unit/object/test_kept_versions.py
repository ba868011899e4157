"""Versions of an object: what the verbs write and answer when a version is kept, removed or asked for."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from objstore.headers import Backend, Client
from objstore.object.engine import Location
from objstore.object.file_engine.disk import Disk
from objstore.policies import Policy
from tests.unit.object.harness import CONTAINER, EXPIRES, NOW, QUEUE, ServedFolder, at, titled, wait_for_discards
from tests.unit.object.test_auditor import Bench, flip, strip

KEEP = {"x_backend_version_mode": "keep"}
NULL_MODE = {"x_backend_version_mode": "null"}


def version(second: int) -> dict[str, str]:
    return {"x_backend_version_id": at(second)}


PLAIN = {"x_backend_version_id": "null"}


def test_kept_versions_stand_beside_each_other(store: ServedFolder) -> None:
    store.put(1, b"plain")
    answer = store.put(2, b"one", **KEEP)
    assert (answer.status, answer.headers[Backend.VERSION_ID]) == (201, at(2))
    store.put(3, b"two", **KEEP)
    assert store.names() == [f"{at(1)}.data", f"{at(2)}!.data", f"{at(3)}!.data"]
    for asked, body, is_kept in (
        ({}, b"two", 3),
        (version(2), b"one", 2),
        (version(3), b"two", 3),
        (PLAIN, b"plain", 0),
    ):
        for found in (store.get(**asked), store.head(**asked)):
            assert found.status == 200
            assert found.headers.get(Backend.VERSION_ID) == (at(is_kept) if is_kept else None)
        assert store.get(**asked).body == body
    assert store.get(**version(4)).status == 404
    assert store.get(x_backend_version_id="newest").status == 400
    assert store.put(5, x_backend_version_mode="all").status == 400


def test_rows_tell_the_version(store: ServedFolder) -> None:
    store.put(1)
    store.put(2, **KEEP)
    store.post(3, **version(2))
    store.delete(4, **KEEP)
    store.delete(5, **NULL_MODE)
    store.delete(6, **version(2))
    store.delete(7, **PLAIN)
    rows = [(row.timestamp, row.version, row.marker, row.deleted) for row in store.transport.rows]
    assert rows == [
        (at(1), "", False, False),
        (at(2), at(2), False, False),
        (at(2), at(2), False, False),
        (at(4), at(4), True, False),
        (at(5), "", True, False),
        (at(6), at(2), False, True),
        (at(7), "", False, True),
    ]
    assert store.transport.rows[2].meta_timestamp == at(3)


def test_a_kept_delete_marker_hides_what_is_older(store: ServedFolder) -> None:
    store.put(1, b"one", **KEEP)
    answer = store.delete(2, **KEEP)
    assert (answer.status, answer.headers[Backend.VERSION_ID]) == (204, at(2))
    for found in (store.get(), store.get(**version(2)), store.post(3), store.post(3, **version(2))):
        assert (found.status, found.headers[Backend.DELETE_MARKER]) == (404, "true")
        assert (found.headers[Backend.VERSION_ID], found.headers[Backend.TIMESTAMP]) == (at(2), at(2))
    assert store.get(**version(1)).body == b"one"
    assert store.names() == [f"{at(1)}!.data", f"{at(2)}!.ts"]
    removed = store.delete(4, **version(2))
    assert (removed.status, removed.headers[Backend.DELETE_MARKER]) == (204, "true")
    assert store.get().body == b"one"
    assert store.names() == [f"{at(1)}!.data", f"{at(4)}!{at(2)}.ts"]


def test_a_delete_marker_needs_no_object(store: ServedFolder) -> None:
    assert store.delete(1, **KEEP).status == 404
    assert store.delete(2, **KEEP).status == 404
    assert store.names() == [f"{at(1)}!.ts", f"{at(2)}!.ts"]


def test_the_plain_line_has_a_delete_marker_of_its_own(store: ServedFolder) -> None:
    store.put(1, b"kept", **KEEP)
    store.put(2, b"plain", **NULL_MODE)
    answer = store.delete(3, **NULL_MODE)
    assert (answer.status, answer.headers[Backend.DELETE_MARKER]) == (204, "true")
    assert Backend.VERSION_ID not in answer.headers
    assert store.names() == [f"{at(1)}!.data", f"{at(3)}!null.ts"]
    for found in (store.get(), store.get(**PLAIN)):
        assert (found.status, found.headers[Backend.DELETE_MARKER]) == (404, "true")
        assert Backend.VERSION_ID not in found.headers
    removed = store.delete(4, **PLAIN)
    assert (removed.status, removed.headers[Backend.DELETE_MARKER]) == (204, "true")
    assert store.get().body == b"kept"
    store.put(5, b"again", **NULL_MODE)
    assert store.names() == [f"{at(1)}!.data", f"{at(5)}.data"]


def test_a_plain_tombstone_hides_no_kept_version(store: ServedFolder) -> None:
    store.put(1, b"kept", **KEEP)
    store.put(2, b"plain")
    assert store.delete(3).status == 204
    assert store.get().body == b"kept"
    assert store.delete(4).status == 404
    assert Backend.DELETE_MARKER not in store.get(**PLAIN).headers


def test_metadata_of_a_version(store: ServedFolder) -> None:
    store.put(1, **KEEP)
    store.put(2, **KEEP)
    assert store.post(3, **version(1), x_object_meta_a="old").headers[Backend.VERSION_ID] == at(1)
    assert store.post(4, x_object_meta_a="new", content_type="text/new").headers[Backend.VERSION_ID] == at(2)
    assert store.names()[2:] == [f"{at(3)}!{at(1)}.meta", f"{at(4)}+{at(4)}!{at(2)}.meta"]
    one, two = store.head(**version(1)), store.head()
    assert (one.headers["X-Object-Meta-A"], one.headers[Backend.TIMESTAMP]) == ("old", at(3))
    assert (two.headers["X-Object-Meta-A"], two.headers[Client.CONTENT_TYPE]) == ("new", "text/new")
    assert store.post(2, **version(1)).status == 409
    store.delete(5, **version(2))
    assert store.names() == [f"{at(1)}!.data", f"{at(3)}!{at(1)}.meta", f"{at(5)}!{at(2)}.ts"]


def test_what_conflicts_is_of_the_same_line(store: ServedFolder) -> None:
    store.put(5, **KEEP)
    assert store.put(5, **KEEP).status == 409
    assert store.delete(5, **KEEP).status == 409
    assert store.put(4, **KEEP).status == 201
    assert store.put(3).status == 201
    assert store.put(2).status == store.put(3, **NULL_MODE).status == store.delete(3, **NULL_MODE).status == 409
    assert store.delete(2, **version(5)).status == 204  # removed, though the mark is older
    assert store.put(5, **KEEP).status == 409
    assert store.delete(1, **version(5)).status == 409
    assert store.delete(6, **version(5)).status == 404
    assert store.names() == [f"{at(3)}.data", f"{at(4)}!.data", f"{at(6)}!{at(5)}.ts"]


def test_the_row_of_a_removal_is_not_older_than_that_of_the_version(store: ServedFolder) -> None:
    store.put(5, **KEEP)
    store.delete(2, **version(5))
    assert store.transport.rows[-1].timestamp == at(5)


def test_a_version_that_is_written_again_is_the_current_one(store: ServedFolder) -> None:
    for second in (1, 2):
        store.put(second, str(second).encode(), **KEEP)
    store.post(3, **version(1), x_object_meta_a="posted")
    answer = store.put(4, b"1", **KEEP, **version(1), x_object_meta_a="posted")
    assert (answer.status, answer.headers[Backend.VERSION_ID]) == (201, at(1))
    assert store.names() == [f"{at(2)}!.data", f"{at(4)}!{at(1)}.data"]
    for asked in ({}, version(1)):
        found = store.get(**asked)
        assert (found.body, found.headers[Backend.VERSION_ID], found.headers["X-Object-Meta-A"]) == (
            b"1",
            at(1),
            "posted",
        )
    row = store.transport.rows[-1]
    assert (row.timestamp, row.version) == (at(4), at(1))
    assert store.post(5, x_object_meta_a="new").headers[Backend.VERSION_ID] == at(1)
    assert store.put(4, b"1", **KEEP, **version(1)).status == store.put(3, b"1", **KEEP, **version(1)).status == 409
    assert store.put(1, b"1", **KEEP).status == 409
    assert store.put(6, b"2", **KEEP, **version(7)).status == 409  # no version is older than its name
    assert store.delete(3, **version(1)).status == 204  # removed, though the mark is older
    assert store.put(9, b"1", **KEEP, **version(1)).status == 409
    assert store.get().body == b"2"


def test_a_version_may_be_written_again_where_it_is_not(store: ServedFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.object.versions.VERSIONS_MAX", 2)
    store.put(1, b"1", **KEEP)
    store.put(3, b"3", **KEEP)
    assert store.put(5, b"1", **KEEP, **version(1)).status == 201  # it is one of the two
    assert store.put(6, b"2", **KEEP, **version(2)).headers[Backend.VERSIONS_FULL] == "true"
    store.delete(7, **version(3))
    assert store.put(8, b"2", **KEEP, **version(2)).status == 201
    assert store.names() == [f"{at(5)}!{at(1)}.data", f"{at(7)}!{at(3)}.ts", f"{at(8)}!{at(2)}.data"]


def test_removing_a_version_that_is_not_there(store: ServedFolder) -> None:
    assert store.delete(2, **version(1)).status == 404
    assert store.names() == [f"{at(2)}!{at(1)}.ts"]
    assert store.put(1, **KEEP).status == 409


def test_an_object_keeps_so_many_versions(store: ServedFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.object.versions.VERSIONS_MAX", 2)
    store.put(1, **KEEP)
    store.put(2, **KEEP)
    for answer in (store.put(3, **KEEP), store.delete(3, **KEEP)):
        assert (answer.status, answer.headers[Backend.VERSIONS_FULL]) == (409, "true")
    assert store.put(3).status == 201
    store.delete(4, **version(1))
    store.delete(5)
    assert store.put(6, **KEEP).status == 201


def test_a_version_expires_alone(store: ServedFolder) -> None:
    store.put(1, b"old", **KEEP)
    store.put(2, b"new", **KEEP, **titled_back(QUEUE))
    assert [row.name for row in store.transport.rows if row.name != "o"] == [f"{EXPIRES}-!{at(2)}/a/c/o"]
    store.clock.seconds = EXPIRES
    assert store.get().status == store.get(**version(2)).status == 404
    assert store.get(**version(1)).status == 200
    guard = {"x_if_delete_at": str(EXPIRES)}
    late = EXPIRES - int(NOW)
    assert store.delete(late, **guard, **PLAIN).status == 404
    assert store.delete(late, **guard, **version(1)).status == 412
    assert store.delete(late, **guard, **version(2)).status == 204
    assert store.get().body == b"old"


def titled_back(headers: dict[str, str]) -> dict[str, str]:
    found = {name.lower().replace("-", "_"): value for name, value in headers.items()}
    assert titled(found) == headers
    return found


@pytest.mark.parametrize("lost", ["body", "all"])
def test_a_damaged_version_is_set_aside_alone(store: ServedFolder, lost: str) -> None:
    for second in (1, 2, 3):
        store.put(second, b"body", **KEEP)
    store.post(4, **version(2))
    store.delete(5, **version(3))
    damaged = store.directory() / f"{at(2)}!.data"
    damaged.write_bytes(b"bad!" if lost == "body" else b"")
    for name in ("a", "b", "c", "d"):  # the device as a whole is sound
        store.put(1, path=f"/sda/7/a/c/{name}")
    assert store.get(**version(2)).status == 404
    assert store.names() == [f"{at(1)}!.data", f"{at(5)}!{at(3)}.ts"]
    aside = [file for file in store.files() if file.startswith("quarantined")]
    assert sorted(file.rpartition("/")[2] for file in aside) == [f"{at(2)}!.data", f"{at(4)}!{at(2)}.meta"]
    assert store.get().body == store.get(**version(1)).body == b"body"


def test_an_update_is_sent_again_for_a_version(store: ServedFolder) -> None:
    store.put(1)
    store.put(2, **KEEP)
    store.delete(3, **KEEP)
    store.delete(4, **version(2))
    store.transport.rows.clear()
    sent = {}
    for name, asked in (("current", {}), ("plain", PLAIN), ("removed", version(2)), ("marker", version(3))):
        answer = store.call("RESEND_CONTAINER_UPDATE", headers=CONTAINER | titled(asked))
        assert answer.status == 202
        row = store.transport.rows.pop()
        sent[name] = (row.timestamp, row.version, row.marker, row.deleted)
    assert sent["current"] == sent["marker"] == (at(3), at(3), True, False)
    assert sent["plain"] == (at(1), "", False, False)
    assert sent["removed"] == (at(4), at(2), False, True)


@pytest.mark.parametrize("damage", [flip, strip])
def test_a_damaged_version_is_set_aside_and_the_others_are_looked_at(
    store: ServedFolder, damage: Callable[[Path], None]
) -> None:
    bench = Bench(store, {})
    for second in (1, 2, 3):
        assert store.put(second, b"body", bench.path("o"), X_Backend_Version_Mode="keep").status == 201
    for name in ("p", "q", "r", "s"):
        bench.put(name)
    folder = store.directory(bench.path("o"))
    damage(folder / f"{at(1)}!.data")
    damage(folder / f"{at(3)}!.data")
    assert bench.run() == {"sound": 5, "quarantined": 2}
    assert os.listdir(folder) == [f"{at(2)}!.data"]
    assert bench.run() == {"sound": 5}


def test_a_move_to_quarantine_that_is_broken_off_brings_no_removed_version_back(
    store: ServedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for second in (5, 6):
        store.put(second, **KEEP)
    kept = store.directory() / f"{at(5)}!.data"
    copy = store.root / "copy"
    os.link(kept, copy)
    store.delete(2, **version(5))
    wait_for_discards(store.server._service.engine.device(str(store.root / "sda")))
    copy.rename(kept)  # as if the process had been killed before it went
    moved: list[str] = []
    move = Disk.move_aside_here

    def break_off(self: Disk, path: str, target: str) -> str:
        moved.append(path)
        if len(moved) > 1:
            raise OSError(errno.EIO, "the power goes")
        return move(self, path, target)

    monkeypatch.setattr(Disk, "move_aside_here", break_off)
    device = store.server._service.engine.device(str(store.root / "sda"))
    location = Location(Policy(0, "gold"), "7", store.directory().name, "/a/c/o")
    with pytest.raises(OSError, match="the power goes"):
        device.quarantine(location, "an operator says so", at(5))
    assert len(moved) == 2
    assert not device.look(location).line(at(5)).is_live
