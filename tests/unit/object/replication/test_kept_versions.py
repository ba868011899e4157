"""Versions written, removed and missed at random: replicas come together, and have what was kept and not removed."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from xxhash import xxh3_128_hexdigest

from tests.unit.object.memory_engine import NAME as MEMORY
from tests.unit.object.replication.cluster import DAY, Replicas, at

PRIMARIES = range(3)


class History:
    """What was written to one object, whoever missed it, and so what should be left of it in the end."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.kept: dict[int, bytes | None] = {}  # bodies; None for a delete marker
        self.plain: tuple[int, str] = (0, "deletion")

    def write(self, replicas: Replicas, second: int) -> None:
        """One request, which some devices miss or refuse; a removal may be older than what it removes."""
        kind = self._random.choice(["keep", "keep", "marker", "plain", "null marker", "deletion", "removal", "post"])
        headers, body = {"X-Timestamp": at(second)}, b"%d" % second
        method = "PUT" if kind in ("keep", "plain") else "POST" if kind == "post" else "DELETE"
        if kind in ("keep", "marker"):
            self.kept[second] = body if kind == "keep" else None
            headers["X-Backend-Version-Mode"] = "keep"
        elif kind in ("plain", "null marker", "deletion"):
            self.plain = max(self.plain, (second, kind))
            headers |= {"X-Backend-Version-Mode": "null"} if kind == "null marker" else {}
        elif kind == "removal":
            version = self._random.choice([*self.kept, 99])
            self.kept.pop(version, None)
            headers["X-Backend-Version-Id"] = at(version)
        if method == "PUT":
            headers |= {"Content-Type": "text/plain", "Etag": "0" * 32}
            headers["X-Backend-Body-Checksum"] = xxh3_128_hexdigest(body)
        for number in self._random.sample(PRIMARIES, self._random.randrange(1, 4)):
            replicas.request(number, method, "o", headers, body if method == "PUT" else b"")

    def expected(self) -> set[str]:
        """The files of what lives, but for metadata."""
        names = {f"{at(second)}!.{'ts' if body is None else 'data'}" for second, body in self.kept.items()}
        second, kind = self.plain
        endings = {"plain": ".data", "null marker": "!null.ts"}
        return names | ({at(second) + endings[kind]} if kind in endings else set())


@pytest.mark.parametrize("engine", ["file", MEMORY])
@pytest.mark.parametrize("seed", range(25))
def test_replicas_come_together(tmp_path: Path, engine: str, seed: int) -> None:
    random = Random(seed)
    replicas, history = Replicas(tmp_path, engine=engine), History(random)
    for second in random.sample(range(1, 40), 20):
        history.write(replicas, second)
        if random.random() < 0.3:
            replicas.replicate(random.choice(PRIMARIES))
    for _ in range(2):
        replicas.replicate(*PRIMARIES)
    looks = [replicas.live_names(number, "o") for number in PRIMARIES]
    assert looks[0] == looks[1] == looks[2]
    assert {name for name in looks[0] if not is_trace(name)} == history.expected()
    for _ in range(9):
        replicas.pass_time(DAY)
        replicas.replicate(*PRIMARIES)
    for number in PRIMARIES:
        left = replicas.live_names(number, "o")
        assert {name for name in left if not name.endswith(".meta")} == history.expected()
    newest = max(history.kept, default=0)
    if newest > history.plain[0]:
        stored, body = replicas.stored(0, "o"), history.kept[newest]
        assert (None if stored is None else stored.read()) == body


def is_trace(name: str) -> bool:
    """Whether it is metadata, a tombstone or a removal mark."""
    return name.endswith(".meta") or (name.endswith(".ts") and not name.endswith(("!.ts", "!null.ts")))
