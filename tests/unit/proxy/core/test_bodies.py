"""Large bodies: nodes that break off in the middle, and several ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from objstore.http.messages import Response
from objstore.http.ranges import ranges_of
from objstore.http.transport import BackendRequest
from objstore.proxy.core.errors import BodyBrokenOff
from tests.unit.proxy.store import Reply, ScriptedStore

PATH = "/v1/AUTH_a/c/o"
CONTENT = bytes(range(256)) * 400
SIZE = len(CONTENT)


class Holders:
    """Nodes that hold CONTENT and serve single ranges of it; `breaks` tells where each node fails, once."""

    def __init__(self, breaks: Mapping[str, int] | None = None) -> None:
        self.store = ScriptedStore()
        self.breaks = dict(breaks or {})
        self.etags: dict[str, str] = {}
        self.lookup = self.store.transport.script
        self.store.transport.script = self.script

    def script(self, request: BackendRequest) -> Reply:
        if not request.path.is_object:
            return self.lookup(request)
        headers = {
            "Etag": self.etags.get(request.node.device, "etag"),
            "X-Timestamp": "1600000009.00000",
            "X-Backend-Timestamp": "1600000009.00000",
            "X-Backend-Data-Timestamp": "1600000000.00000",
            "Content-Type": "text/x",
            "Last-Modified": "Sun, 13 Sep 2020 12:26:49 GMT",
        }
        ranges = ranges_of(request.headers.get("Range"), SIZE)
        content, status = CONTENT, 200
        if ranges:
            (each,) = ranges
            content, status = CONTENT[each.first : each.last + 1], 206
            headers["Content-Range"] = each.content_range(SIZE)
        breaks_at = self.breaks.pop(request.node.device, None)
        return Reply(status, headers, content, streamed=True, breaks_at=breaks_at)

    def get(self, **headers: str) -> Response:
        return self.store.send("GET", PATH, {name.replace("_", "-"): value for name, value in headers.items()})


def chunks_of(answer: Response) -> bytes:
    return answer.read_all()


@pytest.mark.parametrize("break_at", [0, 10, 65_530, SIZE - 10])
def test_another_replica_goes_on(break_at: int) -> None:
    holders = Holders({"o0": break_at, "o1": break_at, "o2": 20})
    answer = holders.get()
    assert (answer.status, chunks_of(answer)) == (200, CONTENT)


def test_a_range_goes_on_where_it_broke_off() -> None:
    holders = Holders({"o0": 500, "o1": 500, "o2": 500})
    answer = holders.get(Range="bytes=1000-90999", If_Match="etag")
    assert (answer.status, chunks_of(answer)) == (206, CONTENT[1000:91000])
    assert answer.headers["Content-Range"] == f"bytes 1000-90999/{SIZE}"
    later = [call for call in holders.store.calls()[1:] if call.request.method == "GET"]
    assert [call.headers["Range"] for call in later] == ["bytes=1500-90999", "bytes=2000-90999", "bytes=2500-90999"][
        : len(later)
    ]
    assert all("If-Match" not in call.headers for call in later)


@pytest.mark.parametrize("now", [404, 200])
def test_what_a_node_has_set_aside_is_not_completed_by_another(now: int) -> None:
    """It found the body damaged after it had sent some of it: another one's end would make it look whole."""
    holders = Holders({f"o{number}": SIZE - 10 for number in range(3)})
    answer = holders.get()
    script = holders.script

    def damaged(request: BackendRequest) -> Reply:
        if request.method == "HEAD" and request.path.is_object:
            headers = {"Etag": "another"} if now == 200 else {}
            return Reply(now, headers)
        return script(request)

    holders.store.transport.script = damaged
    with pytest.raises(BodyBrokenOff):
        chunks_of(answer)


def test_a_node_that_has_crashed_is_not_doubted() -> None:
    holders = Holders({f"o{number}": SIZE - 10 for number in range(3)})
    answer = holders.get()
    script = holders.script
    holders.store.transport.script = lambda request: (
        Reply(refuses=True) if request.method == "HEAD" and request.path.is_object else script(request)
    )
    assert chunks_of(answer) == CONTENT


