"""Bodies made of fragments: of each segment the pieces that are needed, each verified, from devices that can change.

While all data fragments can be had, only the payloads that lie in the range are read, and nothing is decoded. One that
is damaged or breaks off is replaced by another. Beside one that stalls another one is read, and the first that comes
counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from objstore.erasure import BadCode, Piece, PieceDamaged
from objstore.http.bodies import ByteStream
from objstore.http.ranges import ByteRange
from objstore.http.transport import NodeFailure
from objstore.proxy.core.errors import BodyBrokenOff
from objstore.proxy.core.fragments.streams import FragmentSources, FragmentStream
from objstore.system import concurrency


class FragmentBody(ByteStream):
    """A range of an object. Raises BodyBrokenOff if too few fragments are left."""

    def __init__(self, sources: FragmentSources, wanted: ByteRange, at_hand: Sequence[FragmentStream] = ()) -> None:
        """`at_hand` are fragments of an object of one segment that have come unasked."""
        super().__init__()
        self.length: int | None = wanted.length
        self._sources = sources
        self._wanted = wanted
        self._code = sources.about.code
        self._streams = {stream.number: stream for stream in at_hand}
        self._chunks: Iterator[Piece] | None = None

    def part(self, wanted: ByteRange) -> FragmentBody:
        """Another range of the same object."""
        return FragmentBody(self._sources, wanted)

    def __iter__(self) -> Iterator[Piece]:
        first, last, size = self._wanted.first, self._wanted.last, self._sources.about.size
        begin, end = first // self._code.segment_size, last // self._code.segment_size
        try:
            self._open(range(begin, end + 1))
            for segment in range(begin, end + 1):
                parts = self._parts(segment, self._pieces(range(segment, end + 1)))
                start = segment * self._code.segment_size
                yield from _within(parts, max(first - start, 0), min(last - start + 1, size - start))
        finally:
            self.close()

    def _open(self, segments: range) -> None:
        """Ask for the data fragments that are needed, if what is at hand is not enough."""
        spans = self._spans(segments)
        if spans.keys() <= self._streams.keys() or len(self._streams) >= self._code.data:
            return
        self._add(self._sources.open({number: span for number, span in spans.items() if number not in self._streams}))

    def _add(self, streams: Iterator[FragmentStream]) -> bool:
        before = len(self._streams)
        self._streams.update((stream.number, stream) for stream in streams)
        return len(self._streams) > before

    def _spans(self, segments: range) -> dict[int, range]:
        """For each data fragment that is needed, the segments in which it is."""
        spans: dict[int, range] = {}
        needed = {each: self._needed(each) for each in (*segments[:2], *segments[-2:])}
        for number in range(self._code.data):
            where = [each for each in sorted(needed) if number in needed[each]]
            if where:
                spans[number] = range(where[0], where[-1] + 1)
        return spans

    def _needed(self, segment: int) -> Sequence[int]:
        return self._code.data_indexes(segment, self._wanted.first, self._wanted.last, self._sources.about.size)

    def _pieces(self, segments: range) -> dict[int, Piece]:
        """Checked pieces that give what is wanted of the first of the segments that are left. Raises BodyBrokenOff."""
        needed, pieces, data = set(self._needed(segments.start)), dict[int, Piece](), self._code.data
        while True:
            waiting = self._collect(segments.start, pieces)
            if needed <= pieces.keys() or len(pieces) >= data:
                break
            usable = pieces.keys() | waiting.keys()
            if not needed <= usable and len(usable) < data:
                if not self._add(self._sources.open_others(data - len(usable), segments, usable)):
                    raise BodyBrokenOff(segments.start * self._code.segment_size)
                continue
            came = [stream.came for stream in waiting.values()]
            concurrency.wait_any_readable((), came, self._sources.patience_seconds)
            if not any(event.is_set for event in came):  # another one is read beside those that stall
                extra = max(data - len(usable), 0) + 1
                self._add(self._sources.open_others(extra, segments, usable))
        for stream in waiting.values():  # others were faster
            self._lose(stream)
        return pieces

    def _collect(self, segment: int, pieces: dict[int, Piece]) -> dict[int, FragmentStream]:
        """Add the pieces of a segment that have come; which streams are waited for."""
        waiting: dict[int, FragmentStream] = {}
        for number, stream in list(self._streams.items()):
            if stream.segment != segment:
                continue
            stream.want()
            if not stream.came.is_set:
                waiting[number] = stream
                continue
            try:
                piece = stream.take()
                self._code.check(piece, number, segment)
            except (NodeFailure, PieceDamaged) as error:
                self._lose(stream, damaged=isinstance(error, PieceDamaged))
                continue
            pieces[number] = piece
            if stream.segment > stream.last:
                self._streams.pop(number).close()
        return waiting

    def _lose(self, stream: FragmentStream, *, damaged: bool = False) -> None:
        self._streams.pop(stream.number).close()
        self._sources.lose(stream, damaged=damaged)

    def _parts(self, segment: int, pieces: dict[int, Piece]) -> list[tuple[int, Piece]]:
        """Parts of a segment, with where in it they begin. Raises BodyBrokenOff."""
        code, needed = self._code, self._needed(segment)
        length = code.segment_length(segment, self._sources.about.size)
        if set(needed) <= pieces.keys():
            payload = code.payload_length(length)
            return [(number * payload, code.payload(pieces[number], number, length)) for number in needed]
        try:
            parts = code.decode(dict(list(pieces.items())[: code.data]), length)
        except BadCode as error:
            raise BodyBrokenOff(segment * code.segment_size) from error
        starts = [sum(map(len, parts[:number])) for number in range(len(parts))]
        return list(zip(starts, parts, strict=True))

    def _advance(self) -> bool:
        if self._ready:
            return True
        if self._chunks is None:
            self._chunks = iter(self)
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._ready = memoryview(chunk)
        return True

    def close(self) -> None:
        """Let go of the devices."""
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.close()


def _within(parts: Sequence[tuple[int, Piece]], start: int, stop: int) -> Iterator[Piece]:
    """What of the parts of a segment lies between two places in it."""
    for begin, part in parts:
        low, high = max(start - begin, 0), min(stop - begin, len(part))
        if low < high:
            yield memoryview(part)[low:high]
