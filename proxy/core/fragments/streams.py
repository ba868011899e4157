"""Fragments on their way from devices: opened, read ahead piece by piece, given up when they are slow or damaged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from objstore.devices import Device
from objstore.erasure import Piece
from objstore.http.bodies import BytesBody
from objstore.http.ranges import ByteRange
from objstore.http.transport import BackendRequest, BackendResponse, Exchange, NodeFailure, wait_any
from objstore.proxy.core.backend import codes
from objstore.proxy.core.backend.fragments import VERIFY, FragmentedObject, asking_fragment, fragmented, verify_headers
from objstore.proxy.core.backend.objects import given_range
from objstore.proxy.core.nodes import Placement
from objstore.proxy.core.reading import Reader
from objstore.system import concurrency
from objstore.system.concurrency import Event, happened

# So much all bodies of a process have read before it was asked for; beyond this they read what is asked for only.
READ_AHEAD_BYTES_MAX: Final = 64 * 1024 * 1024
# So many reports of damage are under way; others are left to the auditor.
REPORTS_MAX: Final = 16


class ReadLimit:
    """How much of something all reads of a process may have at once."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def take(self, amount: int) -> bool:
        """Whether so much more may be had; it is taken then."""
        if amount > self._left:
            return False
        self._left -= amount
        return True

    def give(self, amount: int) -> None:
        """Give it back."""
        self._left += amount


class FragmentStream:
    """The pieces of one fragment, one for each of some segments; the next one is read before it is asked for.

    `segment` is the one whose piece comes next, `came` happens when it is there, or does not come.
    """

    def __init__(
        self, node: Device, number: int, response: BackendResponse, segments: range, about: FragmentedObject,
        ahead: ReadLimit,
    ) -> None:  # fmt: skip
        self.node: Final = node
        self.number: Final = number
        self.segment = segments.start
        self.last: Final = segments[-1]
        self._about: Final = about
        self._ahead: Final = ahead
        self._response: Final = response
        self._next: Piece | NodeFailure | None = None
        self._asked: Event[None] = Event()
        self._taken: Event[None] = Event()
        self.came: Event[None] = Event()
        self._task: concurrency.Task[None] | None = None
        if isinstance(response.body, BytesBody):
            self.came = happened()
        else:
            self._task = concurrency.spawn(self._read_all, segments)

    def want(self) -> None:
        """Ask for the next piece."""
        self._asked.set()

    def take(self) -> Piece:
        """The next piece, once it has come. Raises NodeFailure."""
        if self._task is None:
            piece: Piece | NodeFailure | None = self._read(self.segment)
        else:
            piece, self._next = self._next, None
            self.came, self._asked = Event(), Event()
            self._taken.set()
        self.segment += 1
        if isinstance(piece, NodeFailure):
            raise piece
        assert piece is not None
        return piece

    def _read_all(self, segments: range) -> None:
        try:
            for segment in segments:
                held = self._length(segment)
                if not self._ahead.take(held):
                    held = 0
                    self._asked.wait()
                try:
                    self._next = self._read(segment)
                    self.came.set()
                    self._taken.wait()
                finally:
                    self._ahead.give(held)
                self._taken = Event()
        except NodeFailure as failure:
            self._next = failure
            self.came.set()
        finally:
            self._response.close()

    def _length(self, segment: int) -> int:
        return self._about.code.piece_length(self._about.code.segment_length(segment, self._about.size))

    def _read(self, segment: int) -> Piece:
        piece = memoryview(bytearray(self._length(segment)))
        if self._response.body.readinto(piece) < len(piece):
            raise NodeFailure(self.node, "the fragment ended early")
        return piece

    def close(self) -> None:
        """Let go of the device."""
        if self._task is None:
            self._response.close()
        else:
            self._task.kill()


