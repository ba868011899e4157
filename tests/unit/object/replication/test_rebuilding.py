"""Fragments: missing ones are rebuilt, pending ones settled, and those of others given up."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from xxhash import xxh3_128_hexdigest

from objstore.cluster import Cluster
from objstore.direct import Direct
from objstore.erasure import ErasureCode
from objstore.http.transport import BackendRequest
from objstore.limits import Limits
from objstore.object.container_updates.pending import load
from objstore.paths import ResourcePath
from objstore.policies import Policies, Policy
from objstore.rows import ObjectRow
from tests.unit.object.harness import at
from tests.unit.object.replication.cluster import DAY, LowHasher, Replicas

EC = Policy(0, "ec", kind="erasure_coding", data_fragments=3, parity_fragments=2, segment_size=4096)
BODY = Random(1).randbytes(10_000)


class Fragmented(Replicas):
    """Five primaries, and a handoff."""

    policy = EC

    def __post_init__(self) -> None:
        super().__post_init__()
        self.cluster = Cluster(LowHasher("p", "s"), Policies([self.policy]), Limits())
        self.servers = [self._again(number) for number in range(self.count)]

    def _again(self, number: int) -> object:
        (self.folder / str(number) / "sda").rmdir()
        return self._server(number)

    def put_fragment(
        self, number: int, name: str, second: float, index: int, body: bytes = BODY, mode: str = ""
    ) -> None:
        """Store a fragment on a device alone, pending."""
        code = EC.scheme.code
        assert isinstance(code, ErasureCode)
        starts = range(0, len(body), code.segment_size)
        fragment = b"".join(code.encode(body[start : start + code.segment_size])[index] for start in starts)
        headers = {
            "X-Timestamp": at(second),
            "Content-Type": "text/plain",
            "Etag": "0" * 32,
            "X-Backend-Body-Checksum": xxh3_128_hexdigest(fragment),
            "X-Backend-Fragment": f"{index} {code}",
            "X-Backend-Whole-Size": str(len(body)),
            **({"X-Backend-Version-Mode": mode} if mode else {}),
        }
        assert self.request(number, "PUT", name, headers, fragment).status == 201

    def commit(self, number: int, name: str, second: float) -> int:
        return self.request(number, "COMMIT", name, {"X-Timestamp": at(second)}).status

    def store(self, name: str, second: float, devices: dict[int, int]) -> None:
        """By device the fragment that it gets, durably."""
        for number, index in devices.items():
            self.put_fragment(number, name, second, index)
            assert self.commit(number, name, second) == 201

    def content(self, number: int, name: str) -> dict[str, bytes]:
        directory = self.directory(number, name)
        return {file: (directory / file).read_bytes() for file in self.names(number, name)}


@pytest.fixture
def fragmented(tmp_path: Path) -> Fragmented:
    return Fragmented(tmp_path, count=6, replicas=5)


@pytest.fixture
def strong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fragmented:
    strong = Policy(0, "ec", kind="erasure_coding", data_fragments=3, parity_fragments=2, consistency="strong")
    monkeypatch.setattr(Fragmented, "policy", strong)
    return Fragmented(tmp_path, count=6, replicas=5)


def durable(second: float, index: int) -> str:
    return f"{at(second)}#{index}#d.data"


def test_what_is_missing_is_rebuilt_as_it_was(fragmented: Fragmented) -> None:
    fragmented.store("o", 1, {number: number for number in range(5)})
    before = [fragmented.content(number, "o") for number in range(5)]
    for number in (1, 4):
        for file in fragmented.directory(number, "o").iterdir():
            file.unlink()
    fragmented.replicate(4)
    fragmented.replicate(1)
    assert [fragmented.content(number, "o") for number in range(5)] == before
    fragmented.requests.clear()
    fragmented.replicate(0, 1)
    assert {request.query for request in fragmented.requests} == {"step=compare"}


def test_only_as_many_fragments_travel_as_are_needed(fragmented: Fragmented) -> None:
    fragmented.store("o", 1, {0: 0, 1: 1, 2: 2, 3: 3})
    fragmented.replicate(4)
    assert fragmented.names(4, "o") == [durable(1, 4)]
    assert sum(request.query == "step=pull" for request in fragmented.requests) == 3


def test_daemons_read_objects_of_fragments(fragmented: Fragmented) -> None:
    fragmented.store("o", 1, {0: 0, 2: 2, 4: 4})
    direct = Direct(fragmented.transport, fragmented.cluster.hasher, 10.0)
    path, headers = ResourcePath("a", "c", "o"), {"X-Backend-Storage-Policy-Index": "0"}
    found = direct.get(fragmented.rings[0], path, headers)
    assert found is not None
    assert (found.body.length, found.read_all()) == (len(BODY), BODY)
    file = fragmented.directory(2, "o") / durable(1, 2)
    content = bytearray(file.read_bytes())
    content[200] ^= 1
    file.write_bytes(content)
    assert direct.get(fragmented.rings[0], path, headers) is None, "one of the last three is damaged"


def test_with_too_few_fragments_none_is_made_up(fragmented: Fragmented) -> None:
    fragmented.store("o", 1, {0: 0, 1: 1})
    fragmented.replicate(4)
    assert fragmented.names(4, "o") == []
    assert any(b"too few fragments" in line for line in fragmented.lines)


def test_no_fragment_comes_back_after_its_object_was_deleted(fragmented: Fragmented) -> None:
    fragmented.store("o", 1, {0: 0, 1: 1, 2: 2, 3: 3})
    assert fragmented.request(4, "DELETE", "o", {"X-Timestamp": at(2)}).status == 404
    fragmented.replicate(4)
    assert fragmented.names(4, "o") == [f"{at(2)}.ts"]


def test_a_damaged_fragment_rebuilds_nothing(fragmented: Fragmented) -> None:
    fragmented.store("o", 1, {0: 0, 1: 1, 2: 2})
    file = fragmented.directory(2, "o") / durable(1, 2)
    content = bytearray(file.read_bytes())
    content[200] ^= 1
    file.write_bytes(content)
    fragmented.replicate(4)
    assert fragmented.names(4, "o") == []


def test_a_handoff_gives_its_fragment_to_its_own_primary(fragmented: Fragmented) -> None:
    fragmented.store("o", 1, {0: 0, 1: 1, 2: 2, 3: 3, 5: 4})
    fragmented.replicate(5)
    assert fragmented.names(4, "o") == [durable(1, 4)]
    assert fragmented.names(5, "o") == []


def test_a_primary_gives_a_fragment_of_another_number_away(fragmented: Fragmented) -> None:
    fragmented.store("o", 1, {0: 0, 1: 1, 2: 4, 3: 3})
    fragmented.replicate(2)
    assert fragmented.names(4, "o") == [durable(1, 4)]
    fragmented.replicate(2)
    assert fragmented.names(2, "o") == [durable(1, 2)]


def test_a_write_that_counts_is_settled_after_a_while(fragmented: Fragmented) -> None:
    for number in range(4):
        fragmented.put_fragment(number, "o", 1, number)
    fragmented.clock.seconds += 10
    fragmented.replicate()
    assert fragmented.names(0, "o") == [f"{at(1)}#0.data"]
    fragmented.clock.seconds += 100
    fragmented.replicate()
    fragmented.replicate()
    assert [fragmented.names(number, "o") for number in range(5)] == [[durable(1, number)] for number in range(5)]


def test_what_was_not_acknowledged_goes_where_handoffs_do_not_count(strong: Fragmented) -> None:
    strong.put_fragment(0, "o", 1, 0)
    strong.put_fragment(1, "o", 1, 1)
    strong.clock.seconds += 200
    strong.servers[4].down = True
    strong.replicate(0)
    assert strong.names(0, "o") == [f"{at(1)}#0.data"]
    strong.servers[4].down = False
    strong.replicate(0)
    assert strong.names(0, "o") == []


def rows(device: Fragmented, number: int) -> list[ObjectRow]:
    """The rows that wait on a device."""
    top = device.servers[number].root / "sda/async_pending"
    return [load(str(path)).row for path in sorted(top.glob("*/*"))]


def test_what_was_not_acknowledged_goes_from_the_listing(strong: Fragmented) -> None:
    strong.put_fragment(0, "o", 1, 0)
    strong.put_fragment(1, "o", 1, 1)
    strong.clock.seconds += 200
    strong.replicate(0)
    (row,) = rows(strong, 0)
    assert (row.name, row.deleted) == ("o", True)
    assert row.timestamp == at(1) + "_0000000000000001"
    # Nothing that this row would hide is stored any more.
    assert strong.request(3, "PUT", "o", {"X-Timestamp": at(1), "Content-Type": "text/plain"}).status == 409
    assert strong.request(3, "DELETE", "o", {"X-Timestamp": at(2)}).status == 404


def test_a_device_that_is_no_primary_any_more_settles_what_is_pending(strong: Fragmented) -> None:
    strong.put_fragment(5, "o", 1, 0)
    strong.store("p", 1, {number: number for number in range(1, 5)})
    strong.put_fragment(5, "p", 1, 0)
    strong.clock.seconds += 200
    strong.replicate(5)
    strong.replicate(5)
    assert [strong.names(5, name) for name in ("o", "p")] == [[], []]
    assert strong.names(0, "p") == [durable(1, 0)]
    assert [(row.name, row.deleted) for row in rows(strong, 5)] == [("o", True)]


def test_a_device_that_is_no_primary_any_more_gives_up_what_it_cannot_put_right(strong: Fragmented) -> None:
    strong.store("o", 1, {number: number for number in range(5)})
    strong.put_fragment(5, "o", 2, 0)
    strong.clock.seconds += 200
    strong.replicate(5)
    assert strong.names(5, "o") == []


def test_what_a_former_primary_knows_to_count_is_not_removed(strong: Fragmented) -> None:
    before = strong.ring_of(range(5))
    after = strong.ring_of([5, 1, 2, 3, 4], version=2)
    after.former = (before,)
    strong.put_fragment(0, "o", 1, 0)
    assert strong.commit(0, "o", 1) == 201
    strong.put_fragment(1, "o", 1, 1)
    strong.put_fragment(2, "o", 1, 2)
    strong.use(after)
    strong.clock.seconds += 200
    strong.replicate(1, 2)
    assert [strong.names(number, "o") for number in (1, 2)] == [[durable(1, 1)], [durable(1, 2)]]


def test_what_was_there_before_is_listed_again(strong: Fragmented) -> None:
    strong.store("o", 1, {number: number for number in range(5)})
    strong.put_fragment(0, "o", 5, 0, BODY[:9000])
    strong.clock.seconds += 200
    strong.replicate(0)
    assert strong.names(0, "o") == [durable(1, 0)]
    (row,) = rows(strong, 0)
    assert (row.deleted, row.size, row.timestamp) == (False, len(BODY), at(5) + "_0000000000000001")


def test_a_row_that_could_hide_another_write_waits(strong: Fragmented) -> None:
    for number in range(1, 5):
        strong.put_fragment(number, "o", 1, number)  # it counts, but nobody has committed it
    strong.put_fragment(0, "o", 2, 0)
    strong.clock.seconds += 200
    strong.replicate(0)
    assert strong.names(0, "o") == [f"{at(2)}#0.data"]
    assert rows(strong, 0) == []
    for _ in range(3):
        strong.clock.elapsed += 200
        strong.replicate()
    assert [strong.names(number, "o") for number in range(5)] == [[durable(1, number)] for number in range(5)]
    (row,) = rows(strong, 0)
    assert (row.deleted, row.timestamp) == (False, at(2) + "_0000000000000001")


def test_a_row_stays_while_a_primary_does_not_promise(strong: Fragmented) -> None:
    strong.put_fragment(0, "o", 1, 0)
    strong.clock.seconds += 200

    def refuse(request: BackendRequest) -> None:
        strong.servers[4].down = request.method == "PREPARE"

    strong.before_request = refuse
    strong.replicate(0)
    assert strong.names(0, "o") == [f"{at(1)}#0.data"]
    assert rows(strong, 0) == []


def test_a_version_that_was_not_acknowledged_is_not_listed(strong: Fragmented) -> None:
    strong.put_fragment(0, "o", 1, 0, mode="keep")
    strong.clock.seconds += 200
    strong.replicate(0)
    assert strong.names(0, "o") == []
    (row,) = rows(strong, 0)
    assert (row.version, row.deleted) == (at(1), True)


def test_what_is_as_old_as_forgotten_tombstones_is_not_listed(fragmented: Fragmented) -> None:
    fragmented.put_fragment(0, "o", 1, 0)
    fragmented.clock.seconds += 8 * DAY
    fragmented.replicate(0)
    assert fragmented.names(0, "o") == []
    assert [row.deleted for row in rows(fragmented, 0)] == [True]


def test_what_may_lie_on_handoffs_stays(fragmented: Fragmented) -> None:
    fragmented.put_fragment(0, "o", 1, 0)
    fragmented.clock.seconds += 200
    fragmented.replicate(0)
    assert fragmented.names(0, "o") == [f"{at(1)}#0.data"]


def test_a_commit_is_done_once(fragmented: Fragmented) -> None:
    fragmented.put_fragment(0, "o", 1, 0)
    assert [fragmented.commit(0, "o", 1) for _ in range(2)] == [201, 200]
    assert fragmented.commit(0, "o", 2) == 404
    assert fragmented.commit(1, "o", 1) == 404
