"""Signatures of version 2, which older clients still make: an HMAC-SHA1 with the secret itself.

https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from objstore.http.heads import UNDERSCORED
from objstore.http.messages import Environ
from objstore.proxy.s3.claims import ALGORITHM_V2, AuthType, SignatureClaim, check_skew, epoch_of, iso_of, request_time
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.signature_v4 import mismatch

QUERY_PARAMETERS_V2: Final = ("AWSAccessKeyId", "Signature", "Expires")
POST_FIELDS_V2: Final = ("policy", "awsaccesskeyid", "signature")
EXPIRES_DIGITS_MAX: Final = 12
# The parameters that are signed; others are not.
SIGNED_PARAMETERS: Final = frozenset(
    {
        "accelerate",
        "acl",
        "analytics",
        "cors",
        "defaultObjectAcl",
        "delete",
        "encryption",
        "inventory",
        "legal-hold",
        "lifecycle",
        "location",
        "logging",
        "metrics",
        "notification",
        "object-lock",
        "partNumber",
        "policy",
        "replication",
        "requestPayment",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
        "restore",
        "retention",
        "select",
        "select-type",
        "storageClass",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versionId",
        "versioning",
        "versions",
        "website",
    }
)
_AMZ: Final = "HTTP_X_AMZ_"


def claim_of_header(environ: Environ, authorization: str, now: float) -> SignatureClaim:
    """The claim of "AWS AKID:SIGNATURE". Raises S3Error."""
    access_key, colon, signature = authorization[len(ALGORITHM_V2) + 1 :].rpartition(":")
    if not colon or not access_key or not signature:
        raise S3Error(
            "InvalidArgument",
            "AWS authorization header is invalid. Expected AwsAccessKeyId:signature",
            ArgumentName="Authorization",
            ArgumentValue=authorization,
        )
    signed_at = epoch_of(request_time(environ))
    check_skew(signed_at, now)
    return SignatureClaim(access_key, signature, AuthType.HEADER, signed_at, ALGORITHM_V2)


def claim_of_query(parameters: Mapping[str, str], now: float) -> SignatureClaim:
    """The claim of a URL that is signed until `Expires`, in seconds since the epoch. Raises S3Error."""
    access_key, signature, expires = map(parameters.get, QUERY_PARAMETERS_V2)
    if not access_key or not signature or not expires:
        raise S3Error(
            "AccessDenied",
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters",
        )
    if not expires.isascii() or not expires.isdecimal() or len(expires) > EXPIRES_DIGITS_MAX:
        raise S3Error("AccessDenied", f"Invalid date (should be seconds since epoch): {expires}")
    if now > int(expires):
        raise S3Error("AccessDenied", "Request has expired", Expires=iso_of(int(expires)), ServerTime=iso_of(now))
    return SignatureClaim(access_key, signature, AuthType.QUERY, int(now), ALGORITHM_V2)


def claim_of_form(fields: Mapping[str, str]) -> SignatureClaim:
    """The claim of an HTML form; `fields` by name in lower case. Raises S3Error."""
    for name in POST_FIELDS_V2:
        if not fields.get(name):
            raise S3Error(
                "InvalidArgument",
                f"Bucket POST must contain a field named '{name}'",
                ArgumentName=name,
                ArgumentValue="",
            )
    return SignatureClaim(fields["awsaccesskeyid"], fields["signature"], AuthType.POST, 0, ALGORITHM_V2)


def verify_v2(claim: SignatureClaim, environ: Environ, parameters: Mapping[str, str], bucket: str, secret: str) -> None:
    """Check the signature of a request; `bucket` is the one that its host names. Raises S3Error."""
    path = (f"/{bucket}" if bucket else "") + environ["objstore.raw_path"]
    head, query = _head(claim, environ, parameters), _signed_query(environ)
    # Some clients sign a slash behind a bucket, and leave it out of the URL.
    if path.count("/") == 1 and len(path) > 1 and _is_right(claim, f"{head}{path}/{query}", secret):
        return
    _check(claim, head + path + query, secret)


def verify_form_v2(claim: SignatureClaim, policy: str, secret: str) -> None:
    """Check the signature of an HTML form's policy. Raises S3Error."""
    _check(claim, policy, secret)


def _check(claim: SignatureClaim, to_sign: str, secret: str) -> None:
    if not _is_right(claim, to_sign, secret):
        raise mismatch(claim, to_sign)


def _is_right(claim: SignatureClaim, to_sign: str, secret: str) -> bool:
    digest = hmac.digest(secret.encode(), to_sign.encode("latin-1", "backslashreplace"), "sha1")
    return hmac.compare_digest(b64encode(digest), claim.signature.encode("utf-8", "surrogatepass"))


def _head(claim: SignatureClaim, environ: Environ, parameters: Mapping[str, str]) -> str:
    """What is signed before the path."""
    by_query = claim.auth_type is AuthType.QUERY
    amz: dict[str, list[str]] = {}
    names = environ.get(UNDERSCORED, {})
    if by_query:
        for name, value in parameters.items():
            if (lower := name.lower()).startswith("x-amz-"):
                amz.setdefault(lower, []).append(value.encode().decode("latin-1"))
    for variable, value in environ.items():
        if variable.startswith(_AMZ):
            values = amz.setdefault(names.get(variable) or variable[5:].replace("_", "-").lower(), [])
            if value not in values:  # it may stand in the URL and in a header
                values.append(value)
    date = environ.get("HTTP_DATE", "") if "x-amz-date" not in amz else ""
    lines = [
        environ["REQUEST_METHOD"],
        environ.get("HTTP_CONTENT_MD5") or (parameters.get("content-md5", "") if by_query else ""),
        environ.get("CONTENT_TYPE") or (parameters.get("content-type", "") if by_query else ""),
        parameters["Expires"] if by_query else date,
        *(f"{name}:{','.join(value.strip() for value in values)}" for name, values in sorted(amz.items())),
        "",
    ]
    return "\n".join(lines)


def _signed_query(environ: Environ) -> str:
    """The signed parameters, sorted, their values decoded."""
    fields = []
    for field in environ.get("QUERY_STRING", "").split("&"):
        name, equals, value = field.partition("=")
        if name in SIGNED_PARAMETERS:
            fields.append((name, equals + unquote_to_bytes(value.encode("latin-1")).decode("latin-1")))
    fields.sort()
    return "?" + "&".join(name + value for name, value in fields) if fields else ""
