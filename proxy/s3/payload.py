"""The body of a request as its handler reads it: decoded, and checked against what the signature says of it."""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from objstore.proxy.s3.chunked import (
    EMPTY_SHA256,
    READ_SIZE,
    AwsChunkDecoder,
    AwsChunkedBody,
    ChunkSignatures,
    incomplete,
)
from objstore.proxy.s3.claims import UNSIGNED
from objstore.proxy.s3.errors import S3Error

if TYPE_CHECKING:
    from objstore.http.messages import BodyReader, Environ
    from objstore.proxy.s3.signature_v4 import ChunkSeed
    from objstore.system.threads import ThreadGroup

SIGNED_CHUNKS: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_CHUNKS_TRAILER: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_CHUNKS_TRAILER: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
CHUNKED: Final = frozenset({SIGNED_CHUNKS, SIGNED_CHUNKS_TRAILER, UNSIGNED_CHUNKS_TRAILER})
# Keys on elliptic curves.
ASYMMETRIC_CHUNKS: Final = (
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
)
CODING: Final = "aws-chunked"
CHECKSUM_PREFIX: Final = "x-amz-checksum-"
TRAILERS_MAX: Final = 16
LENGTH_DIGITS_MAX: Final = 15
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class HashedBody:
    """A body whose SHA-256 was announced. Its end is given only if it is that one.

    What is large is hashed on a thread, while other requests go on.
    """

    def __init__(
        self, source: BodyReader, length: int | None, announced: str, threads: ThreadGroup | None = None
    ) -> None:
        self._source = source
        self._threads = threads
        self._left = length
        self._announced = announced
        self._digest = sha256()
        self.trailers: dict[str, str] = {}

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, b"" at the end; everything for -1. Raises S3Error XAmzContentSHA256Mismatch."""
        part = self._source.read(size)
        self._take(part, at_end=size < 0 or (not part and size != 0))
        return part

    def readinto(self, buffer: memoryview, within_seconds: float | None = None) -> int:
        """Fill the buffer; less only at the end, or when so many seconds have passed. Raises as `read`."""
        count = self._source.readinto(buffer, within_seconds)
        self._take(buffer[:count], at_end=False)
        return count

    def _take(self, part: bytes | memoryview, *, at_end: bool) -> None:
        if self._threads is not None and len(part) > READ_SIZE:
            self._threads.call(self._digest.update, part)
        else:
            self._digest.update(part)
        if self._left is not None:
            self._left -= len(part)
        if at_end or self._left == 0:
            check_digest(self._announced, self._digest.hexdigest())
            self.trailers = self._source.trailers


def check_digest(announced: str, computed: str) -> None:
    """Raises S3Error XAmzContentSHA256Mismatch."""
    if not hmac.compare_digest(announced, computed):
        raise S3Error(
            "XAmzContentSHA256Mismatch", ClientComputedContentSHA256=announced, S3ComputedContentSHA256=computed
        )


def check_payload(payload: str) -> None:
    """Refuse what says nothing that is known about a body. Raises S3Error."""
    if payload == UNSIGNED or payload in CHUNKED or _SHA256.fullmatch(payload):
        return
    if payload in ASYMMETRIC_CHUNKS:
        raise S3Error("NotImplemented", f"x-amz-content-sha256: {payload} is not implemented")
    raise S3Error(
        "InvalidArgument",
        f"x-amz-content-sha256 must be {UNSIGNED}, {', '.join(sorted(CHUNKED))} or a valid sha256 value",
        ArgumentName="x-amz-content-sha256",
        ArgumentValue=payload,
    )


def open_body(
    environ: Environ, source: BodyReader, payload: str, seed: ChunkSeed | None, threads: ThreadGroup | None = None
) -> BodyReader:
    """The content of the body, of which `payload` is what x-amz-content-sha256 says. Raises S3Error.

    Of a body in chunks, the request's length and coding become those of its content. Without a `seed` there is no
    signature on which those of chunks could go on. `threads` hash what is large.
    """
    if payload in CHUNKED:
        return _open_chunked(environ, source, payload, seed, threads)
    if payload == UNSIGNED:
        return source
    length = environ.get("CONTENT_LENGTH")
    if "HTTP_TRANSFER_ENCODING" not in environ and not int(length or 0):
        check_digest(payload, EMPTY_SHA256)
        return source
    return HashedBody(source, int(length) if length else None, payload, threads)


def _open_chunked(
    environ: Environ, source: BodyReader, payload: str, seed: ChunkSeed | None, threads: ThreadGroup | None
) -> BodyReader:
    signatures = None
    if payload != UNSIGNED_CHUNKS_TRAILER:
        if seed is None:
            raise S3Error("InvalidRequest", f"x-amz-content-sha256: {payload} needs a signature of version 4")
        signatures = ChunkSignatures(seed)
    length = _decoded_length(environ)
    trailers = None if payload == SIGNED_CHUNKS else _announced_trailers(environ)
    environ["CONTENT_LENGTH"] = str(length)
    _strip_coding(environ)
    return AwsChunkedBody(source, length, AwsChunkDecoder(length, signatures, trailers), threads)


def _decoded_length(environ: Environ) -> int:
    given = environ.get("HTTP_X_AMZ_DECODED_CONTENT_LENGTH")
    if given is None:
        raise S3Error("MissingContentLength", "You must provide the x-amz-decoded-content-length header")
    if not given.isascii() or not given.isdecimal() or len(given) > LENGTH_DIGITS_MAX:
        raise S3Error(
            "InvalidArgument",
            "x-amz-decoded-content-length must be a number of bytes",
            ArgumentName="x-amz-decoded-content-length",
            ArgumentValue=given,
        )
    length, on_wire = int(given), environ.get("CONTENT_LENGTH")
    if on_wire is not None and int(on_wire) < length:
        raise incomplete("it is shorter than x-amz-decoded-content-length says")
    return length


def _announced_trailers(environ: Environ) -> frozenset[str]:
    given = environ.get("HTTP_X_AMZ_TRAILER", "")
    names = [name.strip().lower() for name in given.split(",") if name.strip()]
    if len(names) > TRAILERS_MAX or not all(name.startswith(CHECKSUM_PREFIX) for name in names):
        raise S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
    return frozenset(names)


def _strip_coding(environ: Environ) -> None:
    """What is stored is decoded; other codings are the content's own, and stay in their order."""
    codings = [coding.strip() for coding in environ.get("HTTP_CONTENT_ENCODING", "").split(",")]
    kept = ",".join(coding for coding in codings if coding and coding.lower() != CODING)
    if kept:
        environ["HTTP_CONTENT_ENCODING"] = kept
    else:
        environ.pop("HTTP_CONTENT_ENCODING", None)
