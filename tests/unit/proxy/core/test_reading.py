"""Which node's answer the client gets."""

from __future__ import annotations

import pytest

from objstore.paths import ResourcePath
from objstore.proxy.core.errors import ObjectNotFound
from objstore.proxy.core.objects import GetObject
from tests.unit.proxy.store import NOW, Reply, ScriptedStore

PATH = "/v1/AUTH_a/c/o"
OLD, NEW = "1600000000.00000", "1600000001.00000"


def data(body: bytes = b"hello", stamp: str = OLD, status: int = 200, *, late: bool = False, **more: str) -> Reply:
    headers = {"Etag": "e" + stamp, "X-Timestamp": stamp, "X-Backend-Timestamp": stamp, **more}
    return Reply(status, headers, body, late=late)


def gone(stamp: str) -> Reply:
    return Reply(404, {"X-Backend-Timestamp": stamp})


SILENT, REFUSES, FULL, BROKEN = Reply(silent=True), Reply(refuses=True), Reply(507), Reply(500)


@pytest.mark.parametrize("bad", [REFUSES, FULL, BROKEN, SILENT, Reply(404)])
@pytest.mark.parametrize("holder", ["o0", "o1", "o2", "o3", "o5"])
def test_one_node_that_has_it_is_enough(bad: Reply, holder: str) -> None:
    for _ in range(4):
        store = ScriptedStore()
        store.otherwise = bad
        store.objects[holder] = data()
        answer = store.send("GET", PATH)
        assert (answer.status, answer.body) == (200, b"hello")


def test_a_slow_node_is_waited_for_beside_the_others() -> None:
    store = ScriptedStore()
    store.objects = {"o0": data(late=True), "o1": Reply(404), "o2": Reply(404)}
    answer = store.send("GET", PATH)
    assert (answer.status, answer.body) == (200, b"hello")
    assert not any(call.abandoned for call in store.calls())


def test_a_node_that_never_answers_is_given_up_once_another_has() -> None:
    store = ScriptedStore()
    store.otherwise = SILENT
    store.objects["o4"] = data()
    assert store.send("GET", PATH).status == 200
    assert {call.node for call in store.calls() if call.abandoned} >= {"o0", "o1", "o2"}
    assert {device for _, _, device in store.context.nodes.failures} >= {"o0", "o1", "o2"}


def test_the_first_good_answer_ends_the_search() -> None:
    store = ScriptedStore()
    store.otherwise = data()
    store.send("GET", PATH)
    assert len(store.calls()) == 1


def test_reads_are_spread_over_the_primaries() -> None:
    store = ScriptedStore()
    store.otherwise = data()
    for _ in range(60):
        store.send("GET", PATH)
    asked = [call.node for call in store.calls()]
    assert {node: asked.count(node) > 8 for node in asked} == {"o0": True, "o1": True, "o2": True}


@pytest.mark.parametrize(
    ("primaries", "status"),
    [
        ([Reply(404), Reply(404), Reply(404)], 404),
        ([Reply(404), Reply(404), REFUSES], 404),
        ([Reply(404), REFUSES, REFUSES], 503),
        ([REFUSES, BROKEN, FULL], 503),
        ([gone(NEW), REFUSES, BROKEN], 503),
        ([gone(NEW), gone(NEW), BROKEN], 404),
    ],
)
def test_what_nobody_has(primaries: list[Reply], status: int) -> None:
    store = ScriptedStore()
    store.objects = {f"o{number}": reply for number, reply in enumerate(primaries)}
    assert store.send("GET", PATH).status == status
    assert len({call.node for call in store.calls()}) + primaries.count(REFUSES) == 6


def test_a_tombstone_on_a_handoff_has_a_vote() -> None:
    store = ScriptedStore()
    store.objects = {"o0": gone(NEW), "o1": REFUSES, "o2": REFUSES, "o3": gone(NEW)}
    assert store.send("GET", PATH).status == 404


def test_what_was_deleted_does_not_come_back_from_a_stale_handoff() -> None:
    store = ScriptedStore()
    store.otherwise = gone(NEW)
    store.objects["o4"] = data(stamp=OLD)
    with pytest.raises(ObjectNotFound) as caught:
        store.context.objects.open(GetObject(ResourcePath("AUTH_a", "c", "o"), 0))
    assert caught.value.deleted_at == NEW


@pytest.mark.parametrize("headers", [{}, {"X-Newest": "true"}])
def test_what_has_expired_by_one_nodes_clock_is_read_from_another(headers: dict[str, str]) -> None:
    store = ScriptedStore()
    posted = {"X-Timestamp": NEW, "X-Backend-Timestamp": NEW, "X-Backend-Data-Timestamp": OLD}
    store.otherwise = Reply(404, posted)
    store.objects["o2"] = Reply(200, posted, b"here")
    assert store.send("GET", PATH, headers).body == b"here"
    # One that has missed the POST by which it has expired does not bring it back.
    store.objects["o2"] = data(b"stale", OLD)
    assert store.send("GET", PATH, headers).status == 404


