"""The engine of one file per object: races with other processes, filesystems without unnamed files, digests."""

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from xxhash import xxh3_128_hexdigest

from objstore.object.engine import AlreadyStored, Location, Missing, ObjectCorrupt, make_engine
from objstore.object.file_engine import writing
from objstore.object.file_engine.engine import READ_ATTEMPTS, FileDevice
from objstore.object.file_engine.reading import FileObject
from objstore.object.file_engine.writing import HELD_BYTES_MAX, SHARED_FLUSH_BYTES_MAX
from objstore.object.metadata import ObjectMetadata, StoredFragment, TombstoneMetadata
from objstore.object.versions import EMPTY
from objstore.policies import Policy
from objstore.system.disk_calls import DeviceCalls, OpenFile, Pending, Result
from tests.unit.object.harness import ServedFolder, at, wait_for_discards
from tests.waiting import wait_in_hub

DIGEST = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def engine(store: ServedFolder) -> FileDevice:
    return make_engine("file", store.runtime, 2**20).device(str(store.root / "sda"))  # type: ignore[return-value]


@pytest.fixture
def location(store: ServedFolder) -> Location:
    return Location(Policy(0, "gold"), "7", DIGEST, "/a/c/o")


def metadata(second: int, body: bytes) -> ObjectMetadata:
    return ObjectMetadata("/a/c/o", at(second), len(body), "etag", xxh3_128_hexdigest(body), "text/plain")


def put(engine: FileDevice, location: Location, second: int, body: bytes = b"body") -> None:
    upload = engine.create(location, engine.look(location), len(body))
    upload.write(body)
    assert (upload.size, upload.checksum) == (len(body), xxh3_128_hexdigest(body))
    upload.commit(metadata(second, body)).make_durable()
    wait_for_discards(engine)


def body_of(engine: FileDevice, location: Location) -> bytes:
    stored = engine.open(location)
    assert not isinstance(stored, Missing)
    return stored.read()


def test_engines_are_found_by_name(store: ServedFolder) -> None:
    assert isinstance(make_engine("file", store.runtime, 0).device(str(store.root / "sda")), FileDevice)
    with pytest.raises(KeyError):
        make_engine("tape", store.runtime, 0)


def test_an_engine_is_loaded_when_it_is_asked_for() -> None:
    """Whoever makes it first, a server or a daemon, need not know its module."""
    imports = "from objstore.logs import get_logger; from objstore.object.engine import make_engine; "
    program = imports + "from objstore.runtime import Runtime; make_engine('file', Runtime(get_logger('test')), 0)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EISDIR])
@pytest.mark.parametrize("size", [4, HELD_BYTES_MAX + 1, SHARED_FLUSH_BYTES_MAX + 1])
def test_without_unnamed_files(
    store: ServedFolder, engine: FileDevice, location: Location, monkeypatch: pytest.MonkeyPatch, code: int, size: int
) -> None:
    real_stage = DeviceCalls.stage

    def stage(calls: DeviceCalls, file: OpenFile | None, *arguments: Any) -> Result:
        return (code, [], None) if file is None else real_stage(calls, file, *arguments)

    def write(_calls: DeviceCalls, *_: Any) -> tuple[Result, Pending | None]:
        return (code, [], None), None

    monkeypatch.setattr(DeviceCalls, "stage", stage)
    monkeypatch.setattr(DeviceCalls, "write", write)
    upload = engine.create(location, EMPTY, size)
    upload.write(b"x" * size)
    assert len(list((store.root / "sda").glob("tmp/*"))) == (size > HELD_BYTES_MAX)
    upload.abort()
    assert list((store.root / "sda").glob("tmp/*")) == []
    put(engine, location, 1, b"x" * size)
    assert body_of(engine, location) == b"x" * size
    assert os.listdir(store.root / "sda/tmp") == []
    with pytest.raises(AlreadyStored):
        engine.create(location, EMPTY, 0).commit(metadata(1, b""))
    assert body_of(engine, location) == b"x" * size


def test_what_is_kept_without_an_object_is_given_up(
    store: ServedFolder, engine: FileDevice, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "KEPT_SECONDS", 0.0)
    upload = engine.create(location, EMPTY, None)
    upload.write(b"x" * 100_000)
    upload.keep()
    assert len(list((store.root / "sda").glob("tmp/kept*"))) == 1
    wait_in_hub(lambda: not list((store.root / "sda").glob("tmp/kept*")))


@pytest.mark.parametrize("length", [None, 10, 3 * HELD_BYTES_MAX])
@pytest.mark.parametrize("size", [0, 10, HELD_BYTES_MAX + 1, 3 * HELD_BYTES_MAX])
def test_a_body_of_any_size_whatever_was_announced(
    store: ServedFolder, engine: FileDevice, location: Location, length: int | None, size: int
) -> None:
    body = os.urandom(size)
    upload = engine.create(location, EMPTY, length)
    for start in range(0, size, 50_000):
        upload.write(memoryview(body)[start : start + 50_000])
    upload.commit(metadata(1, body)).make_durable()
    assert body_of(engine, location) == body


