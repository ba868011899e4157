"""Completions, aborts, overwrites and reclaims end at each of their calls: no named part goes, and none is left."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from objstore.errors import StoreError
from objstore.http.transport import BackendRequest, NodeFailure
from objstore.proxy.core.errors import ObjectNotFound, UploadNotFound
from objstore.proxy.core.upload_commands import ChosenPart
from tests.unit.container.uploading import Store

MEMORY = "/dev/shm"  # hundreds of stores are made, and nothing is flushed there
# What servers send each other goes on while a proxy or a daemon is dead.
OF_SERVERS = ("UPDATE", "REPLICATE")
CALLS_MAX = 500
CONTENT = b"hello world"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where stores are made: in memory, if files there can have attributes."""
    with TemporaryDirectory(dir=MEMORY if os.path.isdir(MEMORY) else None) as made:
        try:
            os.setxattr(made, "user.test", b"")
        except OSError:
            yield tmp_path
        else:
            yield Path(made)


@contextmanager
def dying(store: Store, calls: int) -> Iterator[list[BackendRequest]]:
    """Whoever sends requests is cut off after so many; those that are refused are gathered."""
    refused: list[BackendRequest] = []
    left = calls

    def before(request: BackendRequest) -> None:
        nonlocal left
        if request.method in OF_SERVERS:
            return
        left -= 1
        if left < 0:
            refused.append(request)
            raise NodeFailure(request.node, "connect")

    store.replicas.before = before
    try:
        yield refused
    finally:
        store.replicas.before = None


class Interrupted:
    """An upload of two parts, one of which was sent twice, and what is done with it."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.upload = self.store.begin()
        self.store.put_part(self.upload, 1, b"first try")
        self.parts = [self.store.put_part(self.upload, n, part) for n, part in ((1, b"hello "), (2, b"world"))]

    def complete(self) -> None:
        self.store.complete(self.upload, *self.parts)

    def abort(self) -> None:
        self.store.abort(self.upload)

    def check_whole(self) -> bool:
        """Whether the object is there; it is whole then."""
        try:
            found = self.store.read()
        except ObjectNotFound:
            return False
        assert found == CONTENT
        return True

    def settle(self) -> None:
        """All daemons have had their time."""
        self.store.replicate()
        self.store.sweep()
        self.store.reclaim()

    def check_empty(self) -> None:
        assert (self.store.hidden(), self.store.files(), self.store.notes()) == ([], [], [])


def each_call(
    folder: Path, prepare: Callable[[Interrupted], None], act: Callable[[Interrupted], None]
) -> Iterator[Interrupted]:
    """Worlds in which `act` ended after 0, 1, 2... calls, the last of them after all."""
    for calls in range(CALLS_MAX):
        world = Interrupted(folder / str(calls))
        prepare(world)
        with dying(world.store, calls) as refused:
            try:
                act(world)
            except StoreError:
                assert refused
        yield world
        if not refused:
            assert calls >= 3
            return
    raise AssertionError("it does not end")


def nothing(world: Interrupted) -> None:
    pass


def test_a_completion_that_ends_anywhere_can_be_repeated_and_keeps_its_parts(folder: Path) -> None:
    for world in each_call(folder, nothing, Interrupted.complete):
        was_there = world.check_whole()
        world.settle()
        assert world.check_whole() == was_there
        world.complete()
        assert world.check_whole()
        world.settle()
        assert world.check_whole()
        world.store.delete()
        world.settle()
        world.check_empty()


def test_an_abort_that_ends_anywhere_leaves_an_upload_or_nothing(folder: Path) -> None:
    for world in each_call(folder, nothing, Interrupted.abort):
        world.settle()
        try:
            world.abort()
        except UploadNotFound:
            pass
        world.settle()
        world.check_empty()


@pytest.mark.parametrize("version_mode", ["", "keep"])
def test_an_overwrite_that_ends_anywhere_loses_no_part_of_what_stays(folder: Path, version_mode: str) -> None:
    def overwrite(world: Interrupted) -> None:
        world.store.put(b"plain", version_mode=version_mode)

    versions = []

    def complete(world: Interrupted) -> None:
        versions.append(world.store.complete(world.upload, *world.parts, version_mode=version_mode).version)

    for world in each_call(folder, complete, overwrite):
        store = world.store
        world.settle()
        if version_mode:
            assert store.read(versions[-1]) == CONTENT
            store.delete(version=versions[-1])
        elif not store.is_plain():
            assert store.read() == CONTENT
        store.put(b"plain")
        world.settle()
        assert store.hidden() == []
        assert not any("part/" in store.name_in(file) for file in store.files())


@pytest.mark.parametrize("aborts", [False, True])
def test_a_reclaim_that_ends_anywhere_is_ended_by_the_next(folder: Path, aborts: bool) -> None:
    def prepare(world: Interrupted) -> None:
        if aborts:
            world.abort()
        else:
            world.complete()
            world.store.delete()

    for world in each_call(folder, prepare, lambda world: world.store.reclaim(1)):
        world.settle()
        world.check_empty()


def test_a_reclaim_of_what_was_not_chosen_that_ends_anywhere_keeps_what_was(folder: Path) -> None:
    for world in each_call(folder, Interrupted.complete, lambda world: world.store.reclaim(1)):
        assert world.check_whole()
        world.settle()
        assert world.check_whole()
        assert len(world.store.hidden()) == 2


def test_a_sweep_that_ends_anywhere_harms_nothing(folder: Path) -> None:
    """While one upload is open, one made an object, and one was aborted unnoticed."""
    chosen: list[ChosenPart] = []

    def prepare(world: Interrupted) -> None:
        world.complete()
        gone, still = world.store.begin(), world.store.begin()
        world.store.put_part(gone, 1, b"gone")
        world.store.abort(gone)
        world.store.forget_notes()
        world.upload = still
        chosen[:] = [world.store.put_part(still, 1, b"still")]

    def sweep(world: Interrupted) -> None:
        world.store.reclaim(1, after=0.0, sweeps=True)

    for world in each_call(folder, prepare, sweep):
        assert world.check_whole()
        world.store.complete(world.upload, *chosen)
        world.settle()
        assert world.store.read() == b"still"
        assert len(world.store.hidden()) == 1
