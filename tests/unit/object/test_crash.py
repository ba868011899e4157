"""Whenever the power goes, the object is afterwards the old one or the new one, whole, and the new one once settled."""

from collections.abc import Callable
from random import Random

import pytest
from xxhash import xxh3_128_hexdigest

from objstore.logs import Logger, Sink
from objstore.object.engine import Location, Missing
from objstore.object.file_engine.engine import FileDevice
from objstore.object.metadata import ObjectMetadata, PostedMetadata, TombstoneMetadata
from objstore.policies import Policy
from objstore.system import concurrency
from objstore.system.clock import Clock
from tests.unit.object.crashing_disk import Crashed, CrashingDisk

DIGEST = "0123456789abcdef0123456789abcdef"
LOCATION = Location(Policy(0, "gold"), "7", DIGEST, "/a/c/o")
SEEDS = range(40)

Action = Callable[[FileDevice], None]


def put(second: int, body: bytes, color: str = "", version: str = "") -> Action:
    def act(engine: FileDevice) -> None:
        upload = engine.create(LOCATION, engine.look(LOCATION), len(body), version)
        upload.write(body)
        headers = {"X-Object-Meta-Color": color} if color else {}
        metadata = ObjectMetadata(
            LOCATION.name, at(second), len(body), "etag", xxh3_128_hexdigest(body), "text/plain", headers
        )
        upload.commit(metadata).make_durable()

    return named(act, at(second))


def keep(second: int, body: bytes, version: int = 0) -> Action:
    return put(second, body, version=at(version or second))


def post(second: int, color: str, version: str = "") -> Action:
    def act(engine: FileDevice) -> None:
        posted = PostedMetadata(LOCATION.name, at(second), {"X-Object-Meta-Color": color})
        engine.write_metadata(LOCATION, engine.look(LOCATION), posted, version).make_durable()

    return named(act, "")  # it writes no object


def delete(second: int, name: str = "") -> Action:
    """With the name of a removal mark or delete marker, if one is given."""

    def act(engine: FileDevice) -> None:
        tombstone = TombstoneMetadata(LOCATION.name, at(second))
        engine.write_tombstone(LOCATION, engine.look(LOCATION), tombstone, name).make_durable()

    return named(act, at(second))


def fill(engine: FileDevice) -> None:
    engine._disk.is_full = True  # type: ignore[attr-defined]


def named(action: Action, timestamp: str) -> Action:
    """With the timestamp of the object or tombstone it writes."""
    action.timestamp = timestamp  # type: ignore[attr-defined]
    return action


def at(second: int) -> str:
    return f"{second:010d}.00000"


def seen(engine: FileDevice) -> tuple[object, ...]:
    """What a reader gets, of the current version and of each one.

    A corrupt object would be quarantined, which the disk takes as a failure.
    """
    lines = engine.look(LOCATION).lines
    return tuple(seen_of(engine, version) for version in (None, *(line.version for line in lines if line.names)))


def seen_of(engine: FileDevice, version: str | None) -> tuple[object, ...]:
    stored = engine.open(LOCATION, version=version)
    if isinstance(stored, Missing):
        return ("missing", stored.timestamp, stored.version, stored.is_marker)
    info = stored.info
    return (stored.read(), info.timestamp, info.headers, info.data.timestamp)


def engine_on(disk: CrashingDisk) -> FileDevice:
    return FileDevice(disk, Logger("test", Sink()), 2**20, Random(0), Clock())


