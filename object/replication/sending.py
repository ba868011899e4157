"""Files of objects as frames, read from the disk and verified on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from objstore.logs import Logger
from objstore.object.engine import ObjectCorrupt, ReplicationStore
from objstore.object.replication.frames import head_of
from objstore.policies import Policy


def frames(
    storage: ReplicationStore, policy: Policy, partition: str, wanted: Iterable[tuple[str, str]], log: Logger
) -> Iterator[tuple[tuple[str, str], Iterator[bytes | memoryview]]]:
    """For each (hash, name) that can be read: it, and its frame in pieces, each valid until the next is asked for.

    A small body is verified before its frame begins; damage that shows later in a large one raises ObjectCorrupt, and
    the receiver, who misses its end, keeps nothing of it. What is damaged is in quarantine by then.
    """
    for digest, name in wanted:
        try:
            exported = storage.export(policy, partition, digest, name)
        except ObjectCorrupt as corrupt:
            log.warning("damaged object is not sent", object=corrupt.name, reason=corrupt.reason)
            continue
        if exported is None:
            continue
        size = 0 if exported.body is None else exported.body.info.data.size
        body = None if exported.body is None else exported.body.stream(0, size)
        head = head_of(digest, name, size, exported.metadata)
        yield (digest, name), _pieces(head, () if body is None else body)
        if body is not None:
            body.close()


def _pieces(head: bytes, body: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    yield head
    yield from body


class FrameBody:
    """Frames as the body of an answer."""

    length: int | None = None

    def __init__(self, frames: Iterator[tuple[tuple[str, str], Iterator[bytes | memoryview]]]) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[bytes | memoryview]:
        for _, pieces in self._frames:
            yield from pieces

    def close(self) -> None:
        """Send no more."""
        close = getattr(self._frames, "close", None)
        if close is not None:
            close()


def flattened(names: dict[str, Sequence[str]] | dict[str, list[str]]) -> list[tuple[str, str]]:
    """(hash, name) of each file."""
    return [(digest, name) for digest, group in names.items() for name in group]