def test_other_data_does_not_go_on() -> None:
    holders = Holders({"o0": 100, "o1": 100, "o2": 100})
    answer = holders.get()
    holders.etags = {f"o{number}": "other" for number in range(6)}
    with pytest.raises(BodyBrokenOff):
        chunks_of(answer)


def test_it_does_not_go_on_for_ever() -> None:
    holders = Holders()
    asked = 0

    def breaking(request: BackendRequest) -> Reply:
        nonlocal asked
        asked += 1
        reply = holders.script(request)
        reply.breaks_at = 10
        return reply

    holders.store.transport.script = breaking
    with pytest.raises(BodyBrokenOff):
        chunks_of(holders.get())
    assert asked < 30  # each time it goes on, the one that broke off is asked what it still has


def test_a_body_closed_early_is_let_go() -> None:
    holders = Holders()
    answer = holders.get()
    iterator = iter(answer.body)  # type: ignore[arg-type]
    next(iterator)
    answer.close()
    assert len(holders.store.calls()) == 1


class Wire:
    """A client's connection that keeps what it is sent."""

    def __init__(self) -> None:
        self.sent = b""

    def send(self, content: Any, timeout_seconds: float) -> None:
        self.sent += bytes(content)


def test_a_body_sends_itself_and_goes_on_elsewhere() -> None:
    holders = Holders({"o0": 1000, "o1": 2000, "o2": 3000})
    answer = holders.get()
    wire = Wire()
    assert answer.body.send_to(wire) == SIZE  # type: ignore[union-attr]
    assert wire.sent == CONTENT


def parts_of(answer: Response) -> list[tuple[str, bytes]]:
    kind, _, boundary = answer.headers["Content-Type"].partition(";boundary=")
    assert kind == "multipart/byteranges"
    length = answer.body.length  # type: ignore[union-attr]
    body = chunks_of(answer)
    assert len(body) == length
    sections = body.split(b"--" + boundary.encode())
    assert sections[-1].strip() == b"--"
    found = []
    for section in sections[1:-1]:
        head, _, content = section.partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().strip().split("\r\n"))
        assert lines["Content-Type"] == "text/x"
        found.append((lines["Content-Range"], content.removesuffix(b"\r\n")))
    return found


def test_several_ranges_come_in_parts_and_survive_a_node() -> None:
    holders = Holders()
    answer = holders.get(Range="bytes=0-9,65530-65545,-7")
    assert answer.status == 206
    holders.breaks = {"o0": 5, "o1": 5, "o2": 5}
    assert parts_of(answer) == [
        (f"bytes 0-9/{SIZE}", CONTENT[:10]),
        (f"bytes 65530-65545/{SIZE}", CONTENT[65530:65546]),
        (f"bytes {SIZE - 7}-{SIZE - 1}/{SIZE}", CONTENT[-7:]),
    ]


def test_several_ranges_of_which_one_can_be_had() -> None:
    answer = Holders().get(Range="bytes=10-19,999999-")
    assert (answer.status, chunks_of(answer)) == (206, CONTENT[10:20])
    assert answer.headers["Content-Range"] == f"bytes 10-19/{SIZE}"


def test_abuse_is_refused_without_reading() -> None:
    holders = Holders()
    answer = holders.get(Range="bytes=" + ",".join(f"{n}-{n}" for n in range(0, 102, 2)))
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"
    assert [call.request.method for call in holders.store.calls()] == ["HEAD"]


def test_ranges_of_what_has_changed_since_get_the_whole() -> None:
    answer = Holders().get(Range="bytes=1-2,5-6", If_Range='"other"')
    assert (answer.status, chunks_of(answer)) == (200, CONTENT)
    assert Holders().get(Range="bytes=1-2,5-6", If_Range='"etag"').status == 206


def test_what_is_no_list_of_ranges_gets_the_whole() -> None:
    answer = Holders().get(Range="bytes=1-2,x")
    assert (answer.status, chunks_of(answer)) == (200, CONTENT)
