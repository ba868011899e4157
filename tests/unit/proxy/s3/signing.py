"""Requests signed by botocore, as our server sees them; and a plain writer of aws-chunked bodies."""

from __future__ import annotations

import datetime
import hmac
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final
from unittest import mock
from urllib.parse import urlsplit

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from objstore.http.heads import HeadLimits, parse_request
from objstore.http.messages import Environ, parse_query, variable_of
from objstore.proxy.auth.access_keys import AccessKey
from objstore.proxy.auth.identity import Identity
from objstore.proxy.s3.authentication import SignatureVerifier, Signed
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.signature_v4 import ChunkSeed

NOW: Final = 1_764_000_000
KEY: Final = AccessKey("AKID/EXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", Identity("test:tester", "AUTH_test"))
HOST: Final = "s3.example.com"


def no_sessions(token: str, _access_key: str, _now: float) -> AccessKey:
    elements: dict[str, Any] = {"Token-0": token}
    raise S3Error("InvalidToken", **elements)


def verifier(regions: tuple[str, ...] = ()) -> SignatureVerifier:
    return SignatureVerifier({KEY.id: KEY}.get, no_sessions, regions)


def verified(environ: Environ, now: float = NOW, *, regions: tuple[str, ...] = (), bucket: str = "") -> Signed | None:
    """Who has signed the request. Raises S3Error."""
    return verifier(regions).verify(environ, parse_query(environ["QUERY_STRING"]), bucket, now)


@contextmanager
def botocore_time(now: float = NOW) -> Iterator[None]:
    """The moment at which botocore signs."""
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    with (
        mock.patch.object(botocore.auth, "get_current_datetime", lambda: moment),
        mock.patch.object(botocore.auth.time, "time", lambda: now),
        mock.patch.object(botocore.auth, "formatdate", lambda *_, **__: moment.strftime("%a, %d %b %Y %H:%M:%S GMT")),
    ):
        yield


def signed_by_botocore(
    signer: type,
    method: str,
    target: str,
    headers: Mapping[str, str],
    *,
    body: bytes = b"",
    region: str | None = "us-east-1",
    secret: str = KEY.secret,
    context: Mapping[str, Any] | None = None,
    now: float = NOW,
    scheme: str = "http",
) -> Environ:
    """The environ of a request as botocore signs it; `target` is its path and query."""
    request = AWSRequest(method, f"{scheme}://{HOST}{target}", headers=dict(headers), data=body)
    request.context.update(context or {})
    credentials = Credentials(KEY.id, secret)
    with botocore_time(now):
        scope = () if region is None else ("s3", region)
        signer(credentials, *scope).add_auth(request)
    url = urlsplit(request.url)
    sent = {"Host": HOST, **dict(request.headers.items())}
    return environ_of(method, url.path + (f"?{url.query}" if url.query else ""), sent)


def environ_of(method: str, target: str, headers: Mapping[str, str]) -> Environ:
    """What our HTTP server makes of a request."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    environ: Environ = {}
    parse_request(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"), environ, HeadLimits())
    return environ


def changed(environ: Environ, **headers: str | None) -> Environ:
    """The environ with other headers; of names with underscores in place of hyphens, None takes one away."""
    result = dict(environ)
    for name, value in headers.items():
        result.pop(variable_of(name.replace("_", "-")), None)
        if value is not None:
            result[variable_of(name.replace("_", "-"))] = value
    return result


def aws_chunked(chunks: list[bytes], seed: ChunkSeed | None = None, trailers: Mapping[str, str] | None = None) -> bytes:
    """A body in aws-chunked; without a seed its chunks are not signed, with trailers None there are none."""
    previous = "" if seed is None else seed.signature
    wire = b""

    def signature(kind: str, digests: str) -> str:
        assert seed is not None
        text = f"AWS4-HMAC-SHA256-{kind}\n{seed.timestamp}\n{seed.scope}\n{previous}\n{digests}"
        return hmac.new(seed.key, text.encode(), "sha256").hexdigest()

    for chunk in (*chunks, b""):
        head = f"{len(chunk):x}"
        if seed is not None:
            previous = signature("PAYLOAD", f"{sha256().hexdigest()}\n{sha256(chunk).hexdigest()}")
            head += f";chunk-signature={previous}"
        wire += head.encode() + b"\r\n" + chunk + (b"\r\n" if chunk else b"")
    if trailers is not None:
        wire += "".join(f"{name}:{value}\r\n" for name, value in trailers.items()).encode()
        if seed is not None:
            lines = "".join(f"{name}:{value}\n" for name, value in trailers.items())
            wire += f"x-amz-trailer-signature:{signature('TRAILER', sha256(lines.encode()).hexdigest())}\r\n".encode()
    return wire + b"\r\n"
