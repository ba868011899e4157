"""Requests that are signed with access keys, as services show them to the identity service."""

from __future__ import annotations

import hmac
from base64 import b64encode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

from tests.unit.identity.service import IdentityService


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
