"""Bulk deletion: which names go, in which order, and what is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from objstore.http.errors import HttpError
from objstore.http.transport import BackendRequest
from objstore.proxy.swift.handlers.bulk_delete import DELETES_MAX
from objstore.proxy.swift.handlers.deletions import CONCURRENCY, PROBLEMS_MAX
from objstore.proxy.swift.request import SwiftRequest
from objstore.system.concurrency import Event
from tests.unit.proxy.store import Reply, ScriptedStore
from tests.waiting import wait_in_hub


def store_with(statuses: dict[str, int], otherwise: int = 204) -> ScriptedStore:
    """A store whose nodes answer so to the deletion of a name."""
    store = ScriptedStore()
    lookup = store.transport.script

    def script(request: BackendRequest) -> Reply:
        if request.method != "DELETE":
            return lookup(request)
        return Reply(statuses.get(str(request.path).removeprefix("/AUTH_a"), otherwise))

    store.transport.script = script
    return store


def delete(
    store: ScriptedStore, body: bytes, method: str = "POST", path: str = "/v1/AUTH_a", **more: Any
) -> dict[str, Any]:
    accept = {"Accept": "application/json", "Content-Length": str(len(body))}
    answer = store.send(method, path, accept, body, query="bulk-delete", **more)
    assert answer.status == 200
    told: dict[str, Any] = json.loads(answer.read_all())
    return told


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/AUTH_a/c", "/v1/AUTH_a/c/other"])
def test_wherever_it_is_sent_what_is_listed_is_deleted(method: str, path: str) -> None:
    store = store_with({})
    assert delete(store, b"/c/listed", method, path)["Number Deleted"] == 1
    assert deleted(store) == ["/c/listed"]


def deleted(store: ScriptedStore) -> list[str]:
    return list(dict.fromkeys(str(call.request.path).removeprefix("/AUTH_a") for call in store.calls("DELETE")))


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_objects_then_containers(method: str) -> None:
    store = store_with({"/c/none": 404, "/full": 409})
    told = delete(store, b"/c\n/c/a%20b\n\nc/n%C3%B6\r\n/c/none\n/full\n/c/a%20b", method)
    assert told == {
        "Number Deleted": 3,
        "Number Not Found": 1,
        "Response Body": "",
        "Response Status": "400 Bad Request",
        "Errors": [["/full", "409 Conflict"]],
    }
    order = deleted(store)
    assert sorted(order) == ["/c", "/c/a b", "/c/none", "/c/n\u00f6", "/full"]
    assert order[-2:] == ["/c", "/full"]


def test_names_that_are_none() -> None:
    told = delete(store_with({}), b"/c/%ff\n/\n/c/o")
    assert told["Number Deleted"] == 1
    assert [reason for _, reason in told["Errors"]] == ["412 Precondition Failed"] * 2


def test_each_deletion_needs_its_own_right() -> None:
    store = store_with({})

    def authorize(request: SwiftRequest) -> None:
        assert request.method == "DELETE"
        if request.storage_resource.container == "others":
            raise HttpError(401)

    told = delete(store, b"/mine/o\n/others/o", authorize=authorize)
    assert (told["Number Deleted"], told["Response Status"]) == (1, "401 Unauthorized")
    assert deleted(store) == ["/mine/o"]


@pytest.mark.parametrize(
    ("body", "refusal"),
    [(b"", "Invalid"), (b"\n \n", "Invalid"), (b"c/o\n" * (DELETES_MAX + 1), "Maximum"), (b"c/" + b"o" * 9000, "long")],
)
def test_lists_that_are_refused(body: bytes, refusal: str) -> None:
    store = store_with({})
    told = delete(store, body)
    assert refusal in told["Response Body"]
    assert told["Response Status"].startswith("4")
    assert deleted(store) == []


def test_so_many_refusals_are_enough() -> None:
    names = b"".join(b"/c/%d\n" % number for number in range(PROBLEMS_MAX + 100))
    store = store_with({}, 409)
    told = delete(store, names)
    assert "exceeded" in told["Response Body"]
    assert PROBLEMS_MAX <= len(told["Errors"]) < PROBLEMS_MAX + 10


def test_a_client_that_leaves_ends_the_deletions() -> None:
    """Those under way are broken off, and no further one is begun."""
    never: Event[Reply] = Event()
    begun: list[str] = []
    broken_off: list[str] = []
    store = ScriptedStore()
    lookup = store.transport.script

    def script(request: BackendRequest) -> Reply:
        if request.method != "DELETE":
            return lookup(request)
        begun.append(str(request.path))
        try:
            return never.wait(5)
        finally:
            broken_off.append(str(request.path))

    store.transport.script = script
    body = b"\n".join(b"/c/%d" % number for number in range(20))
    answer = store.send("POST", "/v1/AUTH_a", {"Content-Length": str(len(body))}, body, query="bulk-delete")
    wait_in_hub(lambda: len(begun) == CONCURRENCY, "deletions are under way")
    answer.close()
    wait_in_hub(lambda: len(broken_off) == CONCURRENCY, "they have ended")
    assert sorted(begun) == sorted(broken_off)
