"""Access keys, and signatures made with them: each test of what went wrong elsewhere once names the advisory."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.identity.service import IdentityService
from tests.unit.identity.signing import access_key, ec2, s3


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
        identity.change(path, enabled=False)
        assert s3(identity, key).status_int == 401
        identity.change(path, enabled=True)
    assert s3(identity, key).status_int == 200
    identity.grant(identity.alice, "member", identity.red, "DELETE")
    assert s3(identity, key).status_int == 401
    identity.grant(identity.alice, "member", identity.red)
    path = f"/v3/users/{identity.alice}/credentials/OS-EC2/{key['access']}"
    assert identity.ask("GET", path, identity.service_token()).json["credential"]["secret"] == key["secret"]
    assert identity.ask("DELETE", path, identity.log_in("alice", "alice")).status_int == 204
    assert s3(identity, key).status_int == 401
