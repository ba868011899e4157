"""Versions: what is asked of the servers, and what listings show."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

import pytest

from objstore.conditions import ObjectState
from objstore.http.transport import BackendRequest
from objstore.policies import Policies, Policy
from objstore.proxy.core.errors import ObjectNotFound, PreconditionFailed
from objstore.proxy.core.info import StoredObjectInfo
from objstore.proxy.core.objects import DeleteObject, GetObject
from objstore.proxy.core.versions import public_id
from objstore.timestamps import Timestamp
from tests.unit.proxy.store import Reply, ScriptedStore

PATH = "/v1/AUTH_a/c"
FIRST, SECOND = "1600000000.00000", "1600000001.00000"
MODES = [("true", "keep"), ("false", "null"), ("", None)]


def store_of(enabled: str = "true") -> ScriptedStore:
    store = ScriptedStore()
    store.container = Reply(
        204, {"X-Backend-Storage-Policy-Index": "0", "X-Container-Sysmeta-Versions-Enabled": enabled}
    )
    return store


def row(name: str, version: str, *, marker: bool = False, latest: bool = False) -> dict[str, object]:
    return {
        "name": name,
        "version_id": version,
        "marker": marker,
        "is_latest": latest,
        "hash": "",
        "bytes": 0 if marker else 3,
        "content_type": "text/x",
        "last_modified": "2020-01-01T00:00:00.000000",
    }


def lists(store: ScriptedStore, pages: list[list[dict[str, object]]]) -> list[dict[str, list[str]]]:
    """The container's server lists these pages one after the other; gives what it is asked."""
    asked: list[dict[str, list[str]]] = []
    usual = store.transport.script

    def script(request: BackendRequest) -> Reply:
        if not request.path.is_container or request.method != "GET":
            return usual(request)
        if (query := parse_qs(request.query)) not in asked:  # else another replica is asked the same
            asked.append(query)
        return Reply(200, store.container.headers, json.dumps(pages[len(asked) - 1]).encode())

    store.transport.script = script
    return asked


@pytest.mark.parametrize(("enabled", "mode"), MODES)
def test_writes_say_in_which_line_they_are(enabled: str, mode: str | None) -> None:
    store = store_of(enabled)
    store.otherwise = Reply(201)
    put = store.send("PUT", f"{PATH}/o", body=b"abc")
    store.otherwise = Reply(204)
    deleted = store.send("DELETE", f"{PATH}/o")
    assert (put.status, deleted.status) == (201, 204)
    assert {call.headers.get("X-Backend-Version-Mode") for call in store.calls()} == {mode}
    shown = [answer.headers.get("X-Object-Version-Id") for answer in (put, deleted)]
    stamps = [store.calls(method)[0].headers["X-Timestamp"] for method in ("PUT", "DELETE")]
    assert shown == ([public_id(stamp) for stamp in stamps] if mode == "keep" else [None, None])


def test_too_many_versions_are_refused() -> None:
    store = store_of()
    store.otherwise = Reply(409, {"X-Backend-Versions-Full": "true"})
    assert store.send("PUT", f"{PATH}/o", body=b"abc").status == 400
    assert store.send("DELETE", f"{PATH}/o").status == 400


@pytest.mark.parametrize(
    ("current", "methods"),
    [(SECOND, ["HEAD", "DELETE"]), (FIRST, ["HEAD", "DELETE null", f"DELETE {FIRST}"])],
)
def test_removing_the_current_version_leaves_a_marker_first(current: str, methods: list[str]) -> None:
    store = store_of()
    usual = store.transport.script

    def script(request: BackendRequest) -> Reply:
        if request.path.is_object and request.method == "HEAD":
            return Reply(200, {"X-Backend-Version-Id": current, "X-Timestamp": current})
        return Reply(204) if request.path.is_object else usual(request)

    store.transport.script = script
    answer = store.send("DELETE", f"{PATH}/o", query=f"version-id={public_id(FIRST)}")
    assert (answer.status, answer.headers["X-Object-Version-Id"]) == (204, public_id(FIRST))
    done = [
        (call.headers.get("X-Backend-Version-Mode"), call.headers.get("X-Backend-Version-Id"))
        for call in store.calls("DELETE")
    ][::3]
    assert done == ([("null", None)] if len(methods) == 3 else []) + [(None, FIRST)]


