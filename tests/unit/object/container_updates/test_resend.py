"""RESEND_CONTAINER_UPDATE: what is stored is told once more."""

import pytest

from tests.unit.object.harness import CONTAINER, EXPIRES, QUEUE, ServedFolder, at

ELSEWHERE = CONTAINER | {"X-Container-Host": "10.0.0.2:6201"}


def test_an_object_is_told_as_when_it_was_stored(store: ServedFolder) -> None:
    store.put(1)
    assert store.call("RESEND_CONTAINER_UPDATE", headers=ELSEWHERE).status == 202
    first, again = store.transport.rows
    assert again == first
    assert store.transport.requests[-1][0].node.ip == "10.0.0.2"


def test_with_its_newest_metadata(store: ServedFolder) -> None:
    store.put(1)
    store.post(2, content_type="text/html")
    store.call("RESEND_CONTAINER_UPDATE", headers=ELSEWHERE)
    row = store.transport.rows[-1]
    assert row == store.transport.rows[-2]
    assert (row.content_type, row.meta_timestamp) == ("text/html", at(2))


@pytest.mark.parametrize("later", [0, 100_000])
def test_the_queue_is_that_of_the_moment_at_which_it_expires(store: ServedFolder, later: int) -> None:
    store.put(1, **QUEUE)
    store.post(2, x_delete_at=str(EXPIRES + later))
    told = len(store.transport.rows)
    assert store.call("RESEND_CONTAINER_UPDATE", headers=ELSEWHERE | QUEUE).status == 202
    queued = [f"{EXPIRES}-a/c/o"] if not later else []
    assert [row.name for row in store.transport.rows[told:]] == ["o", *queued]


def test_a_deletion_is_told(store: ServedFolder) -> None:
    store.delete(1)
    assert store.call("RESEND_CONTAINER_UPDATE", headers=ELSEWHERE).status == 202
    assert store.transport.rows[-1] == store.transport.rows[-2]
    assert store.transport.rows[-1].deleted


def test_nothing_is_told_of_what_nobody_knows(store: ServedFolder) -> None:
    assert store.call("RESEND_CONTAINER_UPDATE", headers=ELSEWHERE).status == 404
    assert store.transport.requests == []


def test_a_server_that_does_not_answer_is_put_on_record(store: ServedFolder) -> None:
    store.put(1)
    store.transport.status = None
    assert store.call("RESEND_CONTAINER_UPDATE", headers=ELSEWHERE).status == 202
    assert [file for file in store.files() if file.startswith("async_pending")]
