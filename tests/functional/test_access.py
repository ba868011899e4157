"""Who may do what: tokens, ACLs, the reseller, service accounts."""

from __future__ import annotations

import json

import pytest

from tests.functional.client import Client
from tests.functional.servers import Store


def as_other(owner: Client, user: Client) -> Client:
    """The owner's account through another user's token."""
    return Client(owner.host, owner.port, account=owner.account, token=user.token)


@pytest.mark.parametrize("prefix", ["X-Auth", "X-Storage"])
def test_login(store: Store, prefix: str) -> None:
    key = "X-Auth-Key" if prefix == "X-Auth" else "X-Storage-Pass"
    answer = Client(store.host, store.port).raw("GET", "/auth/v1.0", {f"{prefix}-User": "test:tester", key: "testing"})
    assert answer.status == 200
    assert answer.headers["x-auth-token"] == answer.headers["x-storage-token"]
    assert answer.headers["x-storage-url"] == f"{store.url}/v1/AUTH_test"
    assert 0 < int(answer.headers["x-auth-token-expires"]) <= 86400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Auth-User": "test:tester", "X-Auth-Key": "wrong"}, 401),
        ({"X-Auth-User": "test:nobody", "X-Auth-Key": "testing"}, 401),
        ({"X-Auth-User": "test", "X-Auth-Key": "testing"}, 401),
        ({"X-Auth-User": "test:tester"}, 401),
        ({}, 401),
    ],
)
def test_failed_logins(store: Store, headers: dict[str, str], status: int) -> None:
    answer = Client(store.host, store.port).raw("GET", "/auth/v1.0", headers)
    assert answer.status == status
    assert "x-auth-token" not in answer.headers


@pytest.mark.parametrize("token", ["", "AUTH_tk00000000000000000000000000000000", "garbage", "AUTH_tk" + "A" * 300])
def test_bad_tokens(store: Store, client: Client, token: str) -> None:
    answer = Client(store.host, store.port, account=client.account, token=token).get()
    assert answer.status == 401
    assert "www-authenticate" in answer.headers


def test_a_changed_token_is_refused(client: Client, store: Store) -> None:
    token = client.token
    ended = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    for changed in (ended, token[:20] + "!" + token[20:], token[:20] + " " + token[20:], token + "=", token[:-1]):
        assert Client(store.host, store.port, account=client.account, token=changed).get().status == 401


def test_strangers_and_plain_members_get_nothing(client: Client, other: Client, member: Client, container: str) -> None:
    for user in (as_other(client, other), as_other(client, member)):
        assert user.get().status == 403
        assert user.get(container).status == 403
        assert user.put(f"{container}/o", b"x").status == 403
        assert user.put("new").status == 403
    assert client.anonymous().get(container).status == 401


def test_read_acl_for_a_user(client: Client, other: Client, member: Client, container: str) -> None:
    client.put(f"{container}/o", b"x")
    client.post(container, {"X-Container-Read": "test:tester3"})
    reader = as_other(client, member)
    assert reader.get(f"{container}/o").body == b"x"
    assert reader.get(container).status == 200
    assert reader.put(f"{container}/p", b"x").status == 403
    assert reader.delete(f"{container}/o").status == 403
    assert as_other(client, other).get(f"{container}/o").status == 403


def test_write_acl_for_an_account(client: Client, other: Client, container: str) -> None:
    client.post(container, {"X-Container-Write": "test2"})
    writer = as_other(client, other)
    assert writer.put(f"{container}/o", b"x").status == 201
    assert writer.post(f"{container}/o", {"X-Object-Meta-A": "1"}).status == 202
    assert writer.get(f"{container}/o").status == 403
    assert writer.delete(f"{container}/o").status == 204
    assert writer.post(container, {"X-Container-Meta-A": "1"}).status == 403


def test_anonymous_readers(client: Client, container: str) -> None:
    client.put(f"{container}/o", b"x")
    nobody = client.anonymous()
    client.post(container, {"X-Container-Read": ".r:*"})
    assert nobody.get(f"{container}/o").body == b"x"
    assert nobody.get(container).status == 401
    client.post(container, {"X-Container-Read": ".r:*,.rlistings"})
    assert nobody.get(container).lines == ["o"]
    client.post(container, {"X-Remove-Container-Read": "x"})
    assert nobody.get(f"{container}/o").status == 401


