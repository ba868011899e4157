"""What containers are told, and what is kept when they cannot be."""

import re

import pytest

from objstore.devices import Device
from objstore.http.transport import BackendRequest, BackendResponse, Exchange
from objstore.logs import Logger, Sink
from objstore.object.container_updates.batcher import UpdateBatcher, destinations
from objstore.object.container_updates.pending import load
from objstore.paths import ResourcePath
from objstore.rows import ObjectRow
from objstore.system import concurrency
from objstore.system.concurrency import Event
from tests.doubles import RecordedExchange, RecordingTransport
from tests.unit.object.harness import EXPIRES, PATH, QUEUE, ServedFolder, at, wire


def test_a_put_tells_its_container(store: ServedFolder) -> None:
    etag = store.put(1, b"body").headers["Etag"]
    request, _ = store.transport.requests[0]
    assert (request.method, request.node.address, request.node.device) == ("UPDATE", "10.0.0.1:6201", "sdb")
    assert (request.partition, request.path) == (3, ResourcePath("a", "c"))
    assert store.transport.rows == [ObjectRow("o", at(1), 4, "text/plain", etag)]


def test_every_server_named_is_told(store: ServedFolder) -> None:
    lists = {"x_container_host": "10.0.0.1:6201,[::1]:6201", "x_container_device": "sdb,sdc"}
    store.put(1, **lists)
    assert [request.node.address for request, _ in store.transport.requests] == ["10.0.0.1:6201", "[::1]:6201"]


def test_without_names_nobody_is(store: ServedFolder) -> None:
    store.put(1, x_container_host="")
    assert store.transport.requests == []
    assert [name for name in store.files() if "async" in name] == []


def test_rows_may_go_to_another_container(store: ServedFolder) -> None:
    store.put(1, x_backend_container_path=".shards_a/c-1")
    assert store.transport.requests[0][0].path == ResourcePath(".shards_a", "c-1")


def test_the_listing_may_differ_from_the_object(store: ServedFolder) -> None:
    prefix = "x_object_sysmeta_container_update_override_"
    store.put(1, **{prefix + "etag": "e", prefix + "size": "99", prefix + "content_type": wire("text/ü")})
    row = store.transport.rows[0]
    assert (row.etag, row.size, row.content_type) == ("e", 99, "text/ü")


def test_the_row_of_a_manifest_tells_of_which_upload_it_is(store: ServedFolder) -> None:
    store.put(1, x_object_sysmeta_upload="0" * 32)
    assert store.transport.rows[0].upload == "0" * 32


def test_a_delete_takes_the_row_away(store: ServedFolder) -> None:
    store.put(1)
    store.delete(2)
    row = store.transport.rows[-1]
    assert (row.name, row.timestamp, row.deleted, row.size) == ("o", at(2), True, 0)


@pytest.mark.parametrize("status", [None, 404, 503])
@pytest.mark.parametrize("verb", ["put", "post", "delete"])
def test_what_is_not_taken_is_put_on_record(store: ServedFolder, status: int | None, verb: str) -> None:
    store.put(1)
    store.transport.status = status
    answer = getattr(store, verb)(2)
    assert answer.status // 100 == 2
    (name,) = [name for name in store.files() if name.startswith("async_pending/")]
    digest = store.directory().name
    assert re.fullmatch(rf"async_pending/{digest[-3:]}/{digest}-{at(2)}-[0-9a-f]{{16}}", name)
    update = load(str(store.root / "sda" / name))
    assert update.container_path == ResourcePath("a", "c")
    assert update.row == store.transport.rows[-1]


def test_an_object_that_expires_is_queued(store: ServedFolder) -> None:
    store.put(1, **QUEUE)
    request, _ = store.transport.requests[1]
    assert (request.node.device, request.partition) == ("sdq", 11)
    assert request.path == ResourcePath(".expiring_objects", "1699920000")
    assert store.transport.rows[1].name == f"{EXPIRES}-a/c/o"


def test_a_late_post_queues_nothing_of_the_one_that_has_overtaken_it(store: ServedFolder) -> None:
    store.put(1)
    store.post(3, x_delete_at=str(EXPIRES + 100_000))
    told = len(store.transport.rows)
    assert store.post(2, content_type="text/html", **QUEUE).status == 202
    (row,) = store.transport.rows[told:]
    assert (row.name, row.content_type) == ("o", "text/html")


def test_a_queue_row_that_is_not_taken_has_a_record_of_its_own(store: ServedFolder) -> None:
    store.put(1)
    store.transport.status = None
    store.post(2, **QUEUE)
    updates = [load(str(store.root / "sda" / name)) for name in store.files() if name.startswith("async_pending/")]
    assert sorted(update.account for update in updates) == [".expiring_objects", "a"]


def test_rows_for_one_container_travel_together(store: ServedFolder) -> None:
    tasks = [concurrency.spawn(store.put, 1, b"body", f"{PATH}{number}") for number in range(20)]
    assert {task.wait().status for task in tasks} == {201}
    assert sorted(row.name for row in store.transport.rows) == sorted(f"o{number}" for number in range(20))
    assert len(store.transport.requests) < 20


class HungTransport(RecordingTransport):
    """Its servers are unresponsive, and do not answer either."""

    def is_unresponsive(self, node: Device) -> bool:
        return True

    def start(self, request: BackendRequest, body: bytes = b"", timeout_seconds: float = 1.0) -> Exchange:
        super().start(request, body, timeout_seconds)
        return HungExchange(request.node)


class HungExchange(RecordedExchange):
    """An answer that never comes."""

    def __init__(self, node: Device) -> None:
        super().__init__(node, 0)

    def response(self) -> BackendResponse:
        Event[None]().wait(60.0)
        raise AssertionError("nobody waits so long")


def test_no_row_waits_for_a_server_that_hangs() -> None:
    transport = HungTransport()
    batcher = UpdateBatcher(transport, Logger("object", Sink(write=lambda line: None)), 1.0)
    targets = destinations("10.0.0.1:6201", "sdb", "3", ResourcePath("a", "c"))
    sent = [batcher.start(targets, ObjectRow(f"o{number}", at(1), 0, "", "")) for number in range(5)]
    concurrency.sleep(0)
    assert [each._events[0].is_set for each in sent] == [True] * 5
    assert [each.all_acknowledged() for each in sent] == [False] * 5
    assert [row.name for row in transport.rows] == ["o0"]  # the probe
