"""What every storage engine promises, whatever it makes of a device: the same tests on files and in memory."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from xxhash import xxh3_128_hexdigest

from objstore.mounts import DeviceUnavailable
from objstore.object.engine import AlreadyStored, DeviceStorage, Location, Missing, ObjectCorrupt, make_engine
from objstore.object.file_names import marker_name, tombstone_name
from objstore.object.metadata import ObjectMetadata, PostedMetadata, TombstoneMetadata
from objstore.object.versions import EMPTY
from objstore.policies import Policy
from tests.unit.object import memory_engine
from tests.unit.object.harness import ServedFolder, at, wait_for_discards

DIGEST = "0123456789abcdef0123456789abcdef"
GOLD = Policy(0, "gold")
HERE = Location(GOLD, "7", DIGEST, "/a/c/o")
ENGINES = ["file", memory_engine.NAME]


@pytest.fixture(params=ENGINES)
def device(request: pytest.FixtureRequest, store: ServedFolder) -> DeviceStorage:
    return make_engine(request.param, store.runtime, 2**20).device(str(store.root / "sda"))


def metadata(second: int, body: bytes) -> ObjectMetadata:
    return ObjectMetadata("/a/c/o", at(second), len(body), "etag", xxh3_128_hexdigest(body), "text/plain", {"A": "1"})


def put(device: DeviceStorage, second: int, body: bytes = b"body", location: Location = HERE) -> None:
    upload = device.create(location, device.look(location), len(body))
    upload.write(body[:2])
    upload.write(body[2:])
    assert (upload.size, upload.checksum) == (len(body), xxh3_128_hexdigest(body))
    upload.commit(metadata(second, body)).make_durable()
    settle(device)


def delete(device: DeviceStorage, second: int) -> None:
    device.write_tombstone(HERE, device.look(HERE), TombstoneMetadata("/a/c/o", at(second))).make_durable()
    settle(device)


def settle(device: DeviceStorage) -> None:
    if hasattr(device, "_disk"):
        wait_for_discards(device)


def body_of(device: DeviceStorage, location: Location = HERE) -> bytes:
    found = device.open(location)
    assert not isinstance(found, Missing)
    return found.read()


def names(device: DeviceStorage, partition: str = "7") -> tuple[str, ...]:
    return device.look(Location(GOLD, partition, DIGEST, "/a/c/o")).names


def test_the_newest_version_wins_and_replaces_what_was_seen(device: DeviceStorage) -> None:
    found = device.open(HERE)
    assert isinstance(found, Missing) and found.timestamp == ""
    put(device, 1)
    assert body_of(device) == b"body"
    put(device, 3, b"newer")
    assert (body_of(device), names(device)) == (b"newer", (at(3) + ".data",))
    delete(device, 4)
    found = device.open(HERE)
    assert isinstance(found, Missing) and found.timestamp == at(4)
    assert names(device) == (at(4) + ".ts",)


def test_a_late_older_write_does_not_win(device: DeviceStorage) -> None:
    late = device.create(HERE, EMPTY, 3)
    late.write(b"old")
    put(device, 2, b"new")
    late.commit(metadata(1, b"old")).make_durable()
    assert body_of(device) == b"new"


def test_nothing_is_seen_before_the_commit_nor_after_an_abort(device: DeviceStorage) -> None:
    upload = device.create(HERE, EMPTY, 4)
    upload.write(b"body")
    assert names(device) == ()
    upload.abort()
    assert names(device) == ()
    assert device.partitions(GOLD) in ([], ["7"])  # an empty directory may stay


@pytest.mark.parametrize("size", [0, 4, 100_000])
def test_a_body_that_is_kept_becomes_an_object_later(device: DeviceStorage, size: int) -> None:
    body = os.urandom(size)
    upload = device.create(HERE, EMPTY, None)
    upload.write(body)
    kept = upload.keep()
    upload.abort()
    assert names(device) == ()
    put(device, 1, b"other")
    again = device.create(HERE, device.look(HERE), 0, kept=kept)
    assert (again.size, again.checksum) == (size, xxh3_128_hexdigest(body))
    described = msgspec.structs.replace(metadata(2, body), headers={"A": "x" * 4000})  # does not fit beside the file
    again.commit(described).make_durable()
    settle(device)
    assert (body_of(device), names(device)) == (body, (at(2) + ".data",))
    found = device.open(HERE)
    assert not isinstance(found, Missing) and found.info.headers == described.headers
    with pytest.raises(FileNotFoundError):
        device.create(HERE, EMPTY, 0, kept=kept)


def test_two_versions_of_one_timestamp_are_refused(device: DeviceStorage) -> None:
    put(device, 1)
    with pytest.raises(AlreadyStored):
        device.create(HERE, EMPTY, 0).commit(metadata(1, b""))
    assert body_of(device) == b"body"


def test_an_open_version_stays_whole(device: DeviceStorage) -> None:
    put(device, 1)
    found = device.open(HERE)
    assert not isinstance(found, Missing)
    put(device, 2, b"other")
    assert b"".join(bytes(chunk) for chunk in found.stream(1, 3)) == b"od"
    found.close()
    found.close()


def test_metadata_is_laid_over_the_object(device: DeviceStorage) -> None:
    put(device, 1)
    for second, posted in (
        (2, PostedMetadata("/a/c/o", at(2), {"A": "2"}, "text/new", at(2))),
        (3, PostedMetadata("/a/c/o", at(3), {"A": "3"})),
    ):
        device.write_metadata(HERE, device.look(HERE), posted).make_durable()
        settle(device)
        found = device.open(HERE)
        assert not isinstance(found, Missing)
        assert found.info.headers == {"A": str(second)}
        assert (found.info.timestamp, found.info.content_type) == (at(second), "text/new")
        assert found.read() == b"body"


def test_versions_travel_as_they_are(device: DeviceStorage, store: ServedFolder) -> None:
    put(device, 1)
    exported = device.export(GOLD, "7", DIGEST, at(1) + ".data")
    assert exported is not None and exported.body is not None
    assert exported.metadata == metadata(1, b"body")
    assert b"".join(bytes(chunk) for chunk in exported.body.stream(0, 4)) == b"body"
    assert device.export(GOLD, "7", DIGEST, at(2) + ".data") is None
    delete(device, 2)
    exported = device.export(GOLD, "7", DIGEST, at(2) + ".ts")
    assert exported is not None and exported.body is None
    assert exported.metadata == TombstoneMetadata("/a/c/o", at(2))


def test_digests_of_all_engines_are_equal_exactly_where_the_versions_are(store: ServedFolder) -> None:
    devices = [make_engine(name, store.runtime, 0).device(str(store.root / "sda")) for name in ENGINES]

    def digests() -> list[dict[str, str]]:
        return [each.digests(GOLD, "7", 0.0, "").suffixes for each in devices]

    assert digests() == [{}, {}]
    put(devices[0], 1)
    assert digests()[0] != digests()[1]
    put(devices[1], 1)
    assert digests()[0] == digests()[1]
    assert list(digests()[0]) == [DIGEST[-3:]]
    delete(devices[0], 2)
    assert digests()[0] != digests()[1]


def test_what_a_partition_holds(device: DeviceStorage) -> None:
    put(device, 1)
    assert device.partitions(GOLD) == ["7"]
    assert device.partitions(Policy(1, "silver")) == []
    assert device.suffixes(GOLD, "7") == [DIGEST[-3:]]
    assert {digest: found.names for digest, found in device.objects(GOLD, "7", DIGEST[-3:]).items()} == {
        DIGEST: (at(1) + ".data",)
    }
    device.make_durable(GOLD, "7")
    device.remove(GOLD, "7", DIGEST, [at(1) + ".data"])
    assert names(device) == ()
    assert device.objects(GOLD, "7", DIGEST[-3:]) == {}


def test_versions_can_be_found_in_another_partition(device: DeviceStorage) -> None:
    put(device, 1)
    assert device.link(GOLD, "7", "15", DIGEST, [at(1) + ".data", at(9) + ".data"]) == []
    assert names(device, "15") == (at(1) + ".data",)
    device.remove(GOLD, "7", DIGEST, [at(1) + ".data"])
    assert body_of(device, Location(GOLD, "15", DIGEST, "/a/c/o")) == b"body"
    assert body_of(device, Location(GOLD, "7", DIGEST, "/a/c/o", ("15",))) == b"body"


def test_new_versions_are_linked_ahead(device: DeviceStorage) -> None:
    put(device, 1, location=Location(GOLD, "7", DIGEST, "/a/c/o", ("15",), "15"))
    assert names(device, "7") == names(device, "15") == (at(1) + ".data",)


def test_every_byte_is_verified(device: DeviceStorage) -> None:
    put(device, 1)
    spent: list[int] = []
    assert device.verify(GOLD, "7", DIGEST, at(1) + ".data", spent.append) == metadata(1, b"body")
    assert sum(spent) == 4
    assert device.verify(GOLD, "7", DIGEST, at(2) + ".data", None) is None


def test_what_is_damaged_is_set_aside(device: DeviceStorage, store: ServedFolder) -> None:
    put(device, 1)
    if isinstance(device, memory_engine.MemoryDevice):
        (versions,) = device.objects_held.values()
        versions[at(1) + ".data"].body = b"bode"
    else:
        (path,) = store.root.rglob("*.data")
        path.write_bytes(b"bode")
    with pytest.raises(ObjectCorrupt):
        body_of(device)
    assert isinstance(device.open(HERE), Missing)


def keep(device: DeviceStorage, second: int, body: bytes, version: int | None = None) -> None:
    upload = device.create(HERE, device.look(HERE), len(body), at(version or second))
    upload.write(body)
    upload.commit(metadata(second, body)).make_durable()


def remove(device: DeviceStorage, version: int, second: int) -> None:
    name, tombstone = tombstone_name(at(second), at(version)), TombstoneMetadata("/a/c/o", at(second))
    device.write_tombstone(HERE, device.look(HERE), tombstone, name).make_durable()
    settle(device)


def version_of(device: DeviceStorage, version: str | None) -> bytes | Missing:
    found = device.open(HERE, version=version)
    return found if isinstance(found, Missing) else found.read()


def test_versions_are_kept_and_removed(device: DeviceStorage) -> None:
    put(device, 1, b"null")
    keep(device, 2, b"two")
    keep(device, 3, b"three")
    assert names(device) == (at(1) + ".data", f"{at(2)}!.data", f"{at(3)}!.data")
    assert [version_of(device, each) for each in (None, at(2), "", "null")] == [b"three", b"two", b"null", b"null"]
    posted = PostedMetadata("/a/c/o", at(4), {"A": "2"})
    device.write_metadata(HERE, device.look(HERE), posted, at(2)).make_durable()
    current, found = device.examine(HERE, at(2))
    assert found is not None and (found.info.version, found.info.headers) == (at(2), {"A": "2"})
    assert current.current.version == at(3)
    keep(device, 5, b"two", 2)
    settle(device)
    assert names(device) == (at(1) + ".data", f"{at(3)}!.data", f"{at(5)}!{at(2)}.data")
    assert (device.look(HERE).current.version, device.look(HERE).timestamp) == (at(2), at(5))
    remove(device, 3, 5)
    assert version_of(device, at(3)) == Missing(at(5), at(3))
    assert version_of(device, None) == b"two"
    remove(device, 2, 6)
    assert version_of(device, None) == b"null"
    assert names(device) == (at(1) + ".data", f"{at(5)}!{at(3)}.ts", f"{at(6)}!{at(2)}.ts")


def test_delete_markers(device: DeviceStorage) -> None:
    keep(device, 1, b"one")
    for second, kept in ((2, True), (3, False)):
        name, marker = marker_name(at(second), kept), TombstoneMetadata("/a/c/o", at(second))
        device.write_tombstone(HERE, device.look(HERE), marker, name).make_durable()
        assert version_of(device, None) == Missing(at(second), at(second) if kept else "", is_marker=True)
        exported = device.export(GOLD, "7", DIGEST, name)
        assert exported is not None and exported.metadata == marker
        assert device.verify(GOLD, "7", DIGEST, name, None) == marker
    put(device, 4)
    assert names(device) == (f"{at(1)}!.data", f"{at(2)}!.ts", at(4) + ".data")


def test_a_version_can_be_set_aside_alone(device: DeviceStorage) -> None:
    put(device, 1, b"null")
    keep(device, 2, b"two")
    remove(device, 3, 4)
    device.quarantine(HERE, "an operator says so", at(2))
    device.quarantine(HERE, "it is not there", at(9))
    assert names(device) == (at(1) + ".data", f"{at(4)}!{at(3)}.ts")
    device.quarantine(HERE, "an operator says so", "")
    assert names(device) == (f"{at(4)}!{at(3)}.ts",)
    keep(device, 2, b"two")
    assert version_of(device, None) == b"two"


def test_an_object_of_many_versions_is_seen_whole(device: DeviceStorage, store: ServedFolder) -> None:
    many = 10_000
    if isinstance(device, memory_engine.MemoryDevice):
        keep(device, 0, b"x")
        (held,) = device.objects_held.values()
        held |= {f"{at(second)}!.data": held[f"{at(0)}!.data"] for second in range(many)}
    else:
        directory = store.root / f"sda/objects/7/{DIGEST[-3:]}/{DIGEST}"
        directory.mkdir(parents=True)
        for second in range(many):
            (directory / f"{at(second)}!.data").touch()
    current = device.look(HERE)
    assert (len(current.kept), current.timestamp, current.is_full) == (many, at(many - 1), True)


def test_all_of_an_object_can_be_set_aside(device: DeviceStorage) -> None:
    put(device, 1)
    device.quarantine(HERE, "an operator says so")
    assert names(device) == ()


@pytest.mark.parametrize("name", ENGINES)
def test_a_device_is_opened_once_and_closed_when_it_goes_out_of_service(store: ServedFolder, name: str) -> None:
    engine = make_engine(name, store.runtime, 0)
    opened = engine.in_service(store.devices, "sda")
    assert engine.in_service(store.devices, "sda") is engine.device(str(store.root / "sda")) is opened
    closed: list[str] = []
    opened.close = lambda: closed.append(opened.path)  # type: ignore[method-assign]
    with pytest.raises(DeviceUnavailable):
        engine.in_service(store.devices, "sdb")
    assert closed == []
    (store.root / ".sda.out-of-service").touch()
    store.clock.seconds += 60
    store.devices._mounted_until.clear()
    with pytest.raises(DeviceUnavailable):
        engine.in_service(store.devices, "sda")
    assert closed == [str(store.root / "sda")]


@pytest.mark.parametrize("name", ENGINES)
def test_a_server_on_each_engine(tmp_path: Path, name: str) -> None:
    store = ServedFolder(tmp_path, engine=name)
    assert store.put(1, b"body", X_Object_Meta_Colour="red").status == 201
    assert store.put(1).status == 409
    assert store.post(2, X_Object_Meta_Colour="blue").status == 202
    answer = store.get()
    assert (answer.status, answer.read_all(), answer.headers["X-Object-Meta-Colour"]) == (200, b"body", "blue")
    assert store.head().headers["Content-Length"] == "4"
    assert store.get(Range="bytes=1-2").read_all() == b"od"
    assert store.put(3, b"x" * 100_000).status == 201
    assert store.get().read_all() == b"x" * 100_000
    assert store.delete(4).status == 204
    assert store.get().status == 404
    assert bool(list(tmp_path.rglob("*.ts"))) is (name == "file")
