"""Writes of strong policies: stamps, rounds, and what their clients are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import md5
from random import Random

import pytest

from objstore.conditions import WriteConditions
from objstore.http.bodies import BytesBody
from objstore.paths import ResourcePath
from objstore.proxy.core.errors import ObjectNotFound, PreconditionFailed
from objstore.proxy.core.objects import DeleteObject, PutObject
from objstore.timestamps import Timestamp
from tests.unit.proxy.core.strong_nodes import LATE, StrongNode, StrongStore
from tests.unit.proxy.store import Reply

OLD = "1600000000.00000_0000000000010000"
ABSENT = {"If-None-Match": "*"}
ONLY_NEW = WriteConditions(if_absent=True)
LARGE = b"x" * 200_000


def matching(body: bytes) -> dict[str, str]:
    return {"If-Match": f'"{md5(body).hexdigest()}"'}


@pytest.fixture
def store() -> StrongStore:
    return StrongStore()


def test_a_write_is_one_request_to_each_primary_under_a_stamp_of_its_own(store: StrongStore) -> None:
    assert store.send("PUT", body=b"one").status == 201
    assert store.methods() == ["PUT"] * 3
    stamps = {call.headers["X-Timestamp"] for call in store.transport.calls}
    assert len(stamps) == 1
    assert store.send("PUT", body=b"two").status == 201
    offsets = {Timestamp.parse(call.headers["X-Timestamp"]).offset for call in store.transport.calls}
    assert len(offsets) == 2
    assert all(offset > 0 and offset % 65536 == 0 for offset in offsets)


def test_a_handoff_does_not_count(store: StrongStore) -> None:
    store.nodes[0].down = True
    assert store.send("PUT", body=b"one").status == 201
    store.nodes[1].down = True
    assert store.send("PUT", body=b"two").status == 503
    assert {call.node for call in store.transport.calls} == {"o1", "o2"}


def test_a_write_that_comes_too_late_is_stamped_anew(store: StrongStore) -> None:
    store.all_have(LATE)
    answer = store.send("PUT", body=b"new")
    assert answer.status == 201
    assert store.methods() == ["PUT"] * 6
    stored = store.nodes[0].newest
    assert stored > LATE
    assert answer.headers["Last-Modified"] == Timestamp.parse(stored).http_date


def test_a_write_that_a_promise_stands_against_is_stamped_anew(store: StrongStore) -> None:
    for node in store.nodes:
        node.floor = LATE
    assert store.send("DELETE").status == 404
    assert store.nodes[0].newest > LATE


def test_what_some_have_taken_and_some_refused_is_agreed_on(store: StrongStore) -> None:
    store.nodes[0].floor = store.nodes[1].floor = LATE
    assert store.send("PUT", body=b"new").status == 201
    assert store.methods()[:11] == ["PUT"] * 3 + ["PREPARE"] * 3 + ["REPAIR"] * 2 + ["PREPARE"] * 3
    assert [node.body for node in store.nodes] == [b"new"] * 3


@pytest.mark.parametrize(("method", "done"), [("PUT", 201), ("DELETE", 204), ("POST", 202)])
def test_a_condition_is_decided_on_what_a_quorum_has(store: StrongStore, method: str, done: int) -> None:
    store.all_have(OLD, b"old")
    assert store.send(method, matching(b"other")).status == 412
    assert store.methods() == ["PREPARE"] * 3
    assert store.send(method, matching(b"old")).status == done
    assert len({node.state for node in store.nodes}) == 1
    assert store.nodes[0].newest > OLD


def test_of_two_that_want_to_be_first_the_second_is_refused(store: StrongStore) -> None:
    assert store.send("PUT", ABSENT, b"one").status == 201
    assert store.send("PUT", ABSENT, b"two").status == 412
    assert store.nodes[0].body == b"one"


def test_only_those_that_have_promised_get_the_write(store: StrongStore) -> None:
    """Another one may have what the decision did not see."""
    store.nodes[2].floor = LATE
    store.nodes[2].mute = frozenset({"PREPARE"})
    assert store.send("PUT", ABSENT, b"one").status == 201
    assert [call.node for call in store.transport.calls if call.request.method == "PUT"] == ["o0", "o1"]


def test_what_one_node_has_is_brought_to_a_quorum_before_it_refuses(store: StrongStore) -> None:
    store.nodes[0].down = True
    store.nodes[1].put(OLD, b"half done")
    assert store.send("PUT", ABSENT, b"one").status == 412
    assert "REPAIR" in store.methods()
    assert [node.body for node in store.nodes].count(b"half done") >= 2


def test_a_write_whose_answers_are_lost_is_found_to_be_done(store: StrongStore) -> None:
    for node in store.nodes:
        node.mute = frozenset({"PUT"})
    assert store.send("PUT", ABSENT, b"one").status == 201
    assert store.methods().count("PUT") == 3


def test_nobody_can_tell_what_became_of_a_write_that_may_have_been_replaced(store: StrongStore) -> None:
    answer = store.nodes[2].answer

    def replaced(method: str, headers: dict[str, str], body: bytes) -> object:
        result = answer(method, headers, body)
        if method == "PUT":  # before the next round somebody else writes
            store.all_have("1700000950.00000", b"theirs")
        return result

    store.nodes[2].answer = replaced  # type: ignore[method-assign, assignment]
    for node in store.nodes:
        node.mute = frozenset({"PUT"})
    assert store.send("PUT", ABSENT, b"one").status == 503
    assert store.methods().count("PUT") == 3


def between(store: StrongStore, do: Callable[[], None]) -> None:
    """Have `do` happen once between the promises of the nodes and the write that they are for."""
    answer, done = store.nodes[2].answer, list[None]()

    def and_do(method: str, headers: Mapping[str, str], body: bytes) -> Reply:
        reply = answer(method, headers, body)
        if method == "PREPARE" and not done:
            done.append(do())
        return reply

    store.nodes[2].answer = and_do  # type: ignore[method-assign]


@pytest.mark.parametrize("expects", [{}, {"Expect": "100-continue"}], ids=["sent", "asked-first"])
def test_a_small_body_is_sent_again_when_another_write_gets_between(
    store: StrongStore, expects: dict[str, str]
) -> None:
    def promise() -> None:
        for node in store.nodes:
            node.floor = LATE

    if expects:  # what the sender is told ahead takes promises of its own
        between(store, lambda: between(store, promise))
    else:
        between(store, promise)
    body = BytesBody(b"one")
    assert store.send("PUT", ABSENT | expects | {"Content-Length": "3"}, body).status == 201
    assert store.methods().count("PUT") == 6
    assert [node.body for node in store.nodes] == [b"one"] * 3


@pytest.mark.parametrize("condition", [{}, ABSENT], ids=["unconditional", "conditional"])
def test_a_large_body_is_sent_once_however_often_another_write_gets_between(
    store: StrongStore, condition: dict[str, str]
) -> None:
    """Nodes that refuse it have kept it."""
    answer, tries = store.nodes[0].answer, list[str]()

    def promised(method: str, headers: Mapping[str, str], body: bytes) -> Reply:
        if method == "PUT" and len(tries) < 3:
            for node in store.nodes:
                node.floor = f"170000090{len(tries)}.00000"
            tries.append(headers["X-Timestamp"])
        return answer(method, headers, body)

    store.nodes[0].answer = promised  # type: ignore[method-assign]
    assert store.send("PUT", condition, LARGE).status == 201
    puts = [call for call in store.transport.calls if call.request.method == "PUT"]
    assert [len(call.body) for call in puts] == [len(LARGE)] * 3 + [0] * 9
    assert tries == sorted(set(tries))
    assert [node.body for node in store.nodes] == [LARGE] * 3


def test_who_asks_first_is_refused_before_the_body(store: StrongStore) -> None:
    store.all_have(OLD, b"old")
    body = BytesBody(b"one")
    assert store.send("PUT", {**ABSENT, "Expect": "100-continue", "Content-Length": "3"}, body).status == 412
    assert body.read() == b"one", "nobody has read it"


@pytest.mark.parametrize("mode", ["", "keep"])
def test_an_attempt_that_was_never_chosen_is_refused_by_what_has_won(store: StrongStore, mode: str) -> None:
    """One node has stored it, then another writer's object has replaced it everywhere."""
    answer, removed = store.nodes[2].answer, set[str]()

    def replaced(method: str, headers: Mapping[str, str], body: bytes) -> Reply:
        result = answer(method, headers, body)
        if method == "PUT":
            assert result.status == 201
            removed.add(headers["X-Timestamp"])
            store.all_have(LATE, b"theirs")
        return result

    def promise() -> None:
        store.nodes[0].floor = store.nodes[1].floor = LATE

    store.nodes[2].answer = replaced  # type: ignore[method-assign]
    between(store, promise)
    path, objects, now = (
        ResourcePath("AUTH_a", "c", "o"),
        store.scripted.context.objects,
        store.scripted.clock.timestamp(),
    )
    with pytest.raises(PreconditionFailed):
        objects.put(PutObject(path, 0, now, BytesBody(b"kept"), 4, 4, "a/b", conditions=ONLY_NEW, version_mode=mode))
    removals = [each.request for each in store.transport.calls if each.request.method == "DELETE"]
    assert {each.headers["X-Backend-Version-Id"] for each in removals} == (removed if mode else set())


