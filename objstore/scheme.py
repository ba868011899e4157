"""Schemes: how the objects of a storage policy become pieces, and pieces become objects again.

A policy's ring gives each object as many places as it has replicas. The scheme says what each place stores. Writing,
reading, auditing and repair ask it, so that a second scheme (fragments of an erasure code) changes none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Protocol

import xxhash

from objstore.devices import Device
from objstore.erasure import ErasureCode, Piece, checked_code
from objstore.quorum import quorum_size


class Encoder(Protocol):
    """Makes the pieces of one object, chunk after chunk: one for each node that it is sent to."""

    def encode(self, chunk: Piece) -> Sequence[Piece]:
        """What each node gets of a chunk; valid as long as the chunk is, and empty while an encoder collects."""

    def flush(self) -> Sequence[Piece]:
        """What each node gets after the last chunk: the tail that `encode` has kept back. Empty if there is none."""

    def checksum(self, pieces: Sequence[Piece]) -> None:
        """Take pieces into the checksums: in order, on any thread, while the pieces are being sent."""

    def checksums(self) -> Sequence[str]:
        """For each node the checksum (XXH3-128, in hex) of all its pieces."""


class Scheme(Protocol):
    """How one policy stores its objects. `places` is the number of replicas of the policy's ring.

    code: that of the fragments, None where every place holds the whole object. Then replication gives what one primary
    lacks to all of them. Otherwise a primary accepts only its own fragment, and a missing one is rebuilt; a fragment
    is durable only when its node is told that enough others have theirs.
    """

    @property
    def name(self) -> str: ...

    @property
    def code(self) -> ErasureCode | None: ...

    def for_body(self, size: int | None) -> Scheme:
        """How a body of so many bytes (None if not known) is stored."""

    def write_quorum(self, places: int) -> int:
        """How many places must have stored their piece before a write is acknowledged."""

    def in_order(self, primaries: tuple[Device, ...]) -> tuple[Device, ...]:
        """The primaries of a partition in the order of the places: the i-th holds piece `number(i)`."""

    def number(self, place: int) -> int:
        """Which piece a place holds."""

    def encoder(self, numbers: Sequence[int]) -> Encoder:
        """An encoder for the next object, whose i-th piece is that of this number."""


class WholeReplicas:
    """Every place stores the whole object, so any one place gives the body, and any one rebuilds another."""

    name: Final = "replication"
    code: Final[ErasureCode | None] = None

    def for_body(self, _size: int | None) -> Scheme:
        return self

    def write_quorum(self, places: int) -> int:
        """Half of the places, rounded up: reads ask further replicas, and the newest write wins."""
        return quorum_size(places)

    def in_order(self, primaries: tuple[Device, ...]) -> tuple[Device, ...]:
        return primaries

    def number(self, place: int) -> int:
        return place

    def encoder(self, numbers: Sequence[int]) -> Encoder:
        """An encoder that gives every place every byte."""
        return _ReplicaEncoder(len(numbers))


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


class Fragments:
    """Every place stores one fragment of an erasure code; small objects are stored whole, on every place.

    A fragment of a small object takes as much room on a disk as the object: at least a block, and an inode.
    """

    name: Final = "erasure_coding"

    def __init__(self, code: ErasureCode, duplication_factor: int, small_object_size: int) -> None:
        """Each fragment has `duplication_factor` places, all fragments first, then all of them again."""
        self.code: Final[ErasureCode | None] = code
        self._code: Final = code
        self._duplication_factor: Final = duplication_factor
        self._small_object_size: Final = small_object_size

    @property
    def places(self) -> int:
        """How many replicas the ring has."""
        return self._code.fragments * self._duplication_factor

    def for_body(self, size: int | None) -> Scheme:
        return WHOLE_REPLICAS if size is not None and size <= self._small_object_size else self

    def write_quorum(self, _places: int) -> int:
        """So many that the object survives the loss of any one: one different fragment more than are needed."""
        return self._code.data * self._duplication_factor + 1

    def in_order(self, primaries: tuple[Device, ...]) -> tuple[Device, ...]:
        """Region by region where fragments have several places, so that those of one region are different ones."""
        if self._duplication_factor == 1:
            return primaries
        return tuple(sorted(primaries, key=lambda device: device.region))

    def number(self, place: int) -> int:
        return place % self._code.fragments

    def encoder(self, numbers: Sequence[int]) -> Encoder:
        return _FragmentEncoder(self._code, numbers)


class _FragmentEncoder:
    __slots__ = ("_checksums", "_code", "_collected", "_numbers")

    def __init__(self, code: ErasureCode, numbers: Sequence[int]) -> None:
        self._code: Final = code
        self._numbers: Final = numbers
        self._collected = bytearray()  # less than a segment
        self._checksums: Final = [xxhash.xxh3_128() for _ in numbers]

    def encode(self, chunk: Piece) -> Sequence[Piece]:
        size, view, encoded = self._code.segment_size, memoryview(chunk), list[list[bytes]]()
        if self._collected:
            missing = size - len(self._collected)
            self._collected += view[:missing]
            view = view[missing:]
            if len(self._collected) < size:
                return ()
            encoded.append(self._code.encode(bytes(self._collected)))
            self._collected = bytearray()
        while len(view) >= size:
            encoded.append(self._code.encode(view[:size]))
            view = view[size:]
        self._collected += view
        return self._of_nodes(encoded)

    def flush(self) -> Sequence[Piece]:
        return self._of_nodes([self._code.encode(bytes(self._collected))]) if self._collected else ()

    def _of_nodes(self, encoded: list[list[bytes]]) -> Sequence[Piece]:
        if not encoded:
            return ()
        return [b"".join(pieces[number] for pieces in encoded) for number in self._numbers]

    def checksum(self, pieces: Sequence[Piece]) -> None:
        for checksum, piece in zip(self._checksums, pieces, strict=bool(pieces)):
            checksum.update(piece)

    def checksums(self) -> Sequence[str]:
        return [checksum.hexdigest() for checksum in self._checksums]


@lru_cache(maxsize=64)
def fragments_of(
    ec_type: str, data: int, parity: int, segment_size: int, duplication_factor: int, small_object_size: int
) -> Fragments:
    """The scheme of a policy with such options. Raises BadCode."""
    return Fragments(checked_code(ec_type, data, parity, segment_size), duplication_factor, small_object_size)
