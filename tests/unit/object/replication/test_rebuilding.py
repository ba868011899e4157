"""Fragments: missing ones are rebuilt, pending ones settled, and those of others given up."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from xxhash import xxh3_128_hexdigest

from objstore.cluster import Cluster
from objstore.erasure import ErasureCode
from objstore.limits import Limits
from objstore.policies import Policies, Policy
from tests.unit.object.harness import at
from tests.unit.object.replication.cluster import LowHasher, Replicas

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

    def put_fragment(self, number: int, name: str, second: float, index: int, body: bytes = BODY) -> None:
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
