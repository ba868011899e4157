"""Which API a request speaks."""

from __future__ import annotations

import pytest

from objstore.proxy.front import speaks_s3

SIGNED = {"HTTP_AUTHORIZATION": "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/s3/aws4_request"}


@pytest.mark.parametrize(
    ("path", "more", "s3"),
    [
        ("/v1/AUTH_test/c/o", {}, False),
        ("/v1/AUTH_test/c/o", SIGNED, False),
        ("/v1", {}, False),
        ("/v1.0/AUTH_test", {}, False),
        ("/v1.0/AUTH_test", SIGNED, True),
        ("/auth/v1.0", {}, False),
        ("/auth/v1.0", SIGNED, True),
        ("/info", {}, False),
        ("/information", {}, True),
        ("/healthcheck", {}, False),
        ("/", {}, False),
        ("/", SIGNED, True),
        ("/photos/cat.jpg", {}, True),
        ("/photos/cat.jpg", {"HTTP_X_AUTH_TOKEN": "t"}, False),
        ("/info", {"QUERY_STRING": "AWSAccessKeyId=k&Signature=s"}, True),
        ("/info", {"QUERY_STRING": "X-Amz-Signature=s"}, True),
        ("/v1/key", {"HTTP_HOST": "photos.s3.example.com:8080"}, True),
        ("/v1/AUTH_test", {"HTTP_HOST": "s3.example.com"}, False),
    ],
)
def test_the_front(path: str, more: dict[str, str], s3: bool) -> None:
    assert speaks_s3({"PATH_INFO": path, "QUERY_STRING": "", **more}, ("s3.example.com",)) is s3
