"""Bodies made of fragments: what devices are asked for, and what becomes of those that stall or break off."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from objstore.devices import Device
from objstore.erasure import checked_code
from objstore.headers import Backend
from objstore.http.bodies import IterableBody
from objstore.http.ranges import ByteRange, ranges_of
from objstore.http.transport import BackendRequest, BackendResponse, BackendUpload, Exchange, NodeFailure, Transport
from objstore.paths import ResourcePath
from objstore.proxy.core.backend.fragments import FragmentedObject
from objstore.proxy.core.errors import BodyBrokenOff
from objstore.proxy.core.fragments.body import FragmentBody
from objstore.proxy.core.fragments.streams import FragmentSources, FragmentStream, ReadLimit
from objstore.proxy.core.nodes import NodeSelector
from objstore.proxy.core.reading import Reader
from objstore.system import concurrency
from objstore.system.concurrency import Event, happened
from tests.doubles import ManualClock

MIB = 1024 * 1024
CODE = checked_code("isa_l_rs_cauchy", 2, 2, MIB // 2)
BODY = Random(1).randbytes(2 * MIB + 100_001)
ABOUT = FragmentedObject(CODE, len(BODY), "1.00000", "etag")
PIECE = CODE.piece_length(CODE.segment_size)
NODES = [Device(number, 1, 1, "127.0.0.1", number, "127.0.0.1", number, f"d{number}", 1.0) for number in range(4)]
PATH = ResourcePath("a", "c", "o")


class Answered(Exchange):
    """An answer that is there."""

    ready = True

    def __init__(self, node: Device, response: BackendResponse) -> None:
        self.node, self._response = node, response

    def response(self) -> BackendResponse:
        return self._response

    def abandon(self) -> None:
        self._response.close()

    def watched(self) -> int | Event[None]:
        return happened()


class Devices(Transport):
    """Four devices with a fragment each; `trouble` says what happens to which at which byte of it."""

    def __init__(self, body: bytes = BODY) -> None:
        encoded = [CODE.encode(body[at : at + CODE.segment_size]) for at in range(0, len(body), CODE.segment_size)]
        self.fragments = [bytearray(b"".join(pieces[number] for pieces in encoded)) for number in range(CODE.fragments)]
        self.about = FragmentedObject(CODE, len(body), "1.00000", "etag")
        self.stalls: dict[int, int] = {}
        self.breaks: dict[int, int] = {}
        self.asked: list[tuple[str, int, ByteRange | None]] = []
        self.unstalled: Event[None] = Event()
        self.selector = NodeSelector(ManualClock(running=True), Random(1), 60.0, 10)

    def body(self, wanted: ByteRange, ahead: int = 64 * MIB, at_hand: tuple[int, ...] = ()) -> FragmentBody:
        placement: Any = type("Place", (), {"partition": 1, "path": PATH})()
        sources = FragmentSources(
            Reader(self, self.selector, 0.05), placement, {}, self.about, list(zip(NODES, range(4), strict=True)),
            ReadLimit(ahead), ReadLimit(16),
        )  # fmt: skip
        held = [
            FragmentStream(NODES[number], number, self._answer(number, None), range(1), self.about, ReadLimit(ahead))
            for number in at_hand
        ]
        return FragmentBody(sources, wanted, held)

    def start(self, request: BackendRequest, body: bytes = b"", timeout_seconds: float = 1.0) -> Exchange:
        number = int(request.headers[Backend.FRAGMENT].partition("#")[2])
        ranges = ranges_of(request.headers.get("Range", ""), len(self.fragments[number])) or [None]
        self.asked.append((request.method, number, ranges[0]))
        return Answered(request.node, self._answer(number, ranges[0]))

    def _answer(self, number: int, part: ByteRange | None) -> BackendResponse:
        content = self.fragments[number]
        headers = {
            Backend.FRAGMENT: str(CODE),
            Backend.WHOLE_SIZE: str(self.about.size),
            Backend.DATA_TIMESTAMP: "1.00000",
            "Etag": "etag",
        }
        if part is None:
            part = ByteRange(0, len(content) - 1)
        headers["Content-Range"] = part.content_range(len(content))
        return BackendResponse(206, headers, IterableBody(self._sent(number, part), part.length))

    def _sent(self, number: int, part: ByteRange) -> Iterator[bytes]:
        for at in range(part.first, part.last + 1, 10_000):
            if at >= self.stalls.get(number, len(BODY)):
                self.unstalled.wait(5.0)
            if at >= self.breaks.get(number, len(BODY)):
                raise NodeFailure(NODES[number], "it broke off")
            yield bytes(self.fragments[number][at : min(at + 10_000, part.last + 1)])

    def start_upload(self, request: BackendRequest, length: int | None, timeout_seconds: float = 1.0) -> BackendUpload:
        raise NotImplementedError


def read(body: FragmentBody) -> bytes:
    return b"".join(map(bytes, body))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (ByteRange(0, len(BODY) - 1), {0: (0, 5), 1: (0, 5)}),
        (ByteRange(10, 20), {0: (0, 1)}),
        (ByteRange(MIB // 2 - 1, MIB // 2), {1: (0, 1), 0: (1, 2)}),
        (ByteRange(MIB + 300_000, 2 * MIB + 1), {1: (2, 4), 0: (3, 5)}),
    ],
)
def test_only_the_pieces_in_the_range_are_read(wanted: ByteRange, expected: dict[int, tuple[int, int]]) -> None:
    devices = Devices()
    assert read(devices.body(wanted)) == BODY[wanted.first : wanted.last + 1]
    spans = {number: ByteRange(PIECE * a, CODE.offset(b, len(BODY)) - 1) for number, (a, b) in expected.items()}
    assert {number: part for _, number, part in devices.asked} == spans
    assert len(devices.asked) == len(spans)


@pytest.mark.parametrize("at", [0, PIECE + 5, 3 * PIECE + 1])
def test_one_that_breaks_off_is_replaced_by_another(at: int) -> None:
    devices = Devices()
    devices.breaks[1] = at
    assert read(devices.body(ByteRange(0, len(BODY) - 1))) == BODY
    assert [number for _, number, _ in devices.asked] == [0, 1, 2]
    devices.breaks[2] = 0
    assert read(devices.body(ByteRange(0, len(BODY) - 1))) == BODY
    devices.breaks[3] = 0
    with pytest.raises(BodyBrokenOff):
        read(devices.body(ByteRange(0, len(BODY) - 1)))


@pytest.mark.parametrize("wanted", [ByteRange(0, len(BODY) - 1), ByteRange(MIB + 300_000, MIB + 300_001)])
def test_beside_one_that_stalls_another_is_read(wanted: ByteRange) -> None:
    devices = Devices()
    devices.stalls[1] = 2 * PIECE + 5
    assert read(devices.body(wanted)) == BODY[wanted.first : wanted.last + 1]
    extra = {0, 2} if wanted.length == 2 else {2}  # a byte of one fragment needs two others
    assert {number for _, number, _ in devices.asked[-len(extra) :]} == extra
    assert devices.selector.failures
    devices.unstalled.set()


def test_one_that_stalls_is_waited_for_if_there_is_no_other() -> None:
    devices = Devices()
    devices.stalls[1], devices.breaks[2], devices.breaks[3] = PIECE, 0, 0
    concurrency.call_later(0.15, devices.unstalled.set)
    assert read(devices.body(ByteRange(0, len(BODY) - 1))) == BODY


def test_damage_is_told_to_the_server() -> None:
    devices = Devices()
    devices.fragments[0][PIECE + 1000] ^= 1
    assert read(devices.body(ByteRange(MIB // 2, MIB + 399_999))) == BODY[MIB // 2 : MIB + 400_000]
    concurrency.sleep()
    assert [(method, number) for method, number, _ in devices.asked] == [
        ("GET", 0), ("GET", 1), ("GET", 2), ("VERIFY", 0)
    ]  # fmt: skip


def test_what_is_at_hand_is_not_asked_for() -> None:
    small = BODY[: MIB // 2 - 7]
    for at_hand, asked in (((0, 1), []), ((0, 3), []), ((2, 3), []), ((1,), [0]), ((3,), [0, 1])):
        devices = Devices(small)
        assert read(devices.body(ByteRange(0, len(small) - 1), at_hand=at_hand)) == small
        assert [number for _, number, _ in devices.asked] == asked
    devices = Devices(small)
    devices.fragments[1][5] ^= 1
    assert read(devices.body(ByteRange(0, len(small) - 1), at_hand=(0, 1))) == small


def test_without_room_nothing_is_read_ahead() -> None:
    for room, pieces in ((64 * MIB, 2), (0, 1)):
        devices = Devices()
        body = iter(devices.body(ByteRange(0, len(BODY) - 1), room))
        sent: list[int] = []
        devices._sent = _counted(devices, sent)  # type: ignore[method-assign]
        for _ in range(2):  # the payloads of the first segment
            next(body)
        concurrency.sleep()
        concurrency.sleep()
        assert sum(sent) <= 2 * (pieces * PIECE + 20_000)
        assert sum(sent) > 2 * (pieces * PIECE - 20_000)
        body.close()  # type: ignore[attr-defined]


def _counted(devices: Devices, sent: list[int]) -> Any:
    plain = devices._sent

    def counted(number: int, part: ByteRange) -> Iterator[bytes]:
        for chunk in plain(number, part):
            sent.append(len(chunk))
            yield chunk

    return counted
