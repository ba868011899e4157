"""Containers."""

from __future__ import annotations

import pytest

from objstore.config.proxy import AccountsConfig
from objstore.http.errors import HttpError
from objstore.proxy.swift.request import SwiftRequest
from tests.unit.proxy.store import Reply, ScriptedStore

PATH = "/v1/AUTH_a/c"


def store_of(otherwise: Reply, accounts: AccountsConfig | None = None) -> ScriptedStore:
    store = ScriptedStore(accounts)
    store.otherwise = otherwise
    return store


def let_in(request: SwiftRequest) -> None:
    """Not an owner."""


def test_a_put_sends_metadata_policy_and_whom_to_tell() -> None:
    store = store_of(Reply(201))
    headers = {
        "X-Container-Meta-A": "1",
        "X-Remove-Container-Meta-B": "x",
        "X-Remove-Container-Read": "x",
        "X-Container-Write": "a:b",
        "X-Container-Sysmeta-C": "2",
        "X-Container-Host": "evil:1",
        "X-Storage-Policy": "SILVER",
    }
    assert store.send("PUT", PATH, headers).status == 201
    sent = [call.headers for call in store.calls("PUT")]
    assert sent[0] == {
        "X-Trans-Id": "tx1",
        "X-Timestamp": "1700000000.00000",
        "X-Container-Meta-A": "1",
        "X-Container-Meta-B": "",
        "X-Container-Read": "",
        "X-Container-Write": "a:b",
        "X-Container-Sysmeta-C": "2",
        "X-Backend-Storage-Policy-Default": "0",
        "X-Backend-Storage-Policy-Index": "1",
        "X-Account-Host": "10.0.0.0:6202",
        "X-Account-Device": "a0",
        "X-Account-Partition": "0",
    }
    assert [each["X-Account-Device"] for each in sent] == ["a0", "a1", "a2"]


@pytest.mark.parametrize("policy", ["lead", "tin"])
def test_unknown_and_deprecated_policies_are_refused(policy: str) -> None:
    store = store_of(Reply(201))
    assert store.send("PUT", PATH, {"X-Storage-Policy": policy}).status == 400
    assert store.transport.calls == []


@pytest.mark.parametrize("status", [202, 404, 409])
def test_the_servers_decide(status: int) -> None:
    assert store_of(Reply(status)).send("PUT", PATH).status == status


@pytest.mark.parametrize(
    ("method", "reply", "reason"),
    [
        ("PUT", Reply(409, {"X-Backend-Storage-Policy-Index": "1"}), b"The container has another storage policy"),
        ("DELETE", Reply(409), b"The container is not empty"),
        ("DELETE", Reply(409, {"X-Backend-Timestamp": "1700000001.00000"}), b"Conflict"),
        ("POST", Reply(400), b"Too much metadata, together with what is there: at most 90 items and 4096 bytes"),
        ("PUT", Reply(400), b"Too much metadata, together with what is there: at most 90 items and 4096 bytes"),
        ("POST", Reply(404), b"Not Found"),
    ],
)
def test_refusals_say_why(method: str, reply: Reply, reason: bytes) -> None:
    answer = store_of(reply).send(method, PATH)
    assert (answer.status, answer.read_all()) == (reply.status, reason)


def test_without_account() -> None:
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        store = store_of(Reply(201))
        store.account = Reply(404)
        assert store.send(method, PATH).status == 404


def test_an_account_is_made_on_demand() -> None:
    store = store_of(Reply(201), AccountsConfig(account_autocreate=True))
    store.account = Reply(404)
    assert store.send("PUT", PATH).status == 201
    assert [call.node for call in store.calls("PUT")] == ["a0", "a1", "a2", "c0", "c1", "c2"]
    # One that was slow to make it is told again with the container.
    assert {call.headers.get("X-Backend-Account-Autocreate") for call in store.calls("PUT")[3:]} == {"true"}


def test_a_deleted_account_is_not_made_again() -> None:
    store = store_of(Reply(201), AccountsConfig(account_autocreate=True))
    store.account = Reply(404, {"X-Account-Status": "Deleted"})
    assert store.send("PUT", PATH).status == 404
    assert store.calls("PUT") == []


def test_accounts_can_be_full() -> None:
    store = store_of(Reply(202), AccountsConfig(max_containers_per_account=2, max_containers_whitelist=("AUTH_b",)))
    store.account = Reply(204, {"X-Account-Container-Count": "2"})
    assert store.send("PUT", PATH).status == 202  # it is one of them
    store.container = Reply(404)
    store.cache.values.clear()
    assert store.send("PUT", PATH).status == 403
    assert store.send("PUT", "/v1/AUTH_b/c").status == 202


