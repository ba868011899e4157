"""Whatever the nodes do: what is acknowledged is stored by a quorum, and what somebody has is found."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.proxy.store import Reply, ScriptedStore

PATH = "/v1/AUTH_a/c/o"
NODES = [f"o{number}" for number in range(6)]
SMALL, LARGE = b"small", b"l" * 1_300_000
STORED = 201

put_replies = st.one_of(
    st.sampled_from([201, 201, 409, 412, 422, 500, 503, 507]).map(lambda status: Reply(status)),
    st.sampled_from([409, 412, 500, 507]).map(lambda status: Reply(status, early=True)),
    st.just(Reply(refuses=True)),
    st.just(Reply(201, stops_at=1_100_000)),
)
get_replies = st.sampled_from(
    [
        Reply(200, {"X-Backend-Timestamp": "1600000000.00000"}, b"content"),
        Reply(404),
        Reply(404, {"X-Backend-Timestamp": "1500000000.00000"}),
        Reply(500),
        Reply(507),
        Reply(refuses=True),
    ]
)


@given(st.lists(put_replies, min_size=6, max_size=6), st.sampled_from([SMALL, LARGE]))
def test_what_is_acknowledged_is_stored_by_a_quorum(replies: list[Reply], content: bytes) -> None:
    store = ScriptedStore()
    store.objects = dict(zip(NODES, replies, strict=True))
    status = store.send("PUT", PATH, body=content).status
    stored = {
        call.node
        for call in store.calls()
        if call.complete and not call.abandoned and call.body == content and store.objects[call.node].status == STORED
    }
    assert (status == STORED) == (len(stored) >= 2)
    assert status in (201, 202, 412, 422, 503)
    if status == 202:
        assert any(reply.status == 409 for reply in replies)


@given(st.lists(get_replies, min_size=6, max_size=6), st.sampled_from([{}, {"X-Newest": "true"}]))
def test_what_a_primary_has_is_found(replies: list[Reply], headers: dict[str, str]) -> None:
    store = ScriptedStore()
    store.objects = dict(zip(NODES, replies, strict=True))
    answer = store.send("GET", PATH, headers)
    assert answer.status in (200, 404, 503)
    if any(reply.status == 200 and not reply.refuses for reply in replies[:3]):
        assert (answer.status, answer.body) == (200, b"content")
    elif not headers and any(reply.status == 200 and not reply.refuses for reply in replies):
        assert answer.status == 200
    if answer.status == 404:
        assert sum(reply.status == 404 for reply in replies) >= 2


@given(st.lists(st.sampled_from([200, 404, 409, 500, 507]), min_size=6, max_size=6))
def test_a_delete_is_acknowledged_by_a_quorum(statuses: list[int]) -> None:
    store = ScriptedStore()
    store.objects = {node: Reply(status) for node, status in zip(NODES, statuses, strict=True)}
    if store.send("DELETE", PATH).status in (204, 404):
        answered = [store.objects[call.node].status for call in store.calls()]
        assert sum(status in (200, 404) for status in answered) >= 1
        assert sum(status < 500 for status in answered) >= 2
