"""Uploads in parts, on a store in memory; and what may be chosen of their parts."""

from __future__ import annotations

from hashlib import md5
from random import Random
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore import uploads as names
from objstore.checksums import Algorithm, checksums_of
from objstore.conditions import WriteConditions
from objstore.http.bodies import BytesBody
from objstore.paths import ResourcePath
from objstore.proxy.core.checksums import BodyDigest, WantedChecksums
from objstore.proxy.core.errors import (
    ContainerNotFound,
    InvalidPart,
    InvalidPartOrder,
    ObjectNotFound,
    PartTooSmall,
    PreconditionFailed,
    QuorumNotReached,
    UploadNotFound,
)
from objstore.proxy.core.info import ABSENT, PRESENT, ContainerInfo, StoredMetadata, StoredObjectInfo
from objstore.proxy.core.listing import ListedObject
from objstore.proxy.core.manifest import UPLOAD, composite_info, decode_manifest, is_composite
from objstore.proxy.core.objects import OpenedObject, PutResult
from objstore.proxy.core.upload_commands import (
    BeginUpload,
    ChosenPart,
    CompleteUpload,
    ListUploads,
    PutPart,
    UploadedPart,
    UploadRecord,
    chosen_parts,
    composite_etag,
)
from objstore.proxy.core.uploads import COMPLETION_SECONDS, UploadOperations
from objstore.uploads import UploadName
from tests.doubles import ManualClock

PATH = ResourcePath("AUTH_a", "bucket", "folder/key")
HIDDEN = names.hidden_container(PATH)
RECORD = UploadRecord("image/png", StoredMetadata(user={"Colour": "red"}), settings={"algorithm": "SHA256"})


class MemoryStore:
    """Objects and containers as the core's operations give them."""

    def __init__(self) -> None:
        self.objects: dict[ResourcePath, tuple[StoredObjectInfo, bytes]] = {}
        self.listed: dict[ResourcePath, str] = {}
        self.containers = {PATH.container_path: 3}
        self.failing: list[ResourcePath] = []
        self.made = 0

    def put(self, command: Any) -> PutResult:
        if self.failing and command.path == self.failing[0]:
            self.failing.pop()
            raise QuorumNotReached(command.path)
        current = self.objects.get(command.path)
        if command.conditions is not None and command.conditions.if_absent and current is not None:
            raise PreconditionFailed
        body = command.body.read()
        digest = BodyDigest(command)
        digest.update(body)
        etag, kept = digest.finish()
        listed = digest.headers(etag, kept).get("X-Object-Sysmeta-Container-Update-Override-Etag", "")
        self.listed[command.path] = msgspec.json.decode(listed.partition(";")[2])["checksums"] if listed else ""
        metadata = command.metadata
        composite = "X-Static-Large-Object" in metadata.given
        info = StoredObjectInfo(
            len(body), etag, command.content_type, command.timestamp.normal, "", None, metadata, composite
        )
        self.objects[command.path] = info, body
        self.made += command.path == PATH
        return PutResult(etag, command.timestamp, checksums=kept)

    def copy(self, command: Any) -> PutResult:
        with_body = msgspec.structs.replace(command.target, body=BytesBody(command.source.body))
        return self.put(with_body)

    def head(self, command: Any) -> StoredObjectInfo:
        return self.open(command).info

    def open(self, command: Any) -> OpenedObject:
        if command.path not in self.objects:
            raise ObjectNotFound(command.path)
        return OpenedObject(*self.objects[command.path])

    def delete(self, command: Any) -> None:
        if self.objects.pop(command.path, None) is None:
            raise ObjectNotFound(command.path)

    def make(self, command: Any) -> bool:
        self.containers[command.path] = command.policy_index
        return True

    def container(self, path: ResourcePath, transaction_id: str) -> ContainerInfo:
        index = self.containers.get(path.container_path)
        return ContainerInfo(ABSENT) if index is None else ContainerInfo(PRESENT, index)

    def list(self, command: Any) -> list[ListedObject]:
        if command.path not in self.containers:
            raise ContainerNotFound(command.path)
        query = command.query
        found = sorted((path.object for path in self.objects if path.container_path == command.path), key=str.encode)
        chosen = [
            name
            for name in found
            if name.encode() > (query.marker or "").encode() and name.startswith(query.prefix or "")
        ]
        return [self._listed(command.path.with_object(name)) for name in chosen[: int(query.limit)]]

    def _listed(self, path: ResourcePath) -> ListedObject:
        info, _ = self.objects[path]
        return ListedObject(path.object, info.etag, info.size, "", info.timestamp, checksums=self.listed[path])


class _Containers:
    def __init__(self, store: MemoryStore) -> None:
        self.put, self.list = store.make, store.list


