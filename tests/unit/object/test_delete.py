"""DELETE: tombstones, and the expirer's guarded one."""

import pytest

from objstore.headers import Backend
from tests.unit.object.harness import NOW, ServedFolder, at

EXPIRES = int(NOW) + 10


def test_a_tombstone_takes_the_place_of_the_object(store: ServedFolder) -> None:
    store.put(1)
    store.post(2)
    answer = store.delete(3)
    assert (answer.status, answer.headers[Backend.TIMESTAMP]) == (204, at(3))
    assert store.names() == [at(3) + ".ts"]
    assert store.get().status == 404


def test_a_tombstone_is_written_though_nothing_is_there(store: ServedFolder) -> None:
    assert store.delete(1).status == 404
    assert store.delete(2).status == 404
    assert store.names() == [at(2) + ".ts"]
    assert [row.deleted for row in store.transport.rows] == [True, True]


@pytest.mark.parametrize("second", [1, 2])
def test_older_or_equal_is_a_conflict(store: ServedFolder, second: int) -> None:
    store.put(2)
    answer = store.delete(second)
    assert (answer.status, answer.headers[Backend.TIMESTAMP]) == (409, at(2))
    store.delete(3)
    assert store.delete(3).status == 409
    assert store.put(3).status == 409


def test_an_expired_object_is_not_found_and_deleted(store: ServedFolder) -> None:
    store.put(1, x_delete_at=str(EXPIRES))
    store.clock.seconds = EXPIRES
    assert store.delete(2).status == 404
    assert store.names() == [at(2) + ".ts"]


def test_the_guard_lets_only_the_right_expiry_through(store: ServedFolder) -> None:
    assert store.delete(1, x_if_delete_at=str(EXPIRES)).status == 404
    assert not store.directory().exists()
    store.put(1)
    assert store.delete(2, x_if_delete_at=str(EXPIRES)).status == 412
    store.put(3, x_delete_at=str(EXPIRES))
    assert store.delete(4, x_if_delete_at=str(EXPIRES + 1)).status == 412
    assert store.delete(2, x_if_delete_at=str(EXPIRES)).status == 409
    assert store.delete(4, x_if_delete_at="soon").status == 400
    assert store.head().status == 200
    store.clock.seconds = EXPIRES + 1
    assert store.delete(4, x_if_delete_at=str(EXPIRES)).status == 204
    assert store.names() == [at(4) + ".ts"]
    assert store.delete(5, x_if_delete_at=str(EXPIRES)).status == 404


def test_the_guard_follows_a_post(store: ServedFolder) -> None:
    store.put(1, x_delete_at=str(EXPIRES))
    store.post(2, x_delete_at=str(EXPIRES + 5))
    assert store.delete(3, x_if_delete_at=str(EXPIRES)).status == 412
    assert store.delete(3, x_if_delete_at=str(EXPIRES + 5)).status == 204


def test_a_damaged_object_can_be_deleted(store: ServedFolder) -> None:
    store.put(1)
    (store.directory() / store.names()[0]).write_bytes(b"")
    assert store.delete(2).status == 404
    assert store.names() == [at(2) + ".ts"]
