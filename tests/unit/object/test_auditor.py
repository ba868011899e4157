"""The auditor: what is damaged goes to quarantine, what is sound stays, and watchers see it."""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from objstore.config.object import AuditorConfig
from objstore.daemon import Step, run_once
from objstore.devices import Device
from objstore.headers import Backend
from objstore.http.bodies import BytesBody
from objstore.http.transport import BackendRequest, BackendResponse, NodeFailure
from objstore.object.auditor import ObjectAuditor
from objstore.object.engine import DeviceStorage, Location, make_engine
from objstore.object.metadata import ATTRIBUTE, ObjectMetadata
from objstore.object.watchers import DarkData, UnknownWatcher, Watcher, WatcherParts, make_watchers
from objstore.paths import ResourcePath
from objstore.ring.ring import Ring
from tests.unit.object.harness import NOW, ServedFolder, at

NODES = [Device(n, 1, n, f"10.0.0.{n}", 6201, f"10.0.0.{n}", 6201, "sdb", 1.0) for n in range(3)]
WEEK = 7 * 86_400
Answers = Sequence[list[str] | int | None]


class FakeRings:
    """One ring of 256 partitions for everything."""

    def __init__(self) -> None:
        self.container = Ring(8, NODES, [array("H", [n] * 256) for n in range(3)])

    def object(self, policy_index: int) -> Ring:
        return self.container


class Reports:
    """Stands for Recon."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}

    def report(self, daemon: str, **figures: Any) -> None:
        self.figures |= figures


class Seen:
    """A watcher."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def start(self) -> None:
        self.names.clear()

    def see_object(self, metadata: ObjectMetadata, storage: DeviceStorage, location: Location) -> None:
        self.names.append(metadata.name)

    def end(self) -> dict[str, int]:
        return {"seen": len(self.names)}


class Bench:
    """A store with an auditor that has no limits."""

    def __init__(self, store: ServedFolder, watchers: dict[str, Watcher] | None, **config: Any) -> None:
        self.store = store
        self.reports = Reports()
        unlimited = {"bytes_per_second": 0, "files_per_second": 0, "zero_byte_files_per_second": 0}
        self.config = AuditorConfig(**{**unlimited, **config})
        self.engine = make_engine("file", store.runtime, 0)
        context = store.context(rings=FakeRings(), recon=self.reports)
        self.auditor = ObjectAuditor(self.config, context, self.engine, watchers)

    def path(self, name: str) -> str:
        digest = self.store.cluster.hasher.hexdigest(ResourcePath("a", "c", name))
        return f"/sda/{int(digest[:2], 16)}/a/c/{name}"

    def put(self, name: str = "o", body: bytes = b"body", second: int = 1) -> Path:
        """Store it; the folder of its files."""
        assert self.store.put(second, body, self.path(name)).status == 201
        return self.store.directory(self.path(name))

    def run(self) -> dict[str, int]:
        assert run_once(self.auditor) is Step.IDLE
        counts: dict[str, int] = self.reports.figures["counts"]
        return {name: count for name, count in counts.items() if count}

    @property
    def quarantined(self) -> list[str]:
        return [name for name in self.store.files() if name.startswith("quarantined/")]


@pytest.fixture
def bench(store: ServedFolder) -> Bench:
    return Bench(store, {})


def test_what_is_sound_stays(bench: Bench) -> None:
    folders = [bench.put("o", b"x" * 3_000_000), bench.put("empty", b""), bench.put("q")]
    assert bench.store.post(2, bench.path("o"), X_Object_Meta_A="1" * 4000).status == 202
    assert bench.store.delete(2, bench.path("empty")).status == 204
    assert bench.run() == {"sound": 4}
    assert all(folder.exists() for folder in folders)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    with file.open("r+b") as opened:
        opened.write(content)


def truncate(file: Path) -> None:
    os.truncate(file, 10)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def strip(file: Path) -> None:
    os.removexattr(file, ATTRIBUTE)