def test_a_node_that_has_not_answered_is_asked_again_what_became_of_an_attempt(store: StrongStore) -> None:
    """Without its answer nobody could tell whether the attempt was chosen before something newer came."""
    answer = store.nodes[2].answer

    def replaced(method: str, headers: Mapping[str, str], body: bytes) -> Reply:
        reply = answer(method, headers, body)
        store.nodes[1].mute = frozenset({"PREPARE"} if method == "PUT" else ())
        if method == "PUT":
            store.all_have(LATE, b"theirs")
        return reply

    def promise() -> None:
        store.nodes[0].floor = store.nodes[1].floor = LATE

    store.nodes[2].answer = replaced  # type: ignore[method-assign]
    between(store, promise)
    assert store.send("PUT", ABSENT, b"one").status == 412
    assert store.methods().count("PREPARE") == 9


def test_metadata_goes_to_the_state_it_was_meant_for(store: StrongStore) -> None:
    store.all_have(OLD, b"old")
    store.nodes[2].put("1500000000.00000", b"older")
    assert store.send("POST", {"X-Object-Meta-A": "b"}).status == 202
    posts = [call for call in store.transport.calls if call.request.method == "POST"]
    assert {call.headers["X-Backend-State"] for call in posts} == {f"{OLD}.data"}
    assert store.nodes[2].names == {"1500000000.00000.data"}


