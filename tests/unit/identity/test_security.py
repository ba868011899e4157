"""What went wrong in other identity services once, and must not here: each test names the advisory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from objstore.login_throttle import CLIENT_FAILURES_MAX
from tests.unit.identity.service import IdentityService
from tests.unit.identity.signing import access_key, s3


def test_cve_2012_3426_a_rescoped_token_ends_with_the_first_one(identity: IdentityService) -> None:
    """CVE-2026-44394 was the same again."""
    first = identity.login("alice", "alice", "unscoped")
    expires, audit_id = first.json["token"]["expires_at"], first.json["token"]["audit_ids"][0]
    token = first.headers["X-Subject-Token"]
    for _ in range(2):
        identity.now += 1000
        answer = identity.by_token(token, "red")
        assert answer.json["token"]["expires_at"] == expires
        assert answer.json["token"]["audit_ids"][1:] == [audit_id]
        assert answer.json["token"]["methods"] == ["password", "token"]
        token = answer.headers["X-Subject-Token"]
    identity.now += 1600
    assert identity.by_token(token, "red").status_int == 401


def _own_password(identity: IdentityService) -> None:
    body = {"user": {"password": "new", "original_password": "alice"}}
    assert identity.ask("POST", f"/v3/users/{identity.alice}/password", body=body).status_int == 204


def _disabled_and_back(identity: IdentityService, path: str) -> None:
    identity.change(path, enabled=False)
    identity.change(path, enabled=True)


def _role_deleted(identity: IdentityService) -> None:
    role = identity.made("roles", name="extra")["id"]
    identity.grant(identity.alice, "extra", identity.red)
    assert identity.ask("DELETE", f"/v3/roles/{role}", identity.admin).status_int == 204


REVOKING = {
    "OSSA-2012-016 password changed by an administrator": lambda i: i.change(f"users/{i.alice}", password="new"),
    "OSSA-2012-016 password changed by the user": _own_password,
    "OSSA-2012-018 user disabled": lambda i: _disabled_and_back(i, f"users/{i.alice}"),
    "OSSA-2013-011 user deleted": lambda i: i.ask("DELETE", f"/v3/users/{i.alice}", i.admin),
    "OSSA-2013-005 project disabled": lambda i: _disabled_and_back(i, f"projects/{i.red}"),
    "project deleted": lambda i: i.ask("DELETE", f"/v3/projects/{i.red}", i.admin),
    "OSSA-2012-014 role taken away": lambda i: i.grant(i.alice, "member", i.red, "DELETE"),
    "role taken away and given back": lambda i: [i.grant(i.alice, "member", i.red, how) for how in ("DELETE", "PUT")],
    "role deleted": _role_deleted,
    "revoked": lambda i: i.ask("DELETE", "/v3/auth/tokens", i.admin, X_Subject_Token=i.token),
}


@pytest.mark.parametrize("what", REVOKING)
def test_tokens_end_with_what_they_stand_on(identity: IdentityService, what: str) -> None:
    identity.token = token = identity.log_in("alice", "alice", "red")  # type: ignore[attr-defined]
    assert identity.holds(token)
    REVOKING[what](identity)
    assert not identity.holds(token)
    assert identity.ask("GET", f"/v3/users/{identity.alice}", token).status_int == 401
    assert identity.by_token(token, "red").status_int == 401


@pytest.mark.parametrize("disabled", [True, False])
def test_tokens_end_with_their_domain(identity: IdentityService, disabled: bool) -> None:
    domain = identity.made("domains", name="other")["id"]
    user = identity.made("users", name="eve", password="eve", domain_id=domain)["id"]
    identity.grant(user, "member", identity.red)
    scope = {"project": {"id": identity.red}}
    token = identity.login("eve", "eve", scope, domain={"id": domain}).headers["X-Subject-Token"]
    assert identity.holds(token)
    identity.change(f"domains/{domain}", enabled=False)
    assert not identity.holds(token)
    if not disabled:
        identity.change(f"domains/{domain}", enabled=True)
        assert not identity.holds(token)
        assert identity.login("eve", "eve", scope, domain={"id": domain}).status_int == 201


def test_revoking_one_token_leaves_the_others(identity: IdentityService) -> None:
    first, second = (identity.log_in("alice", "alice", "red") for _ in range(2))
    assert identity.ask("DELETE", "/v3/auth/tokens", first, X_Subject_Token=first).status_int == 204
    assert not identity.holds(first) and identity.holds(second)
    identity.change(f"users/{identity.alice}", description="nothing that matters")
    assert identity.holds(second)


def test_revocations_are_forgotten_when_no_token_can_be_there(identity: IdentityService) -> None:
    for _ in range(3):
        token = identity.log_in("alice", "alice", "red")
        identity.ask("DELETE", "/v3/auth/tokens", token, X_Subject_Token=token)
    identity.now += 50 * 3600
    token = identity.log_in("alice", "alice", "red")
    identity.ask("DELETE", "/v3/auth/tokens", token, X_Subject_Token=token)
    with identity.state.database.reading() as session:
        assert session.scalar(text("SELECT count(*) FROM revocation")) == 1


def test_guessing_passwords_is_slow(identity: IdentityService) -> None:
    statuses = [identity.login("alice", f"wrong{n}", "red").status_int for n in range(CLIENT_FAILURES_MAX + 1)]
    assert statuses == [401] * CLIENT_FAILURES_MAX + [429]
    refused = identity.login("alice", "alice", "red")
    assert refused.status_int == 429 and int(refused.headers["Retry-After"]) > 0
    body = {"user": {"password": "new", "original_password": "alice"}}
    assert identity.ask("POST", f"/v3/users/{identity.alice}/password", body=body).status_int == 429
    assert identity.login("bob", "bob", "blue").status_int == 201


def credential(identity: IdentityService, **values: Any) -> dict[str, Any]:
    token = identity.log_in("alice", "alice", "red")
    path = f"users/{identity.alice}/application_credentials"
    return identity.made(path, token, name="app", **values)


def login_of(identity: IdentityService, made: dict[str, Any], scope: object = None) -> Any:
    proof = {"id": made["id"], "secret": made["secret"]}
    return identity.authenticate({"methods": ["application_credential"], "application_credential": proof}, scope)


def test_application_credentials(identity: IdentityService) -> None:
    made = credential(identity, roles=[{"name": "reader"}])
    path = f"/v3/users/{identity.alice}/application_credentials"
    alice = identity.log_in("alice", "alice", "red")
    shown = identity.ask("GET", f"{path}/{made['id']}", alice).json["application_credential"]
    assert "secret" not in shown and shown["roles"][0]["name"] == "reader"
    assert identity.ask("GET", f"{path}/{made['id']}", identity.log_in("bob", "bob")).status_int == 403
    token = login_of(identity, made).json["token"]
    assert [role["name"] for role in token["roles"]] == ["reader"]
    assert token["project"]["id"] == identity.red
    assert token["application_credential"] == {"id": made["id"], "name": "app", "restricted": True}
    by_name = {"name": "app", "secret": made["secret"], "user": {"name": "alice", "domain": {"id": "default"}}}
    methods = {"methods": ["application_credential"], "application_credential": by_name}
    assert identity.authenticate(methods).status_int == 201
    assert login_of(identity, made | {"secret": "wrong"}).status_int == 401
    assert login_of(identity, made, "red").status_int == 401  # a scope is refused
    body = {"application_credential": {"name": "app"}}
    assert identity.ask("POST", path, alice, body).status_int == 409
    body = {"application_credential": {"name": "other", "roles": [{"name": "admin"}]}}
    assert identity.ask("POST", path, alice, body).status_int == 400


def test_an_application_credential_dies_with_itself_its_user_and_a_lost_role(identity: IdentityService) -> None:
    path = f"/v3/users/{identity.alice}/application_credentials"
    made = credential(identity)
    token = login_of(identity, made).headers["X-Subject-Token"]
    assert identity.ask("DELETE", f"{path}/{made['id']}", identity.log_in("alice", "alice")).status_int == 204
    assert not identity.holds(token) and login_of(identity, made).status_int == 401
    made = credential(identity)
    token = login_of(identity, made).headers["X-Subject-Token"]
    for how in ("DELETE", "PUT"):
        identity.grant(identity.alice, "member", identity.red, how)
    assert not identity.holds(token) and login_of(identity, made).status_int == 401
    made = credential(identity)
    identity.ask("DELETE", f"/v3/users/{identity.alice}", identity.admin)
    assert login_of(identity, made).status_int == 401


def test_an_application_credential_ends(identity: IdentityService) -> None:
    ends = datetime.fromtimestamp(identity.now + 60, UTC).isoformat()
    made = credential(identity, expires_at=ends)
    token = login_of(identity, made)
    assert token.json["token"]["expires_at"][:19] == ends[:19]
    identity.now += 60
    assert not identity.holds(token.headers["X-Subject-Token"])
    assert login_of(identity, made).status_int == 401


def test_a_token_of_an_application_credential_gives_none_for_another_project(identity: IdentityService) -> None:
    identity.grant(identity.alice, "member", identity.blue)
    token = login_of(identity, credential(identity, roles=[{"name": "reader"}])).headers["X-Subject-Token"]
    assert identity.by_token(token, "blue").status_int == 403
    same = identity.by_token(token, "red").json["token"]
    assert [role["name"] for role in same["roles"]] == ["reader"] and "application_credential" in same


def test_cve_2026_33551_a_restricted_application_credential_makes_no_credentials(identity: IdentityService) -> None:
    made = credential(identity, roles=[{"name": "reader"}])
    token = login_of(identity, made).headers["X-Subject-Token"]
    user = f"/v3/users/{identity.alice}"
    key = {"credential": {"type": "ec2", "project_id": identity.red, "blob": '{"access": "a", "secret": "s"}'}}
    for method, path, body in (
        ("POST", f"{user}/application_credentials", {"application_credential": {"name": "x"}}),
        ("DELETE", f"{user}/application_credentials/{made['id']}", None),
        ("POST", f"{user}/credentials/OS-EC2", {"tenant_id": identity.red}),
        ("POST", "/v3/credentials", key),
    ):
        assert identity.ask(method, path, token, body).status_int == 403, path


def test_what_an_unrestricted_one_makes_has_no_more_rights(identity: IdentityService) -> None:
    made = credential(identity, unrestricted=True, roles=[{"name": "reader"}])
    token = login_of(identity, made).headers["X-Subject-Token"]
    user = f"/v3/users/{identity.alice}"
    body: dict[str, Any] = {"application_credential": {"name": "x", "roles": [{"name": "member"}]}}
    assert identity.ask("POST", f"{user}/application_credentials", token, body).status_int == 400
    key = identity.ask("POST", f"{user}/credentials/OS-EC2", token, {"tenant_id": identity.red}).json["credential"]
    assert [role["name"] for role in s3(identity, key).json["token"]["roles"]] == ["reader"]
    identity.ask("DELETE", f"{user}/application_credentials/{made['id']}", identity.log_in("alice", "alice"))
    assert s3(identity, key).status_int == 401


def test_access_rules_hold_here_and_are_shown_to_who_understands_them(identity: IdentityService) -> None:
    rules = [{"service": "identity", "method": "GET", "path": "/v3/auth/projects"}]
    token = login_of(identity, credential(identity, access_rules=rules)).headers["X-Subject-Token"]
    assert identity.ask("GET", "/v3/auth/projects", token).status_int == 200
    assert identity.ask("GET", "/v3/auth/catalog", token).status_int == 401
    service = identity.service_token()
    assert identity.ask("GET", "/v3/auth/tokens", service, X_Subject_Token=token).status_int == 404
    headers = {"X_Subject_Token": token, "OpenStack_Identity_Access_Rules": "1"}
    shown = identity.ask("GET", "/v3/auth/tokens", service, **headers).json["token"]["application_credential"]
    assert [{**rule, "id": ""} for rule in shown["access_rules"]] == [{**rules[0], "id": ""}]


def test_nothing_secret_lies_on_the_disk_in_clear(identity: IdentityService) -> None:
    key, made = access_key(identity), credential(identity)
    identity.state.database.close()
    stored = b"".join(path.read_bytes() for path in identity.folder.glob("identity.sqlite*"))
    for secret in (key["secret"], made["secret"], "sesame"):
        assert secret.encode() not in stored
    assert all(path.stat().st_mode & 0o077 == 0 for path in identity.folder.glob("keys/*/*.key"))
