"""The engine of one file per object without room on its filesystem: writes are refused, deletions still free space."""

import errno
import os
from typing import Any

import pytest

from objstore.object.engine import make_engine
from objstore.object.file_engine.disk import Disk
from objstore.object.metadata import TombstoneMetadata
from objstore.policies import Policy
from objstore.system import xattrs
from objstore.system.disk_calls import DeviceCalls, Pending, Result
from tests.unit.object.harness import ServedFolder, at


def test_a_full_disk_is_507_and_nothing_stays(store: ServedFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Disk, "write", full)
    answer = store.put(1)
    assert (answer.status, answer.headers["X-Backend-Device-Full"]) == (507, "true")
    assert store.files() == []
    assert any(b"disk failed" in line for line in store.lines)


class Full:
    """A filesystem that has no room: for an inode, or for an attribute beside one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, lacks: str) -> None:
        def write(_calls: DeviceCalls, *_: Any) -> tuple[Result, Pending | None]:
            return (errno.ENOSPC, [], None), None

        def set_attribute(descriptor: int, *arguments: Any) -> None:
            if not self.freed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(descriptor, *arguments)

        def freed(descriptor: int, length: int) -> None:
            self.freed = True
            truncate(descriptor, length)

        self.freed, truncate, real = False, os.ftruncate, xattrs.set
        monkeypatch.setattr(DeviceCalls, "write", write)
        monkeypatch.setattr(os, "ftruncate", freed)
        if lacks == "blocks":
            monkeypatch.setattr(xattrs, "set", set_attribute)


@pytest.mark.parametrize("lacks", ["inodes", "blocks"])
@pytest.mark.parametrize("color", ["red", "x" * 5000])
def test_deletions_on_a_full_disk_free_space(
    store: ServedFolder, monkeypatch: pytest.MonkeyPatch, lacks: str, color: str
) -> None:
    body = b"x" * 300_000
    assert store.put(1, body, x_object_meta_color=color).status == 201
    Full(monkeypatch, lacks)
    assert store.delete(2).status == 204
    (path,) = (path for path in store.root.rglob("*") if path.suffix in (".data", ".ts"))
    assert (path.name, path.stat().st_size) == (at(2) + ".ts", 0)
    assert store.call("GET").status == 404
    assert store.put(1, body).status == 409
    monkeypatch.undo()
    engine = make_engine("file", store.runtime, 0).device(str(store.root / "sda"))
    args = (Policy(0, "gold"), "7", path.parent.name, path.name)
    assert engine.verify(*args, None) == TombstoneMetadata("/a/c/o", at(2))
    exported = engine.export(*args)
    assert exported is not None and exported.metadata == TombstoneMetadata("/a/c/o", at(2))


def test_a_deletion_that_was_broken_off_on_a_full_disk_is_one(store: ServedFolder) -> None:
    """The data file has got the tombstone's name when the power goes: nobody takes it for damaged."""
    assert store.put(1, b"body").status == 201
    (path,) = store.root.rglob("*.data")
    path.rename(path.with_name(at(2) + ".ts"))
    assert store.call("GET").status == 404
    engine = make_engine("file", store.runtime, 0).device(str(store.root / "sda"))
    args = (Policy(0, "gold"), "7", path.parent.name, at(2) + ".ts")
    assert engine.verify(*args, None) == TombstoneMetadata("/a/c/o", at(2))
    exported = engine.export(*args)
    assert exported is not None and exported.metadata == TombstoneMetadata("/a/c/o", at(2))
    assert not (store.root / "sda/quarantined").exists()


def test_removals_on_a_full_disk_free_the_space_of_their_version(
    store: ServedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b"x" * 300_000
    for second in (1, 2):
        assert store.put(second, body, x_backend_version_mode="keep").status == 201
    Full(monkeypatch, "inodes")
    assert store.delete(3, x_backend_version_id=at(1)).status == 204
    assert store.delete(4, x_backend_version_mode="keep").status == 507
    sizes = {path.name: path.stat().st_size for path in store.directory().iterdir()}
    assert sizes[f"{at(3)}!{at(1)}.ts"] == 0
    assert set(sizes) == {f"{at(2)}!.data", f"{at(3)}!{at(1)}.ts"}
    assert store.get().body == body