def test_two_writers_of_one_timestamp(engine: FileDevice, location: Location) -> None:
    first, second = engine.create(location, EMPTY, 1), engine.create(location, EMPTY, 1)
    first.write(b"1")
    second.write(b"2")
    first.commit(metadata(1, b"1")).make_durable()
    with pytest.raises(AlreadyStored):
        second.commit(metadata(1, b"2"))
    assert body_of(engine, location) == b"1"


def test_an_older_writer_that_ends_last_does_not_win(engine: FileDevice, location: Location) -> None:
    old, new = engine.create(location, EMPTY, 3), engine.create(location, EMPTY, 3)
    old.write(b"old")
    new.write(b"new")
    new.commit(metadata(2, b"new")).make_durable()
    old.commit(metadata(1, b"old")).make_durable()
    assert body_of(engine, location) == b"new"


def test_a_writer_removes_only_what_was_there_before_it(engine: FileDevice, location: Location) -> None:
    put(engine, location, 1)
    upload = engine.create(location, engine.look(location), 0)
    tombstone = TombstoneMetadata("/a/c/o", at(2))
    pending_commit = engine.write_tombstone(location, engine.look(location), tombstone)
    upload.commit(metadata(3, b"")).make_durable()
    wait_for_discards(engine)
    # The tombstone's own writer has not settled it: what it replaces could still be needed.
    assert engine.look(location).names == (at(2) + ".ts", at(3) + ".data")
    pending_commit.make_durable()
    assert body_of(engine, location) == b""
    put(engine, location, 4)
    assert engine.look(location).names == (at(4) + ".data",)


def test_directories_that_vanish_meanwhile_are_made_again(
    store: ServedFolder, engine: FileDevice, location: Location
) -> None:
    put(engine, location, 1)
    upload = engine.create(location, engine.look(location), 1)
    upload.write(b"2")
    shutil.rmtree(store.root / "sda/objects/7")
    upload.commit(metadata(2, b"2")).make_durable()
    assert body_of(engine, location) == b"2"


def test_a_directory_that_always_vanishes_is_an_error(
    store: ServedFolder, engine: FileDevice, location: Location
) -> None:
    suffix = store.root / "sda/objects/7" / DIGEST[-3:]
    suffix.mkdir(parents=True)
    (suffix / DIGEST).symlink_to("nowhere")  # it cannot be made, nor found
    with pytest.raises(FileNotFoundError):
        put(engine, location, 1)


def test_a_version_replaced_between_looking_and_opening(engine: FileDevice, location: Location) -> None:
    put(engine, location, 1)
    stale = engine.look(location)
    put(engine, location, 2, b"new")
    stored = engine.open(location, stale)
    assert not isinstance(stored, Missing)
    assert stored.read() == b"new"


def test_an_open_version_stays_whole(engine: FileDevice, location: Location) -> None:
    put(engine, location, 1, b"a" * 600_000)
    stored = engine.open(location)
    assert not isinstance(stored, Missing)
    chunks = iter(stored.stream(0, 600_000))
    parts = [bytes(next(chunks))]
    put(engine, location, 2, b"b" * 600_000)
    parts += [bytes(chunk) for chunk in chunks]
    assert b"".join(parts) == b"a" * 600_000


def test_who_finds_damage_in_a_replaced_version_leaves_the_new_one_alone(
    store: ServedFolder, engine: FileDevice, location: Location
) -> None:
    put(engine, location, 1, b"a" * 600_000)
    (path,) = store.root.rglob("*.data")
    content = bytearray(path.read_bytes())
    content[500_000] ^= 1
    path.write_bytes(content)
    reader = engine.open(location)
    assert not isinstance(reader, Missing)
    chunks = iter(reader.stream(0, 600_000))
    next(chunks)

    def overwrite(_count: int) -> None:
        put(engine, location, 2, b"new")

    with pytest.raises(ObjectCorrupt):
        engine.verify(location.policy, location.partition, DIGEST, path.name, overwrite)
    with pytest.raises(ObjectCorrupt):
        list(chunks)
    assert body_of(engine, location) == b"new"
    assert not (store.root / "sda/quarantined").exists()


def test_a_filesystem_that_cannot_say_what_it_has_cached(
    engine: FileDevice, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.preadv

    def preadv(descriptor: int, buffers: object, offset: int, flags: int = 0) -> int:
        if flags:
            raise OSError(errno.EOPNOTSUPP, "no RWF_NOWAIT here")
        return real(descriptor, buffers, offset)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "preadv", preadv)
    put(engine, location, 1, b"c" * 300_000)
    assert body_of(engine, location) == b"c" * 300_000


