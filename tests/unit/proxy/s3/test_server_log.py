"""Access logs of buckets: configurations, lines and keys."""

from __future__ import annotations

import re
from io import BytesIO

import pytest

from objstore.http.messages import Response
from objstore.paths import ResourcePath
from objstore.proxy.auth.identity import Identity
from objstore.proxy.core.info import PRESENT, ContainerInfo
from objstore.proxy.s3.buckets import Bucket
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.request import S3Request
from objstore.proxy.s3.server_log import LogTarget, log_line, logging_element, operation_name, parse_logging
from objstore.proxy.s3.xml import MalformedDocument, document, parse
from objstore.timestamps import Timestamp

MOMENT = Timestamp.from_isoformat("2026-11-29T08:05:06.123000")
TARGET = "<TargetBucket>logs</TargetBucket>"


def parsed(body: str) -> LogTarget | None:
    return parse_logging(parse(f"<BucketLoggingStatus>{body}</BucketLoggingStatus>".encode(), "BucketLoggingStatus"))


def enabled(body: str) -> str:
    return f"<LoggingEnabled>{body}</LoggingEnabled>"


def key_format(body: str) -> str:
    return enabled(f"{TARGET}<TargetPrefix>p/</TargetPrefix><TargetObjectKeyFormat>{body}</TargetObjectKeyFormat>")


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ("", None),
        (enabled(f"{TARGET}<TargetPrefix/>"), LogTarget("logs", "")),
        (key_format("<SimplePrefix/>"), LogTarget("logs", "p/")),
        (key_format("<PartitionedPrefix/>"), LogTarget("logs", "p/", "DeliveryTime")),
        (
            key_format("<PartitionedPrefix><PartitionDateSource>EventTime</PartitionDateSource></PartitionedPrefix>"),
            LogTarget("logs", "p/", "EventTime"),
        ),
    ],
)
def test_configurations(body: str, target: LogTarget | None) -> None:
    assert parsed(body) == target
    assert parse_logging(parse(document(logging_element(target)), "BucketLoggingStatus")) == target


@pytest.mark.parametrize(
    "body",
    [
        "<Else/>",
        enabled("<TargetPrefix/>"),
        enabled(TARGET),
        enabled(f"{TARGET}<TargetPrefix/><TargetGrants/>"),
        enabled(f"{TARGET}<TargetPrefix>{'x' * 513}</TargetPrefix>"),
        key_format("<PartitionedPrefix/><SimplePrefix/>"),
        key_format("<PartitionedPrefix><PartitionDateSource>x</PartitionDateSource></PartitionedPrefix>"),
    ],
)
def test_what_is_no_configuration(body: str) -> None:
    with pytest.raises((S3Error, MalformedDocument)):
        parsed(body)


@pytest.mark.parametrize(
    ("by", "key"),
    [
        ("", "p/2026-11-29-08-05-06-000000000000002A"),
        ("DeliveryTime", "p/AUTH_a/eu-1/photos/2026/11/29/2026-11-29-08-05-06-000000000000002A"),
        ("EventTime", "p/AUTH_a/eu-1/photos/2026/11/28/2026-11-28-00-00-00-000000000000002A"),
    ],
)
def test_keys(by: str, key: str) -> None:
    assert LogTarget("logs", "p/", by).key("AUTH_a", "eu-1", "photos", "2026-11-28", MOMENT, 42) == key


def request(operation: Operation = Operation.GET_OBJECT, **environ: str) -> S3Request:
    given = {"REQUEST_METHOD": "GET", "PATH_INFO": "/photos/a%20b", "wsgi.input": BytesIO(), "REMOTE_ADDR": "10.0.0.1"}
    made = S3Request(given | environ)
    made.read(())
    made.operation, made.transaction_id = operation, "tx1"
    made.identity = Identity("test:tester", "AUTH_a")
    made.found = Bucket(ResourcePath("AUTH_a", "photos"), ContainerInfo(PRESENT))
    return made


def test_a_line() -> None:
    environ = {"HTTP_USER_AGENT": 'a "b"', "QUERY_STRING": "versionId=v&X-Amz-Signature=abc&x=1", "HTTP_HOST": "h:80"}
    response = Response(206, {"Content-Range": "bytes 0-9/1234"})
    line = log_line(request(**environ), response, MOMENT, 10, 0.0121, 0.0204)
    assert line == (
        "AUTH_a photos [29/Nov/2026:08:05:06 +0000] 10.0.0.1 test:tester tx1 REST.GET.OBJECT a%20b "
        '"GET /photos/a%20b?versionId=v&X-Amz-Signature=...&x=1 HTTP/1.1" 206 - 10 1234 20 12 "-" "a %22b%22" v tx1 '
        "- - - h:80 - - -"
    )
    assert len(re.findall(r'"[^"]*"|\[[^]]*\]|\S+', line)) == 26


def test_a_line_of_a_refusal() -> None:
    refused = request(REQUEST_METHOD="PUT", CONTENT_LENGTH="5")
    refused.identity, refused.error_code = None, "AccessDenied"
    line = log_line(refused, Response(403), MOMENT, 0, 0.0, 0.0)
    assert " 10.0.0.1 - tx1 " in line
    assert '" 403 AccessDenied - - 0 0 "' in line


@pytest.mark.parametrize(
    ("operation", "method", "name"),
    [
        (Operation.PUT_OBJECT, "PUT", "REST.PUT.OBJECT"),
        (Operation.COPY_OBJECT, "PUT", "REST.COPY.OBJECT"),
        (Operation.UPLOAD_PART, "PUT", "REST.PUT.PART"),
        (Operation.COMPLETE_MULTIPART_UPLOAD, "POST", "REST.POST.UPLOAD"),
        (Operation.CREATE_MULTIPART_UPLOAD, "POST", "REST.POST.UPLOADS"),
        (Operation.GET_OBJECT_ACL, "GET", "REST.GET.ACL"),
        (Operation.PUT_BUCKET_REQUEST_PAYMENT, "PUT", "REST.PUT.REQUEST_PAYMENT"),
        (Operation.GET_BUCKET_POLICY, "GET", "REST.GET.BUCKETPOLICY"),
        (Operation.DELETE_OBJECTS, "POST", "REST.POST.MULTI_OBJECT_DELETE"),
    ],
)
def test_names_of_operations(operation: Operation, method: str, name: str) -> None:
    assert operation_name(request(operation, REQUEST_METHOD=method)) == name


def test_a_line_of_a_website() -> None:
    visited = request()
    visited.is_website = True
    assert operation_name(visited) == "WEBSITE.GET.OBJECT"
