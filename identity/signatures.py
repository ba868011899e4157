"""s3tokens and ec2tokens: a service shows what a client has signed, and learns who the client is.

Callers are services and administrators alone: a signature that anybody may see, in a presigned URL for instance, must
not become a token for anybody.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import quote

import webob
from msgspec import Struct
from sqlalchemy.orm import Session

from objstore.cloud.web import Call, Fault, WebRoute
from objstore.identity.authentication import Logins, Proof, refuse
from objstore.identity.credentials import Credentials, Ec2KeyPair, credential_id
from objstore.identity.records import PROJECT, CredentialRecord
from objstore.identity.state import IdentityState, need_admin_or_service
from objstore.identity.tokens import Methods, TokenScope

AGE_SECONDS_MAX: Final = 15 * 60
# A presigned URL of S3 is good for so long at most; the store checks its own end.
PRESIGNED_SECONDS_MAX: Final = 7 * 86_400
V4: Final = "AWS4-HMAC-SHA256"
S3_SERVICES: Final = frozenset({"s3", "iam", "sts"})
STRING_TO_SIGN_MAX: Final = 64 * 1024  # bytes


class SignedString(Struct):
    """What the store shows: the string that was signed, in urlsafe base64."""

    access: str
    token: str
    signature: str


class SignedRequest(Struct):
    """What an EC2 server shows: the request."""

    access: str
    signature: str
    host: str = ""
    verb: str = ""
    path: str = ""
    params: dict[str, str] = {}
    headers: dict[str, str] = {}
    body_hash: str = ""


class S3Body(Struct):
    credentials: SignedString


class Ec2Body(Struct):
    """Clients call it by three names."""

    credentials: SignedRequest | None = None
    credential: SignedRequest | None = None
    ec2Credentials: SignedRequest | None = None


class Signatures:
    def __init__(self, state: IdentityState) -> None:
        self._state = state
        self._logins = Logins(state)
        self._credentials = Credentials(state)

    def routes(self) -> list[WebRoute]:
        return [WebRoute("POST", "/v3/s3tokens", self.s3), WebRoute("POST", "/v3/ec2tokens", self.ec2)]

    def s3(self, call: Call) -> webob.Response:
        """The body of a token, and no token: a signed request to the store must not open other services."""
        need_admin_or_service(call)
        given = call.json_as(S3Body).credentials
        try:
            signed = urlsafe_b64decode(given.token)
        except (binascii.Error, ValueError):
            raise Fault(400, "The string that was signed is not in base64.") from None
        if len(signed) > STRING_TO_SIGN_MAX:
            raise Fault(400, "The string that was signed is too long.")
        with self._state.database.reading() as session:
            record, key = self._key(session, given.access)
            if not hmac.compare_digest(_of_string(key.secret, signed, self._state.seconds()), given.signature.encode()):
                refuse()
            answer = self._answer(session, record)
        del answer.headers["X-Subject-Token"]
        answer.status = 200
        return answer

    def ec2(self, call: Call) -> webob.Response:
        need_admin_or_service(call)
        body = call.json_as(Ec2Body)
        given = body.credentials or body.credential or body.ec2Credentials
        if given is None:
            raise Fault(400, "The body has no credentials.")
        with self._state.database.reading() as session:
            record, key = self._key(session, given.access)
            _check_age(given, self._state.seconds())
            expected = _of_request(key.secret, given)
            if not any(hmac.compare_digest(each, given.signature.encode()) for each in expected):
                refuse()
            answer = self._answer(session, record)
        answer.status = 200
        return answer

    def _key(self, session: Session, access: str) -> tuple[CredentialRecord, Ec2KeyPair]:
        record = session.get(CredentialRecord, credential_id(access))
        key = None if record is None or record.project_id is None else self._credentials.secret_of(record)
        if record is None or key is None or key.access != access:
            refuse()
        return record, key

    def _answer(self, session: Session, record: CredentialRecord) -> webob.Response:
        """What the user may do now, as at a login: the user and project may be disabled, or the role gone."""
        proof = Proof(
            record.user_id,
            Methods.EC2,
            scope=TokenScope(PROJECT, record.project_id or ""),
            application_credential_id=record.application_credential_id,
        )
        return self._logins.answer(session, proof, None)


def _of_string(secret: str, signed: bytes, now: float) -> bytes:
    """The signature that the string should have. Raises Fault 401 for one that is too old, or for another service."""
    lines = signed.decode("utf-8", "replace").split("\n")
    if lines[0] != V4:
        return b64encode(hmac.digest(secret.encode(), signed, "sha1"))
    scope = lines[2].split("/") if len(lines) == 4 else []
    if len(scope) != 4 or scope[2] not in S3_SERVICES:
        refuse()
    _check_moment(lines[1], now, PRESIGNED_SECONDS_MAX)
    return _hex_v4(secret, scope, signed)


def _hex_v4(secret: str, scope: list[str], signed: bytes) -> bytes:
    key = b"AWS4" + secret.encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, signed, "sha256").hexdigest().encode()


def _check_age(given: SignedRequest, now: float) -> None:
    """Raises Fault 401 for a request that was signed too long ago, or does not say when."""
    headers = {name.lower(): value for name, value in given.headers.items()}
    params = given.params
    for name in ("Expires", "Timestamp", "X-Amz-Date"):
        if name in params:
            expires = name == "Expires"
            _check_moment(params[name], now, 0 if expires else AGE_SECONDS_MAX, None if expires else AGE_SECONDS_MAX)
            return
    moment = headers.get("x-amz-date") or headers.get("date")
    if moment is None:
        refuse()
    _check_moment(moment, now, AGE_SECONDS_MAX)


def _check_moment(text: str, now: float, past: float, future: float | None = AGE_SECONDS_MAX) -> None:
    try:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = parsedate_to_datetime(text)
        age = now - (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        refuse()
    if age > past or (future is not None and -age > future):
        refuse()


def _of_request(secret: str, given: SignedRequest) -> Iterator[bytes]:
    """The signatures that a request may have: clients sign the host with its port, or without."""
    headers = {name.lower(): value for name, value in given.headers.items()}
    for host in dict.fromkeys((given.host, given.host.rpartition(":")[0] or given.host)):
        authorization = headers.get("authorization", "")
        if given.params.get("SignatureVersion") == "2":
            yield _v2(secret, given, host)
        elif given.params.get("X-Amz-Algorithm") == V4 or authorization.startswith(V4):
            yield _v4(secret, given, host, headers, authorization)


def _v2(secret: str, given: SignedRequest, host: str) -> bytes:
    """AWS's signature version 2 of a query (HmacSHA256 or HmacSHA1)."""
    digest = {"HmacSHA256": "sha256", "HmacSHA1": "sha1"}.get(
        given.params.get("SignatureMethod", "HmacSHA256"), "sha256"
    )
    query = _query({name: value for name, value in given.params.items() if name != "Signature"})
    text = f"{given.verb}\n{host.lower()}\n{given.path}\n{query}"
    return b64encode(hmac.digest(secret.encode(), text.encode(), digest))


