"""Objects: what is refused before any server is asked, what is sent to the servers, and what comes back."""

from __future__ import annotations

import pytest

from objstore.http.errors import HttpError
from objstore.proxy.swift.request import SwiftRequest
from tests.unit.proxy.store import NOW, Reply, ScriptedStore, refusal

PATH = "/v1/AUTH_a/c/o.txt"
SOON = str(int(NOW) + 100)


def store_of(otherwise: Reply) -> ScriptedStore:
    store = ScriptedStore()
    store.otherwise = otherwise
    return store


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Object-Meta-" + "n" * 129: "v"}, 400),
        ({"X-Object-Meta-A": "v" * 257}, 400),
        ({"X-Delete-At": "soon"}, 400),
        ({"X-Delete-At": "1000"}, 400),
        ({"X-Delete-After": "-5"}, 400),
        ({"X-Delete-After": "0"}, 400),
        ({"X-Delete-After": "1.5"}, 400),
        ({"If-None-Match": "abc"}, 400),
        ({"X-Static-Large-Object": "True"}, 400),
        ({"X-Timestamp": "yesterday"}, 400),
        ({"Content-Length": str(5 * 1024**3 + 3)}, 413),
        ({"Content-Length": ""}, 411),
    ],
)
def test_puts_that_cannot_be(headers: dict[str, str], status: int) -> None:
    store = store_of(Reply(201))
    assert store.send("PUT", PATH, headers).status == status
    assert store.calls() == []


def test_names_have_a_limit() -> None:
    assert store_of(Reply(201)).send("PUT", "/v1/AUTH_a/c/" + "n" * 1025).status == 400


def test_what_a_put_sends() -> None:
    store = store_of(Reply(201))
    sent = {
        "X-Object-Meta-Colour": "blue",
        "X-Object-Sysmeta-Own": "1",
        "X-Object-Transient-Sysmeta-Own": "2",
        "Content-Disposition": "inline",
        "X-Delete-After": "100",
        "X-Delete-At": "not looked at",
        "X-Timestamp": "1600000000.00001_000000000000000a",
        "X-Unknown": "3",
    }
    assert store.send("PUT", PATH, sent, b"x").status == 201
    first = store.calls()[0]
    assert first.request.target == "/o0/0/AUTH_a/c/o.txt"
    for name in list(sent)[:4]:
        assert first.headers[name] == sent[name]
    assert "X-Unknown" not in first.headers
    assert first.headers["X-Delete-At"] == SOON
    assert first.headers["X-Timestamp"] == sent["X-Timestamp"]
    assert first.headers["Content-Type"] == "text/plain"
    assert first.headers["X-Trans-Id"] == "tx1"
    assert first.headers["X-Backend-Storage-Policy-Index"] == "0"
    for index, call in enumerate(store.calls()):
        assert call.headers["X-Container-Host"] == f"10.0.0.{index}:6201"
        assert call.headers["X-Container-Device"] == f"c{index}"
        assert call.headers["X-Container-Partition"] == "0"
        assert call.headers["X-Delete-At-Container"] == "1699920000"
        assert call.headers["X-Delete-At-Device"] == f"c{index}"


@pytest.mark.parametrize(
    ("name", "headers", "expected"),
    [
        ("o.html", {}, "text/html"),
        ("o", {}, "application/octet-stream"),
        ("o.txt", {"Content-Type": "image/png"}, "image/png"),
        ("o.txt", {"Content-Type": "image/png", "X-Detect-Content-Type": "true"}, "text/plain"),
        ("o.txt", {"Content-Type": ""}, "text/plain"),
    ],
)
def test_types(name: str, headers: dict[str, str], expected: str) -> None:
    store = store_of(Reply(201))
    store.send("PUT", f"/v1/AUTH_a/c/{name}", headers, b"x")
    assert store.calls()[0].headers["Content-Type"] == expected


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
def test_without_container_there_is_no_object(method: str) -> None:
    store = store_of(Reply(201))
    store.container = Reply(404)
    assert store.send(method, PATH).status == 404
    store.cache.values.clear()
    store.container = Reply(refuses=True)
    assert store.send(method, PATH).status == 503
    assert store.calls() == []


@pytest.mark.parametrize(("method", "expected"), [("GET", "readers"), ("HEAD", "readers"), ("PUT", "writers")])
def test_the_containers_lists_decide(method: str, expected: str) -> None:
    seen: list[str | None] = []

    def refuse(request: SwiftRequest) -> None:
        seen.append(request.acl)
        raise HttpError(403)

    store = store_of(Reply(201))
    store.container = Reply(204, {"X-Container-Read": "readers", "X-Container-Write": "writers"})
    assert store.send(method, PATH, authorize=refuse).status == 403
    assert seen == [expected]
    assert store.calls() == []