class Unreadable:
    """Files whose reading fails for a number of times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
        self.left = times
        real_look, real_open = DeviceCalls.look, DeviceCalls.open

        def look(calls: DeviceCalls, directory: str, _read_max: int) -> Result:
            return real_look(calls, directory, -1)

        def open_file(calls: DeviceCalls, *arguments: Any) -> Result:
            if self.left:
                self.left -= 1
                return errno.EIO, [], None
            return real_open(calls, *arguments)

        monkeypatch.setattr(DeviceCalls, "look", look)
        monkeypatch.setattr(DeviceCalls, "open", open_file)


def test_a_failing_disk_condemns_what_it_cannot_read(
    engine: FileDevice, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(engine, location, 1)
    Unreadable(monkeypatch, 1000)
    with pytest.raises(ObjectCorrupt, match="Input/output"):
        engine.open(location)
    assert engine.look(location) == EMPTY


@pytest.mark.parametrize("read", ["open", "export", "verify"])
def test_an_error_that_does_not_come_again_condemns_nothing(
    engine: FileDevice, location: Location, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    put(engine, location, 1)
    (name,) = engine.look(location).names
    unreadable = Unreadable(monkeypatch, READ_ATTEMPTS - 1)
    at = location.policy, location.partition, location.hash, name
    if read == "open":
        assert isinstance(engine.open(location), FileObject)
    elif read == "export":
        assert engine.export(*at)
    else:
        assert engine.verify(*at, None)
    assert unreadable.left == 0
    assert engine.look(location).names == (name,)


def test_two_quarantined_versions_of_one_object(store: ServedFolder, engine: FileDevice, location: Location) -> None:
    for second in (1, 2):
        put(engine, location, second)
        engine.quarantine(location, "test")
        assert isinstance(engine.open(location), Missing)
    assert len(list((store.root / "sda/quarantined/objects").iterdir())) == 2
    engine.quarantine(location, "nothing there")


def test_digests_are_equal_exactly_when_the_versions_are(tmp_path: Path) -> None:
    stores = []
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
        stores.append(ServedFolder(tmp_path / name))
    left, right = stores

    def digests(store: ServedFolder) -> dict[str, str]:
        engine = make_engine("file", store.runtime, 0).device(str(store.root / "sda"))
        return engine.digests(Policy(0, "gold"), "7", 0.0, "").suffixes

    assert digests(left) == {}
    left.put(1)
    assert list(digests(left)) == [left.directory().name[-3:]]
    right.put(1)
    assert digests(left) == digests(right)
    left.post(2)
    assert digests(left) != digests(right)
    right.post(2, content_type="image/png")
    assert digests(left) != digests(right)
    left.put(3)
    right.delete(3)
    assert digests(left) != digests(right)
    left.delete(4)
    right.delete(4)
    assert digests(left) == digests(right)
    (right.directory() / (at(1) + ".data")).write_bytes(b"")  # obsolete, not removed yet
    (right.directory() / "strange").write_bytes(b"")
    assert digests(left) == digests(right)


def test_a_kept_digest_is_not_believed_after_a_writer_was_killed_with_its_name_in_place(
    store: ServedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def digests() -> dict[str, str]:
        engine = make_engine("file", store.runtime, 0).device(str(store.root / "sda"))
        later = time.time() + 60  # so that they are old enough to be kept
        return engine.digests(Policy(0, "gold"), "7", later, "").suffixes

    def write_and_die(calls: DeviceCalls, *what: Any) -> None:
        write(calls, *what)
        raise Killed

    store.put(1)
    first = digests()
    assert digests() == first
    write = DeviceCalls.write
    monkeypatch.setattr(DeviceCalls, "write", write_and_die)
    with pytest.raises(Killed):
        store.put(2)
    assert digests() != first


def test_a_fragment_counts_once_it_is_settled(engine: FileDevice, location: Location) -> None:
    put(engine, location, 1, b"before")
    metadata = ObjectMetadata(
        location.name, at(2), 9, "etag", xxh3_128_hexdigest(b"frag"), "t", fragment=StoredFragment(3, "code", 4)
    )
    upload = engine.create(location, engine.look(location), 4)
    upload.write(b"frag")
    upload.commit(metadata, settled=False).make_durable()
    current = engine.look(location)
    assert current.timestamp == at(1)
    assert [file.name for file in current.plain.pending] == [f"{at(2)}#3.data"]
    engine.settle(location, current, current.plain.pending[0]).make_durable()
    wait_for_discards(engine)
    assert engine.look(location).names == (f"{at(2)}#3#d.data",)
    opened = engine.open(location)
    assert isinstance(opened, FileObject)
    assert opened.info.data.size == 9
    assert opened.read() == b"frag"
    assert engine.verify(location.policy, location.partition, DIGEST, f"{at(2)}#3#d.data", lambda _: None) == metadata
    with pytest.raises(FileNotFoundError):
        engine.settle(location, current, current.plain.pending[0])
