"""Bodies in the coding aws-chunked, which is the API's own: chunks that may be signed, and trailers with checksums.

    signed              SIZE;chunk-signature=SIG CRLF DATA CRLF ... 0;chunk-signature=SIG CRLF CRLF
    signed, trailers    ... 0;chunk-signature=SIG CRLF NAME:VALUE CRLF x-amz-trailer-signature:SIG CRLF CRLF
    unsigned, trailers  SIZE CRLF DATA CRLF ... 0 CRLF NAME:VALUE CRLF CRLF

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from objstore.http.bodies import ByteStream
from objstore.http.chunked import ChunkLines, ChunkState
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.signature_v4 import ChunkSeed
from objstore.system import concurrency

if TYPE_CHECKING:
    from objstore.http.messages import BodyReader
    from objstore.system.threads import ThreadGroup

# Of what stands before a chunk, and of a trailer.
LINE_BYTES_MAX: Final = 1024
# All chunks but the last have at least so many bytes, which also bounds how many there are.
CHUNK_BYTES_MIN: Final = 8192
READ_SIZE: Final = 65_536
TRAILER_SIGNATURE: Final = "x-amz-trailer-signature"
EMPTY_SHA256: Final = sha256(b"").hexdigest()
_SIGNED_HEAD: Final = re.compile(rb"([0-9A-Fa-f]{1,15});chunk-signature=([0-9a-f]{64})")
_HEAD: Final = re.compile(rb"([0-9A-Fa-f]{1,15})")
_TRAILER: Final = re.compile(rb"([0-9A-Za-z-]+):[ \t]*([\x21-\x7e]*)[ \t]*")


class ChunkSignatures:
    """The chain of signatures of a body: each covers the one before, the first one that of the request."""

    def __init__(self, seed: ChunkSeed) -> None:
        self._seed = seed
        self._previous = seed.signature.encode()

    def verify_chunk(self, digest: str, signature: bytes) -> None:
        """Raises S3Error SignatureDoesNotMatch."""
        self._verify("PAYLOAD", f"{EMPTY_SHA256}\n{digest}", signature)

    def verify_trailers(self, lines: bytes, signature: bytes) -> None:
        """`lines` are "name:value" with a newline each. Raises S3Error SignatureDoesNotMatch."""
        self._verify("TRAILER", sha256(lines).hexdigest(), signature)

    def _verify(self, kind: str, digests: str, signature: bytes) -> None:
        seed = self._seed
        to_sign = (
            f"AWS4-HMAC-SHA256-{kind}\n{seed.timestamp}\n{seed.scope}\n{self._previous.decode('latin-1')}\n{digests}"
        )
        made = hmac.digest(seed.key, to_sign.encode("latin-1"), "sha256").hex().encode()
        if not hmac.compare_digest(made, signature):
            raise S3Error("SignatureDoesNotMatch", StringToSign=to_sign, SignatureProvided=signature.decode("latin-1"))
        self._previous = made


class AwsChunkDecoder(ChunkLines):
    """Takes bytes off the wire and gives content; raises S3Error at the first byte that is not as it must be.

    Content is given before the signature of its chunk is verified: nothing may be made of it before the end is reached.
    """

    def __init__(self, length: int, signatures: ChunkSignatures | None, trailers: frozenset[str] | None) -> None:
        """`length` is that of the content. trailers: the names that are announced, in lower case; None: no trailers."""
        super().__init__(LINE_BYTES_MAX)
        self._content_left = length  # of the body
        self._chunk_bytes = CHUNK_BYTES_MIN
        self._signatures = signatures
        self._signature = b""
        self._digest = sha256()
        self._announced = trailers
        self._lines = b""
        self._trailer_signature = b""
        self.trailers: dict[str, str] = {}

    @property
    def is_signed(self) -> bool:
        return self._signatures is not None

    def take(self, content: bytes | memoryview) -> None:
        """Count and hash content of the current chunk."""
        if self._signatures is not None:
            self._digest.update(content)
        super().take(content)
        if self.chunk_left == 0:
            self._verify_chunk()

    def content_of(self, wire: bytes) -> bytes:
        """The content in `wire`, all of which is used. Raises S3Error."""
        content, used = self.feed(wire)
        if used < len(wire):
            raise incomplete("something follows the last chunk")
        return content

    def _bad(self, reason: str) -> S3Error:
        return incomplete(reason)

    def _take_line(self, line: bytes) -> None:
        if self._state is ChunkState.SIZE:
            self._begin_chunk(line)
        elif line:
            self._take_trailer(line)
        else:
            self._end()

    def _begin_chunk(self, line: bytes) -> None:
        matched = (_HEAD if self._signatures is None else _SIGNED_HEAD).fullmatch(line)
        if matched is None:
            raise incomplete("a chunk does not begin as it must")
        size = int(matched[1], 16)
        if self._signatures is not None:
            self._signature = matched[2]
        if size > self._content_left:
            raise incomplete("there is more than x-amz-decoded-content-length says")
        self._content_left -= size
        self.chunk_left = size
        if size:
            if self._chunk_bytes < CHUNK_BYTES_MIN:
                raise S3Error("InvalidChunkSizeError", BadChunkSizeInBytes=self._chunk_bytes)
            self._chunk_bytes = size
            self._state = ChunkState.CONTENT
            return
        if self._content_left:
            raise incomplete("there is less than x-amz-decoded-content-length says")
        self._verify_chunk()
        self._state = ChunkState.TRAILER

    def _verify_chunk(self) -> None:
        if self._signatures is not None:
            digest, self._digest = self._digest, sha256()
            self._signatures.verify_chunk(digest.hexdigest(), self._signature)

    def _take_trailer(self, line: bytes) -> None:
        matched = _TRAILER.fullmatch(line)
        if matched is None or self._announced is None or self._trailer_signature:
            raise S3Error("MalformedTrailerError")
        name, value = matched[1].decode("ascii").lower(), matched[2]
        if name == TRAILER_SIGNATURE and self._signatures is not None:
            self._trailer_signature = value
            return
        if name not in self._announced or name.title() in self.trailers:
            raise S3Error("MalformedTrailerError")
        self.trailers[name.title()] = value.decode("ascii")
        self._lines += name.encode() + b":" + value + b"\n"

    def _end(self) -> None:
        if self._announced is not None:
            if len(self.trailers) < len(self._announced):
                raise S3Error("MalformedTrailerError")
            if self._signatures is not None:
                self._signatures.verify_trailers(self._lines, self._trailer_signature)
        self._state = ChunkState.ENDED


class AwsChunkedBody(ByteStream):
    """The content of a body in aws-chunked. Its end is given only if everything was what it must be.

    Reading raises S3Error, beside what reading the body on the wire raises. What is large and signed is hashed on a
    thread, while other requests go on.
    """

    __slots__ = ("_decoder", "_source", "_threads")

    def __init__(
        self, source: BodyReader, length: int, decoder: AwsChunkDecoder, threads: ThreadGroup | None = None
    ) -> None:
        super().__init__(length)
        self._source = source
        self._decoder = decoder
        self._threads = threads if decoder.is_signed else None

    def _advance(self, deadline: float | None = None) -> bool:
        decoder = self._decoder
        while not self._ready:
            if decoder.ended:
                if self._source.read(1):
                    raise incomplete("something follows the last chunk")
                return False
            wire = self._more(deadline)
            if wire is None:
                return False
            if not wire:
                raise incomplete("the body ends too early")
            self._ready = memoryview(decoder.content_of(wire))
            self.trailers = decoder.trailers
        return True

    def _more(self, deadline: float | None) -> bytes | None:
        """What comes next on the wire, b"" at its end; None when the deadline has passed."""
        if deadline is None:
            return self._source.read(READ_SIZE)
        buffer = memoryview(bytearray(READ_SIZE))
        left = deadline - concurrency.monotonic()
        count = self._source.readinto(buffer, left) if left > 0 else 0
        if not count and concurrency.monotonic() >= deadline:
            return None
        return bytes(buffer[:count])

    def readinto(self, buffer: memoryview, within_seconds: float | None = None) -> int:
        """Fill the buffer; less only at the end of the body, or when so many seconds have passed."""
        deadline = None if within_seconds is None else concurrency.monotonic() + within_seconds
        filled, decoder = 0, self._decoder
        while filled < len(buffer):
            if not self._ready and decoder.chunk_left > READ_SIZE:
                # Of a large chunk the content goes straight to where it is wanted.
                target = buffer[filled : filled + decoder.chunk_left]
                left = None if deadline is None else max(deadline - concurrency.monotonic(), 0.0)
                count = self._source.readinto(target, left)
                if self._threads is None:
                    decoder.take(target[:count])
                else:
                    self._threads.call(decoder.take, target[:count])
                filled += count
                if count == len(target):
                    continue
            if not self._advance(deadline):
                break
            filled += self._give(buffer[filled:])
        return filled


def incomplete(reason: str) -> S3Error:
    """The framing of a body is not what it must be, or the body is cut off."""
    return S3Error("IncompleteBody", f"The request body is malformed or terminated unexpectedly: {reason}")
