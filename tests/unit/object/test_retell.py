"""ANNOUNCE: what is stored is told once more."""

from tests.unit.object.harness import CONTAINER, Store, at

ELSEWHERE = CONTAINER | {"X-Container-Host": "10.0.0.2:6201"}


def test_an_object_is_told_as_when_it_was_stored(store: Store) -> None:
    store.put(1)
    assert store.call("ANNOUNCE", headers=ELSEWHERE).status == 202
    first, again = store.transport.rows
    assert again == first
    assert store.transport.requests[-1][0].node.ip == "10.0.0.2"


def test_with_its_newest_metadata(store: Store) -> None:
    store.put(1)
    store.post(2, content_type="text/html")
    store.call("ANNOUNCE", headers=ELSEWHERE)
    row = store.transport.rows[-1]
    assert row == store.transport.rows[-2]
    assert (row.content_type, row.meta_timestamp) == ("text/html", at(2))


def test_a_deletion_is_told(store: Store) -> None:
    store.delete(1)
    assert store.call("ANNOUNCE", headers=ELSEWHERE).status == 202
    assert store.transport.rows[-1] == store.transport.rows[-2]
    assert store.transport.rows[-1].deleted


def test_nothing_is_told_of_what_nobody_knows(store: Store) -> None:
    assert store.call("ANNOUNCE", headers=ELSEWHERE).status == 404
    assert store.transport.requests == []


def test_a_server_that_does_not_answer_is_put_on_record(store: Store) -> None:
    store.put(1)
    store.transport.status = None
    assert store.call("ANNOUNCE", headers=ELSEWHERE).status == 202
    assert [file for file in store.files() if file.startswith("async_pending")]
