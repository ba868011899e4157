"""Files, attributes and locks."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from objstore.system import concurrency, files, locks, xattrs
from objstore.system.clock import Clock
from objstore.system.locks import LockTimeout


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    files.write_atomically(path, b"old")
    files.write_atomically(path, b"new", 0o644)
    assert Path(path).read_bytes() == b"new"
    assert os.stat(path).st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["file"]


STEPS = ("open", "write", "fsync", "replace")


@pytest.mark.parametrize("step", STEPS)
def test_whatever_fails_the_file_is_old_or_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = str(tmp_path / "file")
    files.write_atomically(path, b"old")
    real: Callable[..., Any] = getattr(os, step)
    for nth in range(1, 4):
        calls = 0

        def failing(*arguments: Any, nth: int = nth, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == nth:
                raise OSError(5, "injected")
            return real(*arguments, **options)

        with monkeypatch.context() as patched:
            patched.setattr(os, step, failing)
            try:
                files.write_atomically(path, b"new")
            except OSError as error:
                assert error.strerror == "injected"
        assert Path(path).read_bytes() in (b"old", b"new")
        assert os.listdir(tmp_path) == ["file"]
        assert calls >= 1


def test_what_a_crash_left_is_stepped_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "file")
    monkeypatch.setattr(files, "_temporary_counter", 0)
    Path(files.temporary_name(path)).write_bytes(b"left over")
    monkeypatch.setattr(files, "_temporary_counter", 0)
    files.write_atomically(path, b"content")
    assert Path(path).read_bytes() == b"content"


def test_writing_goes_on_until_all_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, content: real(fd, content[:3]))
    files.write_all(descriptor, b"0123456789")
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_directories(tmp_path: Path) -> None:
    deep = f"{tmp_path}/a/b/c"
    assert files.make_directories(deep) == [str(tmp_path), f"{tmp_path}/a", f"{tmp_path}/a/b"]
    assert files.make_directories(deep) == []
    assert files.list_directory(f"{tmp_path}/a") == ["b"]
    assert files.list_directory(f"{tmp_path}/none") == []
    assert not files.remove_empty_directory(f"{tmp_path}/a")
    assert files.remove_empty_directory(deep)
    assert not files.remove_empty_directory(deep)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        files.remove_empty_directory(f"{tmp_path}/file")
    assert files.unlink_quietly(f"{tmp_path}/file")
    assert not files.unlink_quietly(f"{tmp_path}/file")


def test_moving_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = f"{tmp_path}/quarantined/x"
    for name in ("x", "x-1", "x-2"):
        source = tmp_path / "source"
        source.mkdir()
        (source / name).touch()
        assert files.move_aside(str(source), target) == f"{tmp_path}/quarantined/{name}"
    with pytest.raises(FileNotFoundError):
        files.move_aside(f"{tmp_path}/none", target)
    monkeypatch.setattr(files, "MOVE_ATTEMPTS", 2)
    (tmp_path / "source").mkdir()
    with pytest.raises(FileExistsError):
        files.move_aside(f"{tmp_path}/source", target)
    assert (tmp_path / "source").exists()


def test_attributes(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    assert xattrs.get(descriptor, "user.a") is None
    xattrs.set(descriptor, "user.a", b"\0value")
    assert xattrs.get(descriptor, "user.a") == b"\0value"
    os.close(descriptor)
    with pytest.raises(OSError):
        xattrs.get(descriptor, "user.a")


def test_locks(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    concurrency.sleep()  # the hub has descriptors of its own
    before = len(os.listdir("/proc/self/fd"))
    with locks.locked(path), pytest.raises(LockTimeout, match="locked by another process"), locks.locked(path, 0.0):
        pass

    def hold() -> int:
        with locks.locked(path, 5.0) as descriptor:
            return descriptor

    with locks.locked(path):
        waiting = concurrency.spawn(hold)
        concurrency.sleep()
        assert not waiting.dead
    assert waiting.wait(5.0) > 0
    assert len(os.listdir("/proc/self/fd")) == before


def test_timestamps_always_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    given = [clock.timestamp() for _ in range(1000)]
    assert given == sorted(set(given))
    monkeypatch.setattr(clock, "now", lambda: 1.0)
    assert clock.timestamp() > given[-1]
    assert clock.monotonic() <= clock.monotonic()
