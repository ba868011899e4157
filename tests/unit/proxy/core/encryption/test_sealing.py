"""Commands that store encrypted objects, and what their readers get: on a store in memory."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from objstore.conditions import ObjectState, WriteConditions
from objstore.config.encryption_keys import EncryptionKey, EncryptionKeys, encoded_secret
from objstore.headers import Sysmeta
from objstore.http.bodies import BytesBody
from objstore.http.ranges import parse_content_range
from objstore.paths import ResourcePath
from objstore.proxy.core.bodies import OpenedObject
from objstore.proxy.core.encryption.envelope import CUSTOMER, CustomerKey, Seal
from objstore.proxy.core.encryption.key_ring import _Secrets
from objstore.proxy.core.encryption.opening import Opening
from objstore.proxy.core.encryption.sealing import Sealing
from objstore.proxy.core.errors import (
    ChecksumMismatch,
    CustomerKeyNeeded,
    CustomerKeyUnfit,
    CustomerKeyWrong,
    EncryptionKeyMissing,
    SealBroken,
)
from objstore.proxy.core.info import StoredMetadata, StoredObjectInfo
from objstore.proxy.core.objects import GetObject, PostObject, PutObject
from objstore.timestamps import Timestamp

PATH = ResourcePath("AUTH_a", "bucket", "folder/key")
NOW = Timestamp.from_seconds(1_700_000_000)
MARKER = b"a marker that is nowhere"
OWNER = CustomerKey(bytes(range(32)))


def ring(*ids: str, active: str) -> Any:
    keys = [EncryptionKey(each, encoded_secret(each.encode().ljust(32, b".")), "", "") for each in ids]
    return _Secrets(EncryptionKeys(active, (*keys, EncryptionKey("n", encoded_secret(bytes(32)), "", "name"))))


KEYS = ring("one", active="one")


class _Threads:
    def call(self, function: Any, *arguments: Any) -> Any:
        return function(*arguments)


THREADS: Any = _Threads()


def put_of(body: bytes, seal: Seal, key: CustomerKey | None = None, **more: Any) -> PutObject:
    metadata = StoredMetadata(user={"Colour": MARKER.decode()}, system={"Storage-Class": "COLD"})
    return PutObject(
        PATH, 0, NOW, BytesBody(body), len(body), 1 << 30, "a/b", metadata, seal=seal, customer_key=key, **more
    )


def stored_by(command: PutObject, keys: Any = KEYS) -> tuple[OpenedObject, str]:
    """What the servers have then, and the ETag that the writer is told."""
    sealed = Sealing(keys, THREADS).put(command)
    content = sealed.command.body.read()
    assert sealed.command.length == len(content)
    etag, _ = sealed.finish()
    prefix = Sysmeta.OBJECT_PREFIX
    more = {name[len(prefix) :]: value for name, value in sealed.headers(etag, {}).items()}
    metadata = sealed.command.metadata
    metadata = replace(metadata, system=metadata.system | more)
    info = StoredObjectInfo(len(content), etag, "a/b", NOW.normal, NOW.http_date, metadata=metadata)
    return OpenedObject(info, content), sealed._etag


def opened(stored: OpenedObject, keys: Any = KEYS, **asked: Any) -> OpenedObject:
    def read(command: GetObject) -> OpenedObject:
        assert command.raw and isinstance(stored.body, bytes)
        first, _, last = command.ranges.removeprefix("bytes=").partition("-")
        piece = stored.body[int(first) : int(last) + 1]
        part = parse_content_range(f"bytes {first}-{last}/{len(stored.body)}")[0]
        return OpenedObject(stored.info, piece, part)

    def again(_command: GetObject) -> OpenedObject:
        raise AssertionError("nothing was replaced")

    assert isinstance(stored.body, bytes)
    streamed = replace(stored, body=BytesBody(stored.body)) if len(stored.body) > 65_536 else stored
    return Opening(keys, THREADS).open(GetObject(PATH, 0, **asked), streamed, read, again)


def content_of(found: OpenedObject) -> bytes:
    return found.body if isinstance(found.body, bytes) else b"".join(bytes(each) for each in found.body)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 200_000), st.data())
def test_any_range_of_any_size(size: int, data: st.DataObject) -> None:
    body = (MARKER * (size // len(MARKER) + 1))[:size]
    stored, etag = stored_by(put_of(body, Seal()))
    whole = opened(stored)
    assert content_of(whole) == body
    assert (whole.info.size, whole.info.etag) == (size, etag)
    assert whole.info.metadata.user == {"Colour": MARKER.decode()}
    assert whole.info.metadata.system == {"Storage-Class": "COLD"}
    if size:
        first = data.draw(st.integers(0, size - 1))
        last = data.draw(st.integers(first, size - 1))
        found = opened(stored, ranges=f"bytes={first}-{last}")
        assert content_of(found) == body[first : last + 1]
        several = opened(stored, ranges=f"bytes={first}-{last},-1")
        assert [content_of(OpenedObject(whole.info, each)) for _, each in several.parts] == [
            body[first : last + 1],
            body[-1:],
        ]


@pytest.mark.parametrize("seal", [Seal(), Seal("aws:kms"), Seal("aws:kms", "n", "context"), Seal(CUSTOMER)])
def test_nothing_is_stored_as_it_is(seal: Seal) -> None:
    key = OWNER if seal.kind == CUSTOMER else None
    stored, etag = stored_by(put_of(MARKER, seal, key))
    for secret in (MARKER, etag.encode(), OWNER.value):
        assert secret not in repr(stored).encode("latin-1")
    assert content_of(opened(stored, customer_key=key)) == MARKER


def test_what_was_changed_is_not_given() -> None:
    stored, _ = stored_by(put_of(MARKER, Seal()))
    assert isinstance(stored.body, bytes)
    with pytest.raises(SealBroken):
        opened(replace(stored, body=stored.body[:-1] + bytes([stored.body[-1] ^ 1])))
    other, _ = stored_by(put_of(MARKER, Seal()))
    system = stored.info.metadata.system
    for name in ("Sealed", "Sealed-Facts"):
        metadata = replace(stored.info.metadata, system=system | {name: other.info.metadata.system[name]})
        mixed = replace(stored.info, metadata=metadata)
        with pytest.raises(SealBroken):
            opened(replace(stored, info=mixed))
    with pytest.raises(SealBroken):
        Opening(KEYS, THREADS).head(GetObject(PATH.with_object("other"), 0), stored.info)


def test_keys_of_customers() -> None:
    stored, _ = stored_by(put_of(MARKER, Seal(CUSTOMER, check=OWNER.check()), OWNER))
    wrong = CustomerKey(bytes(32))
    with pytest.raises(CustomerKeyNeeded):
        opened(stored)
    with pytest.raises(CustomerKeyWrong):
        opened(stored, customer_key=wrong)
    with pytest.raises(CustomerKeyWrong):
        stored_by(put_of(MARKER, Seal(CUSTOMER, check=OWNER.check()), wrong))
    own, _ = stored_by(put_of(MARKER, Seal()))
    with pytest.raises(CustomerKeyUnfit):
        opened(own, customer_key=OWNER)
    assert Opening(KEYS, THREADS).head(GetObject(PATH, 0), stored.info).size == len(MARKER)


def test_rotation() -> None:
    stored, etag = stored_by(put_of(MARKER, Seal()))
    rotated = ring("one", "two", active="two")
    assert content_of(opened(stored, rotated)) == MARKER
    newer, _ = stored_by(put_of(MARKER, Seal()), rotated)
    assert newer.info.etag != stored.info.etag
    with pytest.raises(EncryptionKeyMissing):
        opened(newer)
    state = [ObjectState(each.info.etag, 1, 1) for each in (stored, newer)]
    for conditions, refused in (
        (WriteConditions(if_match=(etag,)), False),
        (WriteConditions(if_none_match=(etag,)), True),
        (WriteConditions(if_match=("0" * 32,)), True),
    ):
        command = Sealing(rotated, THREADS).with_macs(put_of(b"", Seal(), conditions=conditions))
        assert command.conditions is not None
        assert [command.conditions.refuse(each) for each in state] == [refused, refused]


def test_a_wrong_md5_and_missing_keys() -> None:
    with pytest.raises(ChecksumMismatch):
        stored_by(put_of(MARKER, Seal(), expected_md5="0" * 32))
    nothing: Any = _Secrets(EncryptionKeys())
    with pytest.raises(EncryptionKeyMissing):
        Sealing(nothing, THREADS).put(put_of(MARKER, Seal()))


def test_metadata_that_is_posted() -> None:
    post = PostObject(PATH, 0, NOW, metadata=StoredMetadata(user={"A": MARKER.decode()}, transient={"Tags": "a=b"}))
    sealed = Sealing(KEYS, THREADS).post(post)
    assert MARKER.decode() not in repr(sealed)
    info = StoredObjectInfo(0, "e", "a/b", NOW.normal, NOW.http_date, metadata=sealed.metadata)
    found = Opening(KEYS, THREADS).head(GetObject(PATH, 0), info).metadata
    assert (found.user, found.transient, found.is_sealed) == ({"A": MARKER.decode()}, {"Tags": "a=b"}, True)