@pytest.mark.parametrize("is_marker", [False, True])
def test_what_others_write_meanwhile_is_not_hidden(monkeypatch: pytest.MonkeyPatch, is_marker: bool) -> None:
    """Under strong consistency: another version is stored after the look, so there is nothing to be hidden any more."""
    store = ScriptedStore(policies=Policies((Policy(0, "gold", default=True, consistency="strong"),)))
    store.container = Reply(204, {"X-Container-Sysmeta-Versions-Enabled": "true"})
    objects, found, deletions = store.context.objects, [FIRST], list[DeleteObject]()

    def head(command: GetObject) -> StoredObjectInfo:
        if is_marker and found == [FIRST]:
            raise ObjectNotFound(command.path, FIRST, is_marker=True, version=FIRST)
        return StoredObjectInfo(3, "etag", "text/x", found[-1], "", version=found[-1])

    def delete(command: DeleteObject) -> Timestamp:
        deletions.append(command)
        if len(deletions) == 1:
            found.append(SECOND)
            raise PreconditionFailed
        return command.timestamp

    monkeypatch.setattr(objects, "head", head)
    monkeypatch.setattr(objects, "delete", delete)
    assert store.send("DELETE", f"{PATH}/o", query=f"version-id={public_id(FIRST)}").status == 204
    assert [(each.version_mode, each.version) for each in deletions] == [("null", ""), ("", FIRST)]
    state = None if is_marker else ObjectState("etag", 3, 0, FIRST)
    conditions = deletions[0].conditions
    assert conditions is not None
    assert not conditions.refuse(state)
    assert conditions.refuse(ObjectState("etag", 3, 0, SECOND))


def test_listings_hide_delete_markers_of_the_plain_line() -> None:
    store = store_of()
    hidden = row("a", "null", marker=True, latest=True)
    asked = lists(store, [[hidden, row("a", SECOND, marker=True)], [row("a", FIRST), row("b", "null", latest=True)]])
    answer = store.send("GET", PATH, query="versions&limit=2")
    assert [(each["name"], each["version_id"], each["content_type"]) for each in json.loads(answer.body)] == [
        ("a", public_id(SECOND), "application/x-deleted;swift_versions_deleted=1"),
        ("a", public_id(FIRST), "text/x"),
    ]
    assert all("marker" not in each for each in json.loads(answer.body))
    assert [(each.get("marker"), each.get("version_marker")) for each in asked] == [(None, None), (["a"], [SECOND])]


def test_a_listing_goes_on_behind_a_version() -> None:
    store = store_of()
    asked = lists(store, [[row("a", FIRST)]])
    answer = store.send("GET", PATH, query=f"versions&marker=a&version_marker={public_id(SECOND)}")
    assert [each["version_id"] for each in json.loads(answer.body)] == [public_id(FIRST)]
    assert (asked[0]["versions"], asked[0]["version_marker"]) == (["true"], [SECOND])


def test_servers_that_list_current_objects_only_are_not_believed() -> None:
    store = store_of()
    lists(store, [[{"name": "a", "hash": "", "bytes": 3, "content_type": "", "last_modified": ""}]])
    assert store.send("GET", PATH, query="versions").status == 503


@pytest.mark.parametrize(("rows", "status"), [([row("a", "null", marker=True)], 204), ([row("a", FIRST)], 409)])
def test_markers_that_nobody_sees_do_not_keep_a_container(rows: list[dict[str, object]], status: int) -> None:
    store = store_of()
    lists(store, [rows])
    usual, removed = store.transport.script, []

    def script(request: BackendRequest) -> Reply:
        if request.method != "DELETE":
            return usual(request)
        if request.path.is_object:
            removed.append(request.headers["X-Backend-Version-Id"])
        return Reply(204) if request.path.is_object or removed else Reply(409)

    store.transport.script = script
    assert store.send("DELETE", PATH).status == status
    assert set(removed) == ({"null"} if status == 204 else set())
