"""What each node gets of an object's bytes.

With replication it is the same for all. The upload knows only the two interfaces here, so that a code which cuts an
object into fragments, different ones for each node, needs no other upload.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import xxhash

from objstore.headers import Backend
from objstore.quorum import quorum_size

Piece = bytes | memoryview


class Encoder(Protocol):
    """Encodes one object, chunk after chunk."""

    def encode(self, chunk: Piece) -> Sequence[Piece]:
        """What each place gets of a chunk of the object; valid as long as the chunk is."""

    def checksum(self, pieces: Sequence[Piece]) -> None:
        """Take pieces into the checksums. Called in order, on any thread, while the pieces are being sent."""

    def trailers(self) -> Sequence[Mapping[str, str]]:
        """For each place, what proves that its pieces arrived whole."""


class Encoding(Protocol):
    """How the objects of a policy are spread over `places` nodes, of which `quorum` must have stored their part."""

    places: int
    quorum: int

    def encoder(self) -> Encoder:
        """For the next object."""


class Replication:
    """Every node gets every byte."""

    __slots__ = ("places", "quorum")

    def __init__(self, places: int) -> None:
        self.places = places
        self.quorum = quorum_size(places)

    def encoder(self) -> Encoder:
        """See Encoding."""
        return _Replicas(self.places)


class _Replicas:
    __slots__ = ("_checksum", "_places")

    def __init__(self, places: int) -> None:
        self._places: Final = places
        self._checksum: Final = xxhash.xxh3_128()

    def encode(self, chunk: Piece) -> Sequence[Piece]:
        return [chunk] * self._places

    def checksum(self, pieces: Sequence[Piece]) -> None:
        if pieces:
            self._checksum.update(pieces[0])

    def trailers(self) -> Sequence[Mapping[str, str]]:
        return [{Backend.BODY_CHECKSUM: self._checksum.hexdigest()}] * self._places
