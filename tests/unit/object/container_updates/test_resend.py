"""RESEND_CONTAINER_UPDATE: what is stored is told once more."""

import pytest

from tests.unit.object.harness import CONTAINER, EXPIRES, QUEUE, ServedFolder, at, put_headers

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


def test_a_fragment_is_told_before_it_is_durable(store: ServedFolder) -> None:
    """Also over an older one that is."""
    coded = {"X-Backend-Storage-Policy-Index": "3"}
    code = store.cluster.policies.by_index(3).scheme.code
    assert code is not None
    for second in (1, 2):
        fragment = code.encode(b"body" * second)[0]
        headers = put_headers(second, fragment) | coded
        headers |= {"X-Backend-Fragment": f"0 {code}", "X-Backend-Whole-Size": str(4 * second)}
        assert store.call("PUT", headers=headers, body=fragment).status == 201
        assert store.call("RESEND_CONTAINER_UPDATE", headers=ELSEWHERE | coded).status == 202
        row = store.transport.rows[-1]
        assert row == store.transport.rows[-2]
        assert (row.timestamp, row.size) == (at(second), 4 * second)
        if second == 1:
            assert store.call("COMMIT", headers=coded | {"X-Timestamp": at(1)}).status == 201
