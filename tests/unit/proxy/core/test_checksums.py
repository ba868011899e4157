"""Checksums that a PUT computes, compares and stores beside the ETag."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import pytest

from objstore.checksums import Algorithm, checksums_of
from objstore.headers import Sysmeta
from objstore.http.bodies import BytesBody
from objstore.http.messages import title_of, variable_of
from objstore.paths import ResourcePath
from objstore.proxy.core.checksums import WantedChecksums, checksum_metadata, copied_checksums, stored_checksums
from objstore.proxy.core.errors import ChecksumMismatch
from objstore.proxy.core.info import StoredMetadata, StoredObjectInfo
from objstore.proxy.core.objects import CopyObject, OpenedObject, PutObject
from objstore.timestamps import Timestamp
from tests.unit.proxy.core.test_upload import store_of

SMALL, LARGE = b"x" * 1000, bytes(range(256)) * 12_000
ALL = tuple(Algorithm)


def put_of(content: bytes, wanted: WantedChecksums | None = None) -> PutObject:
    return PutObject(
        path=ResourcePath("AUTH_a", "c", "o"),
        policy_index=0,
        timestamp=Timestamp.parse("1700000000"),
        body=BytesBody(content),
        length=len(content),
        length_max=10**9,
        content_type="text/plain",
        checksums=wanted,
    )


def headers_of(checksums: Mapping[Algorithm, str]) -> dict[str, str]:
    return {Sysmeta.OBJECT_PREFIX + name: value for name, value in checksum_metadata(checksums).items()}


@pytest.mark.parametrize("content", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
def test_those_that_are_kept_go_to_every_node_with_the_etag(content: bytes) -> None:
    store, values = store_of(), checksums_of(ALL, content)
    stored = store.context.objects.put(put_of(content, WantedChecksums(kept=ALL)))
    assert stored.checksums == values
    for call in store.calls():
        sent = call.trailers if content is LARGE else call.headers
        found = {name: value for name, value in sent.items() if name.startswith(Sysmeta.CHECKSUM_PREFIX)}
        assert found == headers_of(values)


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("algorithm", ALL)
def test_one_that_differs_stores_nothing(content: bytes, algorithm: Algorithm) -> None:
    store = store_of()
    wrong = checksums_of([algorithm], content + b"!")

    def wanted(expected: Callable[[], Mapping[Algorithm, str]]) -> WantedChecksums:
        return WantedChecksums(checked=(algorithm,), expected=expected)

    with pytest.raises(ChecksumMismatch) as caught:
        store.context.objects.put(put_of(content, wanted(lambda: wrong)))
    assert caught.value.algorithm is algorithm
    assert not [call for call in store.calls() if call.complete]
    right = checksums_of([algorithm], content)
    stored = store.context.objects.put(put_of(content, wanted(lambda: right)))
    assert not stored.checksums  # it was only compared


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_what_they_have_to_be_is_asked_when_the_body_has_ended(content: bytes) -> None:
    store = store_of()
    body = BytesBody(content)

    def expected() -> Mapping[Algorithm, str]:
        assert body.ended
        return checksums_of([Algorithm.CRC32], content)

    command = put_of(content, WantedChecksums(kept=(Algorithm.CRC32,), expected=expected))
    store.context.objects.put(msgspec.structs.replace(command, body=body))


@pytest.mark.parametrize("algorithm", ALL)
def test_names_survive_the_wire(algorithm: Algorithm) -> None:
    [(name, _)] = headers_of({algorithm: "x"}).items()
    assert title_of(variable_of(name)) == name == name.title()
    assert stored_checksums({name.removeprefix(Sysmeta.OBJECT_PREFIX): "x", "Else": "y"}) == {algorithm: "x"}


def test_a_copy_keeps_what_is_true_of_its_body() -> None:
    system = {"Checksum-Crc32": "y/Q5Jg==", "Checksum-Sha1": "AAAA-2", "Else": "x"}
    assert copied_checksums(system, whole=True) == {"Checksum-Crc32": "y/Q5Jg==", "Else": "x"}
    assert copied_checksums(system, whole=False) == {"Else": "x"}
    store = store_of()
    target = msgspec.structs.replace(put_of(b""), metadata=StoredMetadata(system=system))
    source = OpenedObject(StoredObjectInfo(4, "", "", "", ""), b"abcd")
    store.context.objects.copy(CopyObject(source, target))
    assert all("X-Object-Sysmeta-Checksum-Sha1" not in call.headers for call in store.calls())
    assert all(call.headers["X-Object-Sysmeta-Checksum-Crc32"] == "y/Q5Jg==" for call in store.calls())
