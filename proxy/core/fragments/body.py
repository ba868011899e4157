"""Bodies made of fragments: of each segment the pieces that are needed, each verified, from devices that can change.

While all data fragments can be had, only the payloads that lie in the range are read, and nothing is decoded. When one
is damaged, stalls or breaks off, the rest of the range is read from any fragments that are enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from objstore.devices import Device
from objstore.erasure import BadCode, Piece, PieceDamaged
from objstore.http.bodies import ByteStream
from objstore.http.ranges import ByteRange
from objstore.http.transport import BackendRequest, BackendResponse, Exchange, NodeFailure, wait_any
from objstore.proxy.core.backend import codes
from objstore.proxy.core.backend.fragments import FragmentedObject, asking_fragment, fragmented
from objstore.proxy.core.backend.objects import given_range
from objstore.proxy.core.errors import BodyBrokenOff
from objstore.proxy.core.nodes import Placement
from objstore.proxy.core.reading import Reader
from objstore.system import concurrency


class FragmentStream:
    """One fragment on its way from a device: its pieces, segment after segment."""

    def __init__(self, node: Device, number: int, response: BackendResponse) -> None:
        self.node: Final = node
        self.number: Final = number
        self._response: Final = response

    def read(self, length: int) -> bytes:
        """The next piece. Raises NodeFailure."""
        parts: list[bytes] = []
        while length:
            part = self._response.body.read(length)
            if not part:
                raise NodeFailure(self.node, "the fragment ended early")
            parts.append(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        self._response.close()


class FragmentSources:
    """The devices that may have fragments of one object."""

    def __init__(
        self,
        reader: Reader,
        placement: Placement,
        headers: Mapping[str, str],
        about: FragmentedObject,
        sources: Sequence[tuple[Device, int]],
    ) -> None:
        """`headers` are those of the read; `sources` says who should have which fragment, the surest first."""
        self._reader: Final = reader
        self._placement: Final = placement
        self._headers: Final = headers
        self.about: Final = about
        self._sources: Final = list(dict.fromkeys(sources))

    def lose(self, stream: FragmentStream) -> None:
        """Do not ask this device for this fragment again."""
        self._sources.remove((stream.node, stream.number))
        self._reader.nodes.record_failure(stream.node)

    def open(self, spans: Mapping[int, ByteRange]) -> dict[int, FragmentStream]:
        """Of each fragment in `spans` so much of its bytes, as far as they can be had."""
        return self._open(spans, len(spans))

    def open_any(self, span: ByteRange) -> dict[int, FragmentStream]:
        """So much of as many different fragments as give the body. Raises BodyBrokenOff if there are too few."""
        numbers = list(dict.fromkeys(number for _, number in self._sources))
        needed = self.about.code.data
        streams = self._open(dict.fromkeys(sorted(numbers), span), needed)
        if len(streams) < needed:
            for stream in streams.values():
                stream.close()
            raise BodyBrokenOff(0)
        return streams

    def _open(self, spans: Mapping[int, ByteRange], needed: int) -> dict[int, FragmentStream]:
        """Ask for the first `needed` fragments; for others, or on other devices, as some fail or are slow."""
        waiting = [(node, number) for number in spans for node, held in self._sources if held == number]
        first: dict[int, Device] = {}
        for node, number in waiting:
            first.setdefault(number, node)
        queue = [(node, number) for number, node in first.items()]
        queue += [each for each in waiting if first[each[1]] != each[0]]
        streams: dict[int, FragmentStream] = {}
        pending: dict[Exchange, int] = {}
        deadline = concurrency.monotonic() + self._reader.timeout_seconds
        try:
            while len(streams) < needed:
                while queue and len(streams) + len(pending) < needed:
                    self._ask(queue.pop(0), spans, streams, pending)
                if not pending:
                    break
                left = deadline - concurrency.monotonic()
                ready = wait_any(list(pending), min(left, self._reader.patience_seconds))
                for exchange in ready:
                    self._take(exchange, pending.pop(exchange), spans, streams)
                if not ready and queue:
                    self._ask(queue.pop(0), spans, streams, pending)
                elif not ready and left <= 0:
                    break
            return streams
        finally:
            for exchange in pending:
                exchange.abandon()

    def _ask(
        self,
        source: tuple[Device, int],
        spans: Mapping[int, ByteRange],
        streams: Mapping[int, FragmentStream],
        pending: dict[Exchange, int],
    ) -> None:
        node, number = source
        if number in streams:
            return
        placement, reader = self._placement, self._reader
        headers = asking_fragment(self._headers, self.about.timestamp, number, spans[number])
        request = BackendRequest("GET", node, placement.partition, placement.path, headers)
        try:
            pending[reader.transport.start(request, b"", reader.timeout_seconds)] = number
        except NodeFailure:
            reader.nodes.record_failure(node)

    def _take(
        self, exchange: Exchange, number: int, spans: Mapping[int, ByteRange], streams: dict[int, FragmentStream]
    ) -> None:
        response = self._reader.answer_of(exchange)
        if response is None:
            return
        fits = fragmented(response) == self.about and given_range(response) == spans[number]
        if response.status != codes.PARTIAL or not fits or number in streams:
            response.close()
            return
        streams[number] = FragmentStream(exchange.node, number, response)


class FragmentBody(ByteStream):
    """A range of an object. Raises BodyBrokenOff if too few fragments are left."""

    def __init__(self, sources: FragmentSources, wanted: ByteRange) -> None:
        super().__init__()
        self.length: int | None = wanted.length
        self._sources = sources
        self._wanted = wanted
        self._code = sources.about.code
        self._streams: dict[int, FragmentStream] = {}
        self._is_direct = False  # whether the streams are those of data fragments, each as far as it is needed
        self._chunks: Iterator[Piece] | None = None

    def part(self, wanted: ByteRange) -> FragmentBody:
        """Another range of the same object."""
        return FragmentBody(self._sources, wanted)

    def __iter__(self) -> Iterator[Piece]:
        first, last, size = self._wanted.first, self._wanted.last, self._sources.about.size
        segment, end = first // self._code.segment_size, last // self._code.segment_size
        is_broken = False
        while segment <= end:
            if not self._streams:
                self._open(segment, end, direct=not is_broken)
            try:
                parts = self._segment(segment)
            except _Lost as lost:
                is_broken = True
                self._sources.lose(lost.stream)
                self.close()
                continue
            begin = segment * self._code.segment_size
            yield from _within(parts, max(first - begin, 0), min(last - begin + 1, size - begin))
            segment += 1
        self.close()

    def _open(self, segment: int, end: int, direct: bool) -> None:
        """Open what is needed of the segments from here to the end. Raises BodyBrokenOff."""
        code, size = self._code, self._sources.about.size
        if direct:
            spans = self._spans(segment, end)
            self._streams = self._sources.open(spans)
            self._is_direct = True
            if len(self._streams) == len(spans):
                return
            self.close()
        self._is_direct = False
        span = ByteRange(code.offset(segment, size), code.offset(end + 1, size) - 1)
        try:
            self._streams = self._sources.open_any(span)
        except BodyBrokenOff:
            raise BodyBrokenOff(segment * code.segment_size) from None

    def _spans(self, segment: int, end: int) -> dict[int, ByteRange]:
        """Of each data fragment that is needed, the bytes of the segments in which it is."""
        code, size = self._code, self._sources.about.size
        spans: dict[int, ByteRange] = {}
        needed = {each: self._needed(each) for each in {segment, min(segment + 1, end), max(end - 1, segment), end}}
        for number in range(code.data):
            where = [each for each in sorted(needed) if number in needed[each]]
            if where:
                spans[number] = ByteRange(code.offset(where[0], size), code.offset(where[-1] + 1, size) - 1)
        return spans

    def _needed(self, segment: int) -> Sequence[int]:
        return self._code.data_indexes(segment, self._wanted.first, self._wanted.last, self._sources.about.size)

    def _segment(self, segment: int) -> list[tuple[int, Piece]]:
        """Parts of a segment, with where in it they begin. Raises _Lost."""
        code = self._code
        length = code.segment_length(segment, self._sources.about.size)
        piece_length, pieces = code.piece_length(length), dict[int, Piece]()
        for number in self._needed(segment) if self._is_direct else list(self._streams):
            stream = self._streams[number]
            try:
                piece = stream.read(piece_length)
                code.check(piece, number, segment)
            except (NodeFailure, PieceDamaged) as error:
                raise _Lost(stream) from error
            pieces[number] = piece
        if self._is_direct:
            payload = code.payload_length(length)
            return [(number * payload, code.payload(piece, number, length)) for number, piece in pieces.items()]
        try:
            parts = code.decode(pieces, length)
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


class _Lost(Exception):
    """A fragment cannot be read on, from this device."""

    def __init__(self, stream: FragmentStream) -> None:
        super().__init__()
        self.stream = stream


def _within(parts: Sequence[tuple[int, Piece]], start: int, stop: int) -> Iterator[Piece]:
    """What of the parts of a segment lies between two places in it."""
    for begin, part in parts:
        low, high = max(start - begin, 0), min(stop - begin, len(part))
        if low < high:
            yield memoryview(part)[low:high]