def _v4(secret: str, given: SignedRequest, host: str, headers: Mapping[str, str], authorization: str) -> bytes:
    """AWS's signature version 4, in the header or in the query."""
    fields = dict(part.strip().partition("=")[::2] for part in authorization.removeprefix(V4).split(",") if "=" in part)
    in_query = not authorization
    credential = given.params.get("X-Amz-Credential", "") if in_query else fields.get("Credential", "")
    names = given.params.get("X-Amz-SignedHeaders", "host") if in_query else fields.get("SignedHeaders", "")
    moment = given.params.get("X-Amz-Date") or headers.get("x-amz-date") or ""
    scope = credential.split("/")[1:]
    if len(scope) != 4 or not moment.startswith(scope[0]):
        refuse()
    signed = "".join(
        f"{name}:{' '.join((host if name == 'host' else headers.get(name, '')).split())}\n" for name in names.split(";")
    )
    # In a POST the parameters are the body, which its hash stands for.
    query = (
        ""
        if given.verb == "POST" and not in_query
        else _query({name: value for name, value in given.params.items() if name != "X-Amz-Signature"})
    )
    canonical = "\n".join((given.verb, given.path, query, signed, names, given.body_hash))
    text = "\n".join((V4, moment, "/".join(scope), hashlib.sha256(canonical.encode()).hexdigest()))
    return _hex_v4(secret, scope, text.encode())


def _query(params: Mapping[str, str]) -> str:
    return "&".join(f"{quote(name, safe='-_~')}={quote(params[name], safe='-_~')}" for name in sorted(params))
