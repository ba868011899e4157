"""The event notifier: what it delivers, in which order, and what it keeps."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from objstore.config.cluster import WebhookConfig
from objstore.config.container import NotifierConfig
from objstore.container.notifier import INTENT_SECONDS, SETTLE_SECONDS, TURN_SECONDS, WebhookDelivery
from objstore.direct import NodeResponse, NodeResponses, Page
from objstore.headers import Backend
from objstore.outbox import OutboxEntry, entry_name, entry_row
from objstore.paths import ResourcePath
from objstore.rows import ObjectRow, decode_object_rows, merge_object_rows
from objstore.system.threads import CallTimeout
from objstore.timestamps import Timestamp
from tests.doubles import ManualClock

NOW = 1_700_000_000.0


class Bench:
    """An outbox in memory, servers of objects that answer `replies`, and a webhook that refuses `refused`."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.rows: dict[str, ObjectRow] = {}
        self.replies: list[tuple[int, dict[str, str]]] = [(404, {})] * 3
        self.refused: set[str] = set()
        self.posted: list[str] = []
        self.counts: dict[str, int] = {}
        self.turn = 0
        self.hangs = False
        self.number = 0
        log = SimpleNamespace(warning=self._log, error=self._log, exception=self._log)
        threads = SimpleNamespace(call_within=self._call)
        context: Any = SimpleNamespace(
            rings=SimpleNamespace(container=None, object=lambda _index: None),
            is_mine=lambda node: node == self.turn,
            runtime=SimpleNamespace(clock=self.clock, log=log, threads=SimpleNamespace(of=lambda _name: threads)),
        )
        direct: Any = SimpleNamespace(
            primaries=lambda *_: (0, (0, 1, 2)), page=self._page, update=self._update, send=self._send
        )
        report: Any = SimpleNamespace(count=self._count)
        webhook = WebhookConfig("hook", "http://h")
        self.delivery = WebhookDelivery(webhook, NotifierConfig(), context, direct, report, lambda *_: self)

    def _log(self, *_arguments: Any, **_fields: Any) -> None: ...

    def _count(self, outcome: str) -> None:
        self.counts[outcome] = self.counts.get(outcome, 0) + 1

    def _call(self, _seconds: float, function: Any, content: bytes) -> str:
        if self.hangs:
            raise CallTimeout
        return str(function(content))

    def post(self, content: bytes) -> str:
        name = msgspec.json.decode(content)["name"]
        self.posted.append(name)
        return "status 503" if name in self.refused else ""

    def close(self) -> None: ...

    def _page(self, _ring: None, _path: ResourcePath, marker: str) -> Page | None:
        live = sorted((row for row in self.rows.values() if not row.deleted), key=lambda row: row.name)
        listed = [
            {
                "name": row.name,
                "content_type": row.content_type,
                "last_modified": Timestamp.parse(row.timestamp).isoformat,
            }
            for row in live
            if row.name > marker
        ]
        return Page(0, listed[:2])

    def _update(self, _ring: None, _path: ResourcePath, body: bytes) -> None:
        for row in decode_object_rows(body):
            self.put(row)

    def _send(self, *_arguments: Any) -> NodeResponses:
        node: Any = None
        return NodeResponses(tuple(NodeResponse(node, status, headers) for status, headers in self.replies))

    def put(self, row: ObjectRow) -> None:
        known = self.rows.get(row.name)
        self.rows[row.name] = row if known is None else merge_object_rows(known, row)

    def add(self, name: str, age: float = 0.0, *, is_settled: bool = True, shows: bool = True) -> ObjectRow:
        self.number += 1
        begun = Timestamp.from_seconds(NOW - age + self.number / 1000)
        entry = OutboxEntry({"name": name}, "/a/c/o", 0, is_settled=is_settled, shows=shows)
        row = entry_row(entry_name(begun, 0), begun, entry)
        self.put(row)
        return row

    @property
    def waiting(self) -> int:
        return sum(not row.deleted for row in self.rows.values())


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_events_are_delivered_in_order_and_leave(bench: Bench) -> None:
    for name in "abcde":
        bench.add(name)
    bench.clock.seconds += 1
    assert bench.delivery.run() is False
    assert (bench.posted, bench.waiting, bench.counts) == (list("abcde"), 0, {"delivered": 5})


