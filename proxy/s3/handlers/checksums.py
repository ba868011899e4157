"""Checksums in requests and answers of the S3 API: what a body has to have, and what is told of an object.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Final

from objstore.checksums import Algorithm, checksums_of, decode, is_composite_value
from objstore.http.messages import Environ
from objstore.proxy.core.checksums import WantedChecksums, stored_checksums
from objstore.proxy.core.info import StoredObjectInfo
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.request import S3Request
from objstore.proxy.s3.xml import Element

ALGORITHMS: Final[tuple[Algorithm, ...]] = tuple(algorithm for algorithm in Algorithm if algorithm is not Algorithm.MD5)
DEFAULT: Final = Algorithm.CRC64NVME
FULL_OBJECT: Final = "FULL_OBJECT"
COMPOSITE: Final = "COMPOSITE"
TYPE_HEADER: Final = "x-amz-checksum-type"
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_PREFIX: Final = "HTTP_X_AMZ_CHECKSUM_"
_HEADERS: Final = {algorithm: f"x-amz-checksum-{algorithm.lower()}" for algorithm in ALGORITHMS}
_BY_HEADER: Final = {header: algorithm for algorithm, header in _HEADERS.items()}
_VARIABLES: Final = {f"{_PREFIX}{algorithm}": algorithm for algorithm in ALGORITHMS}
# Of algorithms that AWS has beside.
_UNKNOWN: Final = frozenset(f"{_PREFIX}{name}" for name in ("SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128"))
_MANY: Final = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
_DEFAULT_WANTED: Final = WantedChecksums(kept=(DEFAULT,))


def wanted_checksums(request: S3Request, default: Algorithm | None = DEFAULT) -> WantedChecksums:
    """What is to be computed of the body and stored, and what it has to be. Raises S3Error InvalidRequest.

    `default` is computed if the request names no algorithm.
    """
    environ = request.environ
    trailer = environ.get("HTTP_X_AMZ_TRAILER")
    given = given_checksums(environ)
    if not given and trailer is None:
        return _DEFAULT_WANTED if default is DEFAULT else WantedChecksums(kept=() if default is None else (default,))
    if trailer is not None:
        names = [name.strip().lower() for name in trailer.split(",")]
        if given or len(names) > 1:
            raise S3Error("InvalidRequest", _MANY)
        algorithm = _BY_HEADER.get(names[0])
        if algorithm is None:
            raise S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
        expected = _from_trailers(request, algorithm)
    else:
        [(algorithm, value)] = given.items()
        checked(algorithm, value)
        expected = _constant({algorithm: value})
    named = environ.get("HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM")
    if named is not None and named.upper() != algorithm:
        raise S3Error("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")
    return WantedChecksums(kept=(algorithm,), expected=expected)


def given_checksums(environ: Environ) -> dict[Algorithm, str]:
    """The checksum in the headers. Raises S3Error for several, and for algorithms that are not known here."""
    if environ.keys().isdisjoint(_VARIABLES) and environ.keys().isdisjoint(_UNKNOWN):
        return {}
    found = [name for name in environ if name in _VARIABLES or name in _UNKNOWN]
    if len(found) > 1:
        raise S3Error("InvalidRequest", _MANY)
    algorithm = _VARIABLES.get(found[0])
    if algorithm is None:
        header = found[0].removeprefix("HTTP_").replace("_", "-").lower()
        raise S3Error("NotImplemented", f"Checksums of {header} are not implemented", Header=header)
    return {algorithm: environ[found[0]].strip()}


def _constant(expected: Mapping[Algorithm, str]) -> Callable[[], Mapping[Algorithm, str]]:
    return lambda: expected


def _from_trailers(request: S3Request, algorithm: Algorithm) -> Callable[[], Mapping[Algorithm, str]]:
    """The checksum that has come behind the body."""

    def expected() -> Mapping[Algorithm, str]:
        trailers = {name.lower(): value for name, value in request.body.trailers.items()}
        value = trailers.get(_HEADERS[algorithm])
        if value is None:
            raise S3Error("MalformedTrailerError")
        return {algorithm: checked(algorithm, value)}

    return expected


def checked(algorithm: Algorithm, value: str) -> str:
    """A checksum that a client has sent. Raises S3Error InvalidRequest unless it is one of the algorithm."""
    try:
        decode(algorithm, value)
    except ValueError:
        raise S3Error("InvalidRequest", f"Value for {_HEADERS[algorithm]} header is invalid.") from None
    return value


def expected_md5(environ: Environ) -> str:
    """What Content-MD5 says, in hex; "" without one. Raises S3Error InvalidDigest."""
    given = environ.get("HTTP_CONTENT_MD5")
    if given is None:
        return ""
    try:
        return decode(Algorithm.MD5, given.strip()).hex()
    except ValueError:
        raise S3Error("InvalidDigest", "The Content-MD5 you specified is not valid.") from None


def check_document(request: S3Request, content: bytes, *, needed: bool) -> None:
    """Compare a document with the checksums that came with it; `needed`: there must be one.

    Raises S3Error BadDigest, InvalidDigest, InvalidRequest.
    """
    environ = request.environ
    wanted, md5 = wanted_checksums(request, default=None), expected_md5(environ)
    if not md5 and not wanted.kept:
        if needed:
            reason = "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
            raise S3Error("InvalidRequest", reason)
        return
    values = checksums_of((*wanted.kept, Algorithm.MD5), content)
    if md5 and b64decode(values[Algorithm.MD5]).hex() != md5:
        raise bad_digest(Algorithm.MD5)
    for algorithm, value in wanted.expected().items():
        if values[algorithm] != value:
            raise bad_digest(algorithm)


def check_setting(request: S3Request, content: bytes) -> None:
    """Compare a document that sets something with the checksums that came with it.

    The API asks for one; a signature that covers the document's hash, which is all that some clients send, proves as
    much. Raises S3Error BadDigest, InvalidDigest, InvalidRequest.
    """
    hashed = request.signed is not None and _HASH.fullmatch(request.environ.get("HTTP_X_AMZ_CONTENT_SHA256", ""))
    check_document(request, content, needed=not hashed)


def bad_digest(algorithm: Algorithm) -> S3Error:
    """The answer to a body that is not what its sender says."""
    if algorithm is Algorithm.MD5:
        return S3Error("BadDigest", "The Content-MD5 you specified did not match what we received.")
    return S3Error("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")


def algorithm_named(value: str) -> Algorithm:
    """The algorithm with this name. Raises S3Error InvalidRequest."""
    if value.upper() in ALGORITHMS:
        return Algorithm(value.upper())
    reason = "Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
    raise S3Error("InvalidRequest", f"{reason}[{', '.join(ALGORITHMS)}]")


def checksum_headers(checksums: Mapping[Algorithm, str], *, with_type: bool = True) -> dict[str, str]:
    """What an answer says of an object's checksum; nothing if there is none."""
    headers = {}
    for algorithm, value in checksums.items():
        headers[_HEADERS[algorithm]] = value
        if with_type:
            headers[TYPE_HEADER] = type_of(value)
    return headers


def type_of(value: str) -> str:
    """Whether a checksum is over the body or over those of its parts."""
    return COMPOSITE if is_composite_value(value) else FULL_OBJECT


def told_checksums(environ: Environ, info: StoredObjectInfo) -> dict[str, str]:
    """The headers of a GET or HEAD, if the client wants them."""
    mode = environ.get("HTTP_X_AMZ_CHECKSUM_MODE")
    if mode is None or mode.upper() != "ENABLED" or not info.metadata.system:
        return {}
    return checksum_headers(stored_checksums(info.metadata.system))


def add_checksums(element: Element, checksums: Mapping[Algorithm, str], *, with_type: bool = True) -> None:
    """An element for each checksum of a document, and one that says of which type they are."""
    for algorithm, value in checksums.items():
        element.add(f"Checksum{algorithm}", value)
    if with_type and checksums:
        element.add("ChecksumType", type_of(next(iter(checksums.values()))))
