"""What a request says to the conditions of policies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from objstore.headers import Sysmeta
from objstore.proxy.s3.callers import user_id_of
from objstore.proxy.s3.claims import AuthType, iso_of
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.proxy.auth.identity import Identity
    from objstore.proxy.auth.sessions import AccessSession
    from objstore.proxy.s3.request import S3Request

_HEADERS: Final = {
    "HTTP_REFERER": "aws:referer",
    "HTTP_USER_AGENT": "aws:useragent",
    "HTTP_IF_MATCH": "s3:if-match",
    "HTTP_IF_NONE_MATCH": "s3:if-none-match",
    "HTTP_X_AMZ_OBJECT_LOCK_MODE": "s3:object-lock-mode",
    "HTTP_X_AMZ_OBJECT_LOCK_LEGAL_HOLD": "s3:object-lock-legal-hold",
    "HTTP_X_AMZ_OBJECT_LOCK_RETAIN_UNTIL_DATE": "s3:object-lock-retain-until-date",
    **{
        f"HTTP_X_AMZ_{name.upper().replace('-', '_')}": f"s3:x-amz-{name}"
        for name in (
            "acl", "content-sha256", "copy-source", "grant-full-control", "grant-read", "grant-read-acp", "grant-write",
            "grant-write-acp", "metadata-directive", "object-ownership", "server-side-encryption",
            "server-side-encryption-aws-kms-key-id", "server-side-encryption-customer-algorithm", "storage-class",
            "website-redirect-location",
        )
    },
}  # fmt: skip
_PARAMETERS: Final = {
    "prefix": "s3:prefix",
    "delimiter": "s3:delimiter",
    "max-keys": "s3:max-keys",
    "versionId": "s3:versionid",
}


EXISTING_TAG: Final = "s3:existingobjecttag/"
# In the metadata of objects.
TAGS: Final = Sysmeta.TAGS.removeprefix(Sysmeta.OBJECT_TRANSIENT_PREFIX)
_AUTH_TYPES: Final = {AuthType.HEADER: "REST-HEADER", AuthType.QUERY: "REST-QUERY-STRING", AuthType.POST: "POST"}


def existing_tags(metadata: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The tags of an object that is there."""
    tags = parse_qsl(metadata.get(TAGS, ""), keep_blank_values=True)
    return {EXISTING_TAG + key.lower(): (value,) for key, value in tags}


def _keys_of_caller(identity: Identity, session: AccessSession | None) -> dict[str, tuple[str, ...]]:
    account, _, user = identity.user.partition(":")
    name = "" if session is None else session.name
    found: dict[str, tuple[str, ...]] = {
        "aws:username": (user,),
        "aws:userid": (user_id_of(identity, name),),
        "aws:principalaccount": (account,),
        "aws:principaltype": ("User",),
        "aws:principalarn": (f"arn:aws:iam::{account}:user/{user}",),
    }
    if session is not None:
        found["aws:tokenissuetime"] = (iso_of(session.issued),)
        found |= {f"aws:principaltag/{tag.lower()}": (value,) for tag, value in session.tags.items()}
        if name:
            found["aws:principaltype"] = ("AssumedRole",)
            found["aws:principalarn"] = (f"arn:aws:iam::{account}:role/{user}",)
    return found


def policy_keys(request: S3Request, now: float) -> dict[str, tuple[str, ...]]:
    """The values by the lower-case name of their key; a key that the request has no value for is not there."""
    environ = request.environ
    found: dict[str, tuple[str, ...]] = {}
    for variable, key in _HEADERS.items():
        if variable in environ:
            found[key] = (environ[variable],)
    for name, key in _PARAMETERS.items():
        if name in request.params:
            found[key] = (request.params[name],)
    if "s3:x-amz-copy-source" in found:
        found["s3:x-amz-copy-source"] = (found["s3:x-amz-copy-source"][0].lstrip("/"),)
    if "s3:object-lock-retain-until-date" in found and (left := _days_left(found, now)) is not None:
        found["s3:object-lock-remaining-retention-days"] = (str(left),)
    if "HTTP_X_AMZ_TAGGING" in environ:
        tags = parse_qsl(environ["HTTP_X_AMZ_TAGGING"], keep_blank_values=True)
        found["s3:requestobjecttagkeys"] = tuple(key for key, _ in tags)
        found |= {f"s3:requestobjecttag/{key.lower()}": (value,) for key, value in tags}
    if address := environ.get("REMOTE_ADDR"):
        found["aws:sourceip"] = (address,)
    found["aws:securetransport"] = ("true" if environ.get("wsgi.url_scheme") == "https" else "false",)
    found["aws:currenttime"] = (Timestamp.from_seconds(now).isoformat + "Z",)
    found["aws:epochtime"] = (str(int(now)),)
    if request.signed is not None:
        claim = request.signed.claim
        found["s3:authtype"] = (_AUTH_TYPES[claim.auth_type],)
        found["s3:signatureversion"] = (claim.algorithm,)
        found["s3:signatureage"] = (str(max(int((now - claim.signed_at) * 1000), 0)),)
    if request.identity is not None:
        found |= _keys_of_caller(request.identity, request.session)
    else:
        found["aws:principaltype"] = ("Anonymous",)
    return found


def _days_left(found: Mapping[str, tuple[str, ...]], now: float) -> int | None:
    """How many days the retention lasts that a request asks for, None for no date."""
    try:
        until = datetime.fromisoformat(found["s3:object-lock-retain-until-date"][0].strip())
    except ValueError:
        return None
    return int((until.replace(tzinfo=until.tzinfo or UTC).timestamp() - now) // 86_400)