@pytest.mark.parametrize("status", [304, 412, 416])
def test_conditions_are_weighed_by_the_node(status: int) -> None:
    store = ScriptedStore()
    store.otherwise = Reply(status, {"Etag": "e", "X-Timestamp": OLD}, b"" if status == 304 else b"why")
    answer = store.send("GET", PATH, {"If-None-Match": "e", "Range": "bytes=1-2"})
    assert answer.status == status
    assert answer.headers["Etag"] == "e"
    (call,) = store.calls()
    assert (call.headers["If-None-Match"], call.headers["Range"]) == ("e", "bytes=1-2")


def test_newest_asks_every_primary() -> None:
    store = ScriptedStore()
    store.objects = {"o0": data(b"old"), "o1": data(b"new", NEW), "o2": Reply(404)}
    assert store.send("GET", PATH, {"X-Newest": "true"}).body == b"new"
    assert [call.node for call in store.calls()] == ["o0", "o1", "o2"]


def test_newest_may_be_a_deletion() -> None:
    store = ScriptedStore()
    store.objects = {"o0": data(stamp=OLD), "o1": gone(NEW), "o2": data(stamp=OLD)}
    assert store.send("HEAD", PATH, {"X-Newest": "1"}).status == 404


NEWEST = "1600000002.00000"
POSTED_LATER = {"X-Timestamp": NEWEST, "X-Backend-Timestamp": NEWEST}


def test_newest_is_the_newest_data_though_older_data_has_got_the_same_metadata() -> None:
    for old, new in (("o0", "o1"), ("o1", "o0")):
        store = ScriptedStore()
        store.objects[old] = data(b"old", **POSTED_LATER, **{"X-Backend-Data-Timestamp": OLD})
        store.objects[new] = data(b"new", **POSTED_LATER, **{"X-Backend-Data-Timestamp": NEW})
        assert store.send("GET", PATH, {"X-Newest": "true"}).body == b"new"


@pytest.mark.parametrize("headers", [{}, {"X-Newest": "true"}])
def test_a_post_to_a_node_that_missed_the_deletion_does_not_undo_it(headers: dict[str, str]) -> None:
    store = ScriptedStore()
    store.otherwise = gone(NEW)
    store.objects["o4" if not headers else "o1"] = data(**POSTED_LATER, **{"X-Backend-Data-Timestamp": OLD})
    assert store.send("GET", PATH, headers).status == 404


def test_newest_does_without_nodes_that_fail() -> None:
    store = ScriptedStore()
    store.objects = {"o0": REFUSES, "o1": SILENT, "o2": data(b"old"), "o3": data(b"new", NEW)}
    assert store.send("GET", PATH, {"X-Newest": "true"}).body == b"new"
    store.otherwise = REFUSES
    store.objects = {}
    assert store.send("GET", PATH, {"X-Newest": "true"}).status == 503


def test_head_ignores_ranges() -> None:
    store = ScriptedStore()
    store.otherwise = data()
    answer = store.send("HEAD", PATH, {"Range": "bytes=0-1"})
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, "5", b"")
    assert "Range" not in store.calls()[0].headers


def test_small_bodies_are_read_before_the_answer_begins() -> None:
    store = ScriptedStore()
    store.otherwise = Reply(200, {"X-Timestamp": OLD}, b"x" * 100, streamed=True, breaks_at=50)
    store.objects["o3"] = Reply(200, {"X-Timestamp": OLD}, b"x" * 100, streamed=True)
    answer = store.send("GET", PATH)
    assert answer.body == b"x" * 100


def test_a_node_that_keeps_failing_is_left_alone_for_a_minute() -> None:
    store = ScriptedStore()
    store.otherwise = data()
    store.objects["o0"] = REFUSES
    for _ in range(60):
        store.send("GET", PATH)
    assert store.context.nodes.error_limited(store.rings.object(0).devices[0])
    store.objects["o0"] = data()
    before = len(store.calls())
    for _ in range(20):
        store.send("GET", PATH)
    assert "o0" not in [call.node for call in store.calls()[before:]]
    store.clock.seconds = NOW + 61
    for _ in range(20):
        store.send("GET", PATH)
    assert "o0" in [call.node for call in store.calls()[before:]]


def test_a_missing_disk_is_left_alone_at_once_but_asked_when_nobody_else_has_it() -> None:
    store = ScriptedStore()
    store.otherwise = FULL
    assert store.send("GET", PATH).status == 503
    store.objects["o1"] = data()
    assert store.send("GET", PATH).status == 200
