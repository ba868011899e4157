"""Digests after others have removed files: a read or an audit that meets the hole has them computed anew."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from objstore.object.engine import make_engine
from objstore.object.file_engine.engine import FileDevice
from objstore.policies import Policy
from tests.unit.object.harness import ServedFolder, at

GOLD = Policy(0, "gold")
PARTITION = "7"


@pytest.fixture
def engine(store: ServedFolder) -> FileDevice:
    return make_engine("file", store.runtime, 0).device(str(store.root / "sda"))  # type: ignore[return-value]


@pytest.fixture
def kept_digest(store: ServedFolder, engine: FileDevice) -> Callable[[], str]:
    """The digest of the object's suffix, old enough to be kept; "" if there is none."""

    def digest() -> str:
        return engine.digests(GOLD, PARTITION, time.time() + 60, "").suffixes.get(suffix_of(store), "")

    return digest


def suffix_of(store: ServedFolder) -> str:
    return store.directory().parent.name


def remove_by_hand(store: ServedFolder, name: str) -> None:
    """The suffix directory does not change with it."""
    suffix = store.directory().parent
    before = suffix.stat().st_mtime_ns
    (store.directory() / name).unlink()
    assert suffix.stat().st_mtime_ns == before


def test_a_read_that_misses_a_file_has_its_partition_compared_anew(
    store: ServedFolder, engine: FileDevice, kept_digest: Callable[[], str]
) -> None:
    store.put(1)
    found, surface = kept_digest(), engine.surface(GOLD)
    assert store.get("/sda/7/a/c/never-there").status == 404
    remove_by_hand(store, at(1) + ".data")
    assert kept_digest() == found != ""
    assert engine.surface(GOLD) == surface
    assert store.get().status == 404
    assert engine.surface(GOLD) != surface
    assert kept_digest() == ""


def test_a_read_that_misses_the_object_of_metadata_has_them_compared_anew(
    store: ServedFolder, kept_digest: Callable[[], str]
) -> None:
    store.put(1)
    store.post(2)
    found = kept_digest()
    remove_by_hand(store, at(1) + ".data")
    assert kept_digest() == found
    assert store.get().status == 404
    assert kept_digest() != found


def age(*directories: Path) -> None:
    for directory in directories:
        os.utime(directory, (1, 1))


def test_an_audit_has_compared_anew_what_others_have_changed(
    store: ServedFolder, engine: FileDevice, kept_digest: Callable[[], str]
) -> None:
    store.put(1)
    store.post(2)
    assert not engine.notice_changes(GOLD, PARTITION, suffix_of(store))
    age(store.directory(), store.directory().parent)
    found = kept_digest()
    remove_by_hand(store, at(2) + ".meta")
    assert kept_digest() == found
    assert engine.notice_changes(GOLD, PARTITION, suffix_of(store))
    assert kept_digest() not in (found, "")
    assert not engine.notice_changes(GOLD, PARTITION, suffix_of(store))


def test_an_audit_notices_a_file_that_vanished_without_a_trace(
    store: ServedFolder, engine: FileDevice, kept_digest: Callable[[], str]
) -> None:
    store.put(1)
    age(store.directory(), store.directory().parent)
    found = kept_digest()
    remove_by_hand(store, at(1) + ".data")
    age(store.directory())  # as fsck leaves it
    assert kept_digest() == found != ""
    assert engine.notice_changes(GOLD, PARTITION, suffix_of(store))
    assert kept_digest() == ""
    assert not engine.notice_changes(GOLD, PARTITION, suffix_of(store))
