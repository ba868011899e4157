"""Signatures as requests claim them: taken apart and checked for form, scope and time, before any key is looked up."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

from objstore.http.messages import Environ
from objstore.proxy.s3.errors import S3Error

ALGORITHM: Final = "AWS4-HMAC-SHA256"
ALGORITHM_V2: Final = "AWS"
# Keys on elliptic curves, which need a service that hands them out.
ASYMMETRIC: Final = "AWS4-ECDSA-P256-SHA256"
SERVICE: Final = "s3"
# Answered at the root, in an API of forms.
QUERY_SERVICES: Final = ("sts", "iam")
TERMINAL: Final = "aws4_request"
DEFAULT_REGION: Final = "us-east-1"
UNSIGNED: Final = "UNSIGNED-PAYLOAD"
SKEW_SECONDS_MAX: Final = 900
EXPIRES_SECONDS_MAX: Final = 604_800
ACCESS_KEY_LENGTH_MAX: Final = 256
QUERY_PARAMETERS: Final = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-Date",
    "X-Amz-SignedHeaders",
    "X-Amz-Expires",
)
POST_FIELDS: Final = ("policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
_BASIC: Final = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_NAMES: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z;-]+")

# Makes the error of a reason, with elements.
Refuse = Callable[..., S3Error]


class AuthType(StrEnum):
    """Where a signature stands, in the words of policies."""

    HEADER = "REST-HEADER"
    QUERY = "REST-QUERY-STRING"
    POST = "POST"


class SignatureClaim(Struct, frozen=True):
    """A signature, and what it says of itself.

    date, region: of the scope. timestamp: of the request, as it is signed. signed_at: the same in seconds since the
    epoch. signed: names of the headers that it covers. payload: what it says of the body. For a signature of version 2
    all but `access_key`, `signature`, `auth_type` and `signed_at` are empty. service: what the key is derived for.
    """

    access_key: str
    signature: str
    auth_type: AuthType
    signed_at: int
    algorithm: str = ALGORITHM
    date: str = ""
    region: str = ""
    timestamp: str = ""
    signed: tuple[str, ...] = ()
    payload: str = UNSIGNED
    service: str = SERVICE

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/{TERMINAL}"


class SignatureClaims:
    """Reads claims of version 4 for a service, and for these regions and us-east-1; none: for all regions."""

    def __init__(self, regions: tuple[str, ...] = (), service: str = SERVICE) -> None:
        self._regions: Final = frozenset({*regions, DEFAULT_REGION}) if regions else None
        self._region: Final = regions[0] if regions else DEFAULT_REGION
        self._service: Final = service

    def of_header(self, environ: Environ, authorization: str, now: float, payload: str = "") -> SignatureClaim:
        """The claim of an Authorization header; `payload` is the body's hash if that is known. Raises S3Error."""
        parts = _components(authorization[len(ALGORITHM) + 1 :])
        timestamp = request_time(environ)
        payload = payload or environ.get("HTTP_X_AMZ_CONTENT_SHA256", "")
        if not payload:
            raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
        access_key, date, region = self._scope(parts["Credential"], timestamp, _malformed_header)
        if not _NAMES.fullmatch(parts["SignedHeaders"]):
            raise _malformed_header("SignedHeaders holds what is no name of a header")
        signed_at = epoch_of(timestamp)
        check_skew(signed_at, now)
        signed = tuple(parts["SignedHeaders"].split(";"))
        return SignatureClaim(
            access_key,
            parts["Signature"],
            AuthType.HEADER,
            signed_at,
            date=date,
            region=region,
            timestamp=timestamp,
            signed=signed,
            payload=payload,
            service=self._service,
        )

    def of_query(
        self, parameters: Mapping[str, str], now: float, environ: Environ, payload: str = ""
    ) -> SignatureClaim:
        """The claim of a presigned URL; `payload` as in `of_header`. Raises S3Error."""
        algorithm, credential, signature, timestamp, signed, expires = map(parameters.get, QUERY_PARAMETERS)
        if algorithm != ALGORITHM:
            raise _malformed_query(f'X-Amz-Algorithm only supports "{ALGORITHM}"')
        if not (credential and signature and timestamp and signed and expires):
            raise _malformed_query(
                f"Query-string authentication version 4 requires the {', '.join(QUERY_PARAMETERS)} parameters"
            )
        if not _BASIC.fullmatch(timestamp):
            raise _malformed_query("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
        if not _NAMES.fullmatch(signed):
            raise _malformed_query("X-Amz-SignedHeaders holds what is no name of a header")
        access_key, date, region = self._scope(credential, timestamp, _malformed_query)
        signed_at = epoch_of(timestamp)
        _check_expiry(expires, signed_at, now)
        return SignatureClaim(
            access_key,
            signature,
            AuthType.QUERY,
            signed_at,
            date=date,
            region=region,
            timestamp=timestamp,
            signed=tuple(signed.split(";")),
            payload=payload
            or parameters.get("X-Amz-Content-Sha256")
            or environ.get("HTTP_X_AMZ_CONTENT_SHA256", UNSIGNED),
            service=self._service,
        )

    def of_form(self, fields: Mapping[str, str]) -> SignatureClaim:
        """The claim of an HTML form, whose policy is what is signed; `fields` by name in lower case. Raises S3Error."""
        for name in POST_FIELDS:
            if not fields.get(name):
                raise S3Error(
                    "InvalidArgument",
                    f"Bucket POST must contain a field named '{name}'",
                    ArgumentName=name,
                    ArgumentValue="",
                )
        if fields["x-amz-algorithm"] != ALGORITHM:
            raise _bad_argument("x-amz-algorithm", fields["x-amz-algorithm"], f"must be {ALGORITHM}")
        timestamp, credential = fields["x-amz-date"], fields["x-amz-credential"]
        if not _BASIC.fullmatch(timestamp):
            raise _bad_argument("x-amz-date", timestamp, "must be as in 20260131T235959Z")
        access_key, date, region = self._scope(
            credential, timestamp, lambda reason, **_: _bad_argument("x-amz-credential", credential, reason)
        )
        return SignatureClaim(
            access_key,
            fields["x-amz-signature"],
            AuthType.POST,
            epoch_of(timestamp),
            date=date,
            region=region,
            timestamp=timestamp,
        )

    def _scope(self, credential: str, timestamp: str, refuse: Refuse) -> tuple[str, str, str]:
        """Access key, date and region of a credential; access keys may hold slashes. Raises what `refuse` makes."""
        words = credential.rsplit("/", 4)
        if len(words) < 5 or not words[0] or len(words[0]) > ACCESS_KEY_LENGTH_MAX:
            raise refuse(
                f'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/{self._service}/{TERMINAL}"'
            )
        access_key, date, region, service, terminal = words
        if date != timestamp[:8]:
            if len(date) != 8 or not date.isdecimal():
                raise refuse(f'incorrect date format "{date}": it must be in the format "yyyyMMdd"')
            raise refuse(
                f'Invalid credential date "{date}". This date is not the same as X-Amz-Date: "{timestamp[:8]}"'
            )
        if self._regions is not None and region not in self._regions:
            raise refuse(f"the region '{region}' is wrong; expecting '{self._region}'", Region=self._region)
        if service != self._service:
            raise refuse(f'incorrect service "{service}". This endpoint belongs to "{self._service}"')
        if terminal != TERMINAL:
            raise refuse(f'incorrect terminal "{terminal}". This endpoint uses "{TERMINAL}"')
        return access_key, date, region


def _components(text: str) -> dict[str, str]:
    """Credential, SignedHeaders and Signature of an Authorization header."""
    parts: dict[str, str] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        parts[name] = value
    for name in ("Credential", "SignedHeaders", "Signature"):
        if not parts.get(name):
            raise _malformed_header(
                "the authorization header requires three components: Credential, SignedHeaders, and Signature"
            )
    return parts


def _malformed_header(reason: str, **elements: Any) -> S3Error:
    return S3Error("AuthorizationHeaderMalformed", f"The authorization header is malformed; {reason}.", **elements)


def _malformed_query(reason: str, **elements: Any) -> S3Error:
    return S3Error("AuthorizationQueryParametersError", f"{reason}.", **elements)


def _bad_argument(name: str, value: str, reason: str) -> S3Error:
    return S3Error("InvalidArgument", f"{name}: {reason}", ArgumentName=name, ArgumentValue=value)


def request_time(environ: Environ) -> str:
    """When the request was signed, as in 20260131T235959Z. Raises S3Error."""
    given = environ.get("HTTP_X_AMZ_DATE") or environ.get("HTTP_DATE")
    if given:
        if _BASIC.fullmatch(given):
            return given  # type: ignore[no-any-return]
        try:
            return parsedate_to_datetime(given).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        except (ValueError, TypeError, OverflowError):
            pass
    raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")


@lru_cache(maxsize=1024)
def epoch_of(timestamp: str) -> int:
    """Seconds since the epoch of a moment as in 20260131T235959Z. Raises S3Error if there is no such moment."""
    try:
        return int(datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())
    except (ValueError, OverflowError):
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header") from None


def check_skew(signed_at: int, now: float) -> None:
    """Refuse a request whose sender's clock, or whose age, is off. Raises S3Error RequestTimeTooSkewed."""
    if abs(now - signed_at) > SKEW_SECONDS_MAX:
        raise S3Error(
            "RequestTimeTooSkewed",
            RequestTime=iso_of(signed_at),
            ServerTime=iso_of(now),
            MaxAllowedSkewMilliseconds=SKEW_SECONDS_MAX * 1000,
        )


def _check_expiry(expires: str, signed_at: int, now: float) -> None:
    if not expires.removeprefix("-").isdecimal() or not expires.isascii():
        raise _malformed_query("X-Amz-Expires should be a number")
    if expires.startswith("-"):
        raise _malformed_query("X-Amz-Expires must be non-negative")
    if len(expires) > 7 or int(expires) > EXPIRES_SECONDS_MAX:
        raise _malformed_query(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than"
            f" {EXPIRES_SECONDS_MAX} seconds"
        )
    if signed_at > now + SKEW_SECONDS_MAX:
        raise S3Error("AccessDenied", "Request is not valid yet", ServerTime=iso_of(now))
    ends = signed_at + int(expires)
    if now > ends:
        elements: dict[str, Any] = {"X-Amz-Expires": expires, "Expires": iso_of(ends), "ServerTime": iso_of(now)}
        raise S3Error("AccessDenied", "Request has expired", **elements)


def iso_of(seconds: float) -> str:
    """A moment as error documents write it."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
