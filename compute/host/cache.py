"""Images on this host: read from the image service a piece at a time, when a machine asks for it, and kept.

The cache needs no record of what it holds: a piece is checked against its digest before a machine sees it, whether it
came from the image service just now or from the disk. One file serves all machines of an image.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from objstore.client.errors import ClientError
from objstore.compute.host import qcow2
from objstore.compute.host.driver import MIB, MachineError
from objstore.compute.protocol import ImageSource
from objstore.system.files import write_atomically

PIECE: Final = MIB
DIGEST: Final = 32  # bytes of SHA-256
PATIENCE_SECONDS: Final = 600.0  # a machine waits so long for its disk before it sees an error
PAUSE_SECONDS: Final = 1.0
KEPT_SECONDS: Final = 86_400.0  # images that no machine uses
FORMATS: Final = ("raw", "qcow2")


class ImageService(Protocol):
    """What the cache needs of the image service. Every method raises ClientError."""

    def digests(self, image_id: str) -> bytes | None:
        """SHA-256 of each MiB of the image, one after the other; None if the service keeps none."""
        ...

    def read(self, image_id: str, first: int, length: int) -> bytes: ...

    def whole(self, image_id: str) -> Iterator[bytes]: ...


class CachedImage:
    """One image: `read` gives bytes that have been checked. Threads share it."""

    def __init__(self, image: ImageSource, path: Path, digests: bytes, service: ImageService) -> None:
        """Raises MachineError, OSError."""
        if len(digests) != DIGEST * -(-image.size // PIECE):
            raise MachineError(f"the digests of image {image.id} do not fit its size")
        self.image = image
        self.size = image.size
        self.trouble = ""  # why it cannot be read at this time
        self._digests = digests
        self._service = service
        self._checked = bytearray(len(digests) // DIGEST)
        self._busy: set[int] = set()
        self._changed = threading.Condition()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._file, self.size)

    def close(self) -> None:
        os.close(self._file)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes that lie inside. Raises OSError, and MachineError when they cannot be had or are not the image's."""
        for piece in range(offset // PIECE, -(-(offset + length) // PIECE)):
            if not self._checked[piece]:
                self._ensure(piece)
        return os.pread(self._file, length, offset)

    def virtual_size(self) -> int:
        """How large a disk the image holds. Raises MachineError for one that must not be opened; OSError."""
        if self.image.disk_format == "qcow2":
            return qcow2.virtual_size(self.read(0, min(self.size, 512)))
        return self.size

    def _ensure(self, piece: int) -> None:
        with self._changed:
            while piece in self._busy:
                self._changed.wait(PATIENCE_SECONDS)
            if self._checked[piece]:
                return
            self._busy.add(piece)
        try:
            first = piece * PIECE
            length = min(PIECE, self.size - first)
            if not self._right(piece, os.pread(self._file, length, first)):
                content = self._fetch(piece, first, length)
                os.pwrite(self._file, content, first)
            self._checked[piece] = 1
        finally:
            with self._changed:
                self._busy.discard(piece)
                self._changed.notify_all()

    def _fetch(self, piece: int, first: int, length: int) -> bytes:
        """From the image service, however often it takes, within a limit: a machine waits for its disk."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                content = self._service.read(self.image.id, first, length)
                if self._right(piece, content):
                    self.trouble = ""
                    return content
                self.trouble = f"image {self.image.id} is damaged from byte {first} on"
            except ClientError:
                self.trouble = f"image {self.image.id} cannot be read from the image service"
            if time.monotonic() > deadline:
                raise MachineError(self.trouble)
            time.sleep(PAUSE_SECONDS)

    def _right(self, piece: int, content: bytes) -> bool:
        wanted = self._digests[piece * DIGEST : (piece + 1) * DIGEST]
        return hashlib.sha256(content).digest() == wanted


class ImageCache:
    """All images of this host, below one folder."""

    def __init__(self, folder: Path, service: ImageService) -> None:
        self.folder = folder
        self._service = service
        self._open: dict[str, CachedImage] = {}
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def open(self, image: ImageSource) -> CachedImage:
        """Raises MachineError when it cannot be had, or is of a format that does not boot."""
        if image.disk_format not in FORMATS or image.container_format != "bare":
            raise MachineError(f"an image of format {image.disk_format} does not boot here: {' and '.join(FORMATS)} do")
        with self._lock:
            if image.id not in self._open:
                try:
                    digests = self._digests(image)
                    self._open[image.id] = CachedImage(image, self._path(image.id), digests, self._service)
                except (ClientError, OSError) as error:
                    raise MachineError(f"image {image.id} cannot be read") from error
            return self._open[image.id]

    def find(self, image_id: str) -> CachedImage:
        """One that a machine has opened. Raises MachineError."""
        with self._lock:
            if image_id not in self._open:
                raise MachineError(f"no machine uses image {image_id}")
            return self._open[image_id]

    def sweep(self, used: set[str], now: float) -> None:
        """Remove what no machine has used for a day."""
        with self._lock:
            for image_id in used:
                with suppress(OSError):
                    os.utime(self._path(image_id), (now, now))
            for path in self.folder.iterdir():
                image_id = path.name.partition(".")[0]
                if image_id not in used and path.stat().st_mtime + KEPT_SECONDS < now:
                    if (opened := self._open.pop(image_id, None)) is not None:
                        opened.close()
                    path.unlink()

    def _path(self, image_id: str) -> Path:
        return self.folder / f"{image_id}.content"

    def _digests(self, image: ImageSource) -> bytes:
        """Raises MachineError, ClientError, OSError."""
        kept = self.folder / f"{image.id}.digests"
        if kept.exists():
            return kept.read_bytes()
        digests = self._service.digests(image.id)
        if digests is None:
            digests = self._download(image)
        write_atomically(str(kept), digests)
        return digests

    def _download(self, image: ImageSource) -> bytes:
        """The whole image, where the service keeps no digests: what is wrong would be seen only at its end."""
        try:
            whole, digests = hashlib.new(image.hash_algorithm), bytearray()
        except ValueError as error:
            raise MachineError(f"image {image.id} has a digest of an unknown kind") from error
        with open(self._path(image.id), "wb") as file:
            for piece in _of_size(PIECE, self._service.whole(image.id)):
                if file.tell() + len(piece) > image.size:
                    raise MachineError(f"image {image.id} is larger than announced")
                whole.update(piece)
                digests += hashlib.sha256(piece).digest()
                file.write(piece)
        if not image.hash_value or whole.hexdigest() != image.hash_value:
            raise MachineError(f"image {image.id} is damaged: its digest is another")
        return bytes(digests)


def _of_size(size: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of one size; the last may be shorter."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
    if buffer:
        yield bytes(buffer)