class Uploads:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = ManualClock(1_700_000_000.0)
        self.operations = UploadOperations(
            cast(Any, self.store),
            cast(Any, _Containers(self.store)),
            cast(Any, self.store),
            cast(Any, self.clock),
            Random(1),
        )

    def begin(self, path: ResourcePath = PATH) -> str:
        return self.operations.begin(BeginUpload(path, 3, RECORD))

    def put(self, upload: str, number: int, body: bytes, wanted: WantedChecksums | None = None) -> str:
        command = PutPart(PATH, upload, number, BytesBody(body), len(body), 1 << 30, checksums=wanted)
        return self.operations.put_part(command).etag

    def complete(self, upload: str, *parts: tuple[int, str], **more: Any) -> Any:
        chosen = [ChosenPart(number, etag) for number, etag in parts]
        more.setdefault("part_bytes_min", 1)
        return self.operations.complete(CompleteUpload(PATH, 3, upload, chosen, **more))

    def hidden(self) -> list[str]:
        return [path.object for path in self.store.objects if path.container_path == HIDDEN]


@pytest.fixture
def uploads() -> Uploads:
    return Uploads()


def test_an_upload_becomes_one_object(uploads: Uploads) -> None:
    upload = uploads.begin()
    second = uploads.put(upload, 7, b"world")
    uploads.put(upload, 1, b"never mind")
    first = uploads.put(upload, 1, b"hello ")
    made = uploads.complete(upload, (1, first), (7, second))
    info, body = uploads.store.objects[PATH]
    assert is_composite(info)
    assert composite_info(PATH, info).size == made.size == 11
    joined = md5(md5(b"hello ").digest() + md5(b"world").digest()).hexdigest()
    assert made.etag == composite_info(PATH, info).etag == f"{joined}-2"
    assert (info.content_type, info.metadata.user) == ("image/png", {"Colour": "red"})
    parts = decode_manifest(PATH, body)
    assert [(part.number, part.etag, part.size) for part in parts] == [(1, first, 6), (7, second, 5)]
    content = b"".join(uploads.store.objects[part.location("AUTH_a")][1] for part in parts)
    assert content == b"hello world"
    assert uploads.operations.list(ListUploads(PATH.container_path, 10)).uploads == []


def test_a_completion_that_is_repeated_makes_nothing_new(uploads: Uploads) -> None:
    upload = uploads.begin()
    etag = uploads.put(upload, 1, b"x")
    first = uploads.complete(upload, (1, etag))
    again = uploads.complete(upload, (1, etag), conditions=WriteConditions(if_absent=True))
    assert (again.etag, again.size, uploads.store.made) == (first.etag, first.size, 1)
    with pytest.raises(UploadNotFound):
        uploads.complete(upload, (1, "0" * 32))


def test_a_record_that_outlives_its_completion_goes_with_the_next_one(uploads: Uploads) -> None:
    upload = uploads.begin()
    etag = uploads.put(upload, 1, b"x")
    record = {path: stored for path, stored in uploads.store.objects.items() if path.object.startswith("record/")}
    uploads.complete(upload, (1, etag))
    uploads.store.objects |= record
    uploads.complete(upload, (1, etag))
    assert uploads.store.made == 1
    assert not any(name.startswith("record/") for name in uploads.hidden())


def test_a_completion_that_fails_can_be_tried_again(uploads: Uploads) -> None:
    upload = uploads.begin()
    etag = uploads.put(upload, 1, b"x")
    uploads.store.failing.append(PATH)
    with pytest.raises(QuorumNotReached):
        uploads.complete(upload, (1, etag))
    assert uploads.complete(upload, (1, etag)).size == 1


def test_conditions_are_of_the_object(uploads: Uploads) -> None:
    other, upload = uploads.begin(), uploads.begin()
    uploads.complete(other, (1, uploads.put(other, 1, b"other")))
    etag = uploads.put(upload, 1, b"x")
    with pytest.raises(PreconditionFailed):
        uploads.complete(upload, (1, etag), conditions=WriteConditions(if_absent=True))
    assert uploads.complete(upload, (1, etag)).size == 1


def test_a_completion_that_has_taken_too_long_stores_nothing(uploads: Uploads) -> None:
    upload = uploads.begin()
    etag = uploads.put(upload, 1, b"x")

    def slowly(parts: Any) -> dict[str, str]:
        uploads.clock.seconds += COMPLETION_SECONDS + 1
        return {}

    with pytest.raises(QuorumNotReached):
        uploads.complete(upload, (1, etag), describe=slowly)
    assert PATH not in uploads.store.objects


def test_what_is_over_takes_no_parts(uploads: Uploads) -> None:
    upload = uploads.begin()
    etag = uploads.put(upload, 1, b"x")
    uploads.operations.abort(PATH, upload, "")
    for action in (
        lambda: uploads.put(upload, 2, b"y"),
        lambda: uploads.complete(upload, (1, etag)),
        lambda: uploads.operations.abort(PATH, upload, ""),
        lambda: uploads.operations.list_parts(PATH, upload, ""),
        lambda: uploads.operations.record(PATH, "no such id", ""),
    ):
        with pytest.raises(UploadNotFound):
            action()
    assert PATH not in uploads.store.objects


