"""Calls made by threads without the interpreter: what they give, who shares a flush, and a disk that hangs."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from objstore.system import concurrency, disk_calls, xattrs
from objstore.system.concurrency import Task, spawn
from objstore.system.disk_calls import CALL_THREADS, DeviceCalls, Flusher, OpenFile
from tests.waiting import wait_in_hub

ATTRIBUTE = "user.test"


@pytest.fixture
def calls(tmp_path: Path) -> DeviceCalls:
    return DeviceCalls(str(tmp_path), Flusher(), ATTRIBUTE)


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    """An open file."""
    opened = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def all_is_closed(calls: DeviceCalls, tmp_path: Path) -> Iterator[None]:
    """What threads still hold when a test ends is closed before the next one counts."""
    calls.look(str(tmp_path), -1)
    before = open_descriptors()
    yield
    wait_in_hub(lambda: gc.collect() is not None and open_descriptors() <= before)


def test_looking_at_directories(calls: DeviceCalls, tmp_path: Path) -> None:
    assert calls.look(f"{tmp_path}/absent", 10) == (errno.ENOENT, [], None)
    names = {f"name-{number}-" + "x" * 200 for number in range(100)} | {"\udcff", "ä"}
    for name in names:
        (tmp_path / name).touch()
    number, found, opened = calls.look(str(tmp_path), 10)
    assert (number, set(found), opened) == (0, names, None)
    assert calls.look(f"{tmp_path}/ä", 10)[0] == errno.ENOTDIR


@pytest.mark.parametrize("attribute", [b"short", b"", b"x" * 6000, None])
@pytest.mark.parametrize("read_max", [-1, 0, 3, 4])
def test_a_file_alone_in_its_directory(
    calls: DeviceCalls, tmp_path: Path, attribute: bytes | None, read_max: int
) -> None:
    (tmp_path / "only").write_bytes(b"body")
    if attribute is not None:
        with open(tmp_path / "only", "r+b") as file:
            try:
                xattrs.set(file.fileno(), ATTRIBUTE, attribute)
            except OSError:
                pytest.skip("this filesystem has no room for such an attribute")
    before = open_descriptors()
    for number, _, opened in (calls.look(str(tmp_path), read_max), calls.open(f"{tmp_path}/only", max(read_max, 0))):
        assert number == 0
        if opened is not None:
            assert (opened.size, opened.attribute) == (4, attribute)
            assert opened.content == (b"body" if read_max == 4 else None)
        else:
            assert read_max == -1
        del opened
    assert open_descriptors() == before


def test_writing(calls: DeviceCalls, tmp_path: Path) -> None:
    above, directory = f"{tmp_path}/a/b", f"{tmp_path}/a/b/c"
    before = open_descriptors()
    (number, _, opened), pending = calls.write(directory, above, "one", b"body", b"value", True, True)
    assert (number, opened) == (0, None)
    pending.wait()
    _, _, opened = calls.open(f"{directory}/one", 10)
    assert (opened.content, opened.attribute) == (b"body", b"value")
    (number, *_), _ = calls.write(directory, above, "one", b"other", b"", False, True)
    assert number == errno.EEXIST
    del opened, pending
    assert (tmp_path / "a/b/c/one").read_bytes() == b"body"
    assert open_descriptors() == before


def test_another_filesystem_may_have_been_mounted_on_the_device(calls: DeviceCalls) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as mounted:
        made = [spawn(calls.write, f"{mounted}/a", mounted, str(n), b"body", b"", True, True) for n in range(5)]
        for task in made:
            (number, *_), pending = task.wait(5)
            assert number == 0
            pending.wait()
        assert sorted(os.listdir(f"{mounted}/a")) == [str(n) for n in range(5)]


def test_directories_of_another_filesystem_are_always_flushed_with_a_name(tmp_path: Path) -> None:
    flusher = Flusher()
    calls, crew = DeviceCalls(str(tmp_path), flusher, ATTRIBUTE), flusher.crew_of(os.stat(tmp_path).st_dev)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as mounted:
        if os.stat(mounted).st_dev == os.stat(tmp_path).st_dev:
            pytest.skip("there is but one filesystem")
        os.mkdir(f"{mounted}/a")
        file = calls.stage(None, mounted, b"", None, False)[2]
        calls.publish(file, f"{mounted}/a", mounted, "name", False)[1].wait()
        assert crew.flushes() == (1, 1)


def test_one_file_is_flushed_alone(calls: DeviceCalls, tmp_path: Path) -> None:
    crew = calls._flusher.crew_of(os.stat(tmp_path).st_dev)
    assert calls.stage(None, str(tmp_path), b"x", None, True)[0] == 0
    assert crew.flushes() == (1, 0)


def test_staging_in_pieces(calls: DeviceCalls, tmp_path: Path) -> None:
    above, directory = f"{tmp_path}/a", f"{tmp_path}/a/b"
    number, _, file = calls.stage(None, above, b"one ", None, False)
    assert number == 0
    assert calls.stage(file, above, b"two", b"value", True) == (0, [], None)
    (number, *_), pending = calls.publish(file, directory, above, "name", False)
    assert number == 0
    pending.wait()
    file.close()
    assert (tmp_path / "a/b/name").read_bytes() == b"one two"


def test_a_new_name_touches_what_digests_go_by(calls: DeviceCalls, tmp_path: Path) -> None:
    above, directory = tmp_path / "a", tmp_path / "a/b"
    calls.write(str(directory), str(above), "one", b"", b"", True, True)[1].wait()
    os.utime(above, (1, 1))
    calls.write(str(directory), str(above), "two", b"", b"", False, True)[1].wait()
    assert above.stat().st_mtime > 1


def test_a_name_is_flushed_with_the_directories_above_it_if_any_was_made(tmp_path: Path) -> None:
    flusher = Flusher()
    calls, crew = DeviceCalls(str(tmp_path), flusher, ATTRIBUTE), flusher.crew_of(os.stat(tmp_path).st_dev)

    def publish(name: str, is_new: bool) -> tuple[int, int]:
        """How many flushes of the name alone, and of everything, it took."""
        file = calls.stage(None, str(tmp_path), b"", b"", False)[2]
        rounds, everything = crew.flushes()
        calls.publish(file, f"{tmp_path}/a/b/c", f"{tmp_path}/a/b", name, is_new)[1].wait()
        more, more_of_everything = crew.flushes()
        return more - rounds - (more_of_everything - everything), more_of_everything - everything

    assert publish("one", True) == (0, 1)
    assert publish("two", False) == (1, 0)
    calls.made_directories()  # somebody else, who has not flushed them
    assert publish("three", False) == (0, 1)
    assert publish("four", False) == (1, 0)


@pytest.mark.parametrize("data_first", [True, False])
def test_data_is_flushed_before_its_name_if_asked(tmp_path: Path, data_first: bool) -> None:
    flusher = Flusher()
    calls, crew = DeviceCalls(str(tmp_path), flusher, ATTRIBUTE), flusher.crew_of(os.stat(tmp_path).st_dev)
    rounds, _ = crew.flushes()
    (number, *_), pending = calls.write(f"{tmp_path}/a", str(tmp_path), "name", b"", b"", True, data_first)
    assert number == 0
    pending.wait()
    assert crew.flushes()[0] - rounds == 1 + data_first


def test_errors_are_numbers(calls: DeviceCalls, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    before = open_descriptors()
    assert calls.open(f"{tmp_path}/absent", 0) == (errno.ENOENT, [], None)
    assert calls.stage(None, f"{tmp_path}/file/below", b"", None, False)[0] == errno.ENOTDIR
    assert calls.stage(None, str(tmp_path), b"", b"x" * 100_000, False)[0] in (errno.ENOSPC, errno.E2BIG)
    (number, *_), _ = calls.write(f"{tmp_path}/file", str(tmp_path), "name", b"", b"", True, True)
    assert number == errno.ENOTDIR
    assert open_descriptors() == before
    closed = OpenFile(os.open(tmp_path, os.O_RDONLY))
    closed.close()
    with pytest.raises(OSError, match="Bad file"):
        calls.publish(closed, str(tmp_path), str(tmp_path), "name", False)


def test_what_nobody_waits_for_any_more_is_closed(calls: DeviceCalls, tmp_path: Path) -> None:
    calls.open(f"{tmp_path}/absent", 0)
    before = open_descriptors()
    _kill_while_they_wait([spawn(calls.stage, None, str(tmp_path), b"x", None, True) for _ in range(10)])
    calls.stage(None, str(tmp_path), b"x", None, True)
    wait_in_hub(lambda: gc.collect() is not None and open_descriptors() == before)
    file = calls.stage(None, str(tmp_path), b"x", None, False)[2]
    calls.close(file)
    wait_in_hub(lambda: open_descriptors() == before)


def _kill_while_they_wait(tasks: list[Task[Any]]) -> None:
    concurrency.sleep()
    for task in tasks:
        task.kill()
    wait_in_hub(lambda: all(task.dead for task in tasks))


def settle_task(task: Task[None]) -> BaseException | None:
    """What it raised."""
    try:
        task.wait(5)
    except BaseException as error:
        return error
    return None


def test_an_error_reaches_all_of_a_round_and_none_after(descriptor: int, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    broken = os.open(tmp_path / "fifo", os.O_RDWR)  # what cannot be flushed, on the same filesystem
    flusher = Flusher()
    crew = flusher.crew_of(os.stat(tmp_path).st_dev)

    def flush_broken() -> None:
        outcome: concurrency.Event[Any] = concurrency.Event()
        crew.flush(outcome, broken, False, True)
        number, *_ = outcome.wait(5)
        assert number

    tasks = [spawn(flush_broken), *(spawn(flusher.flush, descriptor) for _ in range(10))]
    errors = [settle_task(task) for task in tasks]
    assert errors[0] is None
    assert all(isinstance(error, OSError) and error.errno == errno.ESPIPE for error in errors[1:])
    flusher.flush(descriptor)
    os.close(broken)


def test_a_killed_waiter_and_its_closed_file_harm_nobody(descriptor: int, tmp_path: Path) -> None:
    flusher = Flusher()
    flusher.flush(descriptor)
    before = open_descriptors()

    def work() -> None:
        own = os.open(tmp_path, os.O_RDONLY)
        try:
            flusher.flush(own)
        finally:
            os.close(own)

    tasks = [spawn(work) for _ in range(10)]
    concurrency.sleep()
    for task in tasks[::2]:
        task.kill()
    for task in tasks[1::2]:
        assert settle_task(task) is None
    wait_in_hub(lambda: open_descriptors() == before, "descriptors of killed callers are closed")


class Hung:
    """Calls that hang: files that open when somebody writes to them."""

    def __init__(self, calls: DeviceCalls, folder: Path, count: int) -> None:
        self.paths = [folder / f"hung-{number}" for number in range(count)]
        for path in self.paths:
            os.mkfifo(path)
        self.tasks: list[Task[Any]] = [spawn(calls.open, str(path), 0) for path in self.paths]

    def end(self) -> None:
        for path in self.paths:
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))


@pytest.fixture
def hang(calls: DeviceCalls, tmp_path: Path) -> Iterator[Callable[[int], Hung]]:
    hung: list[Hung] = []

    def begin(count: int) -> Hung:
        hung.append(Hung(calls, tmp_path, count))
        concurrency.sleep(0)
        return hung[-1]

    yield begin
    for each in hung:
        each.end()
        each.tasks.clear()


def test_a_call_that_hangs_leaves_the_other_threads(calls: DeviceCalls, hang: Callable[[int], Hung]) -> None:
    hung = hang(CALL_THREADS - 1)
    assert calls.look("/proc/self/fd", -1)[0] == 0
    hung.end()
    assert [task.wait(5)[0] for task in hung.tasks] == [0] * (CALL_THREADS - 1)


def test_a_disk_that_hangs_holds_up_nobody_else(
    calls: DeviceCalls, hang: Callable[[int], Hung], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_calls, "HUNG_SECONDS", 0.2)
    hung = hang(CALL_THREADS)
    flusher = Flusher()
    other = DeviceCalls("/dev/shm", flusher, ATTRIBUTE)  # the crew of another filesystem
    for _ in range(3):
        assert other.look("/dev/shm", -1)[0] == 0
    with pytest.raises(OSError, match="does not answer"):
        calls.look(str(tmp_path), -1)  # it waits for a thread
    wait_in_hub(lambda: all(task.dead for task in hung.tasks))
    assert [task.done._error.errno for task in hung.tasks] == [errno.ETIMEDOUT] * CALL_THREADS  # type: ignore[union-attr]


def test_while_a_call_is_overdue_no_further_ones_are_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_calls, "HUNG_SECONDS", 0.3)
    calls = DeviceCalls(str(tmp_path), Flusher(), ATTRIBUTE)
    hung = Hung(calls, tmp_path, 1)
    with pytest.raises(OSError, match="does not answer"):
        hung.tasks[0].wait(5)
    wait_in_hub(lambda: not _answers(calls, tmp_path), "it began a moment after it was asked for")
    hung.end()
    wait_in_hub(lambda: _answers(calls, tmp_path))


def _answers(calls: DeviceCalls, folder: Path) -> bool:
    try:
        return calls.look(str(folder), -1)[0] == 0
    except OSError:
        return False


def test_more_than_can_wait_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_calls, "QUEUED_CALLS_MAX", 2)
    calls = DeviceCalls(str(tmp_path), Flusher(), ATTRIBUTE)
    tasks = [spawn(calls.look, str(tmp_path), -1) for _ in range(3)]
    for task in tasks[:2]:
        assert task.wait(5)[0] == 0
    with pytest.raises(OSError) as refused:
        tasks[2].wait(5)
    assert refused.value.errno == errno.EBUSY


def test_a_file_is_closed_while_its_disk_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_calls, "HUNG_SECONDS", 0.3)
    calls = DeviceCalls(str(tmp_path), Flusher(), ATTRIBUTE)
    before = open_descriptors()
    file = calls.stage(None, str(tmp_path), b"x", None, False)[2]
    hung = Hung(calls, tmp_path, 1)
    wait_in_hub(lambda: not _answers(calls, tmp_path))
    calls.close(file)
    hung.end()
    hung.tasks.clear()
    wait_in_hub(lambda: gc.collect() is not None and open_descriptors() == before)


# Drops the crew of its parent. Printed: how the child ended.
PARENT = """
import os, signal, sys
from objstore.system.concurrency import spawn
from objstore.system.disk_calls import DeviceCalls, Flusher
flusher = Flusher()
calls = [DeviceCalls(sys.argv[1], flusher, "user.test")]
for _ in range(10):
    for task in [spawn(calls[0].look, sys.argv[1], -1) for _ in range(10)]:
        task.wait(5)
child = os.fork()
if child == 0:
    signal.alarm(5)  # ends it if it waits for threads that only its parent has
    calls.clear()
    flusher._crews.clear()
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""


def test_a_child_gives_up_the_crews_of_its_parent(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", PARENT, tmp_path], capture_output=True, timeout=60, check=True)
    assert ended.stdout == b"0\n"
