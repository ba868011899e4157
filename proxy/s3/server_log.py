"""Access logs of buckets: where a configuration has them delivered, what a line says, and what its object is called.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from msgspec import Struct

from objstore.proxy.s3.claims import AuthType
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.operations import Operation, subresource_of
from objstore.proxy.s3.xml import Element, ReceivedElement, parse
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.http.messages import Response
    from objstore.proxy.s3.request import S3Request

ROOT: Final = "BucketLoggingStatus"
PREFIX_BYTES_MAX: Final = 512
NOTHING: Final = "-"
_KNOWN: Final = frozenset({"TargetBucket", "TargetPrefix", "TargetGrants", "TargetObjectKeyFormat"})
_DATE_SOURCES: Final = ("EventTime", "DeliveryTime")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Values in queries by which somebody else could do the same again.
_SECRETS: Final = re.compile(r"((?:X-Amz-Signature|X-Amz-Security-Token|Signature)=)[^&]*", re.IGNORECASE)
_TOTAL: Final = re.compile(r"bytes [^/]*/([0-9]+)")
_RESOURCES: Final = {
    "cors": "CORS",
    "delete": "MULTI_OBJECT_DELETE",
    "logging": "LOGGING_STATUS",
    "object-lock": "OBJECT_LOCK_CONFIGURATION",
    "policy": "BUCKETPOLICY",
    "policyStatus": "BUCKET_POLICY_STATUS",
    "retention": "OBJECT_LOCK_RETENTION",
    "legal-hold": "OBJECT_LOCK_LEGALHOLD",
    "uploadId": "UPLOAD",
    "versions": "BUCKETVERSIONS",
}
_SPECIAL: Final = {
    Operation.UPLOAD_PART: "PUT.PART",
    Operation.UPLOAD_PART_COPY: "COPY.PART",
    Operation.COPY_OBJECT: "COPY.OBJECT",
    Operation.GET_OBJECT_TAGGING: "GET.OBJECT_TAGGING",
    Operation.PUT_OBJECT_TAGGING: "PUT.OBJECT_TAGGING",
    Operation.DELETE_OBJECT_TAGGING: "DELETE.OBJECT_TAGGING",
}


class LogTarget(Struct, frozen=True):
    """Where the lines about a bucket go: into the bucket of this name, under the prefix.

    partitioned_by: "" for keys of the prefix and the moment, else by whose day: EventTime or DeliveryTime.
    """

    bucket: str
    prefix: str
    partitioned_by: str = ""

    def key(self, owner: str, region: str, bucket: str, day: str, delivered: Timestamp, nonce: int) -> str:
        """The key of an object of lines about a bucket, of events of a day (YYYY-MM-DD)."""
        moment = delivered.isoformat
        if not self.partitioned_by:
            return f"{self.prefix}{moment[:10]}-{moment[11:19].replace(':', '-')}-{nonce:016X}"
        if self.partitioned_by == "DeliveryTime":
            day, clock = moment[:10], moment[11:19].replace(":", "-")
        else:
            clock = "00-00-00"
        folder = f"{owner}/{region}/{bucket}/{day.replace('-', '/')}"
        return f"{self.prefix}{folder}/{day}-{clock}-{nonce:016X}"


@lru_cache(maxsize=256)
def log_target(stored: bytes) -> LogTarget | None:
    """Where a stored document has lines delivered, None for nowhere."""
    return parse_logging(parse(stored, ROOT))


def parse_logging(root: ReceivedElement) -> LogTarget | None:
    """Raises S3Error, MalformedDocument."""
    enabled = root.find("LoggingEnabled")
    if any(child.name != "LoggingEnabled" for child in root):
        raise S3Error("MalformedXML")
    if enabled is None:
        return None
    if any(child.name not in _KNOWN for child in enabled):
        raise S3Error("MalformedXML")
    if enabled.find("TargetGrants") is not None:
        raise S3Error(
            "NotImplemented", "TargetGrants: what is delivered has the access lists of the target bucket alone"
        )
    prefix = enabled.needed("TargetPrefix")
    if len(prefix.encode()) > PREFIX_BYTES_MAX:
        raise S3Error("InvalidArgument", f"At most {PREFIX_BYTES_MAX} bytes", ArgumentName="TargetPrefix")
    return LogTarget(enabled.needed("TargetBucket"), prefix, _partitioning(enabled.find("TargetObjectKeyFormat")))


def _partitioning(element: ReceivedElement | None) -> str:
    if element is None:
        return ""
    formats = list(element)
    if len(formats) != 1 or formats[0].name not in ("SimplePrefix", "PartitionedPrefix"):
        raise S3Error("MalformedXML")
    if formats[0].name == "SimplePrefix":
        return ""
    source = formats[0].value("PartitionDateSource") or _DATE_SOURCES[1]
    if source not in _DATE_SOURCES:
        raise S3Error("MalformedXML")
    return source


def logging_element(target: LogTarget | None) -> Element:
    """The document that is stored."""
    root = Element(ROOT)
    if target is not None:
        enabled = root.add("LoggingEnabled")
        enabled.add("TargetBucket", target.bucket)
        enabled.add("TargetPrefix", target.prefix)
        if target.partitioned_by:
            partitioned = enabled.add("TargetObjectKeyFormat").add("PartitionedPrefix")
            partitioned.add("PartitionDateSource", target.partitioned_by)
    return root


def log_line(
    request: S3Request, response: Response, begun: Timestamp, sent: int, first_seconds: float, seconds: float
) -> str:
    """One line about a request that was answered; `begun` is when it came in, the seconds are from then on."""
    environ, bucket, headers = request.environ, request.container, response.headers
    signed, identity = request.signed, request.identity
    query = environ.get("QUERY_STRING", "")
    masked = _SECRETS.sub(r"\1...", query)
    target = f"{request.raw_path}?{masked}" if query else request.raw_path
    fields = (
        bucket.owner,
        bucket.name,
        f"[{_moment(begun)}]",
        environ.get("REMOTE_ADDR") or NOTHING,
        NOTHING if identity is None else identity.user,
        request.transaction_id,
        operation_name(request),
        quote(request.key, safe="/") or NOTHING,
        _quoted(f"{request.method} {target} {environ.get('SERVER_PROTOCOL', 'HTTP/1.1')}"),
        str(response.status),
        request.error_code or NOTHING,
        str(sent) if sent else NOTHING,
        _object_size(request, headers),
        str(round(seconds * 1000)),
        str(round(first_seconds * 1000)),
        _quoted((environ.get("HTTP_REFERER") or "").partition("?")[0]),
        _quoted(environ.get("HTTP_USER_AGENT") or ""),
        headers.get("x-amz-version-id") or request.params.get("versionId") or NOTHING,
        request.transaction_id,
        NOTHING if signed is None else "SigV4" if signed.claim.date else "SigV2",
        NOTHING,
        NOTHING if signed is None else "QueryString" if signed.claim.auth_type is AuthType.QUERY else "AuthHeader",
        environ.get("HTTP_HOST") or NOTHING,
        NOTHING,
        NOTHING,
        NOTHING,
    )
    return " ".join(field.replace(" ", "%20") if field[0] not in '"[' else field for field in fields)


def operation_name(request: S3Request) -> str:
    """As lines name operations: REST.PUT.OBJECT, WEBSITE.GET.OBJECT."""
    if request.is_website:
        return f"WEBSITE.{request.method}.OBJECT"
    operation = request.operation
    if operation in _SPECIAL:
        return f"REST.{_SPECIAL[operation]}"
    subresource = "" if operation is None else subresource_of(operation)
    plain = "OBJECT" if request.key else "BUCKET"
    resource = _RESOURCES.get(subresource) or re.sub("(?<=[a-z])(?=[A-Z])", "_", subresource).upper().replace("-", "_")
    return f"REST.{request.method}.{resource or plain}"


def _object_size(request: S3Request, headers: dict[str, str]) -> str:
    """How large the object is, as far as the request or its answer says."""
    if request.operation in (Operation.PUT_OBJECT, Operation.UPLOAD_PART):
        return (
            request.environ.get("HTTP_X_AMZ_DECODED_CONTENT_LENGTH") or request.environ.get("CONTENT_LENGTH") or NOTHING
        )
    if request.operation not in (Operation.GET_OBJECT, Operation.HEAD_OBJECT) or request.error_code:
        return NOTHING
    total = _TOTAL.match(headers.get("Content-Range", ""))
    return total[1] if total else headers.get("Content-Length", NOTHING)


def _moment(timestamp: Timestamp) -> str:
    text = timestamp.isoformat
    return f"{text[8:10]}/{_MONTHS[int(text[5:7]) - 1]}/{text[:4]}:{text[11:19]} +0000"


def _quoted(text: str) -> str:
    return '"' + (text.replace('"', "%22") or NOTHING) + '"'