def test_writes_are_seen_by_the_next_request() -> None:
    store = store_of(Reply(204))
    assert store.send("HEAD", PATH).status == 204
    store.send("POST", PATH, {"X-Container-Read": ".r:*"})
    assert "container/AUTH_a/c" not in store.cache.values
    assert "account/AUTH_a" in store.cache.values
    store.send("DELETE", PATH)
    assert "account/AUTH_a" not in store.cache.values


def test_what_only_owners_see() -> None:
    store = ScriptedStore()
    secrets = {"X-Container-Read": "r", "X-Container-Sync-Key": "k", "X-Container-Meta-Temp-Url-Key": "t"}
    store.container = Reply(204, {**secrets, "X-Container-Meta-A": "1", "X-Backend-Storage-Policy-Index": "1"})
    mine, theirs = store.send("HEAD", PATH), store.send("HEAD", PATH, authorize=let_in)
    assert secrets.items() <= mine.headers.items()
    assert not secrets.keys() & theirs.headers.keys()
    assert theirs.headers["X-Container-Meta-A"] == "1"
    assert theirs.headers["X-Storage-Policy"] == "silver"


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_what_only_owners_see_only_owners_change(method: str) -> None:
    headers = {
        "X-Container-Read": "mine",
        "X-Remove-Container-Write": "x",
        "X-Container-Sync-Key": "k",
        "X-Container-Meta-Temp-Url-Key": "t",
        "X-Container-Meta-A": "1",
    }
    store = store_of(Reply(204))
    assert store.send(method, PATH, headers, authorize=let_in).status < 300
    sent = store.calls(method)[0].headers
    assert sent["X-Container-Meta-A"] == "1"
    assert not {"X-Container-Read", "X-Container-Write", "X-Container-Sync-Key"} & sent.keys()
    assert "X-Container-Meta-Temp-Url-Key" not in sent


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_who_may_not_learns_nothing_else(method: str) -> None:
    def refuse(request: SwiftRequest) -> None:
        raise HttpError(403)

    bad = {"X-Container-Meta-": "no name", "X-Storage-Policy": "none"}
    assert store_of(Reply(204)).send(method, PATH, bad, authorize=refuse).status == 403


@pytest.mark.parametrize(
    ("query", "accept", "format", "content_type"),
    [
        ("", None, "plain", "text/plain"),
        ("", "*/*", "plain", "text/plain"),
        ("", "text/xml", "xml", "text/xml"),
        ("", "text/plain;q=0.1, application/json", "json", "application/json"),
        ("format=json", "text/xml", "json", "application/json"),
        ("format=XML", None, "xml", "application/xml"),
        ("format=other", "application/json", "plain", "text/plain"),
    ],
)
def test_formats(query: str, accept: str | None, format: str, content_type: str) -> None:
    store = store_of(Reply(200, {}, b"rows"))
    answer = store.send("GET", PATH, {"Accept": accept} if accept else {}, query=query)
    assert answer.body == b"rows"
    assert answer.headers["Content-Type"] == f"{content_type}; charset=utf-8"
    assert ("Vary" in answer.headers) is (not query)
    assert store.calls("GET")[0].request.query == f"format={format}"
    for method in ("HEAD", "GET"):
        store = store_of(Reply(204))
        empty = store.send(method, PATH, {"Accept": accept} if accept else {}, query=query)
        assert (empty.status, empty.headers["Content-Length"]) == (204, "0")
        assert empty.headers["Content-Type"] == f"{content_type}; charset=utf-8"
        assert ("Vary" in empty.headers) is (not query)


def test_listing_parameters_are_checked_and_passed_on() -> None:
    store = store_of(Reply(200, {}, b""))
    assert store.send("GET", PATH, query="limit=10001").status == 412
    for method in ("GET", "HEAD"):
        assert store.send(method, PATH, {"Accept": "image/png"}).status == 406
    assert store.send("GET", PATH, query="marker=%C3%A4+b&limit=5&other=1&path=").status == 204
    assert store.calls("GET")[0].request.query == "limit=5&marker=%C3%A4+b&path=&format=plain"


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize(
    "name", ["X-Container-Meta-A", "X-Container-Read", "X-Container-Sync-Key", "X-Remove-Container-Meta-A"]
)
def test_headers_that_are_not_utf8_are_refused(method: str, name: str) -> None:
    store = store_of(Reply(201))
    answer = store.send(method, PATH, {name: "caf\xe9"})
    assert answer.status == 400
    assert b"UTF-8" in answer.read_all()
    assert store.calls(method) == []