def scribble(file: Path) -> None:
    value = bytearray(os.getxattr(file, ATTRIBUTE))
    value[-3] ^= 1
    os.setxattr(file, ATTRIBUTE, bytes(value))


@pytest.mark.parametrize("damage", [flip, truncate, empty, strip, scribble])
def test_damage_is_found(bench: Bench, damage: Any) -> None:
    folder, other = bench.put("o", b"x" * 100_000), bench.put("p")
    damage(next(folder.glob("*.data")))
    assert bench.run() == {"sound": 1, "quarantined": 1}
    assert not folder.exists()
    assert other.exists()
    assert len(bench.quarantined) == 1


@pytest.mark.parametrize("damage", [strip, scribble])
@pytest.mark.parametrize("kind", ["meta", "ts"])
def test_damage_of_what_has_no_body(bench: Bench, damage: Any, kind: str) -> None:
    folder = bench.put()
    if kind == "meta":
        bench.store.post(2, bench.path("o"), X_Object_Meta_A="1")
    else:
        bench.store.delete(2, bench.path("o"))
    damage(next(folder.glob(f"*.{kind}")))
    assert bench.run()["quarantined"] == 1
    assert not folder.exists()


def test_the_trailer_is_read(bench: Bench) -> None:
    folder = bench.put()
    bench.store.put(2, b"body", bench.path("o"), X_Object_Meta_A="1" * 4000)
    file = next(folder.glob("*.data"))
    flip(file)
    assert bench.run() == {"quarantined": 1}


def test_the_quick_pass_does_not_read_bodies(store: ServedFolder) -> None:
    bench = Bench(store, None)
    flipped, emptied = bench.put("o", b"x" * 1000), bench.put("p", b"x" * 1000)
    flip(next(flipped.glob("*.data")))
    empty(next(emptied.glob("*.data")))
    assert bench.run() == {"sound": 1, "quarantined": 1}
    assert flipped.exists()


def test_wrong_places(bench: Bench) -> None:
    right = bench.put("right")
    partition, suffix, foreign = bench.put("1"), bench.put("2"), bench.put("3")
    sda = bench.store.root / "sda/objects"
    wrong_partition = sda / f"{(int(partition.parts[-3]) + 100) % 256}" / partition.name[-3:] / partition.name
    wrong_partition.parent.mkdir(parents=True)
    partition.rename(wrong_partition)
    wrong_suffix = suffix.parent.parent / ("000" if suffix.name[-3:] != "000" else "111") / suffix.name
    wrong_suffix.parent.mkdir()
    suffix.rename(wrong_suffix)
    other = foreign.parent / ("0" * 2 + foreign.name[2:])
    wrong_hash = sda / "0" / other.name[-3:] / other.name
    wrong_hash.parent.mkdir(parents=True)
    foreign.rename(wrong_hash)
    assert bench.run() == {"sound": 1, "quarantined": 3}
    assert len(bench.quarantined) == 3
    assert right.exists()


