"""Bodies as handlers read them: chunks and trailers of the documentation's examples, and bodies that lie."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import pytest
from botocore.auth import S3SigV4Auth
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum

from objstore.http.bodies import BytesBody, IterableBody
from objstore.http.messages import BodyReader, Environ
from objstore.proxy.s3 import payload
from objstore.proxy.s3.authentication import body_of
from objstore.proxy.s3.chunked import AwsChunkDecoder, AwsChunkedBody, ChunkSignatures
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.signature_v4 import ChunkSeed, signing_key
from objstore.system.threads import ThreadGroup
from tests.unit.proxy.s3.signing import HOST, aws_chunked, environ_of, signed_by_botocore, verified

# https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and sigv4-streaming-trailers.html
EXAMPLE_KEY: Final = signing_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524", "us-east-1")


def example_seed(signature: str) -> ChunkSeed:
    return ChunkSeed(EXAMPLE_KEY, "20130524T000000Z", "20130524/us-east-1/s3/aws4_request", signature)


SEED: Final = example_seed("4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9")
TRAILER_SEED: Final = example_seed("106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e")
CRC: Final = {"x-amz-checksum-crc32c": "sOO8/Q=="}
CHUNKS: Final = [b"a" * 65536, b"a" * 1024]
CONTENT: Final = b"".join(CHUNKS)


def signed_wire() -> bytes:
    signatures = (
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    )
    parts = zip(("10000", "400", "0"), signatures, (*CHUNKS, b""), strict=True)
    return b"".join(f"{size};chunk-signature={sig}\r\n".encode() + data + b"\r\n" for size, sig, data in parts)


def trailer_wire() -> bytes:
    signatures = (
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    )
    parts = zip(("10000", "400", "0"), signatures, (*CHUNKS, None), strict=True)
    wire = b"".join(
        f"{size};chunk-signature={sig}\r\n".encode() + (b"" if data is None else data + b"\r\n")
        for size, sig, data in parts
    )
    signature = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
    return wire + f"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:{signature}\r\n\r\n".encode()


def opened(
    wire: bytes,
    kind: str,
    seed: ChunkSeed | None = None,
    length: int | None = len(CONTENT),
    **headers: str,
) -> BodyReader:
    """The reader of a body that came so over the wire. Raises S3Error."""
    environ: Environ = {"CONTENT_LENGTH": str(len(wire))}
    if length is not None:
        environ["HTTP_X_AMZ_DECODED_CONTENT_LENGTH"] = str(length)
    environ |= {"HTTP_" + name.upper(): value for name, value in headers.items()}
    body = payload.open_body(environ, BytesBody(wire), kind, seed)
    if length is not None:
        assert environ["CONTENT_LENGTH"] == str(length)
    return body


def code_of(body: BodyReader) -> str:
    with pytest.raises(S3Error) as caught:
        body.read()
    return caught.value.code


def test_the_example_of_signed_chunks() -> None:
    assert aws_chunked(CHUNKS, SEED) == signed_wire()
    assert opened(signed_wire(), payload.SIGNED_CHUNKS, SEED).read() == CONTENT


def test_the_example_of_signed_chunks_with_a_trailer() -> None:
    assert aws_chunked(CHUNKS, TRAILER_SEED, CRC) == trailer_wire()
    body = opened(trailer_wire(), payload.SIGNED_CHUNKS_TRAILER, TRAILER_SEED, x_amz_trailer="x-amz-checksum-crc32c")
    assert body.read() == CONTENT
    assert body.trailers == {"X-Amz-Checksum-Crc32C": "sOO8/Q=="}


def unsigned(wire: bytes, length: int = len(CONTENT), trailer: str = "x-amz-checksum-crc32c") -> BodyReader:
    return opened(wire, payload.UNSIGNED_CHUNKS_TRAILER, None, length, x_amz_trailer=trailer)


def test_unsigned_chunks_with_a_trailer() -> None:
    body = unsigned(aws_chunked(CHUNKS, None, CRC))
    assert body.read() == CONTENT
    assert body.trailers == {"X-Amz-Checksum-Crc32C": "sOO8/Q=="}
    assert unsigned(aws_chunked([], None, CRC), 0).read() == b""


def test_what_botocore_sends() -> None:
    import io

    content = bytes(range(256)) * 9000
    wrapper = AwsChunkedWrapper(io.BytesIO(content), Crc32Checksum, "x-amz-checksum-crc32", chunk_size=1 << 20)
    headers = {
        "Content-Encoding": "gzip,aws-chunked",
        "X-Amz-Trailer": "x-amz-checksum-crc32",
        "X-Amz-Decoded-Content-Length": str(len(content)),
        "Transfer-Encoding": "chunked",
    }
    context = {"checksum": {"request_algorithm": {"in": "trailer", "algorithm": "crc32"}}}
    environ = signed_by_botocore(S3SigV4Auth, "PUT", "/bucket/key", headers, context=context, scheme="https")
    signed = verified(environ)
    assert signed is not None and signed.claim.payload == payload.UNSIGNED_CHUNKS_TRAILER
    body = body_of(environ, BytesBody(wrapper.read()), signed)
    assert body.read() == content
    assert body.trailers == {"X-Amz-Checksum-Crc32": Crc32Checksum().handle(content)}
    assert environ["HTTP_CONTENT_ENCODING"] == "gzip"
    assert environ["CONTENT_LENGTH"] == str(len(content))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"aaaa", b"aaba", "SignatureDoesNotMatch"),
        (b"10000;", b"0ffff;", "SignatureDoesNotMatch"),
        (b"10000;", b"-10000;", "IncompleteBody"),
        (b"10000;", b"10001;", "SignatureDoesNotMatch"),
        (b"10000;", b"ffffffff;", "IncompleteBody"),
        (b"=ad80", b"=ad81", "SignatureDoesNotMatch"),
        (b"=b6c6", b"=b6c7", "SignatureDoesNotMatch"),
        (b";chunk-signature=ad80", b";chunk-signature=AD80", "IncompleteBody"),
        (b"\r\n", b"\n", "IncompleteBody"),
        (b"\r\n\r\n", b"\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", "MalformedTrailerError"),
        (b"\r\n\r\n", b"\r\n\r\nmore", "IncompleteBody"),
        (b"10000;", b"0" * 2000 + b"10000;", "IncompleteBody"),
    ],
)
def test_lies_of_signed_chunks(old: bytes, new: bytes, code: str) -> None:
    wire = signed_wire()
    assert code_of(opened(wire.replace(old, new, 1), payload.SIGNED_CHUNKS, SEED)) == code


def test_a_wrong_chunk_is_refused_before_the_rest_has_come() -> None:
    def wire() -> Any:
        yield signed_wire()[:60_000].replace(b"a" * 10, b"b" * 10)
        yield signed_wire()[60_000:65_700]
        raise AssertionError("more is read")

    body = AwsChunkedBody(
        IterableBody(wire()), len(CONTENT), AwsChunkDecoder(len(CONTENT), ChunkSignatures(SEED), None)
    )
    assert code_of(body) == "SignatureDoesNotMatch"


def test_too_large_a_chunk_is_refused_before_it_has_come() -> None:
    def wire() -> Any:
        yield b"10001\r\n"
        raise AssertionError("more is read")

    body = AwsChunkedBody(IterableBody(wire()), 65_536, AwsChunkDecoder(65_536, None, frozenset()))
    assert code_of(body) == "IncompleteBody"


def test_what_follows_the_end_is_refused_however_it_comes() -> None:
    pieces = IterableBody([aws_chunked(CHUNKS, None, {}), b"more"])
    body = AwsChunkedBody(pieces, len(CONTENT), AwsChunkDecoder(len(CONTENT), None, frozenset()))
    assert code_of(body) == "IncompleteBody"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"crc32c", b"crc32", "MalformedTrailerError"),
        (b"x-amz-checksum-crc32c:sOO8/Q==\r\n", b"", "MalformedTrailerError"),
        (b"x-amz-checksum-crc32c:", b"x-amz-checksum-crc32c:a\r\nx-amz-checksum-crc32c:", "MalformedTrailerError"),
        (b"sOO8", b"sOO9", "SignatureDoesNotMatch"),
        (b"x-amz-trailer-signature:d8", b"x-amz-trailer-signature:d9", "SignatureDoesNotMatch"),
        (b"x-amz-trailer-signature:", b"x-amz-trailer-nothing:", "MalformedTrailerError"),
        (trailer_wire()[-92:], b"\r\n", "SignatureDoesNotMatch"),
        (trailer_wire()[-94:], b"", "IncompleteBody"),
        (b"sOO8/Q==", b"A" * 2000, "IncompleteBody"),
    ],
)
def test_lies_of_trailers(old: bytes, new: bytes, code: str) -> None:
    wire = trailer_wire()
    assert old in wire
    body = opened(
        wire.replace(old, new, 1), payload.SIGNED_CHUNKS_TRAILER, TRAILER_SEED, x_amz_trailer="x-amz-checksum-crc32c"
    )
    assert code_of(body) == code


def test_lengths() -> None:
    wire = aws_chunked(CHUNKS, None, CRC)
    assert code_of(unsigned(wire, len(CONTENT) - 1)) == "IncompleteBody"
    assert code_of(unsigned(wire, len(CONTENT) + 1)) == "IncompleteBody"
    with pytest.raises(S3Error, match="IncompleteBody"):
        unsigned(wire, len(wire) + 1)
    with pytest.raises(S3Error, match="MissingContentLength"):
        opened(wire, payload.UNSIGNED_CHUNKS_TRAILER, None, None)
    with pytest.raises(S3Error, match="InvalidArgument"):
        opened(wire, payload.UNSIGNED_CHUNKS_TRAILER, None, -1)


@pytest.mark.parametrize("size", [b"ffff", b"10001", b"10000 ", b"10000;a=b", b"", b"0x10000"])
def test_chunks_have_their_size(size: bytes) -> None:
    wire = aws_chunked(CHUNKS, None, CRC)
    assert code_of(unsigned(wire.replace(b"10000", size, 1))) == "IncompleteBody"


def test_only_the_last_chunk_may_be_small() -> None:
    assert unsigned(aws_chunked([b"a" * 8192, b"b"], None, CRC), 8193).read() == b"a" * 8192 + b"b"
    assert code_of(unsigned(aws_chunked([b"a" * 8191, b"b"], None, CRC), 8192)) == "InvalidChunkSizeError"


def test_trailers_have_to_be_checksums() -> None:
    with pytest.raises(S3Error, match="x-amz-trailer header is not supported"):
        unsigned(b"", 0, "x-amz-acl")
    with pytest.raises(S3Error, match="x-amz-trailer header is not supported"):
        unsigned(b"", 0, ",".join(f"x-amz-checksum-{number}" for number in range(17)))


def test_signed_chunks_go_on_from_a_signature() -> None:
    for kind in (payload.SIGNED_CHUNKS, payload.SIGNED_CHUNKS_TRAILER):
        environ = environ_of("PUT", "/bucket/key", {"Host": HOST, "x-amz-content-sha256": kind})
        with pytest.raises(S3Error, match="InvalidRequest"):
            body_of(environ, BytesBody(b""), None)


def test_a_body_that_has_the_announced_hash() -> None:
    digest = sha256(CONTENT).hexdigest()
    environ: Environ = {"CONTENT_LENGTH": str(len(CONTENT))}
    assert payload.open_body(environ, BytesBody(CONTENT), digest, None).read() == CONTENT
    body = payload.open_body(environ, BytesBody(CONTENT), digest, None)
    buffer = memoryview(bytearray(len(CONTENT)))
    assert body.read(10) == CONTENT[:10]
    assert body.readinto(buffer) == len(CONTENT) - 10
    assert body.read(1) == b""


def mismatch(read: Any) -> dict[str, str]:
    with pytest.raises(S3Error, match="XAmzContentSHA256Mismatch") as caught:
        read()
    return caught.value.elements


def test_a_body_that_has_another_hash_has_no_end() -> None:
    announced, computed = "0" * 64, sha256(CONTENT).hexdigest()

    def reader(length: int | None = len(CONTENT), threads: ThreadGroup | None = None) -> BodyReader:
        environ: Environ = {"HTTP_TRANSFER_ENCODING": "chunked"} if length is None else {"CONTENT_LENGTH": str(length)}
        return payload.open_body(environ, BytesBody(CONTENT), announced, None, threads)

    expected = {"ClientComputedContentSHA256": announced, "S3ComputedContentSHA256": computed}
    assert mismatch(reader().read) == expected
    assert mismatch(reader(None).read) == expected
    assert mismatch(reader(threads=ThreadGroup(1)).read) == expected
    # Whoever reads just what was announced learns it with the last byte.
    body = reader()
    body.read(100)
    assert mismatch(lambda: body.readinto(memoryview(bytearray(len(CONTENT))))) == expected
    body = reader(None)
    body.readinto(memoryview(bytearray(len(CONTENT))))
    assert mismatch(lambda: body.read(1)) == expected


def test_no_body_has_the_hash_of_nothing() -> None:
    payload.open_body({}, BytesBody(b""), sha256().hexdigest(), None)
    mismatch(lambda: payload.open_body({"CONTENT_LENGTH": "0"}, BytesBody(b""), "0" * 64, None))
