"""Metadata in requests and answers of the S3 API."""

from __future__ import annotations

from typing import Any

import pytest

from objstore.http.messages import variable_of
from objstore.proxy.core.info import StoredMetadata, StoredObjectInfo
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.metadata import content_type_of, metadata_of, object_headers
from objstore.proxy.s3.handlers.object_tags import stored_tags, tag_count, tags_in_header, tags_of


def environ_of(headers: dict[str, str]) -> dict[str, Any]:
    """As the server fills it in: names of metadata with underscores stand beside."""
    environ: dict[str, Any] = {variable_of(name): value for name, value in headers.items()}
    environ["objstore.underscored"] = {variable_of(name): name.lower() for name in headers if "_" in name}
    return environ


def described(headers: dict[str, str]) -> dict[str, str]:
    return object_headers(StoredObjectInfo(9, "e", "text/plain", "", "then", metadata=metadata_of(environ_of(headers))))


def test_what_is_sent_is_told() -> None:
    sent = {
        "x-amz-meta-plain": "1",
        "x-amz-meta-under_scored_name": "2",
        "x-amz-meta-both_a-b": "ü",
        "Cache-Control": "no-cache",
        "Content-Disposition": "attachment",
        "Content-Language": "de",
        "Expires": "not a date",
        "x-amz-storage-class": "GLACIER_IR",
        "x-amz-website-redirect-location": "/elsewhere",
    }
    told = described(sent | {"x-amz-tagging": "a=1&b=2", "Content-Encoding": "aws-chunked, br"})
    own = {"Content-Type": "text/plain", "ETag": '"e"', "Last-Modified": "then", "Accept-Ranges": "bytes"}
    assert told == own | sent | {"x-amz-tagging-count": "2", "Content-Encoding": "br"}


def test_what_goes_without_saying() -> None:
    told = described({"x-amz-storage-class": "STANDARD", "Content-Encoding": "aws-chunked", "x-amz-tagging": ""})
    assert told.keys() == {"Content-Type", "ETag", "Last-Modified", "Accept-Ranges"}


def test_the_swift_api_sees_user_metadata_and_the_reverse() -> None:
    assert metadata_of(environ_of({"x-amz-meta-my-name": "v"})).user == {"My-Name": "v"}
    info = StoredObjectInfo(
        9, "e", "", "", "", metadata=StoredMetadata(user={"My-Name": "v"}, given={"X-Robots-Tag": "x"})
    )
    assert object_headers(info)["x-amz-meta-my-name"] == "v"
    assert "X-Robots-Tag" not in object_headers(info)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({f"x-amz-meta-{number}": "x" * 250 for number in range(9)}, "MetadataTooLarge"),
        ({"x-amz-meta-": "x"}, "InvalidArgument"),
        ({"x-amz-storage-class": "standard"}, "InvalidStorageClass"),
        ({"x-amz-website-redirect-location": "elsewhere"}, "InvalidRedirectLocation"),
        ({"x-amz-tagging": "a=1&a=2"}, "InvalidTag"),
        ({"x-amz-tagging": "a=%2A"}, "InvalidTag"),
        ({"x-amz-tagging": "&".join(f"{number}=x" for number in range(11))}, "BadRequest"),
        ({"x-amz-tagging": "a"}, "InvalidArgument"),
        ({"x-amz-tagging": "a=\xff"}, "InvalidArgument"),
        ({"x-amz-tagging": "a=%FF"}, "InvalidArgument"),
    ],
    ids=str,
)
def test_what_is_refused(headers: dict[str, str], code: str) -> None:
    with pytest.raises(S3Error) as caught:
        metadata_of(environ_of(headers))
    assert caught.value.code == code


def test_types() -> None:
    assert content_type_of({}) == content_type_of({"CONTENT_TYPE": ""}) == "binary/octet-stream"
    assert content_type_of({"CONTENT_TYPE": "a/b; swift_bytes=5; c=d"}) == "a/b; c=d"
    with pytest.raises(S3Error):
        content_type_of({"CONTENT_TYPE": "a/\xff"})


def test_tags_as_they_are_stored() -> None:
    tags = {"a b": "=&+", "ü": ""}
    assert tags_of(stored_tags(tags)) == tags
    assert tag_count(stored_tags(tags)) == 2
    assert tags_in_header("a+b=c%20d&e=") == {"a b": "c d", "e": ""}
