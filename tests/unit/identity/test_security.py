"""What went wrong in other identity services once, and must not here: each test names the advisory."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from objstore.login_throttle import CLIENT_FAILURES_MAX
from tests.unit.identity.service import IdentityService


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


def _change(identity: IdentityService, path: str, **values: Any) -> None:
    kind = path.split("/")[0][:-1]
    assert identity.ask("PATCH", f"/v3/{path}", identity.admin, {kind: values}).status_int == 200


def _own_password(identity: IdentityService) -> None:
    body = {"user": {"password": "new", "original_password": "alice"}}
    assert identity.ask("POST", f"/v3/users/{identity.alice}/password", body=body).status_int == 204


def _disabled_and_back(identity: IdentityService, path: str) -> None:
    _change(identity, path, enabled=False)
    _change(identity, path, enabled=True)


def _role_deleted(identity: IdentityService) -> None:
    role = identity.made("roles", name="extra")["id"]
    identity.grant(identity.alice, "extra", identity.red)
    assert identity.ask("DELETE", f"/v3/roles/{role}", identity.admin).status_int == 204


REVOKING = {
    "OSSA-2012-016 password changed by an administrator": lambda i: _change(i, f"users/{i.alice}", password="new"),
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
    _change(identity, f"domains/{domain}", enabled=False)
    assert not identity.holds(token)
    if not disabled:
        _change(identity, f"domains/{domain}", enabled=True)
        assert not identity.holds(token)
        assert identity.login("eve", "eve", scope, domain={"id": domain}).status_int == 201


def test_revoking_one_token_leaves_the_others(identity: IdentityService) -> None:
    first, second = (identity.log_in("alice", "alice", "red") for _ in range(2))
    assert identity.ask("DELETE", "/v3/auth/tokens", first, X_Subject_Token=first).status_int == 204
    assert not identity.holds(first) and identity.holds(second)
    _change(identity, f"users/{identity.alice}", description="nothing that matters")
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


def access_key(identity: IdentityService) -> dict[str, Any]:
    token = identity.log_in("alice", "alice", "red")
    path = f"/v3/users/{identity.alice}/credentials/OS-EC2"
    answer = identity.ask("POST", path, token, {"tenant_id": identity.red})
    assert answer.status_int == 201
    made: dict[str, Any] = answer.json["credential"]
    return made


def s3(
    identity: IdentityService, key: dict[str, Any], token: str | None = None, age: float = 0, service: str = "s3"
) -> Any:
    day = datetime.fromtimestamp(identity.now - age, UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{day[:8]}/us-east-1/{service}/aws4_request"
    signed = f"AWS4-HMAC-SHA256\n{day}\n{scope}\n{'0' * 64}"
    signing = ("AWS4" + key["secret"]).encode()
    for part in scope.split("/"):
        signing = hmac.digest(signing, part.encode(), "sha256")
    shown = {
        "access": key["access"],
        "token": urlsafe_b64encode(signed.encode()).decode(),
        "signature": hmac.new(signing, signed.encode(), "sha256").hexdigest(),
    }
    caller = identity.service_token() if token is None else token
    return identity.ask("POST", "/v3/s3tokens", caller, {"credentials": shown})


def ec2(
    identity: IdentityService, key: dict[str, Any], token: str | None = None, age: float = 0, **changed: Any
) -> Any:
    moment = datetime.fromtimestamp(identity.now - age, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    params = {
        "Action": "DescribeInstances",
        "AWSAccessKeyId": key["access"],
        "SignatureMethod": "HmacSHA256",
        "SignatureVersion": "2",
        "Timestamp": moment,
    }
    query = "&".join(f"{name}={value.replace(':', '%3A')}" for name, value in sorted(params.items()))
    signed = f"GET\nec2.example:8788\n/\n{query}"
    shown = {
        "access": key["access"],
        "signature": b64encode(hmac.digest(key["secret"].encode(), signed.encode(), "sha256")).decode(),
        "host": "ec2.example:8788",
        "verb": "GET",
        "path": "/",
        "params": params,
        **changed,
    }
    caller = identity.service_token() if token is None else token
    return identity.ask("POST", "/v3/ec2tokens", caller, {"credentials": shown})


def test_signatures_say_who_has_signed(identity: IdentityService) -> None:
    key = access_key(identity)
    answer = s3(identity, key)
    assert answer.status_int == 200 and "X-Subject-Token" not in answer.headers
    assert answer.json["token"]["project"]["id"] == identity.red
    assert s3(identity, key | {"secret": "wrong"}).status_int == 401
    assert s3(identity, key | {"access": "wrong"}).status_int == 401
    answer = ec2(identity, key)
    assert answer.status_int == 200 and identity.holds(answer.headers["X-Subject-Token"])
    assert ec2(identity, key | {"secret": "wrong"}).status_int == 401
    assert identity.by_token(answer.headers["X-Subject-Token"], "blue").status_int == 403


def test_the_old_signature_of_s3(identity: IdentityService) -> None:
    key = access_key(identity)
    signed = b"GET\n\n\nSun, 29 Nov 2026 10:00:00 GMT\n/bucket"
    signature = b64encode(hmac.digest(key["secret"].encode(), signed, "sha1")).decode()
    shown = {"access": key["access"], "token": urlsafe_b64encode(signed).decode(), "signature": signature}
    assert identity.ask("POST", "/v3/s3tokens", identity.service_token(), {"credentials": shown}).status_int == 200


def test_ec2_with_the_new_signature(identity: IdentityService) -> None:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    identity.now = datetime.now(UTC).timestamp()  # botocore signs with the real time
    identity.admin = identity.log_in("admin", "sesame", "admin")
    key = access_key(identity)
    body = "Action=DescribeInstances&Version=2016-11-15"
    request = AWSRequest("POST", "http://ec2.example:8788/", headers={"Content-Type": "text/plain"}, data=body)
    SigV4Auth(Credentials(key["access"], key["secret"]), "ec2", "RegionOne").add_auth(request)
    fields = request.headers["Authorization"]
    shown = {
        "access": key["access"],
        "signature": fields.rpartition("Signature=")[2],
        "host": "ec2.example:8788",
        "verb": "POST",
        "path": "/",
        "params": {},
        "headers": dict(request.headers.items()),
        "body_hash": hashlib.sha256(body.encode()).hexdigest(),
    }
    for name in ("credentials", "credential", "ec2Credentials"):
        answer = identity.ask("POST", "/v3/ec2tokens", identity.service_token(), {name: shown})
        assert answer.status_int == 200, answer.text
    shown["body_hash"] = "0" * 64
    assert identity.ask("POST", "/v3/ec2tokens", identity.service_token(), {"credentials": shown}).status_int == 401


@pytest.mark.parametrize("ask", [s3, ec2])
def test_cve_2025_65073_a_signature_is_no_token_for_anybody(identity: IdentityService, ask: Any) -> None:
    key = access_key(identity)
    assert ask(identity, key, token="").status_int == 401
    assert ask(identity, key, token=identity.log_in("alice", "alice", "red")).status_int == 403
    assert ask(identity, key, token=identity.log_in("bob", "bob", "blue")).status_int == 403


@pytest.mark.parametrize(("ask", "oldest"), [(s3, 7 * 86_400), (ec2, 900)])
def test_cve_2020_12692_a_signature_grows_old(identity: IdentityService, ask: Any, oldest: float) -> None:
    key = access_key(identity)
    assert ask(identity, key, age=oldest - 10).status_int == 200
    assert ask(identity, key, age=oldest + 10).status_int == 401
    assert ask(identity, key, age=-1000).status_int == 401
    if ask is ec2:
        assert ec2(identity, key, params={}).status_int == 401


def test_a_signature_for_another_service_of_aws_is_none(identity: IdentityService) -> None:
    assert s3(identity, access_key(identity), service="ec2").status_int == 401


def test_cve_2026_43001_a_key_is_for_a_project_of_its_user(identity: IdentityService) -> None:
    token = identity.log_in("alice", "alice", "red")
    path = f"/v3/users/{identity.alice}/credentials/OS-EC2"
    assert identity.ask("POST", path, token, {"tenant_id": identity.blue}).status_int == 403
    blob = json.dumps({"access": "a", "secret": "s"})
    body = {"credential": {"type": "ec2", "project_id": identity.blue, "blob": blob}}
    assert identity.ask("POST", "/v3/credentials", token, body).status_int == 403
    body["credential"] |= {"project_id": identity.red, "user_id": identity.bob}
    assert identity.ask("POST", "/v3/credentials", token, body).status_int == 403
    other = f"/v3/users/{identity.bob}/credentials/OS-EC2"
    assert identity.ask("POST", other, token, {"tenant_id": identity.blue}).status_int == 403


def test_cve_2020_12689_and_12691_a_credential_stays_whose_it_is(identity: IdentityService) -> None:
    key = access_key(identity)
    token = identity.log_in("alice", "alice", "red")
    path = f"/v3/credentials/{hashlib.sha256(key['access'].encode()).hexdigest()}"
    shown = identity.ask("GET", path, token).json["credential"]
    assert json.loads(shown["blob"]) == {"access": key["access"], "secret": key["secret"]}
    for change in ({"user_id": identity.bob}, {"project_id": identity.blue}, {"type": "cert"}):
        assert identity.ask("PATCH", path, token, {"credential": change}).status_int == 403
    blob = json.dumps({"access": "other", "secret": "s"})
    assert identity.ask("PATCH", path, token, {"credential": {"blob": blob}}).status_int == 400
    bob = identity.log_in("bob", "bob", "blue")
    assert {identity.ask(how, path, bob).status_int for how in ("GET", "DELETE")} == {404}
    assert identity.ask("GET", "/v3/credentials", bob).json["credentials"] == []
    assert identity.ask("GET", f"/v3/credentials?user_id={identity.alice}", bob).status_int == 403


def test_a_key_ends_with_its_user_project_role_and_itself(identity: IdentityService) -> None:
    key = access_key(identity)
    for path in (f"users/{identity.alice}", f"projects/{identity.red}"):
        _change(identity, path, enabled=False)
        assert s3(identity, key).status_int == 401
        _change(identity, path, enabled=True)
    assert s3(identity, key).status_int == 200
    identity.grant(identity.alice, "member", identity.red, "DELETE")
    assert s3(identity, key).status_int == 401
    identity.grant(identity.alice, "member", identity.red)
    path = f"/v3/users/{identity.alice}/credentials/OS-EC2/{key['access']}"
    assert identity.ask("GET", path, identity.service_token()).json["credential"]["secret"] == key["secret"]
    assert identity.ask("DELETE", path, identity.log_in("alice", "alice")).status_int == 204
    assert s3(identity, key).status_int == 401


def test_nothing_secret_lies_on_the_disk_in_clear(identity: IdentityService) -> None:
    key, made = access_key(identity), credential(identity)
    identity.state.database.close()
    stored = b"".join(path.read_bytes() for path in identity.folder.glob("identity.sqlite*"))
    for secret in (key["secret"], made["secret"], "sesame"):
        assert secret.encode() not in stored
    assert all(path.stat().st_mode & 0o077 == 0 for path in identity.folder.glob("keys/*/*.key"))