def test_one_that_is_refused_stays_and_holds_no_others_up(bench: Bench) -> None:
    for name in "abc":
        bench.add(name)
    bench.refused = {"b"}
    bench.clock.seconds += 1
    bench.delivery.run()
    assert (bench.posted, bench.waiting) == (["a", "b"], 2)
    bench.delivery.run()
    assert bench.posted == ["a", "b"]  # it is left alone for a while
    bench.clock.seconds += 1
    bench.delivery.run()
    assert bench.posted == ["a", "b", "c"]
    bench.refused = set()
    bench.delivery.run()
    assert (bench.posted, bench.waiting) == (["a", "b", "c", "b"], 0)


def test_pauses_grow(bench: Bench) -> None:
    bench.add("a")
    bench.refused, tries = {"a"}, []
    for _ in range(1000):
        bench.clock.seconds += 1
        before = len(bench.posted)
        bench.delivery.run()
        if len(bench.posted) > before:
            tries.append(bench.clock.seconds)
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert gaps[0] <= 3 < gaps[3]
    assert gaps == sorted(gaps)
    assert max(gaps) <= NotifierConfig().longest_pause + 2


def test_one_that_is_never_taken_is_given_up(bench: Bench) -> None:
    bench.add("a", age=NotifierConfig().give_up + 1)
    bench.refused = {"a"}
    bench.clock.seconds += 1
    bench.delivery.run()
    assert (bench.waiting, bench.counts) == (0, {"refused": 1, "given_up": 1})


def test_a_webhook_that_hangs_counts_as_one_that_refuses(bench: Bench) -> None:
    bench.add("a")
    bench.hangs = True
    bench.clock.seconds += 1
    bench.delivery.run()
    assert (bench.waiting, bench.counts) == (1, {"refused": 1})


def test_the_next_server_waits_for_its_turn(bench: Bench) -> None:
    bench.add("a")
    bench.turn = 1
    bench.clock.seconds += TURN_SECONDS - 1
    bench.delivery.run()
    assert bench.posted == []
    bench.clock.seconds += 2
    bench.delivery.run()
    assert bench.posted == ["a"]
    bench.turn = 9
    bench.add("b", age=10 * TURN_SECONDS)
    bench.delivery.run()
    assert bench.posted == ["a"]


def written(seconds: float) -> tuple[int, dict[str, str]]:
    return 200, {Backend.TIMESTAMP: Timestamp.from_seconds(seconds).internal}


@pytest.mark.parametrize(
    ("replies", "age", "posted", "waiting"),
    [
        # Written, or deleted, since: by any of its servers.
        ([(404, {}), written(NOW + 1), (404, {})], SETTLE_SECONDS + 1, ["a"], 0),
        ([(404, {Backend.TIMESTAMP: Timestamp.from_seconds(NOW).internal})] * 3, SETTLE_SECONDS + 1, ["a"], 0),
        # Not yet, or not known.
        ([written(NOW + 1)] * 3, SETTLE_SECONDS - 1, [], 1),
        ([written(NOW - 9 * INTENT_SECONDS)] * 3, SETTLE_SECONDS + 1, [], 1),
        ([(404, {}), (503, {}), (404, {})], SETTLE_SECONDS + 1, [], 1),
        # Never.
        ([written(NOW - 9 * INTENT_SECONDS)] * 3, INTENT_SECONDS + 1, [], 0),
        # Nobody can tell any more, so it is delivered.
        ([(404, {}), (503, {}), (404, {})], INTENT_SECONDS + 1, ["a"], 0),
    ],
)
def test_intents(
    bench: Bench, replies: list[tuple[int, dict[str, str]]], age: float, posted: list[str], waiting: int
) -> None:
    bench.add("a", age, is_settled=False)
    bench.replies = replies
    bench.delivery.run()
    assert (bench.posted, bench.waiting) == (posted, waiting)


def test_an_intent_that_the_object_cannot_show_is_delivered(bench: Bench) -> None:
    bench.add("a", SETTLE_SECONDS + 1, is_settled=False, shows=False)
    bench.delivery.run()
    assert bench.posted == ["a"]


def test_rows_that_cannot_be_read_are_dropped(bench: Bench) -> None:
    bench.put(ObjectRow("x", Timestamp.from_seconds(NOW).internal, 0, "text/plain", "e"))
    bench.add("a")
    bench.clock.seconds += 1
    bench.delivery.run()
    assert (bench.posted, bench.waiting, bench.counts) == (["a"], 0, {"unreadable": 1, "delivered": 1})