def failing(failing_path: str, real: Callable[..., Any]) -> Callable[..., Any]:
    """`real`, but that nothing at or below a path can be read."""

    def fail(path: str, *arguments: Any) -> Any:
        if f"{path}/".startswith(f"{failing_path}/"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return real(path, *arguments)

    return fail


@pytest.mark.parametrize("is_full", [True, False])
@pytest.mark.parametrize("level", ["partition", "suffix", "hash"])
def test_what_cannot_be_read_is_passed_over(
    store: ServedFolder, monkeypatch: pytest.MonkeyPatch, level: str, is_full: bool
) -> None:
    bench = Bench(store, {} if is_full else None)
    folders = sorted((bench.put(str(number)) for number in range(5)), key=lambda folder: int(folder.parts[-3]))
    folder = folders[1]
    unreadable = {"partition": folder.parent.parent, "suffix": folder.parent, "hash": folder}[level]
    monkeypatch.setattr(os, "listdir", failing(str(unreadable), os.listdir))
    for _ in range(2):
        assert bench.run() == {"sound": 4, "failed": 1}
    assert sum(str(unreadable).encode() in line for line in store.lines) == 2


def test_a_file_named_like_a_hash_is_passed_over(bench: Bench) -> None:
    for number in range(5):
        bench.put(str(number))
    suffix = bench.store.root / "sda/objects/0/fff"
    suffix.mkdir(parents=True)
    (suffix / ("0" * 29 + "fff")).write_bytes(b"")
    assert bench.run() == {"sound": 5, "failed": 1}


def test_an_object_that_cannot_be_judged_is_passed_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = sorted((bench.put(str(number)).name for number in range(5)), key=lambda digest: int(digest[:2], 16))
    storage = bench.engine.device(str(bench.store.root / "sda"))
    verify = storage.verify

    def fail(policy: Any, partition: str, digest: str, *arguments: Any) -> Any:
        if digest == first:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return verify(policy, partition, digest, *arguments)

    monkeypatch.setattr(storage, "verify", fail)
    assert bench.run() == {"sound": 4, "failed": 1}


def test_temporary_files_that_cannot_be_listed_are_passed_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.put()
    monkeypatch.setattr(os, "listdir", failing(str(bench.store.root / "sda/tmp"), os.listdir))
    assert bench.run() == {"sound": 1, "failed": 1}


def test_a_device_that_fails_as_a_whole_is_left(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        bench.put(str(number))
    assert bench.auditor.step() is Step.BUSY
    monkeypatch.setattr(os, "listdir", failing(str(bench.store.root / "sda"), os.listdir))
    assert bench.run() == {"sound": 1, "failed": 2}  # the place, and then the device


def test_what_broken_off_uploads_left_goes_after_a_day(bench: Bench) -> None:
    temporary = bench.store.root / "sda/tmp"
    temporary.mkdir()
    for name, age in (("old", 90_000), ("young", 80_000)):
        (temporary / name).write_bytes(b"x")
        os.utime(temporary / name, (NOW - age, NOW - age))
    assert bench.run() == {"uploads_removed": 1}
    assert os.listdir(temporary) == ["young"]


def test_it_goes_on_where_it_was(bench: Bench) -> None:
    for number in range(12):
        bench.put(str(number))
    bench.store.clock.monotonic = lambda: bench.store.clock.seconds  # type: ignore[method-assign]
    for _ in range(6):
        bench.store.clock.seconds += 61
        assert bench.auditor.step() is Step.BUSY
    again = Bench(bench.store, {})
    counts = again.run()
    assert 6 <= counts["sound"] <= 7  # the partition it was in begins anew
    assert again.run()["sound"] == 12


def test_limits(store: ServedFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("objstore.rate_limiter.concurrency.sleep", slept.append)
    monkeypatch.setattr(store.clock, "monotonic", lambda: 1000.0)
    bench = Bench(store, {}, bytes_per_second=1_000_000)
    bench.put("o", b"x" * 5_000_000)
    bench.run()
    assert max(slept) == pytest.approx(5.0, abs=1.1)


def test_watchers_see_what_is_sound(store: ServedFolder) -> None:
    seen = Seen()
    bench = Bench(store, {"seen": seen})
    for name in ("o", "p", "q"):
        bench.put(name)
    bench.store.delete(2, bench.path("q"))
    flip(next(bench.put("damaged").glob("*.data")))
    assert bench.run()["seen_seen"] == 2
    assert sorted(seen.names) == ["/a/c/o", "/a/c/p"]


class Listings:
    """Containers' servers: each lists these names, or does not answer. They know a container of this policy."""

    def __init__(self, answers: Answers, policy_index: int) -> None:
        self.answers = answers
        self.headers = {Backend.POLICY_INDEX: str(policy_index)}

    def request(self, request: BackendRequest, body: bytes, timeout_seconds: float) -> BackendResponse:
        answer = self.answers[request.node.id]
        if answer is None:
            raise NodeFailure(request.node, "connect")
        if isinstance(answer, int):
            return BackendResponse(answer, self.headers, BytesBody(b""))
        return BackendResponse(200, self.headers, BytesBody(msgspec.json.encode([{"name": name} for name in answer])))


def dark_bench(store: ServedFolder, answers: Answers, action: str, policy_index: int = 0) -> Bench:
    bench = Bench(store, {}, dark_data_action=action)
    parts = WatcherParts(bench.config, store.context(rings=FakeRings(), transport=Listings(answers, policy_index)))
    watchers = make_watchers(["dark_data"], {"dark_data": DarkData}, parts)
    made = Bench(store, watchers, dark_data_action=action)
    made.put()
    store.clock.seconds = NOW + WEEK + 2
    return made


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([["o"], ["o"], ["o"]], "listed"),
        ([[], [], ["o"]], "listed"),
        ([None, [], ["o"]], "listed"),
        ([[], ["other"], []], "dark"),
        ([404, 204, 404], "dark"),
        ([[], [], 503], "unknown"),
        ([[], [], 507], "unknown"),
    ],
)
def test_dark_data(store: ServedFolder, answers: Answers, outcome: str) -> None:
    bench = dark_bench(store, answers, "quarantine")
    assert bench.run() == {"sound": 1, f"dark_data_{outcome}": 1}
    assert bool(bench.quarantined) == (outcome == "dark")


@pytest.mark.parametrize("action", ["delete", "quarantine"])
def test_dark_data_check_with_a_container_replica_down(store: ServedFolder, action: str) -> None:
    bench = dark_bench(store, [[], None, []], action)
    assert bench.run() == {"sound": 1, "dark_data_unknown": 1}
    assert store.get(bench.path("o")).status == 200


@pytest.mark.parametrize("action", ["delete", "quarantine"])
def test_what_is_to_be_moved_to_another_policy_is_not_dark(store: ServedFolder, action: str) -> None:
    bench = dark_bench(store, [[], [], []], action, policy_index=1)
    assert bench.run() == {"sound": 1, "dark_data_unknown": 1}
    assert store.get(bench.path("o")).status == 200


@pytest.mark.parametrize("action", ["log", "delete"])
def test_what_becomes_of_dark_data(store: ServedFolder, action: str) -> None:
    bench = dark_bench(store, [[], [], []], action)
    assert bench.run()["dark_data_dark"] == 1
    assert store.get(bench.path("o")).status == (200 if action == "log" else 404)
    assert any(b"dark data" in line for line in store.lines)


def test_young_objects_are_not_asked_about(store: ServedFolder) -> None:
    bench = dark_bench(store, [[], [], []], "quarantine")
    store.clock.seconds = NOW + WEEK
    assert bench.run() == {"sound": 1}


def test_an_unknown_watcher(store: ServedFolder, bench: Bench) -> None:
    parts = WatcherParts(bench.config, store.context())
    with pytest.raises(UnknownWatcher, match="nobody"):
        make_watchers(["nobody"], {}, parts)


def test_a_watcher_that_fails_stops_nothing(store: ServedFolder) -> None:
    class Failing(Seen):
        def see_object(self, metadata: ObjectMetadata, storage: DeviceStorage, location: Location) -> None:
            raise RuntimeError("no")

    bench = Bench(store, {"failing": Failing()})
    bench.put()
    assert bench.run()["sound"] == 1
    assert at(1) in str(store.files())


def test_progress_grows_with_the_partitions(bench: Bench) -> None:
    for number in range(12):
        bench.put(f"o{number}")
    seen = []
    while bench.auditor.step() is Step.BUSY:
        seen.append(bench.auditor.progress)
    assert seen == sorted(seen) and len(set(seen)) > 3 and seen[-1] == 1.0
