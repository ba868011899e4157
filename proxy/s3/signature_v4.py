"""Signatures of version 4, verified: an HMAC with a key derived from the secret, the day and the region.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from msgspec import Struct

from objstore.http.messages import Environ, variable_of
from objstore.proxy.s3.canonical import canonical_request, spellings
from objstore.proxy.s3.claims import ALGORITHM, SERVICE, TERMINAL, SignatureClaim
from objstore.proxy.s3.errors import S3Error

SIGNING_KEYS_MAX: Final = 4096
# Errors show what was signed, unless that would make them long.
SHOWN_BYTES_MAX: Final = 16_384
_AMZ: Final = "HTTP_X_AMZ_"


class ChunkSeed(Struct, frozen=True):
    """What the signatures of a body's chunks go on from."""

    key: bytes
    timestamp: str
    scope: str
    signature: str


@lru_cache(maxsize=SIGNING_KEYS_MAX)
def signing_key(secret: str, date: str, region: str, service: str = SERVICE) -> bytes:
    """The key for one day, region and service."""
    key = b"AWS4" + secret.encode()
    for word in (date, region, service, TERMINAL):
        key = hmac.digest(key, word.encode(), "sha256")
    return key


def verify(claim: SignatureClaim, environ: Environ, secret: str) -> ChunkSeed:
    """Check the signature of a request by header or query. Raises S3Error AccessDenied, SignatureDoesNotMatch."""
    _check_covered(claim, environ)
    key = signing_key(secret, claim.date, claim.region, claim.service)
    scope, given = claim.scope, _bytes(claim.signature)
    head = f"{ALGORITHM}\n{claim.timestamp}\n{scope}\n"
    shown = None
    for uri, query in spellings(environ):
        canonical = _bytes(canonical_request(environ, uri, query, claim.signed, claim.payload))
        to_sign = head + sha256(canonical).hexdigest()
        if hmac.compare_digest(hmac.digest(key, _bytes(to_sign), "sha256").hex().encode(), given):
            return ChunkSeed(key, claim.timestamp, scope, claim.signature)
        shown = shown or (to_sign, canonical)
    assert shown is not None
    raise mismatch(claim, *shown)


def verify_form(claim: SignatureClaim, policy: str, secret: str) -> None:
    """Check the signature of an HTML form's policy, which is in base64. Raises S3Error SignatureDoesNotMatch."""
    key = signing_key(secret, claim.date, claim.region)
    made = hmac.digest(key, policy.encode(), "sha256").hex().encode()
    if not hmac.compare_digest(made, claim.signature.encode("utf-8", "surrogatepass")):
        raise mismatch(claim, policy)


def mismatch(claim: SignatureClaim, to_sign: str, canonical: bytes | None = None) -> S3Error:
    """The error that lets a client's author compare what was signed at both ends."""
    elements: dict[str, Any] = {"AWSAccessKeyId": claim.access_key, "SignatureProvided": claim.signature}
    if len(to_sign) <= SHOWN_BYTES_MAX:
        elements["StringToSign"] = to_sign
        elements["StringToSignBytes"] = to_sign.encode().hex(" ")
    if canonical is not None and len(canonical) <= SHOWN_BYTES_MAX:
        elements["CanonicalRequest"] = canonical.decode("utf-8", "replace")
        elements["CanonicalRequestBytes"] = canonical.hex(" ")
    return S3Error("SignatureDoesNotMatch", **elements)


def _check_covered(claim: SignatureClaim, environ: Environ) -> None:
    """Refuse a request with a header that means something to the store, and is not signed."""
    covered = {variable_of(name) for name in claim.signed}
    unsigned = [name for name in environ if name.startswith(_AMZ) and name not in covered]
    if "HTTP_HOST" not in covered:
        unsigned.append("HTTP_HOST")
    if unsigned:
        names = ", ".join(sorted(name[5:].replace("_", "-").lower() for name in unsigned))
        raise S3Error(
            "AccessDenied", "There were headers present in the request which were not signed", HeadersNotSigned=names
        )


def _bytes(text: str) -> bytes:
    """Text of the wire as its bytes; what can be none of it becomes something that fits nothing."""
    return text.encode("latin-1", "backslashreplace")