class FragmentSources:
    """The devices that may have fragments of one object."""

    def __init__(
        self,
        reader: Reader,
        placement: Placement,
        headers: Mapping[str, str],
        about: FragmentedObject,
        sources: Sequence[tuple[Device, int]],
        ahead: ReadLimit,
        reports: ReadLimit,
    ) -> None:
        """`headers` are those of the read; `sources` says who should have which fragment, the surest first."""
        self._reader: Final = reader
        self._placement: Final = placement
        self._headers: Final = headers
        self.about: Final = about
        self._sources: Final = list(dict.fromkeys(sources))
        self._ahead: Final = ahead
        self._reports: Final = reports

    @property
    def patience_seconds(self) -> float:
        """So long a device may say nothing before another one is asked, too."""
        return self._reader.patience_seconds

    def lose(self, stream: FragmentStream, *, damaged: bool) -> None:
        """Do not ask this device for this fragment again; if it is damaged, tell its server."""
        if (stream.node, stream.number) in self._sources:
            self._sources.remove((stream.node, stream.number))
        if damaged:
            self._report(stream)
        else:
            self._reader.nodes.record_failure(stream.node)

    def open(self, spans: Mapping[int, range]) -> Iterator[FragmentStream]:
        """Of each fragment in `spans` the pieces of some segments, as far as they can be had soon."""
        return iter(self._open(spans, len(spans), is_patient=False).values())

    def open_others(self, count: int, segments: range, held: set[int]) -> Iterator[FragmentStream]:
        """Of so many other fragments than those held the pieces of some segments, as far as they can be had."""
        numbers = dict.fromkeys(number for _, number in self._sources if number not in held)
        return iter(self._open(dict.fromkeys(sorted(numbers), segments), count, is_patient=True).values())

    def _open(self, spans: Mapping[int, range], needed: int, *, is_patient: bool) -> dict[int, FragmentStream]:
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
                elif not ready and (left <= 0 or not is_patient):
                    break
            return streams
        finally:
            for exchange in pending:
                exchange.abandon()
                self._reader.nodes.record_failure(exchange.node)

    def _ask(
        self,
        source: tuple[Device, int],
        spans: Mapping[int, range],
        streams: Mapping[int, FragmentStream],
        pending: dict[Exchange, int],
    ) -> None:
        node, number = source
        if number in streams:
            return
        placement, reader = self._placement, self._reader
        headers = asking_fragment(self._headers, self.about.timestamp, number, self._bytes_of(spans[number]))
        request = BackendRequest("GET", node, placement.partition, placement.path, headers)
        try:
            pending[reader.transport.start(request, b"", reader.timeout_seconds)] = number
        except NodeFailure:
            reader.nodes.record_failure(node)

    def _take(
        self, exchange: Exchange, number: int, spans: Mapping[int, range], streams: dict[int, FragmentStream]
    ) -> None:
        response = self._reader.answer_of(exchange)
        if response is None:
            return
        segments = spans[number]
        fits = fragmented(response) == self.about and given_range(response) == self._bytes_of(segments)
        if response.status != codes.PARTIAL or not fits or number in streams:
            response.close()
            return
        streams[number] = FragmentStream(exchange.node, number, response, segments, self.about, self._ahead)

    def _bytes_of(self, segments: range) -> ByteRange:
        code, size = self.about.code, self.about.size
        return ByteRange(code.offset(segments.start, size), code.offset(segments.stop, size) - 1)

    def _report(self, stream: FragmentStream) -> None:
        """Have a server look at a fragment of which a piece is damaged, without waiting for it."""
        if not self._reports.take(1):
            return
        placement, reader = self._placement, self._reader
        sent = verify_headers(self._headers, self.about.timestamp, stream.number)
        request = BackendRequest(VERIFY, stream.node, placement.partition, placement.path, sent)

        def report() -> None:
            try:
                reader.transport.request(request, b"", reader.timeout_seconds).close()
            finally:
                self._reports.give(1)

        concurrency.spawn(report)
