"""Object lock as requests and documents have it: of buckets, of versions, and of what is about to be stored.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectLockConfiguration.html
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from objstore.http.messages import Environ
from objstore.object_lock import (
    DAYS_MAX,
    HOLD,
    LOCK_HOLD,
    LOCK_RETENTION,
    NO_HOLD,
    YEARS_MAX,
    DefaultRetention,
    Retention,
    RetentionMode,
)
from objstore.proxy.core.info import StoredMetadata
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.xml import Element, ReceivedElement, xml_date
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.proxy.s3.access import Authorizer, Place
    from objstore.proxy.s3.request import S3Request

MODE_HEADER: Final = "x-amz-object-lock-mode"
UNTIL_HEADER: Final = "x-amz-object-lock-retain-until-date"
HOLD_HEADER: Final = "x-amz-object-lock-legal-hold"
_MODE: Final = "HTTP_X_AMZ_OBJECT_LOCK_MODE"
_UNTIL: Final = "HTTP_X_AMZ_OBJECT_LOCK_RETAIN_UNTIL_DATE"
_HOLD: Final = "HTTP_X_AMZ_OBJECT_LOCK_LEGAL_HOLD"
_ANY: Final = frozenset({_MODE, _UNTIL, _HOLD})
_CHECKED_BY: Final = ("HTTP_CONTENT_MD5", "HTTP_X_AMZ_TRAILER")
_CHECKSUM: Final = "HTTP_X_AMZ_CHECKSUM_"
MISSING: Final = "Bucket is missing Object Lock Configuration"


def check_lockable(is_strong: bool) -> None:
    """Versions are locked where servers agree on every write: elsewhere one that lacks a lock might remove a version.

    Raises S3Error InvalidRequest.
    """
    if not is_strong:
        reason = "Object Lock needs a bucket whose storage policy has the consistency 'strong'"
        raise S3Error("InvalidRequest", reason)


def lock_of_new(request: S3Request, place: Place, authorizer: Authorizer, now: float) -> dict[str, str]:
    """The metadata that locks what a request is about to store: as it asks, or as the bucket wants by default.

    Raises S3Error, CoreError.
    """
    environ, container = request.environ, place.container
    if not container.is_lockable:
        if not environ.keys().isdisjoint(_ANY):
            raise S3Error("InvalidRequest", MISSING)
        return {}
    locked = container.default_lock(now) | asked_lock(request, place, authorizer, now)
    if locked and request.operation is Operation.PUT_OBJECT and not _is_checked(environ):
        reason = (
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"
        )
        raise S3Error("InvalidRequest", reason)
    return locked


def asked_lock(request: S3Request, place: Place, authorizer: Authorizer, now: float) -> dict[str, str]:
    """The metadata of the lock that the headers ask for. Raises S3Error, CoreError."""
    environ = request.environ
    if environ.keys().isdisjoint(_ANY):
        return {}
    if not place.container.is_lockable:
        raise S3Error("InvalidRequest", MISSING)
    locked = {}
    mode, until, hold = environ.get(_MODE), environ.get(_UNTIL), environ.get(_HOLD)
    if mode is not None or until is not None:
        if mode is None or until is None:
            missing = MODE_HEADER if mode is None else UNTIL_HEADER
            raise _argument(f"{UNTIL_HEADER} and {MODE_HEADER} must both be supplied", missing)
        if mode not in RetentionMode.__members__:
            raise _argument("Unknown wormMode directive.", MODE_HEADER, mode)
        authorizer.check(request, Operation.PUT_OBJECT_RETENTION, place.path, place.container)
        locked[LOCK_RETENTION] = Retention(RetentionMode(mode), future(until, now, UNTIL_HEADER)).stored
    if hold is not None:
        if hold not in (HOLD, NO_HOLD):
            reason = "Legal Hold must be either of 'ON' or 'OFF'"
            raise _argument(reason, HOLD_HEADER, hold)
        authorizer.check(request, Operation.PUT_OBJECT_LEGAL_HOLD, place.path, place.container)
        locked[LOCK_HOLD] = hold
    return locked


def _is_checked(environ: Environ) -> bool:
    """Whether a request says what its body has to be."""
    named = _CHECKSUM + "ALGORITHM"
    return any(
        name in _CHECKED_BY or (name.startswith(_CHECKSUM) and name not in (named, _CHECKSUM + "TYPE"))
        for name in environ
    )


def _argument(reason: str, name: str, value: str = "") -> S3Error:
    error = S3Error("InvalidArgument", reason, ArgumentName=name)
    if value:
        error.elements["ArgumentValue"] = value
    return error


def future(text: str, now: float, name: str) -> int:
    """A moment in ISO 8601 that is still to come, in seconds since the epoch. Raises S3Error InvalidArgument."""
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = -int(-moment.timestamp() // 1)
    except (ValueError, OverflowError):
        reason = "The retain until date must be provided in ISO 8601 format"
        raise _argument(reason, name, text) from None
    if seconds <= now:
        raise _argument("The retain until date must be in the future!", name, text)
    return seconds


def lock_headers(metadata: StoredMetadata) -> dict[str, str]:
    """What readers are told of the lock of an object."""
    headers = {}
    if (retention := metadata.lock.retention) is not None:
        headers = {MODE_HEADER: str(retention.mode), UNTIL_HEADER: until_date(retention)}
    if LOCK_HOLD in metadata.transient:
        headers[HOLD_HEADER] = metadata.transient[LOCK_HOLD]
    return headers


def until_date(retention: Retention) -> str:
    """When it ends, as documents and headers have it."""
    return xml_date(Timestamp.from_seconds(retention.until))


def received_retention(root: ReceivedElement, now: float) -> Retention | None:
    """What a Retention document sets; None if it takes the retention away. Raises S3Error, MalformedDocument."""
    mode, until = root.value("Mode"), root.value("RetainUntilDate")
    if mode is None and until is None:
        return None
    if mode is None or mode not in RetentionMode.__members__ or until is None:
        raise S3Error("MalformedXML")
    return Retention(RetentionMode(mode), future(until, now, "RetainUntilDate"))


def received_hold(root: ReceivedElement) -> str:
    """What a LegalHold document sets. Raises S3Error, MalformedDocument."""
    status = root.needed("Status")
    if status not in (HOLD, NO_HOLD):
        raise S3Error("MalformedXML")
    return status


def received_default(root: ReceivedElement) -> DefaultRetention | None:
    """What an ObjectLockConfiguration document sets. Raises S3Error, MalformedDocument."""
    if root.needed("ObjectLockEnabled") != "Enabled":
        raise S3Error("MalformedXML")
    rule = root.find("Rule")
    if rule is None:
        return None
    default = rule.find("DefaultRetention")
    if default is None:
        raise S3Error("MalformedXML")
    mode, days, years = default.needed("Mode"), default.value("Days"), default.value("Years")
    if mode not in RetentionMode.__members__ or (days is None) == (years is None):
        raise S3Error("MalformedXML")
    unit, text, maximum = ("Days", days, DAYS_MAX) if days is not None else ("Years", years or "", YEARS_MAX)
    try:
        count = int(text)
    except ValueError:
        raise S3Error("MalformedXML") from None
    if count < 1:
        raise S3Error("InvalidArgument", "Default retention period must be a positive integer value.")
    if count > maximum:
        raise S3Error("InvalidArgument", f"Default retention period too large: at most {maximum} {unit}.")
    return DefaultRetention(RetentionMode(mode), count, unit)


def default_element(default: DefaultRetention | None) -> Element:
    """The ObjectLockConfiguration document of a bucket."""
    root = Element("ObjectLockConfiguration")
    root.add("ObjectLockEnabled", "Enabled")
    if default is not None:
        found = root.add("Rule").add("DefaultRetention")
        found.add("Mode", default.mode)
        found.add(default.unit, default.count)
    return root
