"""Listings of strong containers: what a majority of the replicas knows, whichever of them are asked, stale or down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest
from msgspec.structs import replace

from objstore.http.messages import Response
from objstore.http.transport import BackendRequest, Exchange
from objstore.limits import Limits
from objstore.paths import ResourcePath
from objstore.policies import Policies, Policy
from objstore.proxy.core.errors import ContainerNotFound, QuorumNotReached
from objstore.proxy.core.info import ContainerInfo
from objstore.proxy.core.listing import ListingQuery, VersionsQuery, whole
from objstore.proxy.core.nodes import Placement
from objstore.proxy.core.reading import Reader
from objstore.proxy.core.strong_listing import StrongContainers
from objstore.rows import ObjectRow
from objstore.system.threads import ThreadGroup
from tests.unit.objstore.db.harness import Servers, at, row
from tests.unit.proxy.store import NODE_SECONDS, FakeTransport, Reply, ScriptedStore, make_ring

PATH = ResourcePath("a", "c")
RING = make_ring("c", 6201)
PLACEMENT = Placement(RING, 0, PATH, RING.primaries(0), 2)
STRONG = Policies([Policy(0, "gold", default=True, consistency="strong")])
THREADS = cast(ThreadGroup, SimpleNamespace(call=lambda function, *arguments: function(*arguments)))


class BodyTransport(FakeTransport):
    """Shows the script the body, too."""

    body = b""

    def start(self, request: BackendRequest, body: bytes = b"", timeout_seconds: float = 10.0) -> Exchange:
        self.body = body
        return super().start(request, body, timeout_seconds)


class Replicas:
    """Three container servers; requests to some of them fail, or get no answer."""

    def __init__(self, root: Path) -> None:
        self.servers: dict[str, Servers] = {}
        for name in ("c0", "c1", "c2"):
            (root / name).mkdir()
            made = self.servers[name] = Servers(root / name)
            made.cluster = replace(made.cluster, policies=STRONG)
            made.container = made.new_container_server()
            made.to_container("PUT", 1)
        self.bad: dict[str, Reply] = {}
        self.transport = BodyTransport()
        self.transport.script = self._reply
        self.nodes = ScriptedStore().context.nodes
        self.core = StrongContainers(Reader(self.transport, self.nodes, NODE_SECONDS), Limits(), THREADS)

    def _reply(self, request: BackendRequest) -> Reply:
        name = request.node.device
        if name in self.bad:
            return self.bad[name]
        body = self.transport.body if request.method == "ROWS" else b""
        path = f"/sda/5{request.path}"
        servers = self.servers[name]
        answer = servers.call(servers.container, request.method, path, request.headers, body, request.query)
        assert isinstance(answer.body, bytes)
        return Reply(answer.status, answer.headers, answer.body)

    def write(self, rows: Sequence[ObjectRow], *names: str) -> None:
        for name in names:
            assert self.servers[name].update(rows).status == 202

    def send(self, method: str, second: float, *names: str, **headers: str) -> list[Response]:
        return [self.servers[name].to_container(method, second, **headers) for name in names]

    def open(self, query: ListingQuery | None = None, rendering: str = "json") -> tuple[ContainerInfo, bytes]:
        info, body = self.core.open(PLACEMENT, {"X-Trans-Id": "tx"}, query or ListingQuery(), rendering)
        return info, whole(body)

    def names(self, query: ListingQuery | None = None) -> list[str]:
        return [each.get("subdir") or each["name"] for each in msgspec.json.decode(self.open(query)[1])]

    def methods(self) -> list[str]:
        return [call.request.method for call in self.transport.calls]


@pytest.fixture
def replicas(tmp_path: Path) -> Replicas:
    return Replicas(tmp_path)


REFUSES, SILENT, FULL = Reply(refuses=True), Reply(silent=True), Reply(507)
PAIRS = [("c0", "c1"), ("c0", "c2"), ("c1", "c2")]


def test_replicas_that_are_equal_cost_one_more_head(replicas: Replicas) -> None:
    replicas.write([row("a"), row("b")], "c0", "c1", "c2")
    info, body = replicas.open()
    assert [each["name"] for each in msgspec.json.decode(body)] == ["a", "b"]
    assert info.object_count == 2
    assert replicas.methods() == ["GET", "HEAD"]
    assert replicas.core.head(PLACEMENT, {"X-Trans-Id": "tx"}).object_count == 2
    assert replicas.methods()[2:] == ["HEAD", "HEAD"]


@pytest.mark.parametrize("bad", [None, REFUSES, SILENT, FULL])
@pytest.mark.parametrize("holders", PAIRS)
@pytest.mark.parametrize("down", ["c0", "c1", "c2"])
def test_what_a_majority_has_is_listed(
    replicas: Replicas, holders: Sequence[str], down: str, bad: Reply | None
) -> None:
    replicas.write([row("old"), row("gone")], "c0", "c1", "c2")
    replicas.write([row("new"), row("gone", 2, deleted=True)], *holders)
    if bad is not None:
        replicas.bad[down] = bad
    for _ in range(4):  # whichever are asked
        assert replicas.names() == ["new", "old"]


def test_only_what_differs_is_asked_for_again(replicas: Replicas) -> None:
    replicas.write([row(f"{number:03d}") for number in range(100)], "c0", "c1", "c2")
    replicas.write([row("x")], "c0", "c1")
    replicas.bad["c0"] = REFUSES
    assert len(replicas.names()) == 101
    assert replicas.methods() == ["GET", "HEAD", "GET", "GET", "GET", "GET", "ROWS", "ROWS"]
    assert replicas.transport.calls[-1].body == b'["x"]'


def test_pages_that_are_equal_are_listed_though_other_rows_differ(replicas: Replicas) -> None:
    replicas.write([row("a"), row("b")], "c0", "c1", "c2")
    replicas.write([row("z")], "c0", "c1")
    replicas.bad["c1"] = REFUSES
    assert replicas.names(ListingQuery(limit="2")) == ["a", "b"]
    assert replicas.methods() == ["GET", "HEAD", "GET", "GET"]


def test_equal_folders_that_stand_for_different_names_are_looked_into(replicas: Replicas) -> None:
    replicas.write([row("f/1"), row("f/2", 2, deleted=True)], "c0", "c1")
    replicas.write([row("f/2"), row("f/1", 2, deleted=True)], "c1", "c2")
    for query in (ListingQuery(delimiter="/"), ListingQuery(path="")):
        for down in ("c0", "c1", "c2"):
            replicas.bad = {down: REFUSES}
            assert replicas.names(query) == []


@pytest.mark.parametrize(
    "query",
    [
        ListingQuery(),
        ListingQuery(prefix="f/"),
        ListingQuery(delimiter="/"),
        ListingQuery(delimiter="/", reverse="true", limit="2"),
        ListingQuery(marker="a", limit="1"),
        ListingQuery(end_marker="v"),
        ListingQuery(path="f"),
        ListingQuery(limit="0"),
        VersionsQuery(),
        VersionsQuery(limit="2"),
        VersionsQuery(marker="v", version_marker=at(3)),
        VersionsQuery(delimiter="/", prefix="f"),
    ],
)
@pytest.mark.parametrize("rendering", ["json", "xml", "plain"])
def test_every_kind_of_listing(replicas: Replicas, query: ListingQuery, rendering: str) -> None:
    rows = [row("a"), row("f/1"), row("f/2"), row("g/1"), row("v", 3, version=at(3)), row("v", 1, version=at(1))]
    rows += [row("f/2", 2, deleted=True), row("g/1", 2, deleted=True), row("v", 9, version=at(1), deleted=True)]
    replicas.write(rows[::2], "c0", "c1")
    replicas.write(rows[1::2], "c1", "c2")
    replicas.write(rows[2:5], "c0", "c2")
    merged = {replicas.open(query, rendering)[1] for _ in range(3)}
    for name in replicas.servers:
        replicas.write(rows, name)
    assert merged == {replicas.open(query, rendering)[1]}
    if isinstance(query, VersionsQuery) or rendering == "json":
        assert replicas.methods().count("ROWS") >= 1 or query.limit == "0"


def test_a_replica_without_a_database_has_no_rows(replicas: Replicas, tmp_path: Path) -> None:
    replicas.servers["c2"] = Servers(tmp_path)
    replicas.servers["c2"].cluster = replicas.servers["c0"].cluster
    replicas.write([row("o")], "c0", "c1")
    for down in ("c0", "c1", "c2"):
        replicas.bad = {down: REFUSES}
        assert replicas.names() == ["o"]


@pytest.mark.parametrize("holders", PAIRS)
def test_a_container_that_a_majority_has_deleted_is_gone(replicas: Replicas, holders: Sequence[str]) -> None:
    replicas.write([row("o")], "c0", "c1", "c2")
    replicas.write([row("o", 2, deleted=True)], *holders)
    assert [each.status for each in replicas.send("DELETE", 3, *holders)] == [204, 204]
    for down in ("c0", "c1", "c2"):
        replicas.bad = {down: REFUSES}
        for _ in range(3):
            with pytest.raises(ContainerNotFound):
                replicas.open()
            with pytest.raises(ContainerNotFound):
                replicas.core.head(PLACEMENT, {})


@pytest.mark.parametrize("holders", PAIRS)
def test_a_replica_that_was_deleted_for_it_had_missed_an_object_is_none_the_less_outvoted(
    replicas: Replicas, holders: Sequence[str]
) -> None:
    replicas.write([row("o")], *holders)
    (stale,) = set(replicas.servers) - set(holders)
    assert replicas.send("DELETE", 3, stale)[0].status == 204
    for down in ("c0", "c1", "c2"):
        replicas.bad = {down: REFUSES}
        assert replicas.names() == ["o"]


def test_a_container_that_nobody_has(replicas: Replicas) -> None:
    replicas.send("DELETE", 2, "c0", "c1", "c2")
    with pytest.raises(ContainerNotFound):
        replicas.open()


@pytest.mark.parametrize("bad", [REFUSES, SILENT, FULL, Reply(400)])
def test_a_minority_is_not_enough(replicas: Replicas, bad: Reply) -> None:
    replicas.bad = dict.fromkeys(("c0", "c2"), bad)
    with pytest.raises(QuorumNotReached):
        replicas.open()
    with pytest.raises(QuorumNotReached):
        replicas.core.head(PLACEMENT, {})
    assert not [call for call in replicas.transport.calls if call.node == "c1" and call.abandoned]


def test_the_newest_metadata_and_the_greatest_counts(replicas: Replicas) -> None:
    replicas.send("POST", 2, "c0", "c1", X_Container_Meta_Color="red")
    replicas.send("POST", 3, "c0", "c2", X_Container_Meta_Color="blue")
    replicas.write([row("o", size=7)], "c1", "c2")
    replicas.write([row("o", size=7)], "c1")
    for down in ("c1", "c2"):
        replicas.bad = {down: REFUSES}
        info = replicas.core.head(PLACEMENT, {})
        assert (info.metadata, info.object_count, info.bytes_used) == ({"Color": "blue"}, 1, 7)


def test_while_a_replica_moves_its_former_place_is_asked_too(replicas: Replicas, tmp_path: Path) -> None:
    ring, former = make_ring("c", 6201), make_ring("c", 6201)
    former.rows[0][0] = 5
    ring.former = (former,)
    replicas.servers["c5"] = replicas.servers["c0"]
    replicas.servers["c0"] = Servers(tmp_path)  # what has just come has nothing yet
    replicas.write([row("o")], "c5", "c1")
    placement = Placement(ring, 0, PATH, ring.primaries(0), 2)
    for down in ("c0", "c1", "c2", "c5"):
        replicas.bad = {down: REFUSES}
        _, body = replicas.core.open(placement, {}, ListingQuery(), "plain")
        assert whole(body) == b"o\n"
    replicas.bad = dict.fromkeys(("c1", "c5"), REFUSES)
    with pytest.raises(QuorumNotReached):
        replicas.core.open(placement, {}, ListingQuery(), "plain")


def test_reserved_names_are_listed_to_those_who_see_them(replicas: Replicas) -> None:
    replicas.write([row("\0hidden"), row("o")], "c0", "c1")
    replicas.write([row("p")], "c1", "c2")
    seen = {"X-Backend-Allow-Reserved-Names": "true"}
    for headers, names in (({}, b"o\np\n"), (seen, b"\0hidden\no\np\n")):
        assert whole(replicas.core.open(PLACEMENT, headers, ListingQuery(), "plain")[1]) == names


def test_too_many_rounds_are_given_up(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.proxy.core.strong_listing.MERGING_SECONDS_MAX", -1.0)
    replicas.write([row("o")], "c0", "c1")
    replicas.bad["c0"] = REFUSES
    with pytest.raises(QuorumNotReached):
        replicas.open()
