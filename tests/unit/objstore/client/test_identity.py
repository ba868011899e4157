"""The client of the identity service: its own token, and whose others are."""

from __future__ import annotations

import msgspec
import pytest

from objstore.client.errors import BadResponse, Unauthorized
from objstore.client.identity import IdentityClient, ServiceUser, patient_client
from objstore.client.requests import RetryPolicy
from objstore.client.store import StoreClient
from tests.unit.objstore.client.scripted import ScriptedServer, closed_later, response, serving

CATALOG = [{"type": "image", "endpoints": [{"interface": "public", "url": "http://image"}]}]


def catalog(server: ScriptedServer) -> list[dict[str, object]]:
    url = f"http://127.0.0.1:{server.port}/v1/AUTH_p"
    return [{"type": "object-store", "endpoints": [{"interface": "public", "url": url}]}]


def token(name: str = "own", expires: str = "2100-01-01T00:00:00.000000Z") -> bytes:
    document = {"token": {"expires_at": expires, "catalog": CATALOG, "user": {"id": "u"}}}
    return response(201, msgspec.json.encode(document), X_Subject_Token=name)


def client(server: ScriptedServer) -> IdentityClient:
    return IdentityClient(
        f"http://127.0.0.1:{server.port}/v3", ServiceUser("glance", "sesame"), closed_later(patient_client())
    )


def test_it_logs_in_once_and_shows_both_tokens() -> None:
    with serving(token(), token("x"), token("x")) as server:
        identity = client(server)
        assert identity.validate("users") == {
            "expires_at": "2100-01-01T00:00:00.000000Z",
            "catalog": CATALOG,
            "user": {"id": "u"},
        }
        identity.validate("users", allow_expired=True)
        login, first, second = server.asked
    assert msgspec.json.decode(login.body)["auth"]["scope"]["project"]["name"] == "service"
    assert (first.headers["x-auth-token"], first.headers["x-subject-token"]) == ("own", "users")
    assert (first.target, second.target) == ("/v3/auth/tokens", "/v3/auth/tokens?allow_expired=1")
    assert identity.log_in().endpoint("image") == "http://image"
    with pytest.raises(KeyError):
        identity.log_in().endpoint("image", "admin")


def test_a_token_that_does_not_hold() -> None:
    with serving(token(), response(404)) as server:
        assert client(server).validate("users") is None


@pytest.mark.parametrize("text", ["a\r\nX-Auth-Token: b", "ü"])
def test_a_token_that_no_header_carries_does_not_hold(text: str) -> None:
    with serving() as server:
        assert client(server).validate(text) is None
        assert server.asked == []


def test_its_own_token_is_renewed_once_when_it_is_refused() -> None:
    with serving(token(), response(401), token("new"), token("x")) as server:
        assert client(server).validate("users") is not None
        assert server.asked[3].headers["x-auth-token"] == "new"
    with serving(token(), response(401), token("new"), response(401)) as server, pytest.raises(Unauthorized):
        client(server).validate("users")


def test_its_own_token_is_renewed_before_it_ends() -> None:
    with serving(token(expires="2000-01-01T00:00:00.000000Z"), token("new"), token("x")) as server:
        identity = client(server)
        assert [identity.log_in().text, identity.log_in().text] == ["own", "new"]


@pytest.mark.parametrize("answer", [response(201, b"{}"), response(201, b"<html>"), response(201, b"[]")])
def test_answers_that_no_identity_service_gives(answer: bytes) -> None:
    with serving(answer) as server, pytest.raises(BadResponse):
        client(server).log_in()


def test_the_password_is_not_shown() -> None:
    assert "sesame" not in repr(ServiceUser("glance", "sesame"))


def test_it_asks_twice_at_most() -> None:
    assert IdentityClient("http://127.0.0.1:1/v3", ServiceUser("a", "b")).http.retries == RetryPolicy(2, 0.1)


def test_a_store_is_found_in_the_catalog() -> None:
    with serving() as server:
        entries = catalog(server)
        document = {"token": {"expires_at": "2100-01-01T00:00:00.000000Z", "catalog": entries}}
        login = response(201, msgspec.json.encode(document), X_Subject_Token="own")
        server.script += [login, response(200, b"content")]
        url = f"http://127.0.0.1:{server.port}/v3"
        store = StoreClient(url, "service:image", "key", closed_later(patient_client()))
        assert store.read_object("c", "o") == b"content"
        auth = msgspec.json.decode(server.asked[0].body)["auth"]
        assert (auth["scope"]["project"]["name"], auth["identity"]["password"]["user"]["name"]) == ("service", "image")
        assert (server.asked[1].target, server.asked[1].headers["x-auth-token"]) == ("/v1/AUTH_p/c/o", "own")


def test_a_catalog_without_a_store() -> None:
    with serving(token()) as server, pytest.raises(BadResponse, match="where the store is"):
        StoreClient(f"http://127.0.0.1:{server.port}/v3", "p:u", "key", closed_later(patient_client())).log_in()
