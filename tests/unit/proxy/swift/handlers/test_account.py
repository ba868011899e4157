"""Accounts."""

from __future__ import annotations

from functools import partial

import pytest

from objstore.config.proxy import AccountsConfig
from objstore.http.transport import BackendRequest
from objstore.proxy.swift.request import SwiftRequest
from tests.unit.proxy.store import Reply, ScriptedStore

PATH = "/v1/AUTH_a"
MANAGED = AccountsConfig(allow_account_management=True)
ON_DEMAND = AccountsConfig(account_autocreate=True)
DELETED = Reply(404, {"X-Account-Status": "Deleted"})


def test_head_names_the_policies() -> None:
    store = ScriptedStore()
    stats = '{"0":{"containers":1,"objects":2,"bytes":3},"1":{"containers":4,"objects":5,"bytes":6},"9":{}}'
    store.account = Reply(204, {"X-Account-Container-Count": "5", "X-Backend-Policy-Stats": stats})
    answer = store.send("HEAD", PATH)
    assert (answer.status, answer.headers["Content-Length"]) == (204, "0")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Account-Storage-Policy-Gold-Object-Count"] == "2"
    assert answer.headers["X-Account-Storage-Policy-Silver-Bytes-Used"] == "6"


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_absent_and_deleted_ones(method: str) -> None:
    store = ScriptedStore()
    store.account = Reply(404)
    assert store.send(method, PATH).status == 404
    for accounts in (None, ON_DEMAND):
        store = ScriptedStore(accounts)
        store.account = DELETED
        answer = store.send(method, PATH)
        assert answer.status == 410
        assert answer.headers["X-Account-Status"] == "Deleted"


@pytest.mark.parametrize(
    ("query", "status", "body"),
    [
        ("", 204, b""),
        ("format=json", 200, b"[]"),
        (
            "format=xml",
            200,
            b'<?xml version="1.0" encoding="UTF-8"?>\n<account name="AUTH_&lt;a&#9;b&#10;">\n</account>',
        ),
    ],
)
def test_an_absent_one_looks_empty_if_made_on_demand(query: str, status: int, body: bytes) -> None:
    store = ScriptedStore(ON_DEMAND)
    store.account = Reply(404)
    answer = store.send("GET", "/v1/AUTH_<a\tb\n", query=query)
    assert (answer.status, answer.body) == (status, body)
    assert answer.headers["X-Account-Container-Count"] == "0"
    head = store.send("HEAD", PATH, query=query)
    assert (head.status, head.headers["Content-Length"]) == (204, "0")
    assert head.headers["Content-Type"] == answer.headers["Content-Type"]


def test_management() -> None:
    for method in ("PUT", "DELETE"):
        store = ScriptedStore()
        answer = store.send(method, PATH)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, POST, OPTIONS")
        assert store.transport.calls == []
    store = ScriptedStore(MANAGED)
    store.otherwise = Reply(201)
    assert store.send("PUT", PATH, {"X-Account-Meta-A": "1"}).status == 201
    assert store.calls("PUT")[0].headers["X-Account-Meta-A"] == "1"
    store.otherwise = Reply(204)
    assert store.send("DELETE", PATH).status == 204
    assert store.send("DELETE", PATH, query="bulk_delete").status == 400
    store.otherwise = Reply(403, {"X-Account-Status": "Deleted"})
    answer = store.send("PUT", PATH)
    assert (answer.status, answer.body) == (403, b"The account is deleted, and not emptied yet")


def test_a_post_makes_the_account_if_made_on_demand() -> None:
    for accounts, expected in ((None, 404), (ON_DEMAND, 204)):
        store = ScriptedStore(accounts)
        made: list[str] = []
        store.transport.script = partial(make_then_take, made)
        assert store.send("POST", PATH, {"X-Account-Meta-A": "1"}).status == expected
        assert made == ([] if accounts is None else ["a0", "a1", "a2"])


def make_then_take(made: list[str], request: BackendRequest) -> Reply:
    if request.method == "PUT":
        made.append(request.node.device)
        return Reply(201)
    return Reply(204 if made else 404)


def test_a_deleted_one_takes_no_post() -> None:
    store = ScriptedStore(ON_DEMAND)
    store.otherwise = DELETED
    assert store.send("POST", PATH).status == 410
    assert store.calls("PUT") == []


def test_metadata_has_limits() -> None:
    assert ScriptedStore().send("POST", PATH, {"X-Account-Meta-A": "v" * 257}).status == 400
    assert ScriptedStore().send("POST", "/v1/" + "a" * 257).status == 400


def test_too_much_metadata_in_all_is_called_so() -> None:
    store = ScriptedStore()
    store.otherwise = Reply(400)
    answer = store.send("POST", PATH, {"X-Account-Meta-A": "1"})
    assert answer.status == 400
    assert b"at most 90 items and 4096 bytes" in answer.read_all()


@pytest.mark.parametrize("owner", [True, False])
def test_quotas_are_shown_to_all_and_access_lists_to_owners(owner: bool) -> None:
    def let_in(request: SwiftRequest) -> None:
        request.owner = owner

    store = ScriptedStore()
    store.account = Reply(
        204,
        {
            "X-Account-Sysmeta-Quota-Bytes": "1",
            "X-Account-Sysmeta-Quota-Count-Policy-1": "2",
            "X-Account-Sysmeta-Core-Access-Control": '{"admin":["x"]}',
        },
    )
    headers = store.send("HEAD", PATH, authorize=let_in).headers
    assert headers["X-Account-Quota-Bytes"] == "1"
    assert headers["X-Account-Quota-Count-Policy-Silver"] == "2"
    assert ("X-Account-Access-Control" in headers) is owner
    assert not [name for name in headers if "Sysmeta" in name]