def test_metadata_needs_an_object(store: StrongStore) -> None:
    assert store.send("POST", {"X-Object-Meta-A": "b"}).status == 404
    assert "POST" not in store.methods()


def test_a_deletion_says_whether_there_was_anything(store: StrongStore) -> None:
    assert store.send("DELETE").status == 404
    store.send("PUT", body=b"one")
    assert store.send("DELETE").status == 204
    assert store.send("GET").status == 404


def test_with_too_few_nodes_nothing_is_decided(store: StrongStore) -> None:
    store.nodes[0].down = store.nodes[1].down = True
    assert store.send("PUT", ABSENT, b"one").status == 503
    assert store.send("GET").status == 503


def test_a_large_body_is_stamped_when_it_is_there(store: StrongStore) -> None:
    assert store.send("PUT", body=LARGE).status == 201
    calls = store.transport.calls
    assert [len(call.body) for call in calls] == [len(LARGE)] * 3
    assert {call.trailers["X-Timestamp"] for call in calls} == {store.nodes[0].newest}
    assert store.nodes[0].newest > calls[0].request.headers["X-Timestamp"][:16]


def test_a_large_body_that_comes_too_late_is_stamped_anew_before_it_is_sent(store: StrongStore) -> None:
    store.all_have(LATE)
    assert store.send("PUT", body=LARGE).status == 201
    assert [len(call.body) for call in store.transport.calls] == [0] * 3 + [len(LARGE)] * 3


