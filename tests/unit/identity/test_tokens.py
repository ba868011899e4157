"""Logins, scopes, and what a token says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.identity.service import URL, IdentityService


def test_discovery(identity: IdentityService) -> None:
    root = identity.ask("GET", "/")
    assert (root.status_int, root.headers["Location"]) == (300, f"{URL}/v3/")
    version = identity.ask("GET", "/v3/").json["version"]
    assert root.json == {"versions": {"values": [version]}}
    assert (version["status"], version["links"]) == ("stable", [{"rel": "self", "href": f"{URL}/v3/"}])


def test_a_token_for_a_project(identity: IdentityService) -> None:
    answer = identity.login("alice", "alice", "red")
    token = answer.json["token"]
    assert len(answer.headers["X-Subject-Token"]) < 255
    assert token["methods"] == ["password"]
    assert token["user"] == {
        "id": identity.alice,
        "name": "alice",
        "domain": {"id": "default", "name": "Default"},
        "password_expires_at": None,
    }
    assert token["project"] == {"id": identity.red, "name": "red", "domain": {"id": "default", "name": "Default"}}
    assert token["is_domain"] is False
    assert [role["name"] for role in token["roles"]] == ["member", "reader"]
    assert token["expires_at"].endswith("Z") and len(token["audit_ids"]) == 1
    store = next(entry for entry in token["catalog"] if entry["type"] == "object-store")
    assert {each["interface"] for each in store["endpoints"]} == {"public", "internal", "admin"}
    assert {each["url"] for each in store["endpoints"]} == {f"http://store.example/v1/AUTH_{identity.red}"}
    assert set(store["endpoints"][0]) == {"id", "interface", "region", "region_id", "url"}


def test_admin_implies_member_implies_reader(identity: IdentityService) -> None:
    roles = identity.login("admin", "sesame", "admin").json["token"]["roles"]
    assert [role["name"] for role in roles] == ["admin", "member", "reader"]


@pytest.mark.parametrize("scope", [None, "unscoped", {}])
def test_a_token_for_nothing_has_no_roles_and_no_catalog(identity: IdentityService, scope: object) -> None:
    token = identity.login("alice", "alice", scope).json["token"]
    assert {"roles", "catalog", "project", "domain"}.isdisjoint(token)


def test_the_default_project_is_the_scope_if_none_is_asked_for(identity: IdentityService) -> None:
    path = f"/v3/users/{identity.alice}"
    identity.ask("PATCH", path, identity.admin, {"user": {"default_project_id": identity.red}})
    assert identity.login("alice", "alice").json["token"]["project"]["id"] == identity.red
    assert "project" not in identity.login("alice", "alice", "unscoped").json["token"]
    identity.ask("PATCH", path, identity.admin, {"user": {"default_project_id": identity.blue}})
    assert "project" not in identity.login("alice", "alice").json["token"]


@pytest.mark.parametrize(
    "scope",
    [
        {"project": {"name": "red", "domain": {"id": "default"}}},
        {"project": {"name": "red", "domain": {"name": "Default"}}},
    ],
)
def test_projects_and_users_are_named_by_id_or_name(identity: IdentityService, scope: object) -> None:
    assert identity.login("alice", "alice", scope).json["token"]["project"]["id"] == identity.red
    by_id = {"project": {"id": identity.red}}
    assert identity.login("", "alice", by_id, id=identity.alice).json["token"]["user"]["name"] == "alice"


def test_scopes_of_domains_and_of_the_system(identity: IdentityService) -> None:
    role = identity.role("reader")
    identity.ask("PUT", f"/v3/domains/default/users/{identity.alice}/roles/{role}", identity.admin)
    token = identity.login("alice", "alice", {"domain": {"name": "Default"}}).json["token"]
    assert (token["domain"], [each["name"] for each in token["roles"]]) == (
        {"id": "default", "name": "Default"},
        ["reader"],
    )
    assert identity.login("admin", "sesame", {"system": {"all": True}}).json["token"]["system"] == {"all": True}
    assert identity.login("alice", "alice", {"system": {"all": True}}).status_int == 401


def test_without_the_catalog(identity: IdentityService) -> None:
    user = {"name": "alice", "domain": {"id": "default"}, "password": "alice"}
    auth = {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"project": {"id": identity.red}},
    }
    token = identity.ask("POST", "/v3/auth/tokens?nocatalog", body={"auth": auth}).json["token"]
    assert "catalog" not in token and "roles" in token


def test_wrong_user_wrong_password_and_wrong_scope_look_alike(identity: IdentityService) -> None:
    answers = [
        identity.login("alice", "wrong", "red"),
        identity.login("nobody", "alice", "red"),
        identity.login("alice", "alice", "blue"),
        identity.login("alice", "alice", "nowhere"),
        identity.login("alice", "alice", "red", domain={"id": "elsewhere"}),
        identity.login("alice", "", "red"),
    ]
    assert {(answer.status_int, answer.text) for answer in answers} == {(401, answers[0].text)}
    assert answers[0].json["error"]["title"] == "Unauthorized"
    assert answers[0].headers["WWW-Authenticate"] == f'Keystone uri="{URL}"'


@pytest.mark.parametrize(
    "identity_body",
    [{"methods": []}, {"methods": ["password"]}, {"methods": ["oauth1"]}, {"methods": ["token"], "token": {"id": "x"}}],
)
def test_methods_that_prove_nothing(identity: IdentityService, identity_body: object) -> None:
    assert identity.authenticate(identity_body).status_int == 401


@pytest.mark.parametrize("body", [{}, {"auth": {}}, {"auth": {"identity": {"methods": "password"}}}, []])
def test_bodies_that_are_none(identity: IdentityService, body: Any) -> None:
    assert identity.ask("POST", "/v3/auth/tokens", body=body).status_int == 400


def test_services_see_whose_a_token_is(identity: IdentityService) -> None:
    token = identity.log_in("alice", "alice", "red")
    answer = identity.ask("GET", "/v3/auth/tokens", identity.service_token(), X_Subject_Token=token)
    assert answer.headers["X-Subject-Token"] == token
    assert answer.json["token"]["project"]["id"] == identity.red
    assert identity.ask("HEAD", "/v3/auth/tokens", token, X_Subject_Token=token).status_int == 200
    nocatalog = identity.ask("GET", "/v3/auth/tokens?nocatalog", token, X_Subject_Token=token)
    assert "catalog" not in nocatalog.json["token"]


def test_users_see_no_token_of_another(identity: IdentityService) -> None:
    alice, bob = identity.log_in("alice", "alice", "red"), identity.log_in("bob", "bob", "blue")
    assert identity.ask("GET", "/v3/auth/tokens", bob, X_Subject_Token=alice).status_int == 403
    assert identity.ask("DELETE", "/v3/auth/tokens", bob, X_Subject_Token=alice).status_int == 403
    assert identity.ask("GET", "/v3/auth/tokens", bob, X_Subject_Token="nonsense").status_int == 403
    assert identity.ask("GET", "/v3/auth/tokens", "nonsense", X_Subject_Token=alice).status_int == 401
    assert identity.ask("GET", "/v3/auth/tokens", identity.admin, X_Subject_Token="nonsense").status_int == 404


def test_a_token_ends_and_services_may_go_on_with_it(identity: IdentityService) -> None:
    token = identity.log_in("alice", "alice", "red")
    identity.now += identity.config.tokens.life
    assert not identity.holds(token)
    assert identity.ask("GET", "/v3/projects", token).status_int == 401
    service, path = identity.service_token(), "/v3/auth/tokens?allow_expired=1"
    assert identity.ask("GET", path, service, X_Subject_Token=token).status_int == 200
    fresh = identity.log_in("alice", "alice", "red")
    assert identity.ask("GET", path, fresh, X_Subject_Token=token).status_int == 404
    identity.now += 48 * 3600
    assert identity.ask("GET", path, identity.service_token(), X_Subject_Token=token).status_int == 404


def test_a_token_that_was_tampered_with_is_none(identity: IdentityService) -> None:
    token = identity.log_in("alice", "alice", "red")
    assert identity.holds(token)
    for changed in (
        token[:-1],
        token + "A",
        "B" + token[1:],
        token[:40] + ("A" if token[40] != "A" else "B") + token[41:],
    ):
        assert not identity.holds(changed)
    assert not identity.holds(token + "=")


def test_keys_rotate_and_tokens_go_on(identity: IdentityService) -> None:
    from objstore.identity.service import key_folders

    token = identity.log_in("alice", "alice", "red")
    keys, _ = key_folders(identity.config)
    assert [keys.rotate(3600), keys.rotate(3600)] == [3, 4]
    identity.state.tokens._keys._checked_at = float("-inf")
    assert identity.holds(token)
    newer = identity.log_in("alice", "alice", "red")
    assert identity.holds(newer)


def test_own_projects_domains_and_catalog(identity: IdentityService) -> None:
    unscoped, scoped = identity.log_in("alice", "alice"), identity.log_in("alice", "alice", "red")
    for path in ("/v3/auth/projects", f"/v3/users/{identity.alice}/projects"):
        found = identity.ask("GET", path, unscoped).json
        assert [project["name"] for project in found["projects"]] == ["red"]
        assert set(found["links"]) == {"self", "previous", "next"}
    assert identity.ask("GET", f"/v3/users/{identity.bob}/projects", scoped).status_int == 403
    assert identity.ask("GET", "/v3/auth/domains", scoped).json["domains"] == []
    assert identity.ask("GET", "/v3/auth/system", identity.admin).json["system"] == [{"all": True}]
    assert [entry["type"] for entry in identity.ask("GET", "/v3/auth/catalog", scoped).json["catalog"]] == [
        "identity",
        "object-store",
    ]
    assert identity.ask("GET", "/v3/auth/catalog", unscoped).status_int == 403