def test_referrers(client: Client, container: str) -> None:
    client.put(f"{container}/o", b"x")
    client.post(container, {"X-Container-Read": ".r:.example.com,.r:-bad.example.com"})
    nobody = client.anonymous()
    for referrer, status in (
        ("http://www.example.com/x", 200),
        ("http://bad.example.com/", 401),
        ("http://example.org/", 401),
        ("", 401),
    ):
        assert nobody.get(f"{container}/o", {"Referer": referrer}).status == status, referrer


def test_account_acl(client: Client, member: Client, container: str) -> None:
    rights = json.dumps({"read-only": ["test:tester3"]})
    assert client.post(headers={"X-Account-Access-Control": rights}).status == 204
    reader = as_other(client, member)
    try:
        assert reader.get().status == 200
        assert reader.put(f"{container}/o", b"x").status == 403
        assert "x-account-access-control" not in reader.head().headers
        assert json.loads(client.head().headers["x-account-access-control"]) == json.loads(rights)
        assert client.post(headers={"X-Account-Access-Control": "not json"}).status == 400
    finally:
        client.post(headers={"X-Account-Access-Control": "{}"})
    assert reader.get().status == 403


def test_the_reseller_reaches_every_account(client: Client, admin: Client, container: str) -> None:
    reseller = as_other(client, admin)
    assert reseller.put(f"{container}/o", b"x").status == 201
    assert reseller.get().status == 200


def test_service_accounts_need_both_tokens(store: Store, client: Client) -> None:
    service = Client.login(store.host, store.port, "test5:tester5", "testing5")
    account = Client(store.host, store.port, account="SERVICE_test", token=client.token)
    assert account.get().status == 403
    assert account.get(headers={"X-Service-Token": service.token}).status == 204


def test_quotas(client: Client, admin: Client, container: str) -> None:
    client.post(container, {"X-Container-Meta-Quota-Bytes": "10", "X-Container-Meta-Quota-Count": "2"})
    assert client.put(f"{container}/a", b"12345").status == 201
    assert client.put(f"{container}/b", b"1234567").status == 413
    assert client.put(f"{container}/b", b"1").status == 201
    assert client.put(f"{container}/c", b"1").status == 413
    assert client.post(container, {"X-Container-Meta-Quota-Bytes": "many"}).status == 400
    assert client.post(headers={"X-Account-Quota-Bytes": "5"}).status == 403


@pytest.mark.parametrize("size", [11, 3_000_000])
def test_a_chunked_upload_stops_where_the_quota_does(client: Client, container: str, size: int) -> None:
    client.post(container, {"X-Container-Meta-Quota-Bytes": "10"})
    assert client.put(f"{container}/long", [b"x" * size]).status == 413
    assert client.head(f"{container}/long").status == 404
    assert client.put(f"{container}/short", [b"x" * 10]).status == 201


def test_cross_origin(client: Client, container: str) -> None:
    client.put(f"{container}/o", b"x")
    origin = {"Origin": "http://a.example", "Access-Control-Request-Method": "GET"}
    assert client.anonymous().request("OPTIONS", f"{container}/o", origin).status == 401
    client.post(container, {"X-Container-Meta-Access-Control-Allow-Origin": "http://a.example"})
    answer = client.anonymous().request("OPTIONS", f"{container}/o", origin)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "http://a.example"
    got = client.get(f"{container}/o", {"Origin": "http://a.example"})
    assert got.headers["access-control-allow-origin"] == "http://a.example"
    assert "etag" in got.headers["access-control-expose-headers"].lower()


def test_info(client: Client) -> None:
    answer = client.raw("GET", "/info")
    assert answer.status == 200
    info = answer.json()
    assert info["swift"]["max_file_size"] == 5368709122
    assert {"name": "gold", "default": True, "aliases": "gold"} in info["swift"]["policies"]
    assert {"tempauth", "account_quotas", "container_quotas"} <= info.keys()


def test_healthcheck(client: Client) -> None:
    answer = client.anonymous().raw("GET", "/healthcheck")
    assert (answer.status, answer.body) == (200, b"OK")