def test_a_post_sends_metadata_and_the_type_only_if_given() -> None:
    store = store_of(Reply(202))
    headers = {"X-Object-Meta-A": "1", "X-Delete-At": SOON, "X-Remove-Delete-At": "true"}
    assert store.send("POST", PATH, headers).status == 202
    sent = store.calls()[0].headers
    assert sent["X-Object-Meta-A"] == "1"
    assert not {"Content-Type", "X-Delete-At", "X-Delete-At-Container"} & sent.keys()
    store.send("POST", PATH, {"Content-Type": "text/b"})
    assert store.calls()[-1].headers["Content-Type"] == "text/b"
    assert store_of(Reply(404)).send("POST", PATH).status == 404


@pytest.mark.parametrize(("header", "shown"), [("X-Delete-At", "9999999999"), ("X-Delete-After", "9999999999")])
def test_no_object_outlives_what_a_time_can_say(header: str, shown: str) -> None:
    store = store_of(Reply(202))
    assert store.send("POST", PATH, {header: "9" * 5000}).status == 202
    assert store.calls()[0].headers["X-Delete-At"] == shown


def test_object_metadata_is_any_bytes() -> None:
    store = store_of(Reply(202))
    assert store.send("POST", PATH, {"X-Object-Meta-A": "\xe3\x81"}).status == 202
    assert store.calls()[0].headers["X-Object-Meta-A"] == "\xe3\x81"


@pytest.mark.parametrize("status", [412, 416])
def test_a_refusal_says_which_object_it_is(status: int) -> None:
    known = {"Etag": "e", "Last-Modified": "l", "Accept-Ranges": "bytes", "X-Timestamp": "1"}
    answer = store_of(Reply(status, {**known, "X-Object-Meta-A": "1"})).send("GET", PATH)
    assert answer.status == status
    assert known.items() <= answer.headers.items()
    assert "X-Object-Meta-A" not in answer.headers


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [((204, 204, 204), 204), ((204, 404, 503), 204), ((404, 404, 204), 404), ((409,) * 3, 409)],
)
def test_deletes(statuses: tuple[int, ...], expected: int) -> None:
    store = store_of(Reply(503))
    store.objects = {f"o{number}": Reply(status) for number, status in enumerate(statuses)}
    assert store.send("DELETE", PATH, {"X-If-Delete-At": SOON}).status == expected
    sent = store.calls()[0].headers
    assert sent["X-Container-Device"] == "c0"
    assert sent["X-If-Delete-At"] == SOON
    assert sent["X-Timestamp"] == "1700000000.00000"


def test_other_verbs() -> None:
    answer = store_of(Reply(200)).send("PATCH", PATH)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD, PUT, POST, DELETE, COPY, OPTIONS"


def test_headers_of_the_connection_stay_on_it() -> None:
    store = store_of(Reply(200, {"Connection": "close", "Etag": "e"}, b"x"))
    assert not {"Connection", "Content-Length"} & store.send("GET", PATH).headers.keys()


def test_parts_of_the_store_may_look_in_another_policy() -> None:
    store = store_of(Reply(200, {}, b"x"))
    store.send("GET", PATH, {"X-Backend-Storage-Policy-Index": "1"})
    assert store.calls()[0].headers["X-Backend-Storage-Policy-Index"] == "1"


@pytest.mark.parametrize(
    ("allowed", "owner", "value", "opened"),
    [(True, True, "true", True), (False, True, "true", False), (True, False, "true", False), (True, True, "no", False)],
)
def test_owners_may_see_what_has_expired(allowed: bool, owner: bool, value: str, opened: bool) -> None:
    def let_in(request: SwiftRequest) -> None:
        request.owner = owner

    store = ScriptedStore(allow_open_expired=allowed)
    store.otherwise = Reply(200, {}, b"x")
    store.send("GET", PATH, {"X-Open-Expired": value}, authorize=let_in)
    store.send("POST", PATH, {"X-Open-Expired": value}, authorize=let_in)
    for call in store.calls():
        assert ("X-Backend-Open-Expired" in call.headers) is opened


def test_a_change_asks_the_primary_that_was_left_alone_when_others_lack_the_object() -> None:
    store = store_of(Reply(404))
    store.objects = {"o0": Reply(202), "o1": Reply(202)}
    nodes = store.rings.object(0).devices
    store.context.nodes.record_error(nodes[0], refusal(507))
    assert store.send("POST", PATH).status == 202
    assert [call.node for call in store.calls("POST")] == ["o1", "o2", "o3", "o0"]


def test_a_change_that_one_node_made_and_no_other_could_is_not_404() -> None:
    store = store_of(Reply(404))
    store.objects = {"o0": Reply(202)}
    assert store.send("POST", PATH).status == 503
    store.objects["o1"] = Reply(404, {"X-Backend-Timestamp": "1700000000.00000"})
    assert store.send("POST", PATH).status == 404
