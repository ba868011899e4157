"""Both caches, and the table by which workers forget together."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from objstore.proxy.core.cache import SharedCache
from objstore.proxy.core.lookup import LocalCache
from objstore.system.generations import Generations
from tests.doubles import ManualClock


class Value(msgspec.Struct, frozen=True):
    """What is cached here."""

    number: int


class FakeMemcached:
    """A memcached in memory, on the same clock."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.stored: dict[str, tuple[bytes, float]] = {}
        self.numbers: dict[str, int] = {}

    def get(self, key: str) -> bytes | None:
        assert len(key) <= 200
        value, until = self.stored.get(key, (b"", 0.0))
        return value if until > self.clock.seconds else None

    def gets(self, key: str) -> tuple[bytes | None, bytes | None]:
        value = self.get(key)
        return (None, None) if value is None else (value, str(self.numbers[key]).encode())

    def cas(self, key: str, value: bytes, cas: bytes, expire: int) -> bool | None:
        if self.gets(key)[1] != cas:
            return None
        return self.set(key, value, expire, True)

    def add(self, key: str, value: bytes, expire: int) -> bool:
        return self.get(key) is None and self.set(key, value, expire, True)

    def set(self, key: str, value: bytes, expire: int, noreply: bool) -> bool:
        self.stored[key] = (value, self.clock.seconds + expire)
        self.numbers[key] = self.numbers.get(key, 0) + 1
        return True


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture(params=["local", "shared"])
def cache(request: pytest.FixtureRequest, clock: ManualClock) -> LocalCache | SharedCache:
    if request.param == "local":
        return LocalCache(clock, Generations(64))
    return shared(FakeMemcached(clock))


def shared(memcached: FakeMemcached) -> SharedCache:
    return SharedCache(memcached.clock, memcached, LocalCache(memcached.clock, Generations(64)))


def put(cache: LocalCache | SharedCache, key: str, number: int, seconds: float = 60.0) -> None:
    cache.set(key, Value(number), seconds, cache.generation(key))


def test_a_value_is_remembered_until_it_is_too_old(cache: LocalCache | SharedCache, clock: ManualClock) -> None:
    assert cache.get("container/a/name with ☃", Value) is None
    put(cache, "container/a/name with ☃", 1)
    assert cache.get("container/a/name with ☃", Value) == Value(1)
    clock.seconds += 59
    assert cache.get("container/a/name with ☃", Value) == Value(1)
    clock.seconds += 2
    assert cache.get("container/a/name with ☃", Value) is None


def test_a_change_is_seen_at_once(cache: LocalCache | SharedCache, clock: ManualClock) -> None:
    put(cache, "k", 1)
    cache.invalidate("k")
    assert cache.get("k", Value) is None
    put(cache, "k", 2)
    assert cache.get("k", Value) == Value(2)


@pytest.mark.parametrize("late_seconds", [0, 5, 14.5, 100])
def test_what_was_fetched_before_a_change_is_not_kept(
    cache: LocalCache | SharedCache, clock: ManualClock, late_seconds: float
) -> None:
    begun = cache.generation("k")
    cache.invalidate("k")
    clock.seconds += late_seconds
    cache.set("k", Value(1), 60.0, begun)
    assert cache.get("k", Value) is None


def test_another_node_sees_a_change_after_a_second(clock: ManualClock) -> None:
    memcached = FakeMemcached(clock)
    here, there = shared(memcached), shared(memcached)
    put(here, "k", 1)
    assert there.get("k", Value) == Value(1)
    here.invalidate("k")
    put(here, "k", 2)
    clock.seconds += 1.1
    assert there.get("k", Value) == Value(2)


def test_what_another_node_fetched_before_a_change_is_not_kept(clock: ManualClock) -> None:
    memcached = FakeMemcached(clock)
    here, there = shared(memcached), shared(memcached)
    begun = there.generation("k")
    here.invalidate("k")
    put(here, "k", 2)
    there.set("k", Value(1), 60.0, begun)
    clock.seconds += 1.1
    assert there.get("k", Value) == Value(2)


def test_the_least_used_goes_first(clock: ManualClock) -> None:
    cache = LocalCache(clock, Generations(64), entries_max=2)
    put(cache, "a", 1)
    put(cache, "b", 2)
    assert cache.get("a", Value)
    put(cache, "c", 3)
    assert cache.get("b", Value) is None
    assert cache.get("a", Value) == Value(1)


def test_garbage_in_memcached_is_a_miss(clock: ManualClock) -> None:
    memcached = FakeMemcached(clock)
    cache = shared(memcached)
    put(cache, "k", 1)
    (key,) = memcached.stored
    memcached.set(key, b"garbage", 60, True)
    assert cache.get("k", Value) is None


FORK = """
import os
from objstore.system.generations import shared_generations
before = shared_generations().read("k")
if os.fork() == 0:
    shared_generations().bump("k")
    os._exit(0)
os.wait()
assert shared_generations().read("k") != before
"""


def test_a_forked_process_sees_a_bump() -> None:
    # In a process of its own: eventlet, which other tests have loaded, complains of forks.
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=30)


def test_slots_are_a_power_of_two() -> None:
    with pytest.raises(ValueError, match="power of two"):
        Generations(100)
