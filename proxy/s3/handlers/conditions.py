"""Conditions of requests as the S3 API has them: fewer than HTTP for writes, with a precedence among those of reads.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from objstore.conditions import WriteConditions
from objstore.http.conditional import parse_http_date
from objstore.http.messages import Environ
from objstore.proxy.core.objects import Conditions
from objstore.proxy.s3.errors import S3Error

_READ: Final = {
    "HTTP_IF_MATCH": "if_match",
    "HTTP_IF_NONE_MATCH": "if_none_match",
    "HTTP_IF_MODIFIED_SINCE": "if_modified_since",
    "HTTP_IF_UNMODIFIED_SINCE": "if_unmodified_since",
    "HTTP_IF_RANGE": "if_range",
}
# Of directory buckets. A write must not be done because its condition was passed over.
_UNKNOWN: Final = frozenset({"HTTP_X_AMZ_IF_MATCH_LAST_MODIFIED_TIME", "HTTP_X_AMZ_IF_MATCH_SIZE"})
_COPY_SOURCE: Final = {
    "HTTP_X_AMZ_COPY_SOURCE_IF_MATCH": "if_match",
    "HTTP_X_AMZ_COPY_SOURCE_IF_NONE_MATCH": "if_none_match",
    "HTTP_X_AMZ_COPY_SOURCE_IF_MODIFIED_SINCE": "if_modified_since",
    "HTTP_X_AMZ_COPY_SOURCE_IF_UNMODIFIED_SINCE": "if_unmodified_since",
}


def read_conditions(environ: Environ, now: float) -> Conditions | None:
    """Those of a GET or HEAD."""
    return None if environ.keys().isdisjoint(_READ) else _conditions(environ, _READ, now)


def copy_source_conditions(environ: Environ, now: float) -> Conditions | None:
    """Those about the source of a copy."""
    return None if environ.keys().isdisjoint(_COPY_SOURCE) else _conditions(environ, _COPY_SOURCE, now)


def _conditions(environ: Environ, names: Mapping[str, str], now: float) -> Conditions:
    given = {field: environ[variable] for variable, field in names.items() if variable in environ}
    if "if_match" in given:
        given.pop("if_unmodified_since", None)
    since = given.get("if_modified_since")
    # Last-Modified is in whole seconds, rounded up.
    if since is not None and (parse_http_date(since) or 0) > now + 1:
        del given["if_modified_since"]
    return Conditions(**given)


def write_conditions(environ: Environ) -> WriteConditions | None:
    """Those of a write: one ETag, with quotes or without. Raises S3Error NotImplemented for what AWS has not."""
    if not environ.keys().isdisjoint(_UNKNOWN):
        raise S3Error("NotImplemented", "Writes depend on ETags, not on times or sizes")
    match, none_match = environ.get("HTTP_IF_MATCH"), environ.get("HTTP_IF_NONE_MATCH")
    if match is None and none_match is None:
        return None
    if none_match is not None and (match is not None or none_match.strip() != "*"):
        raise S3Error("NotImplemented", Header="If-None-Match")
    return WriteConditions(if_absent=True) if match is None else WriteConditions(if_match=(match.strip().strip('"'),))


def precondition_failed(conditions: WriteConditions | None) -> S3Error:
    """The answer to a write whose conditions do not hold."""
    condition = "If-None-Match" if conditions is not None and conditions.if_absent else "If-Match"
    return S3Error("PreconditionFailed", Condition=condition)
