"""What the authentication makes of a request: its identity, and the body as handlers read it."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.auth import HmacV1Auth, S3SigV4Auth, S3SigV4QueryAuth

from objstore.cluster import Cluster
from objstore.config.proxy import AuthConfig, ProxyIdentityConfig, S3Config
from objstore.http.bodies import BytesBody
from objstore.http.messages import Environ
from objstore.limits import Limits
from objstore.logs import Logger, Sink
from objstore.paths import PathHasher
from objstore.policies import Policies, Policy
from objstore.proxy.s3 import payload
from objstore.proxy.s3.authentication import RequestAuthentication, check_coding
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.request import S3Request
from objstore.runtime import Runtime
from tests.doubles import ManualClock
from tests.unit.proxy.s3.signing import HOST, KEY, NOW, aws_chunked, environ_of, signed_by_botocore

CLUSTER = Cluster(PathHasher("p", "s"), Policies([Policy(0, "gold")]), Limits())
CRC = {"x-amz-checksum-crc32": "AAAAAA=="}


@pytest.fixture
def authentication(tmp_path: Path) -> RequestAuthentication:
    users = tmp_path / "users.toml"
    users.write_text(f'[[users]]\naccount = "test"\nname = "tester"\nkey = "{KEY.secret}"\n')
    keys = tmp_path / "access-keys.json"
    keys.write_text(
        '{"users": [{"account": "test", "name": "tester", "keys": '
        f'[{{"id": "{KEY.id}", "secret": "{KEY.secret}", "created": ""}}]}}]}}'
    )
    config = SimpleNamespace(
        auth=AuthConfig(users=str(users), access_keys=str(keys)),
        s3=S3Config(domains=("example.com",)),
        identity=ProxyIdentityConfig(),
    )
    runtime = Runtime(Logger("test", Sink(write=lambda line: None)), clock=ManualClock(NOW))
    return RequestAuthentication(
        cast(
            Any,
            SimpleNamespace(
                config=config,
                runtime=runtime,
                cluster=CLUSTER,
            ),
        )
    )


def request_of(environ: Environ, body: bytes = b"") -> S3Request:
    environ["wsgi.input"] = BytesBody(body)
    if body:
        environ["CONTENT_LENGTH"] = str(len(body))
    request = S3Request(environ)
    request.read(("example.com",))
    return request


def test_a_signed_request(authentication: RequestAuthentication) -> None:
    request = request_of(signed_by_botocore(S3SigV4Auth, "PUT", "/key", {}, body=b"abc"), b"abc")
    authentication.authenticate(request)
    assert request.identity is not None and request.identity.account == "AUTH_test"
    assert request.body.read() == b"abc"


def test_a_body_that_was_exchanged(authentication: RequestAuthentication) -> None:
    request = request_of(signed_by_botocore(S3SigV4Auth, "PUT", "/key", {}, body=b"abc"), b"abd")
    authentication.authenticate(request)
    with pytest.raises(S3Error, match="XAmzContentSHA256Mismatch"):
        request.body.read()


def test_the_bucket_of_the_host_is_part_of_a_signature_of_version_2(authentication: RequestAuthentication) -> None:
    environ = signed_by_botocore(HmacV1Auth, "GET", "/s3/key", {}, region=None)
    environ["objstore.raw_path"] = "/key"  # as with `s3` for the bucket in s3.example.com
    request = request_of(environ)
    authentication.authenticate(request)
    assert request.identity is not None and (request.bucket, request.key) == ("s3", "key")


def test_nobody(authentication: RequestAuthentication) -> None:
    request = request_of(environ_of("GET", "/key", {"Host": HOST}))
    authentication.authenticate(request)
    assert request.identity is None and request.signed is None


def test_nobody_may_send_unsigned_chunks(authentication: RequestAuthentication) -> None:
    wire = aws_chunked([b"abc"], None, CRC)
    headers = {
        "Host": HOST,
        "x-amz-content-sha256": payload.UNSIGNED_CHUNKS_TRAILER,
        "x-amz-decoded-content-length": "3",
        "x-amz-trailer": "x-amz-checksum-crc32",
        "Content-Encoding": "aws-chunked",
    }
    request = request_of(environ_of("PUT", "/key", headers), wire)
    authentication.authenticate(request)
    assert request.content_length == 3 and request.header("Content-Encoding") is None
    assert request.body.read() == b"abc"
    assert request.body.trailers == {"X-Amz-Checksum-Crc32": "AAAAAA=="}
    for operation in Operation:
        request.operation = operation
        if operation in (Operation.PUT_OBJECT, Operation.UPLOAD_PART):
            check_coding(request)
        else:
            with pytest.raises(S3Error, match="InvalidRequest"):
                check_coding(request)


def test_a_copy_in_a_presigned_url_is_a_copy(authentication: RequestAuthentication) -> None:
    target = "/key?x-amz-copy-source=%2Fbucket%2Fother"
    request = request_of(signed_by_botocore(S3SigV4QueryAuth, "PUT", target, {}))
    authentication.authenticate(request)
    request.find_operation()
    assert request.operation is Operation.COPY_OBJECT
    # What nobody has signed is a parameter without meaning.
    request = request_of(environ_of("PUT", target, {"Host": HOST}))
    authentication.authenticate(request)
    assert request.header("x-amz-copy-source") is None


def test_a_form(authentication: RequestAuthentication) -> None:
    import hmac

    request = request_of(environ_of("POST", "/", {"Host": HOST}))
    authentication.authenticate(request)
    assert request.authenticate_form is not None
    policy = b64encode(b"{}").decode()
    signature = b64encode(hmac.digest(KEY.secret.encode(), policy.encode(), "sha1")).decode()
    request.authenticate_form({"policy": policy, "awsaccesskeyid": KEY.id, "signature": signature})
    assert request.identity is not None
    request.authenticate_form({"key": "a"})
    assert request.identity is None