REMOVAL = f"{at(4)}!{at(2)}.ts"
SCENARIOS = {
    "first put": ([], put(2, b"new")),
    "put over an object": ([put(1, b"old")], put(2, b"new")),
    "put over an object with posted metadata": ([put(1, b"old"), post(2, "red")], put(3, b"new", "blue")),
    "put over a tombstone": ([put(1, b"old"), delete(2)], put(3, b"new")),
    "put of long metadata": ([put(1, b"old")], put(2, b"new", "x" * 5000)),
    "large put": ([put(1, b"old")], put(2, b"new" * 500_000)),
    "delete": ([put(1, b"old")], delete(2)),
    "delete of nothing": ([], delete(1)),
    "delete on a full disk": ([put(1, b"old"), fill], delete(2)),
    "delete of posted metadata on a full disk": ([put(1, b"old"), post(2, "x" * 5000), fill], delete(3)),
    "post": ([put(1, b"old", "red")], post(2, "blue")),
    "second post": ([put(1, b"old"), post(2, "red")], post(3, "blue")),
    "post of long metadata": ([put(1, b"old")], post(2, "x" * 5000)),
    "kept put": ([put(1, b"null"), keep(2, b"kept")], keep(3, b"new")),
    "plain put beside a kept version": ([put(1, b"null"), keep(2, b"kept")], put(3, b"new")),
    "kept version that is current again": (
        [keep(1, b"old"), keep(2, b"new"), post(3, "red", at(1))],
        keep(4, b"old", 1),
    ),
    "removal of a kept version": ([keep(1, b"old"), keep(2, b"new"), post(3, "red", at(2))], delete(4, REMOVAL)),
    "removal on a full disk": ([keep(1, b"old"), keep(2, b"new"), fill], delete(4, REMOVAL)),
    "removal of a delete marker": ([keep(1, b"old"), delete(2, f"{at(2)}!.ts")], delete(4, REMOVAL)),
    "kept delete marker": ([put(1, b"null"), keep(2, b"kept")], delete(3, f"{at(3)}!.ts")),
    "delete marker of the plain line": ([put(1, b"null"), keep(2, b"kept")], delete(3, f"{at(3)}!null.ts")),
    "post to a kept version": ([keep(1, b"old"), keep(2, b"new")], post(3, "blue", at(1))),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_crash_leaves_the_old_or_the_new(name: str) -> None:
    history, action = SCENARIOS[name]
    disk = prepared(history)
    before = seen(engine_on(disk))
    action(engine_on(disk))
    after = seen(engine_on(disk))
    steps = disk.steps - prepared(history).steps
    assert before != after
    for crash_at in range(steps + 1):
        for seed in SEEDS:
            disk = prepared(history)
            disk.crash_at = disk.steps + crash_at
            settled = False
            try:
                action(engine_on(disk))
                settled = True
            except Crashed:
                pass
            disk.crash(Random(seed))
            assert seen(engine_on(disk)) in ([after] if settled else [before, after]), (crash_at, disk.trace)


@pytest.mark.parametrize("name", SCENARIOS)
def test_an_action_repeated_after_a_crash_gets_through(name: str) -> None:
    history, action = SCENARIOS[name]
    disk = prepared(history)
    start = disk.steps
    action(engine_on(disk))
    after = seen(engine_on(disk))
    for crash_at in range(disk.steps - start):
        disk = prepared(history)
        disk.crash_at = disk.steps + crash_at
        with pytest.raises(Crashed):
            action(engine_on(disk))
        disk.crash(Random(crash_at))
        if seen(engine_on(disk)) != after:
            action(engine_on(disk))
        assert seen(engine_on(disk)) == after


def test_a_crash_while_the_current_version_is_removed_brings_no_older_one_back() -> None:
    """A marker that hides those below, then the removal mark: what is left is as it was, hidden, or removed."""
    history = [keep(1, b"old"), keep(2, b"new")]

    def removal(second: int) -> list[Action]:
        return [delete(second, f"{at(second)}!{line}.ts") for line in ("null", at(2))]

    def states(disk: CrashingDisk) -> list[tuple[object, ...]]:
        return [seen_of(engine_on(disk), version) for version in (None, at(1), at(2))]

    disk = prepared(history)
    start, allowed = disk.steps, [states(disk)]
    for action in removal(3):
        action(engine_on(disk))
        allowed.append(states(disk))
    before, hidden, after = allowed
    assert (hidden[0][0], hidden[1:]) == ("missing", before[1:])
    assert (after[0][0], after[1], after[2][0]) == ("missing", before[1], "missing")
    for crash_at in range(disk.steps - start):
        for seed in SEEDS:
            disk = prepared(history)
            disk.crash_at = disk.steps + crash_at
            with pytest.raises(Crashed):
                for action in removal(3):
                    action(engine_on(disk))
            disk.crash(Random(seed))
            assert states(disk) in allowed, (crash_at, disk.trace)
        for action in removal(4):  # its client asks again
            action(engine_on(disk))
        assert [each[0] for each in states(disk)] == ["missing", b"old", "missing"]


def prepared(history: list[Action]) -> CrashingDisk:
    disk = CrashingDisk()
    disk.make_directories(disk.path)
    for action in history:
        action(engine_on(disk))
    disk.settle_everything()
    disk.trace.clear()
    return disk


def test_the_order_of_a_put_over_an_object() -> None:
    disk = prepared([put(1, b"old")])
    put(2, b"new")(engine_on(disk))
    assert disk.trace == ["create", "write", "set_attribute", "flush File", "link", "flush Directory", "unlink"]


def test_new_directories_are_made_durable_with_their_parents() -> None:
    disk = prepared([])
    put(1, b"new")(engine_on(disk))
    # objects, 7 and the suffix, so that the file can be made near them; at last the hash directory.
    head = ["mkdir"] * 3 + ["create", "write", "set_attribute", "flush File", "mkdir", "link"]
    # The device and the root above it, and so all there is.
    assert disk.trace == [*head, "flush" + " Directory" * 7 + " File"]


WRITERS = {
    "two first puts": [put(1, b"one"), put(2, b"two")],
    "put and delete": [put(1, b"one"), delete(2)],
    "put, put and delete": [put(1, b"one"), put(2, b"two"), delete(3)],
    "put twice, post": [put(1, b"one"), put(3, b"three"), post(2, "red")],
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("history", [[], [put(0, b"zero")]], ids=["nothing", "an object"])
def test_writers_side_by_side_lose_nothing_that_was_settled(name: str, history: list[Action]) -> None:
    for seed in range(400):
        random = Random(seed)
        disk = prepared(history)
        disk.crash_at = disk.steps + random.randrange(60)
        # Steps of all writers interleave as chance has it.
        disk.between_steps = lambda random=random: [concurrency.sleep(0) for _ in range(random.randrange(3))]
        engine = engine_on(disk)
        settled: list[str] = []
        tasks = [concurrency.spawn(_run, action, engine, settled) for action in WRITERS[name]]
        for task in tasks:
            task.wait()
        disk.between_steps = lambda: None
        disk.crash(Random(seed))
        newest = engine_on(disk).look(LOCATION).timestamp
        assert newest >= max(settled, default=at(0) if history else ""), (seed, disk.trace)
        seen(engine_on(disk))


def _run(action: Action, engine: FileDevice, settled: list[str]) -> None:
    try:
        action(engine)
    except Crashed:
        return
    settled.append(action.timestamp)  # type: ignore[attr-defined]
