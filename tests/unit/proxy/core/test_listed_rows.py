"""A strong write counts when a majority of its container's servers has its row."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from objstore.devices import Device
from objstore.http.bodies import BytesBody
from objstore.http.transport import BackendRequest, BackendResponse
from objstore.paths import ResourcePath
from objstore.proxy.core.backend.rows import StoredWrite, stored_write
from objstore.proxy.core.container_update_fallback import require_listed
from objstore.proxy.core.errors import QuorumNotReached
from objstore.proxy.core.nodes import Placement, voters_of
from objstore.proxy.core.quorum_request import Writer
from tests.unit.proxy.store import GRACE_SECONDS, NODE_SECONDS, FakeTransport, Reply, ScriptedStore, make_ring

PATH = ResourcePath("AUTH_a", "c", "o")
RING, OBJECTS = make_ring("c", 6201), make_ring("o", 6200)
CONTAINER = Placement(RING, 0, PATH.container_path, RING.primaries(0), 0)
PLACEMENT = Placement(OBJECTS, 0, PATH, OBJECTS.primaries(0), 2)
STAMP = "1600000001.00000_0000000000010000"
QUEUED = {"X-Backend-Update-Queued": "true"}


def sent(server: Device, **more: str) -> dict[str, str]:
    return {
        "X-Container-Host": server.address,
        "X-Container-Device": server.device,
        "X-Backend-Storage-Policy-Index": "2",
        "X-Timestamp": STAMP,
        "X-Trans-Id": "tx1",
    } | {f"X-Backend-{name}".replace("_", "-"): value for name, value in more.items()}


def answer(queued: bool, **headers: str) -> BackendResponse:
    return BackendResponse(201, (QUEUED if queued else {}) | headers, BytesBody(b""))


def written(said: str) -> list[StoredWrite]:
    """What three nodes said of the row: listed, queued, or nothing."""
    return [
        stored_write(node, sent(server), answer(queued=word == "queued"))
        for node, server, word in zip(PLACEMENT.primaries, CONTAINER.primaries, said.split(), strict=True)
        if word != "failed"
    ]


def tell(stored: Sequence[StoredWrite], down: Sequence[str] = (), container: Placement = CONTAINER) -> list[list[str]]:
    """The container servers named in each request; those that are down get no row."""
    transport = FakeTransport()

    def script(request: BackendRequest) -> Reply:
        asked = request.headers["X-Container-Device"].split(",")
        return Reply(202, QUEUED if set(asked) & set(down) else {})

    transport.script = script
    writer = Writer(transport, ScriptedStore().context.nodes, NODE_SECONDS, GRACE_SECONDS)
    try:
        require_listed(writer, PLACEMENT, container, stored)
    finally:
        asked = [call.headers["X-Container-Device"].split(",") for call in transport.calls]
    return asked


@pytest.mark.parametrize("said", ["listed listed listed", "listed queued listed", "queued listed listed"])
def test_a_majority_is_enough(said: str) -> None:
    assert tell(written(said)) == []


def test_servers_that_a_failed_node_would_have_informed_are_told() -> None:
    assert tell(written("listed listed failed")) == [["c2"]]
    assert tell(written("failed listed queued")) == [["c0", "c2"]]


def test_what_is_missing_to_a_majority_is_sent_again_until_there_is_one() -> None:
    assert tell(written("queued queued listed")) == [["c0"]]
    assert tell(written("queued queued listed"), down=["c0"]) == [["c0"]] * 3 + [["c1"]]
    assert tell(written("queued queued queued")) == [["c0"], ["c1"]]


@pytest.mark.parametrize("said", ["queued queued listed", "failed queued listed", "queued queued queued"])
def test_without_a_majority_the_write_is_refused(said: str) -> None:
    with pytest.raises(QuorumNotReached):
        tell(written(said), down=["c0", "c1"])


def test_while_the_container_moves_its_former_server_has_a_say() -> None:
    ring, former = make_ring("c", 6201), make_ring("c", 6201)
    former.rows[0][0] = 5
    ring.former = (former,)
    container = Placement(ring, 0, PATH.container_path, ring.primaries(0), 0)
    assert [device.device for device in voters_of(container).devices] == ["c0", "c1", "c2", "c5"]
    assert voters_of(container).quorum == 3
    assert tell(written("listed listed listed"), container=container) == []
    assert tell(written("queued listed listed"), down=["c0"], container=container) == [["c0"]] * 3 + [["c5"]]
    with pytest.raises(QuorumNotReached):
        tell(written("queued listed listed"), down=["c0", "c5"], container=container)


@pytest.mark.parametrize(("replicas", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_two_majorities_share_a_device(replicas: int, quorum: int) -> None:
    ring = make_ring("c", 6201, 10, replicas)
    assert voters_of(Placement(ring, 0, PATH.container_path, ring.primaries(0), 0)).quorum == quorum


@pytest.mark.parametrize(
    ("asked", "answered", "line"),
    [
        ({}, {}, "null"),
        ({"Version_Mode": "null"}, {}, "null"),
        ({"Version_Mode": "keep"}, {}, STAMP),
        ({}, {"X-Backend-Version-Id": "1500000000.00000"}, "1500000000.00000"),  # a POST
        ({"Version_Id": "1500000000.00000"}, {}, "1500000000.00000"),
    ],
)
def test_the_row_that_is_sent_is_that_of_the_line_written(
    asked: dict[str, str], answered: dict[str, str], line: str
) -> None:
    (node, *_), (server, *_) = PLACEMENT.primaries, CONTAINER.primaries
    assert stored_write(node, sent(server, **asked), answer(True, **answered)).version == line


def test_a_node_that_has_not_answered_can_send_the_row() -> None:
    stored = stored_write(PLACEMENT.primaries[0], sent(CONTAINER.primaries[0]))
    assert stored.listed_by == frozenset()
    assert tell([stored]) == [["c0", "c1", "c2"]]
