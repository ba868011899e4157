"""Schemes: how the objects of a storage policy become pieces, and pieces become objects again.

A policy's ring gives each object as many places as it has replicas. The scheme says what each place stores. Writing,
reading, auditing and repair ask it, so that a second scheme (fragments of an erasure code) changes none of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol, TypeVar

import xxhash

from objstore.quorum import quorum_size

Piece = bytes | memoryview
BodyT = TypeVar("BodyT", bound=Iterable[Piece])


class Encoder(Protocol):
    """Makes the pieces of one object, chunk after chunk. The i-th piece is for the i-th place."""

    def encode(self, chunk: Piece) -> Sequence[Piece]:
        """What each place gets of a chunk; valid as long as the chunk is, and empty while an encoder collects."""

    def flush(self) -> Sequence[Piece]:
        """What each place gets after the last chunk: the tail that `encode` has kept back. Empty if there is none."""

    def checksum(self, pieces: Sequence[Piece]) -> None:
        """Take pieces into the checksums: in order, on any thread, while the pieces are being sent."""

    def checksums(self) -> Sequence[str]:
        """For each place the checksum (XXH3-128, in hex) of all its pieces."""


class Scheme(Protocol):
    """How one policy stores its objects. `places` is the number of replicas of the policy's ring.

    has_commit_phase: a write is durable only when nodes that have stored their piece are told that enough others have.
    replicates_to_all: every place holds the same piece, so replication gives what one primary lacks to all of them;
    otherwise a primary accepts only its own piece, and a missing one is rebuilt.
    """

    @property
    def name(self) -> str: ...

    @property
    def has_commit_phase(self) -> bool: ...

    @property
    def replicates_to_all(self) -> bool: ...

    def write_quorum(self, places: int) -> int:
        """How many places must have stored their piece before a write may be acknowledged (or committed)."""

    def durable_quorum(self, places: int) -> int:
        """How many places must have the write durable before it is acknowledged."""

    def read_count(self, places: int) -> int:
        """Of how many places the pieces of one version are needed to make the body."""

    def encoder(self, places: int) -> Encoder:
        """An encoder for the next object."""

    def piece_size(self, size: int) -> int:
        """How many bytes each place stores of an object of `size` bytes: what the auditor expects."""

    def decode(self, bodies: Sequence[BodyT]) -> BodyT:
        """The object's body from the pieces of `read_count` places."""

    def rebuild_sources(self, missing: int, held: Collection[int]) -> Sequence[int]:
        """The places, among those in `held`, whose pieces rebuild the missing one; empty if it cannot be."""

    def rebuild(self, missing: int, pieces: Mapping[int, Iterable[Piece]]) -> Iterator[Piece]:
        """The missing place's piece from those of its `rebuild_sources`."""


class WholeReplicas:
    """Every place stores the whole object, so any one place gives the body, and any one rebuilds another."""

    name: Final = "replication"
    has_commit_phase: Final = False
    replicates_to_all: Final = True

    def write_quorum(self, places: int) -> int:
        """Half of the places, rounded up: reads ask further replicas, and the newest write wins."""
        return quorum_size(places)

    def durable_quorum(self, places: int) -> int:
        """As `write_quorum`: a replica is durable before its node answers."""
        return quorum_size(places)

    def read_count(self, places: int) -> int:
        return 1

    def encoder(self, places: int) -> Encoder:
        """An encoder that gives every place every byte."""
        return _ReplicaEncoder(places)

    def piece_size(self, size: int) -> int:
        return size

    def decode(self, bodies: Sequence[BodyT]) -> BodyT:
        """The one body there is."""
        return bodies[0]

    def rebuild_sources(self, missing: int, held: Collection[int]) -> Sequence[int]:
        return [place for place in held if place != missing][:1]

    def rebuild(self, missing: int, pieces: Mapping[int, Iterable[Piece]]) -> Iterator[Piece]:
        return iter(next(iter(pieces.values())))


class _ReplicaEncoder:
    __slots__ = ("_checksum", "_places")

    def __init__(self, places: int) -> None:
        self._places: Final = places
        self._checksum: Final = xxhash.xxh3_128()

    def encode(self, chunk: Piece) -> Sequence[Piece]:
        return [chunk] * self._places

    def flush(self) -> Sequence[Piece]:
        return ()

    def checksum(self, pieces: Sequence[Piece]) -> None:
        if pieces:
            self._checksum.update(pieces[0])

    def checksums(self) -> Sequence[str]:
        return [self._checksum.hexdigest()] * self._places


WHOLE_REPLICAS: Final = WholeReplicas()
# By the name under which a policy's configuration asks for it.
SCHEMES: Final[Mapping[str, Scheme]] = {WHOLE_REPLICAS.name: WHOLE_REPLICAS}
