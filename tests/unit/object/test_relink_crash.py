"""Whenever the power goes while the part power is increased, an object is the old one or the new one, and stays it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from xxhash import xxh3_128_hexdigest

from objstore.object.engine import Location, Missing
from objstore.object.file_engine.engine import FileDevice
from objstore.object.metadata import ObjectMetadata, PostedMetadata, TombstoneMetadata
from objstore.object.part_power import link_ahead, relink_to_current
from objstore.policies import Policy
from objstore.system.threads import ThreadGroup
from tests.unit.object.crashing_disk import Crashed, CrashingDisk
from tests.unit.object.test_crash import at, engine_on

DIGEST = "f0000000" + "0" * 24
OLD, NEW = "7", "15"  # by the powers 3 and 4
AT_REST = Location(Policy(0, "gold"), OLD, DIGEST, "/a/c/o")
PREPARED = Location(Policy(0, "gold"), OLD, DIGEST, "/a/c/o", (NEW,), NEW)
INCREASED = Location(Policy(0, "gold"), NEW, DIGEST, "/a/c/o", (OLD,))
HOME = Location(Policy(0, "gold"), NEW, DIGEST, "/a/c/o")
AT_ONCE = SimpleNamespace(call=lambda function, *arguments: function(*arguments))
THREADS = cast(ThreadGroup, SimpleNamespace(of=lambda _device: AT_ONCE))
SEEDS = range(25)

Action = Callable[[FileDevice], None]


def put(place: Location, second: int, body: bytes) -> Action:
    def act(engine: FileDevice) -> None:
        upload = engine.create(place, engine.look(place), len(body))
        upload.write(body)
        checksum = xxh3_128_hexdigest(body)
        metadata = ObjectMetadata(place.name, at(second), len(body), "etag", checksum, "text/plain", {})
        upload.commit(metadata).make_durable()

    return act


def post(place: Location, second: int) -> Action:
    posted = PostedMetadata(place.name, at(second), {"X-Object-Meta-Color": "red"})
    return lambda engine: engine.write_metadata(place, engine.look(place), posted).make_durable()


def delete(place: Location, second: int) -> Action:
    tombstone = TombstoneMetadata(place.name, at(second))
    return lambda engine: engine.write_tombstone(place, engine.look(place), tombstone).make_durable()


def relink(engine: FileDevice) -> None:
    link_ahead(engine, PREPARED)
    engine.make_durable(PREPARED.policy, OLD)


def clean_up(engine: FileDevice) -> None:
    relink_to_current(engine, THREADS, INCREASED, OLD)


def seen(engine: FileDevice, place: Location) -> tuple[Any, ...]:
    """What a reader gets; a corrupt object would be quarantined, which the disk takes as a failure."""
    stored = engine.open(place)
    if isinstance(stored, Missing):
        return ("missing", stored.timestamp)
    info = stored.info
    return (stored.read(), info.timestamp, info.headers)


STORED: list[Action] = [put(AT_REST, 1, b"old"), post(AT_REST, 2)]
SCENARIOS: dict[str, tuple[list[Action], Action, Location]] = {
    "first put, prepared": ([], put(PREPARED, 3, b"new"), PREPARED),
    "put, prepared": (STORED, put(PREPARED, 3, b"new"), PREPARED),
    "put, relinked": ([*STORED, relink], put(PREPARED, 3, b"new"), PREPARED),
    "post, relinked": ([*STORED, relink], post(PREPARED, 3), PREPARED),
    "delete, relinked": ([*STORED, relink], delete(PREPARED, 3), PREPARED),
    "relinking": (STORED, relink, PREPARED),
    "put, increased": ([*STORED, relink], put(INCREASED, 3, b"new"), INCREASED),
    "put, increased, not relinked": (STORED, put(INCREASED, 3, b"new"), INCREASED),
    "delete, increased": ([*STORED, relink], delete(INCREASED, 3), INCREASED),
    "cleaning up": ([*STORED, relink], clean_up, INCREASED),
    "cleaning up what was not relinked": (STORED, clean_up, INCREASED),
    "cleaning up after a delete": ([*STORED, delete(INCREASED, 3)], clean_up, INCREASED),
}


def prepared(history: list[Action]) -> CrashingDisk:
    disk = CrashingDisk()
    disk.make_directories(disk.path)
    for action in history:
        action(engine_on(disk))
    disk.settle_everything()
    disk.trace.clear()
    return disk


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_crash_leaves_the_old_or_the_new_and_cleaning_up_keeps_it(name: str) -> None:
    history, action, place = SCENARIOS[name]
    disk = prepared(history)
    start, before = disk.steps, seen(engine_on(disk), place)
    action(engine_on(disk))
    after = seen(engine_on(disk), place)
    for crash_at in range(disk.steps - start + 1):
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
            found = seen(engine_on(disk), place)
            assert found in ([after] if settled else [before, after]), (crash_at, disk.trace)
            assert seen(engine_on(disk), INCREASED) == found, "the ring may be increased now"
            if settled and place is PREPARED:
                assert seen(engine_on(disk), HOME) == found, "the second name is as durable as the first"
            clean_up(engine_on(disk))
            assert seen(engine_on(disk), HOME) == found, (crash_at, disk.trace)
            assert not disk.names(f"/srv/d1/objects/{OLD}/000/{DIGEST}")
