"""Which operation a request means."""

from __future__ import annotations

import pytest

from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.operations import _OF_BUCKETS, _OF_OBJECTS, Operation, route


@pytest.mark.parametrize(
    ("method", "bucket", "key", "query", "copies", "operation"),
    [
        ("GET", "", "", "", False, "ListBuckets"),
        ("GET", "", "", "max-directory-buckets=1", False, "ListDirectoryBuckets"),
        ("GET", "b", "", "", False, "ListObjects"),
        ("GET", "b", "", "list-type=2&prefix=", False, "ListObjectsV2"),
        ("GET", "b", "", "versions&delimiter=", False, "ListObjectVersions"),
        ("GET", "b", "", "analytics", False, "ListBucketAnalyticsConfigurations"),
        ("GET", "b", "", "analytics&id=1", False, "GetBucketAnalyticsConfiguration"),
        ("PUT", "b", "", "cors", False, "PutBucketCors"),
        ("PUT", "b", "", "", False, "CreateBucket"),
        ("POST", "b", "", "delete", False, "DeleteObjects"),
        ("POST", "b", "", "", False, "PostObject"),
        ("HEAD", "b", "k", "partNumber=1", False, "HeadObject"),
        ("PUT", "b", "k", "x-id=PutObject", False, "PutObject"),
        ("PUT", "b", "k", "", True, "CopyObject"),
        ("PUT", "b", "k", "partNumber=1&uploadId=u", False, "UploadPart"),
        ("PUT", "b", "k", "partNumber=1&uploadId=u", True, "UploadPartCopy"),
        ("POST", "b", "k", "uploads", False, "CreateMultipartUpload"),
        ("POST", "b", "k", "uploadId=u", False, "CompleteMultipartUpload"),
        ("DELETE", "b", "k", "uploadId=u", False, "AbortMultipartUpload"),
        ("GET", "b", "k", "uploadId=u&max-parts=1", False, "ListParts"),
        ("POST", "b", "k", "select&select-type=2", False, "SelectObjectContent"),
        ("GET", "b", "k", "annotation&annotationName=a", False, "GetObjectAnnotation"),
        ("GET", "b", "k", "X-Amz-Security-Token=&response-expires=", False, "GetObject"),
        ("OPTIONS", "b", "k", "", False, "Preflight"),
        ("POST", "WriteGetObjectResponse", "", "", False, "WriteGetObjectResponse"),
    ],
)
def test_route(method: str, bucket: str, key: str, query: str, copies: bool, operation: str) -> None:
    assert route(method, bucket, key, parameters(query), copies=copies) == operation


@pytest.mark.parametrize(
    ("method", "key", "query", "copies", "code"),
    [
        ("PUT", "", "nonsense", False, "NotImplemented"),
        ("PUT", "k", "nonsense", False, "NotImplemented"),
        ("PUT", "", "policyStatus", False, "MethodNotAllowed"),
        ("PATCH", "k", "", False, "MethodNotAllowed"),
        ("GET", "k", "uploads", False, "InvalidRequest"),
        ("GET", "k", "versions", False, "InvalidRequest"),
        ("GET", "", "acl&policy", False, "InvalidArgument"),
        ("PUT", "k", "partNumber=1", False, "InvalidArgument"),
        ("GET", "k", "", True, "InvalidArgument"),
    ],
)
def test_what_means_nothing_is_refused(method: str, key: str, query: str, copies: bool, code: str) -> None:
    with pytest.raises(S3Error) as refused:
        route(method, "b", key, parameters(query), copies=copies)
    assert refused.value.code == code


def test_every_operation_can_be_meant() -> None:
    reached = {
        found
        for key, subresources in (("", _OF_BUCKETS), ("k", _OF_OBJECTS))
        for name, methods in {"": {"GET": 0, "HEAD": 0, "PUT": 0, "POST": 0, "DELETE": 0}, **subresources}.items()
        for method in methods
        for more in ({}, {"id": "1"}, {"annotationName": "a"}, {"list-type": "2"})
        for copies in (False, True)
        if (found := outcome(method, key, ({name: "x"} if name else {}) | more, copies))
    }
    others = {"ListBuckets", "ListDirectoryBuckets", "Preflight", "WriteGetObjectResponse"}
    assert reached == set(Operation) - others


def outcome(method: str, key: str, params: dict[str, str], copies: bool) -> Operation | None:
    try:
        return route(method, "b", key, params, copies=copies)
    except S3Error:
        return None


def parameters(query: str) -> dict[str, str]:
    return {name: value for name, _, value in (field.partition("=") for field in query.split("&")) if name}
