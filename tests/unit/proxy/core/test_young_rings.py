"""While a ring is young, what it moves is readable, and can be changed, where it was."""

from __future__ import annotations

import pytest

from tests.unit.proxy.store import Reply, ScriptedStore, make_ring

PATH = "/v1/AUTH_a/c/o"
OLD, NEW = "1600000000.00000", "1600000001.00000"


def moved(replicas: int) -> ScriptedStore:
    """The first replica has just moved from o5 to o0, which has nothing yet."""
    store = ScriptedStore(replicas=replicas)
    ring, former = make_ring("o", 6200, 6, replicas), make_ring("o", 6200, 6, replicas)
    former.rows[0][0] = 5
    ring.former = (former,)
    store.rings.object = lambda index: ring
    return store


def data(stamp: str = OLD) -> Reply:
    return Reply(200, {"Etag": "e", "X-Timestamp": stamp, "X-Backend-Timestamp": stamp}, b"hello")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("headers", [{}, {"X-Newest": "true"}])
def test_the_only_replica_stays_readable_while_it_moves(method: str, headers: dict[str, str]) -> None:
    store = moved(replicas=1)
    store.objects["o5"] = data()
    assert store.send(method, PATH, headers).status == 200


def test_it_is_asked_before_handoffs() -> None:
    store = moved(replicas=1)
    store.objects["o5"] = data()
    store.send("GET", PATH)
    assert [call.node for call in store.calls()] == ["o0", "o5"]


def test_a_deletion_that_the_new_place_has_is_believed() -> None:
    store = moved(replicas=1)
    store.objects = {"o0": Reply(404, {"X-Backend-Timestamp": NEW}), "o5": data()}
    assert store.send("GET", PATH).status == 404


@pytest.mark.parametrize(("method", "status"), [("POST", 202), ("DELETE", 204)])
def test_it_can_be_changed_where_it_was(method: str, status: int) -> None:
    store = moved(replicas=1)
    store.objects["o5"] = Reply(status)
    assert store.send(method, PATH).status == status


def test_with_more_replicas_the_others_answer() -> None:
    store = moved(replicas=3)
    store.objects = {node: Reply(204) for node in ("o1", "o2", "o5")}
    assert store.send("DELETE", PATH).status == 204
    assert {call.node for call in store.calls("DELETE")} == {"o0", "o1", "o2"}


def test_an_old_ring_asks_nobody_else() -> None:
    store = ScriptedStore(replicas=1)
    assert store.send("POST", PATH).status == 404
    assert {call.node for call in store.calls("POST")} == {"o0"}
