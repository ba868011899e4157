"""Settings of buckets: kept whole, short or long, and each apart from the others."""

from __future__ import annotations

import random

import pytest

from objstore.paths import ResourcePath
from objstore.proxy.core.errors import QuorumNotReached
from objstore.proxy.core.info import PRESENT, ContainerInfo
from objstore.proxy.s3.buckets import Bucket
from objstore.proxy.s3.settings import INLINE_LENGTH_MAX, BucketSettings
from objstore.proxy.s3.settings_table import SETTINGS, by_operation
from tests.unit.proxy.s3.memory import MemoryCore

PATH = ResourcePath("AUTH_a", "photos")
LONG = random.Random(1).randbytes(INLINE_LENGTH_MAX)


@pytest.fixture
def core() -> MemoryCore:
    core = MemoryCore()
    core.made[PATH] = ContainerInfo(PRESENT)
    return core


def bucket(core: MemoryCore) -> Bucket:
    return Bucket(PATH, core.made[PATH])


def read(core: MemoryCore, name: str) -> bytes | None:
    return BucketSettings(core.context).read(bucket(core), name, "")


@pytest.mark.parametrize("content", [b"", b"short", LONG], ids=["empty", "short", "long"])
def test_written_read_and_removed(core: MemoryCore, content: bytes) -> None:
    settings = BucketSettings(core.context)
    assert read(core, "Policy") is None
    settings.write(bucket(core), {"Policy": content, "Acl": b"x"}, "")
    assert (read(core, "Policy"), read(core, "Acl")) == (content, b"x")
    core.clock.seconds += 1
    settings.write(bucket(core), {"Policy": None}, "")
    assert (read(core, "Policy"), read(core, "Acl")) == (None, b"x")
    assert core.stored == {}


def test_a_long_one_that_is_replaced_is_gone(core: MemoryCore) -> None:
    settings = BucketSettings(core.context)
    for number in range(3):
        core.clock.seconds += 1
        settings.write(bucket(core), {"Cors": LONG + bytes([number])}, "")
        assert read(core, "Cors") == LONG + bytes([number])
        assert len(core.stored) == 1
    assert all(len(value) <= INLINE_LENGTH_MAX for value in core.made[PATH].sysmeta.values())


def test_one_that_cannot_be_read_is_not_taken_for_none(core: MemoryCore) -> None:
    settings = BucketSettings(core.context)
    settings.write(bucket(core), {"Policy": LONG}, "")
    core.stored.clear()
    with pytest.raises(QuorumNotReached):
        read(core, "Policy")


def test_operations_stand_in_the_table_once() -> None:
    operations = [each for setting in SETTINGS for each in (setting.get, setting.put, setting.delete) if each]
    assert len(operations) == len(set(operations))
    assert len(by_operation("get")) == len(SETTINGS)
    named = [setting.name for setting in SETTINGS if setting.name]
    assert len(named) == len(set(named))
    # What can be set is checked, and has a name under which it is kept.
    assert all(setting.name and setting.root and setting.check for setting in SETTINGS if setting.put)
