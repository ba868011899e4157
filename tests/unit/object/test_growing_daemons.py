"""The daemons beside the relinker while the part power of a ring is increased."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest

from objstore.config.object import AuditorConfig
from objstore.daemon import run_once
from objstore.object.auditor import ObjectAuditor
from objstore.object.engine import DeviceStorage, Location
from objstore.object.metadata import ObjectMetadata
from objstore.ring.ring import Ring
from tests.unit.object.growing import POWER, GrowingStore
from tests.unit.object.harness import at
from tests.unit.object.replication.cluster import DAY, Replicas


class Seen:
    """A watcher."""

    def __init__(self) -> None:
        self.locations: list[Location] = []

    def start(self) -> None:
        self.locations.clear()

    def see_object(self, metadata: ObjectMetadata, storage: DeviceStorage, location: Location) -> None:
        self.locations.append(location)

    def end(self) -> dict[str, int]:
        return {}


def audit(store: GrowingStore) -> tuple[dict[str, int], list[Location]]:
    """What a full pass counted, and where watchers saw objects."""
    seen, config = Seen(), AuditorConfig(bytes_per_second=0, files_per_second=0)
    context = store.context(rings=store.rings, recon=store.recon)
    run_once(ObjectAuditor(config, context, store.engine, {"seen": seen}))
    return store.recon.figures["counts"], seen.locations


@pytest.fixture
def store(tmp_path: Path) -> GrowingStore:
    return GrowingStore(tmp_path)


class TestAuditor:
    @pytest.mark.parametrize("state", ["prepared", "increased", "cancelled"])
    def test_both_places_are_right_and_watchers_are_told_once(self, store: GrowingStore, state: str) -> None:
        (name,) = store.moving(1)
        store.put(1, path=store.path(name))
        store.enter("prepared")
        store.run("relink")
        store.enter(state)
        counts, seen = audit(store)
        assert counts == {"sound": 2}
        assert [location.partition for location in seen] == [store.partition(name, store.ring.part_power)]
        assert len(store.places(name)) == 2

    def test_at_rest_what_lies_in_a_former_partition_is_brought_home(self, store: GrowingStore) -> None:
        first, second = store.moving(2)
        for name in (first, second):
            store.put(1, path=store.path(name))
        store.enter("finished")
        store.put(2, b"newer", path=store.path(second))
        counts, _ = audit(store)
        assert counts["brought_home"] == 2
        assert "quarantined" not in counts
        assert (store.read(first).body, store.read(second).body) == (b"body", b"newer")
        for name in (first, second):
            assert list(store.places(name)) == [store.partition(name, POWER + 1)]


def grown(replicas: Replicas, power: int, following: int | None, version: int) -> Ring:
    """The ring of the replicas by another part power: each partition stays where it was."""
    rows = [
        array("H", [row[partition >> (power - 1)] for partition in range(2**power)]) for row in replicas.rings[0].rows
    ]
    return Ring(power, replicas.devices, rows, version, following)


class TestReplicator:
    """The replicas' only partition is number 0, of which every number below half of them comes."""

    def test_what_is_linked_for_later_is_replicated_in_its_own_partition_only(self, tmp_path: Path) -> None:
        replicas = Replicas(tmp_path)
        names = [f"o{number}" for number in range(8)]
        replicas.use(grown(replicas, 1, 2, 2))
        for name in names[:4]:
            for number in range(3):
                replicas.put(number, name, 1)
        for name in names[4:]:
            replicas.put(0, name, 1)
        replicas.replicate()
        files = [replicas.files(number) for number in range(4)]
        assert files[0] == files[1] == files[2] != {}
        assert files[3] == {}
        assert {path.split("/")[0] for path in files[0]} == {"0", "1"}  # of part power 2, both halves of 0
        assert len({path.split("/")[2] for path in files[0]}) == len(names)

    def test_servers_with_other_part_powers_do_not_replicate(self, tmp_path: Path) -> None:
        replicas = Replicas(tmp_path)
        replicas.put(0, "o", 1)
        replicas.use(grown(replicas, 2, 2, 3), 1, 2, 3)
        replicas.replicate(0)
        assert replicas.files(1) == {}
        assert any(b"another part power" in line for line in replicas.lines)
        replicas.use(grown(replicas, 1, 2, 2), 0)
        replicas.use(replicas.rings[1])
        replicas.put(0, "o", 2)
        replicas.replicate(0)
        assert len(replicas.files(1)) == 1

    def test_a_tombstone_is_kept_while_it_deletes_something_in_a_former_partition(self, tmp_path: Path) -> None:
        replicas = Replicas(tmp_path)
        name = next(name for name in map("o{}".format, range(99)) if _is_in_second_half(replicas, name))
        for number in range(3):
            replicas.put(number, name, 1)
        for number in range(3):
            replicas.delete(number, name, 2)
        former = _former(replicas, name)
        former.mkdir(parents=True)
        (former / (at(1) + ".data")).touch()
        replicas.pass_time(8 * DAY)
        replicas.replicate()
        assert replicas.names(0, name) == [at(2) + ".ts"]
        assert replicas.names(1, name) == []


def _is_in_second_half(replicas: Replicas, name: str) -> bool:
    return replicas.directory(0, name).name[0] in "4567"


def _former(replicas: Replicas, name: str) -> Path:
    """Where the object would lie by the next part power: partition 1 of 4."""
    directory = replicas.directory(0, name)
    return directory.parents[2] / "1" / directory.parent.name / directory.name