def test_parts_are_listed_in_pages_with_their_checksums(uploads: Uploads) -> None:
    upload = uploads.begin()
    wanted = WantedChecksums(kept=(Algorithm.SHA256, Algorithm.CRC32))
    for number in (3, 1, 2, 2):
        uploads.put(upload, number, bytes([number]), wanted)
    page = uploads.operations.list_parts(PATH, upload, "", limit=2)
    assert [part.number for part in page.parts] == [1, 2]
    assert page.truncated
    assert page.parts[0].checksums == checksums_of((Algorithm.SHA256, Algorithm.CRC32), b"\x01")
    rest = uploads.operations.list_parts(PATH, upload, "", after=2)
    assert [part.number for part in rest.parts] == [3]
    assert not rest.truncated


def test_a_part_can_be_copied(uploads: Uploads) -> None:
    upload = uploads.begin()
    source = OpenedObject(StoredObjectInfo(4, "e", "", "", ""), b"copy")
    command = PutPart(PATH, upload, 1, BytesBody(b""), None, 1 << 30)
    etag = uploads.operations.copy_part(source, command).etag
    assert etag == md5(b"copy").hexdigest()
    assert uploads.complete(upload, (1, etag)).size == 4


KEYS = st.lists(st.text("ab/\x01\U0010ffff", min_size=1, max_size=4), min_size=1, max_size=12)


@given(KEYS, st.integers(1, 4), st.sampled_from(["", "/", "a", "ab"]), st.sampled_from(["", "a", "a/"]))
def test_pages_of_uploads_are_all_of_them_once(keys: list[str], limit: int, delimiter: str, prefix: str) -> None:
    uploads = Uploads()
    begun = []
    for key in keys:
        begun.append(UploadName(key, uploads.begin(PATH.with_object(key))))
        uploads.clock.seconds += 1
    begun.sort(key=lambda name: (name.key.encode(), name.upload))
    wanted = [name for name in begun if name.key.startswith(prefix)]
    alone = [name for name in wanted if not delimiter or delimiter not in name.key[len(prefix) :]]
    shared = {
        name.key[: name.key.index(delimiter, len(prefix)) + len(delimiter)] for name in wanted if name not in alone
    }
    found, prefixes, marker = [], [], UploadName("", "")
    while True:
        command = ListUploads(PATH.container_path, limit, prefix, delimiter, marker.key, marker.upload)
        page = uploads.operations.list(command)
        found += [each.name for each in page.uploads]
        prefixes += page.prefixes
        assert len(page.uploads) + len(page.prefixes) <= limit
        if page.next is None:
            break
        marker = page.next
    assert found == alone
    assert sorted(prefixes) == sorted(shared)


def stored(number: int, size: int) -> UploadedPart:
    return UploadedPart(number, f"{number:032x}", size, "", "", {Algorithm.CRC32: f"c{number}"})


@pytest.mark.parametrize(
    ("chosen", "error"),
    [
        ([], InvalidPartOrder),
        ([2, 1], InvalidPartOrder),
        ([1, 1], InvalidPartOrder),
        ([1, 4], InvalidPart),
        ([2, 3], PartTooSmall),
    ],
)
def test_what_cannot_be_chosen(chosen: list[int], error: type[Exception]) -> None:
    there = {1: stored(1, 10), 2: stored(2, 9), 3: stored(3, 1)}
    with pytest.raises(error):
        chosen_parts([ChosenPart(number, f"{number:032x}") for number in chosen], there, 10)


def test_what_can_be_chosen() -> None:
    there = {1: stored(1, 10), 2: stored(2, 9), 3: stored(3, 1)}
    assert chosen_parts([ChosenPart(1, f"{1:032X}"), ChosenPart(3, f"{3:032x}")], there, 10) == [there[1], there[3]]
    good = ChosenPart(1, f"{1:032x}", {Algorithm.CRC32: "c1"})
    assert chosen_parts([good], there, 10) == [there[1]]
    for bad in (ChosenPart(1, "0" * 32), msgspec.structs.replace(good, checksums={Algorithm.CRC32: "c2"})):
        with pytest.raises(InvalidPart):
            chosen_parts([bad], there, 10)
    with pytest.raises(InvalidPart):
        composite_etag(["no md5"])


@given(st.text(min_size=1), st.integers(1, 10_000))
def test_names_say_whose_they_are(key: str, number: int) -> None:
    key = key.replace("\0", "")
    upload = UploadName(key, names.new_id(ManualClock(1.7e9).timestamp(), 7))
    part = upload.part(number, names.new_id(ManualClock(1.7e9).timestamp(), 8))
    assert names.name_of(upload.record) == names.name_of(part) == upload
    assert names.part_number(part) == number
    assert upload.after(number - 1) < part < upload.after(number)
    assert names.name_of(key) is None
    assert names.is_hidden(HIDDEN)
    assert not names.is_hidden(PATH)


def test_the_upload_is_known_by_the_object(uploads: Uploads) -> None:
    upload = uploads.begin()
    uploads.complete(upload, (1, uploads.put(upload, 1, b"x")), describe=lambda parts: {"Whole": str(len(parts))})
    system = uploads.store.objects[PATH][0].metadata.system
    assert (system[UPLOAD], system["Whole"]) == (upload, "1")
