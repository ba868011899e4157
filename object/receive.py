"""The body of a PUT: received, hashed and written at the same time."""

from typing import Final

from objstore.headers import Backend, Client
from objstore.http.bodies import ClientDisconnected
from objstore.http.body_chunks import BodyChunks
from objstore.http.errors import HttpError
from objstore.http.local import PipeBody
from objstore.http.messages import BodyReader, Request
from objstore.object.engine import ObjectUpload
from objstore.system.concurrency import Task, spawn

# A body announced as no longer than this is taken in one piece.
WHOLE_BYTES_MAX: Final = 64 * 1024


def receive(body: BodyReader, upload: ObjectUpload, length: int | None, size_max: int) -> None:
    """Write the body to the upload. Raises HttpError (408, 413, 499) and OSError.

    `length` is what Content-Length says, None for a chunked body.
    """
    if length is None or length > WHOLE_BYTES_MAX:
        _receive_stream(body, upload, size_max)
    else:
        upload.write(body.read())
    if length is not None and upload.size != length:
        raise ClientDisconnected


def _receive_stream(body: BodyReader, upload: ObjectUpload, size_max: int) -> None:
    if isinstance(body, PipeBody):
        # Its pieces lie in the buffers of the proxy, which receives the next one while this one is written.
        for piece in body:
            _check_size(upload.size + len(piece), size_max)
            upload.write(piece)
        return
    # While one chunk is hashed and written, the next is received.
    write: Task[None] | None = None
    with BodyChunks(body) as chunks:
        try:
            for chunk in chunks:
                if write is not None:
                    write.wait()
                _check_size(upload.size + len(chunk), size_max)
                write = spawn(upload.write, chunk)
        finally:
            # Also after an error: the upload is aborted then, and no write may still be under way.
            if write is not None:
                write.wait()


def _check_size(size: int, size_max: int) -> None:
    if size > size_max:
        raise HttpError(413, "Your request is too large.")


def agreed_etag(request: Request, checksum: str, trailers: dict[str, str]) -> str:
    """The ETag the sender gives the body, if what it says of the checksum is right. Raises HttpError 400, 422."""
    announced = trailers.get(Backend.BODY_CHECKSUM) or request.header(Backend.BODY_CHECKSUM)
    etag = trailers.get(Client.ETAG) or request.header(Client.ETAG)
    if not announced or not etag:
        raise HttpError(400, f"{Client.ETAG} and {Backend.BODY_CHECKSUM} must come as headers or trailers")
    if announced.lower() != checksum:
        raise HttpError(422, "The body does not match its checksum")
    return etag.strip('"').lower()
