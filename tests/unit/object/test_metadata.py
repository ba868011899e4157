"""The stored form of metadata: what goes in comes out, and nothing damaged is taken for whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.object.metadata import (
    INLINE_MAX,
    TRAILER_MAX,
    MetadataCorrupt,
    ObjectMetadata,
    PostedMetadata,
    TombstoneMetadata,
    Trailer,
    decode,
    decode_trailer,
    encode,
)

headers = st.dictionaries(st.text(max_size=20), st.text(max_size=60), max_size=5)
objects = st.builds(ObjectMetadata, size=st.integers(0, 2**40), headers=headers, sysmeta=headers)
stored = st.one_of(objects, st.builds(PostedMetadata, headers=headers), st.builds(TombstoneMetadata))
SHORT = TombstoneMetadata("/a/c/o", "0000000001.00000")
LONG = ObjectMetadata("/a/c/o", "0000000001.00000", 3, "e", "c", "t", headers={"X-Object-Meta-A": "v" * INLINE_MAX})


@given(stored)
def test_what_goes_in_comes_out(metadata: ObjectMetadata | PostedMetadata | TombstoneMetadata) -> None:
    encoded = encode(metadata, 10)
    decoded = decode(type(metadata), encoded.attribute)
    if isinstance(decoded, Trailer):
        decoded = decode_trailer(type(metadata), decoded, encoded.trailer)
    assert decoded == metadata


def test_short_metadata_needs_no_trailer() -> None:
    encoded = encode(SHORT, 10)
    assert encoded.trailer == b""
    assert decode(TombstoneMetadata, encoded.attribute) == SHORT


def test_long_metadata_goes_behind_the_body() -> None:
    encoded = encode(LONG, 3)
    assert len(encoded.attribute) < 256
    trailer = decode(ObjectMetadata, encoded.attribute)
    assert isinstance(trailer, Trailer)
    assert (trailer.body_length, trailer.length) == (3, len(encoded.trailer))
    assert decode_trailer(ObjectMetadata, trailer, encoded.trailer) == LONG


@given(st.sampled_from([SHORT, LONG]), st.data())
def test_no_changed_byte_goes_unnoticed(metadata: ObjectMetadata, data: st.DataObject) -> None:
    encoded = encode(metadata, 3)
    index = data.draw(st.integers(0, len(encoded.attribute) - 1))
    damaged = bytearray(encoded.attribute)
    damaged[index] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(MetadataCorrupt):
        decode(type(metadata), bytes(damaged))


@given(st.integers(0, len(encode(LONG, 3).trailer) - 1))
def test_a_damaged_trailer_is_noticed(index: int) -> None:
    encoded = encode(LONG, 3)
    trailer = decode(ObjectMetadata, encoded.attribute)
    assert isinstance(trailer, Trailer)
    damaged = bytearray(encoded.trailer)
    damaged[index] ^= 4
    for content in (bytes(damaged), encoded.trailer[:index]):
        with pytest.raises(MetadataCorrupt):
            decode_trailer(ObjectMetadata, trailer, content)


@pytest.mark.parametrize("attribute", [None, b"", b"\x01", b"\x02I" + encode(SHORT, 0).attribute[2:]])
def test_absent_short_or_unknown_attributes_are_refused(attribute: bytes | None) -> None:
    with pytest.raises(MetadataCorrupt):
        decode(TombstoneMetadata, attribute)


def test_metadata_of_another_kind_is_refused() -> None:
    with pytest.raises(MetadataCorrupt):
        decode(ObjectMetadata, encode(SHORT, 0).attribute)


def test_metadata_beyond_the_limit_is_not_written() -> None:
    with pytest.raises(ValueError, match="at most"):
        encode(PostedMetadata("/a/c/o", "1", {"X": "v" * TRAILER_MAX}), 0)
