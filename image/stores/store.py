"""What the image service asks of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from objstore.client.errors import ClientError
from objstore.errors import StoreError

PIECE_BYTES: Final = 256 * 1024


@dataclass(eq=False)
class StoreFailed(StoreError):
    """A store did not do what it was asked."""

    message = "The store {store} failed: {reason}"

    store: str
    reason: str


class ImageStore(Protocol):
    """A place for objects that are written once. Threads share it. Every method raises StoreFailed."""

    name: str
    kind: str  # "swift" or "s3"

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        """Store an object under a new name. What `pieces` raises goes through; then something may be left behind."""

    def read(self, name: str, first: int, count: int) -> Iterator[bytes]:
        """So many bytes from `first` on; the object has them."""

    def discard(self, name: str) -> None:
        """Remove the object, and whatever a write under its name has left; there may be nothing."""


class PieceGroups:
    """Divides a stream into groups of at most `size` bytes each, without holding more than one piece.

    Iterating gives the groups; each is read to its end before the next one is asked for.
    """

    def __init__(self, pieces: Iterable[bytes], size: int) -> None:
        self._source = iter(pieces)
        self._size = size
        self._rest = b""
        self.counted = 0  # bytes of the group that was read last

    def __iter__(self) -> Iterator[Iterator[bytes]]:
        while self._rest or self._fill():
            yield self._group()

    def _fill(self) -> bool:
        while not self._rest:
            piece = next(self._source, None)
            if piece is None:
                return False
            self._rest = piece
        return True

    def _group(self) -> Iterator[bytes]:
        self.counted = 0
        while self.counted < self._size and self._fill():
            piece = self._rest[: self._size - self.counted]
            self._rest = self._rest[len(piece) :]
            self.counted += len(piece)
            yield piece


def reported(store: str, chunks: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
    """Pieces as a client gives them, the client's errors as StoreFailed."""
    try:
        yield from chunks()
    except ClientError as error:
        raise StoreFailed(store, error.brief) from error
