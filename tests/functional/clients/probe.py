"""Requests that no client makes of itself, beside those of boto3."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any, Final

import requests
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.functional.clients.s3 import refused
from tests.functional.servers import Store

UNSIGNED_TRAILER: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


class Probe:
    """A bucket, and requests to it that no client makes of itself."""

    def __init__(self, store: Store, s3: Any, bucket: str) -> None:
        self.store, self.s3, self.bucket = store, s3, bucket

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        """An operation of boto3 on the bucket."""
        return lambda **arguments: getattr(self.s3, operation)(Bucket=self.bucket, **arguments)

    def put(self, key: str, body: bytes = b"x", **more: Any) -> Any:
        return self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, **more)

    def keep_versions(self, status: str = "Enabled") -> None:
        self.put_bucket_versioning(VersioningConfiguration={"Status": status})

    def raw(self, method: str, target: str, body: Any = b"", payload: str = "", **headers: str) -> requests.Response:
        """A signed request; underscores in names of headers stand for hyphens."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        request = AWSRequest(method, f"{self.store.url}/{self.bucket}{target}", headers=sent, data=body)
        signer = S3SigV4Auth(Credentials("test:tester", "testing"), "s3", "us-east-1")
        if payload:
            signer.payload = lambda _request: payload
        signer.add_auth(request)
        return requests.request(method, request.url, data=body, headers=dict(request.headers.items()), timeout=30)

    def put_with_trailer(
        self, target: str, content: bytes, *, chunked: bool = False, coding: str = "aws-chunked"
    ) -> Any:
        """As today's SDKs send to https, with a SHA-256 behind the content."""
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        data = f"{len(content):x}\r\n".encode() + content + b"\r\n" if content else b""
        wire = data + f"0\r\nx-amz-checksum-sha256:{digest}\r\n\r\n".encode()
        return self.raw(
            "PUT",
            target,
            iter([wire]) if chunked else wire,
            UNSIGNED_TRAILER,
            Content_Encoding=coding,
            X_Amz_Decoded_Content_Length=str(len(content)),
            X_Amz_Trailer="x-amz-checksum-sha256",
        )

    def begin(self, key: str = "k", **more: Any) -> dict[str, str]:
        return {"Key": key, "UploadId": self.create_multipart_upload(Key=key, **more)["UploadId"]}

    def complete(self, upload: dict[str, str], *parts: dict[str, Any]) -> Any:
        numbered = [{"PartNumber": number, **part} for number, part in enumerate(parts, 1)]
        return self.complete_multipart_upload(**upload, MultipartUpload={"Parts": numbered})

    def refused(self, operation: str, **arguments: Any) -> tuple[int, str]:
        return refused(getattr(self, operation), **arguments)

    def pages(self, operation: str, **arguments: Any) -> list[Any]:
        return list(self.s3.get_paginator(operation).paginate(Bucket=self.bucket, **arguments))
