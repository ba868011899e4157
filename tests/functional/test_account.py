"""Accounts: metadata, listings, autocreation, management."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.functional.client import Client
from tests.functional.servers import Store


@pytest.fixture
def account(store: Store, admin: Client) -> Client:
    """An account nobody has used, through the reseller's administrator."""
    return Client(store.host, store.port, account=f"AUTH_{uuid4().hex}", token=admin.token)


@pytest.fixture
def listed(account: Client) -> Iterator[Client]:
    """An account with the containers a-1 a-2 b-1 b-2 c."""
    for name in ("a-1", "a-2", "b-1", "b-2", "c"):
        assert account.put(name).status == 201
    yield account
    for name in ("a-1", "a-2", "b-1", "b-2", "c"):
        account.delete(name)


def test_an_absent_account_looks_empty(account: Client) -> None:
    assert account.head().status == 204
    assert account.get().status == 204
    answer = account.get(format="json")
    assert (answer.status, answer.json()) == (200, [])
    assert answer.headers["x-account-container-count"] == "0"


def test_head_counts_what_the_account_holds(account: Client) -> None:
    account.put("c")
    account.put("c/o", b"12345")
    answer = account.head()
    assert answer.status == 204
    assert answer.headers["x-account-container-count"] == "1"
    for name in ("last-modified", "x-timestamp", "x-trans-id", "x-openstack-request-id", "date"):
        assert name in answer.headers
    assert answer.headers["x-trans-id"].startswith("tx")


def test_metadata_merges_and_is_removed(account: Client) -> None:
    assert account.post(headers={"X-Account-Meta-One": "1", "X-Account-Meta-Two": "2"}).status == 204
    assert account.post(headers={"X-Account-Meta-Two": "zwei", "X-Remove-Account-Meta-One": "x"}).status == 204
    headers = account.head().headers
    assert headers["x-account-meta-two"] == "zwei"
    assert "x-account-meta-one" not in headers
    assert account.post(headers={"X-Account-Meta-Two": ""}).status == 204
    assert "x-account-meta-two" not in account.head().headers


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["a-1", "a-2", "b-1", "b-2", "c"]),
        ({"limit": 2}, ["a-1", "a-2"]),
        ({"marker": "a-2"}, ["b-1", "b-2", "c"]),
        ({"end_marker": "b-1"}, ["a-1", "a-2"]),
        ({"marker": "a-1", "end_marker": "b-2"}, ["a-2", "b-1"]),
        ({"prefix": "b"}, ["b-1", "b-2"]),
        ({"delimiter": "-"}, ["a-", "b-", "c"]),
        ({"prefix": "a", "delimiter": "-"}, ["a-"]),
        ({"reverse": "true"}, ["c", "b-2", "b-1", "a-2", "a-1"]),
        ({"reverse": "on", "marker": "b-1"}, ["a-2", "a-1"]),
        ({"limit": 0}, []),
    ],
)
def test_listing_parameters(listed: Client, query: dict[str, str], expected: list[str]) -> None:
    assert listed.names(**query) == expected
    plain = listed.get(**query)
    assert plain.lines == expected
    assert plain.status == (200 if expected else 204)


def test_rows_tell_counts_and_times(listed: Client) -> None:
    (row,) = listed.rows(prefix="c")
    assert row["name"] == "c"
    assert {"count", "bytes", "last_modified"} <= row.keys()
    assert {"subdir": "a-"} in listed.rows(delimiter="-")


def test_xml_listing(listed: Client) -> None:
    answer = listed.get(format="xml", delimiter="-", prefix="a")
    assert answer.headers["content-type"] == "application/xml; charset=utf-8"
    assert answer.text.startswith("<?xml version=")
    assert '<subdir name="a-"' in answer.text.replace("'", '"')


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/json", "application/json; charset=utf-8"),
        ("text/xml", "text/xml; charset=utf-8"),
        ("application/xml", "application/xml; charset=utf-8"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("*/*", "text/plain; charset=utf-8"),
        ("text/plain;q=0.1, application/json;q=0.9", "application/json; charset=utf-8"),
    ],
)
def test_accept_chooses_the_format(listed: Client, accept: str, content_type: str) -> None:
    answer = listed.get(headers={"Accept": accept})
    assert answer.headers["content-type"] == content_type
    assert "accept" in answer.headers["vary"].lower()


def test_accept_without_a_match_is_refused(listed: Client) -> None:
    assert listed.get(headers={"Accept": "image/png"}).status == 406


def test_a_limit_beyond_the_maximum_is_refused(account: Client) -> None:
    answer = account.get(limit="10001")
    assert answer.status == 412
    assert "Maximum limit is 10000" in answer.text


@pytest.mark.parametrize("limit", ["-1", "many"])
def test_a_limit_that_is_no_number_counts_as_none_given(account: Client, limit: str) -> None:
    assert account.get(limit=limit).status == 204


def test_management_is_for_the_reseller(account: Client, client: Client) -> None:
    assert account.put().status == 201
    assert account.put().status == 202
    assert client.put().status == 403
    assert client.delete().status == 403


def test_deletion_leaves_a_sign_until_it_is_reaped(account: Client) -> None:
    account.put()
    assert account.delete().status == 204
    gone = account.get()
    assert gone.status == 410
    assert gone.headers["x-account-status"].lower() == "deleted"
    assert account.head().status == 410
    assert account.put().status == 403


def test_a_delete_with_a_query_is_refused(account: Client) -> None:
    account.put()
    assert account.delete(bulk="x").status == 400
    assert account.head().status == 204


def test_policies_are_counted_apart(account: Client) -> None:
    account.put("g")
    account.put("s", headers={"X-Storage-Policy": "silver"})
    headers = account.head().headers
    assert headers["x-account-storage-policy-gold-container-count"] == "1"
    assert headers["x-account-storage-policy-silver-container-count"] == "1"


def test_reserved_and_internal_accounts_are_closed(client: Client) -> None:
    assert client.raw("GET", "/v1/.expiring_objects").status == 403
    assert client.raw("GET", "/v1/AUTH_nobody").status == 403
    assert Client(client.host, client.port).raw("GET", f"/v1/{client.account}").status == 401
