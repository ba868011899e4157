"""Containers hear of every write that is acknowledged, whichever node fails."""

from __future__ import annotations

import pytest

from objstore.proxy.core.backend.objects import merge_update_headers
from tests.unit.proxy.store import Call, Reply, ScriptedStore

PATH = "/v1/AUTH_a/c/o"
SMALL, LARGE = b"x" * 1000, bytes(range(256)) * 12_000
REFUSES, LEFT = Reply(refuses=True), Reply(201, stops_at=1_500_000)


def store_of(status: int, **replies: Reply) -> ScriptedStore:
    """These nodes answer so, the other primaries with the status; nobody stands in for them."""
    store = ScriptedStore()
    store.otherwise = REFUSES
    store.objects = {f"o{number}": Reply(status) for number in range(3)} | replies
    return store


def told(calls: list[Call]) -> list[str]:
    """The container servers of all calls that came through."""
    return sorted(device for call in calls for device in call.headers["X-Container-Device"].split(","))


@pytest.mark.parametrize("node", ["o0", "o1", "o2"])
@pytest.mark.parametrize(("body", "bad"), [(SMALL, REFUSES), (LARGE, REFUSES), (LARGE, LEFT)])
def test_a_node_that_has_stored_stands_in_for_one_that_has_not(body: bytes, bad: Reply, node: str) -> None:
    store = store_of(201, **{node: bad})
    assert store.send("PUT", PATH, body=body).status == 201
    (asked,) = store.calls("RESEND_CONTAINER_UPDATE")
    assert asked.node != node
    assert asked.headers["X-Container-Device"] == node.replace("o", "c")
    assert asked.headers["X-Backend-Storage-Policy-Index"] == "0"
    done = [call for call in store.calls("PUT") if call.complete and call.node != node]
    assert told([*done, asked]) == ["c0", "c1", "c2"]


def test_the_queue_of_what_expires_is_told_too() -> None:
    store = store_of(201, o1=REFUSES)
    store.send("PUT", PATH, {"X-Delete-After": "1000"}, SMALL)
    (asked,) = store.calls("RESEND_CONTAINER_UPDATE")
    assert asked.headers["X-Delete-At-Device"] == "c1"
    assert {"X-Delete-At", "X-Delete-At-Host", "X-Delete-At-Partition", "X-Delete-At-Container"} <= asked.headers.keys()


def test_another_one_is_asked_if_the_first_does_not_answer() -> None:
    store = store_of(201, o2=REFUSES)
    script = store.transport.script
    store.transport.script = lambda request: (
        REFUSES if (request.method, request.node.device) == ("RESEND_CONTAINER_UPDATE", "o0") else script(request)
    )
    assert store.send("PUT", PATH, body=SMALL).status == 201
    assert [call.node for call in store.calls("RESEND_CONTAINER_UPDATE")] == ["o1"]


def test_a_node_without_the_object_tells_nobody_of_its_metadata() -> None:
    store = store_of(202, o0=Reply(404))
    assert store.send("POST", PATH).status == 202
    assert [call.headers["X-Container-Device"] for call in store.calls("RESEND_CONTAINER_UPDATE")] == ["c0"]


@pytest.mark.parametrize("status", [204, 404])
def test_a_deletion_is_told_whether_there_was_an_object_or_not(status: int) -> None:
    store = store_of(204, o1=Reply(status))
    assert store.send("DELETE", PATH).status == 204
    assert store.calls("RESEND_CONTAINER_UPDATE") == []


def test_nobody_is_told_of_what_is_not_acknowledged() -> None:
    store = store_of(503, o1=Reply(201))
    assert store.send("PUT", PATH, body=SMALL).status == 503
    assert store.calls("RESEND_CONTAINER_UPDATE") == []


def test_one_request_tells_all() -> None:
    orphans = [
        {"X-Container-Host": "a:1", "X-Container-Device": "d1", "X-Container-Partition": "7", "Content-Type": "x"},
        {"X-Container-Host": "b:1,c:1", "X-Container-Device": "d2,d3", "X-Container-Partition": "7"},
        {},
    ]
    assert merge_update_headers(orphans) == {
        "X-Container-Host": "a:1,b:1,c:1",
        "X-Container-Device": "d1,d2,d3",
        "X-Container-Partition": "7",
    }


def test_the_row_sent_is_that_of_the_version_written() -> None:
    orphan = {"X-Container-Host": "h:1", "X-Timestamp": "0000000001.00000"}
    for sent, asked in (
        ({"X-Backend-Version-Mode": "keep"}, "0000000001.00000"),
        ({"X-Backend-Version-Mode": "null"}, "null"),
        ({"X-Backend-Version-Id": "0000000000.50000"}, "0000000000.50000"),
    ):
        merged = merge_update_headers([orphan | sent])
        assert merged == {"X-Container-Host": "h:1", "X-Backend-Version-Id": asked}