def test_the_condition_of_a_large_body_is_told_before_and_decided_after(store: StrongStore) -> None:
    assert store.send("PUT", ABSENT, LARGE).status == 201
    assert store.methods() == ["PREPARE"] * 3 + ["PUT"] * 3 + ["PREPARE"] * 3
    assert all("X-Backend-Agreed" in call.trailers for call in store.transport.calls[3:6])
    body = BytesBody(LARGE)
    assert store.send("PUT", {**ABSENT, "Content-Length": str(len(LARGE))}, body).status == 412
    assert store.methods()[9:] == ["PREPARE"] * 3
    assert len(body.read()) == len(LARGE), "nobody has read it"


def left_behind(node: StrongNode) -> None:
    """The node stores what it gets and is gone before it can say so."""
    answer = node.answer

    def and_leave(method: str, headers: Mapping[str, str], body: bytes) -> Reply:
        reply = answer(method, headers, body)
        node.down = True
        return reply

    node.answer, node.mute = and_leave, frozenset({"PUT", "DELETE"})  # type: ignore[method-assign]


@pytest.mark.parametrize("deletes", [False, True])
def test_no_earlier_attempt_stays_as_a_version(store: StrongStore, deletes: bool) -> None:
    """A node stores the first attempt and is gone, the others refuse it: the second one is the version."""
    store.nodes[0].floor = store.nodes[1].floor = LATE
    last, objects, now = store.nodes[2], store.scripted.context.objects, store.scripted.clock.timestamp()
    left_behind(last)
    path = ResourcePath("AUTH_a", "c", "o")
    if deletes:
        with pytest.raises(ObjectNotFound) as nothing:
            objects.delete(DeleteObject(path, 0, now, version_mode="keep"))
        made = nothing.value.version
    else:
        made = objects.put(PutObject(path, 0, now, BytesBody(b"kept"), 4, 4, "a/b", version_mode="keep")).version
    removals = [each.request.headers for each in store.transport.calls if "X-Backend-Version-Id" in each.headers]
    removed = {each["X-Backend-Version-Id"] for each in removals}
    assert removed == {last.newest}
    assert last.newest < made


class Descending(Random):
    """Gives each write a smaller number than the last one."""

    last = 1000

    def getrandbits(self, k: int, /) -> int:
        self.last -= 1
        return self.last


def test_each_attempt_is_later_than_those_before_it(store: StrongStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes are gone for a moment: what the third one has by then is older than what counts."""
    monkeypatch.setattr(store.scripted.context.objects._strong._agreement, "_random", Descending())
    first, second, last = store.nodes
    first.down = second.down = True
    left_behind(last)
    leave = last.answer

    def and_others_come(method: str, headers: Mapping[str, str], body: bytes) -> Reply:
        first.down = second.down = False
        return leave(method, headers, body)

    last.answer = and_others_come  # type: ignore[method-assign]
    assert store.send("PUT", body=b"one").status == 201
    assert "" < last.newest < first.newest == second.newest


def test_a_version_is_removed_in_the_state_that_a_quorum_has(store: StrongStore) -> None:
    """Each node weighs the version's lock by what it has: one that has missed a lock must not remove the version."""
    store.all_have(OLD, b"old")
    for node in store.nodes[:2]:
        node.names.add("1600000001.00000.meta")
    path = ResourcePath("AUTH_a", "c", "o")
    removal = DeleteObject(path, 0, store.scripted.clock.timestamp(), version=OLD)
    store.scripted.context.objects.delete(removal)
    sent = [call for call in store.transport.calls if call.request.method == "DELETE"]
    assert store.methods()[:3] == ["PREPARE"] * 3
    assert {call.headers["X-Backend-State"] for call in sent} == {f"{OLD}.data,1600000001.00000.meta"}
    assert store.nodes[2].names == {f"{OLD}.data"}
