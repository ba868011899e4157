"""The scheme of a policy: whole replicas."""

import msgspec
import pytest
import xxhash

from objstore.devices import Device
from objstore.policies import Policy
from objstore.quorum import quorum_size
from objstore.scheme import WHOLE_REPLICAS


def test_every_place_gets_every_byte_and_the_same_checksum() -> None:
    encoder = WHOLE_REPLICAS.encoder(range(3))
    sent = [b""] * 3
    for pieces in (encoder.encode(b"one "), encoder.encode(b"object"), encoder.flush()):
        encoder.checksum(pieces)
        for place, piece in enumerate(pieces):
            sent[place] += piece
    assert sent == [b"one object"] * 3
    assert encoder.checksums() == [xxhash.xxh3_128_hexdigest(b"one object")] * 3


@pytest.mark.parametrize("places", [1, 2, 3, 4, 5])
def test_half_of_the_replicas_are_a_quorum(places: int) -> None:
    assert WHOLE_REPLICAS.write_quorum(places) == quorum_size(places)
    assert WHOLE_REPLICAS.code is None
    assert WHOLE_REPLICAS.for_body(None) is WHOLE_REPLICAS


def test_a_policy_names_its_scheme() -> None:
    policy = msgspec.convert({"index": 0, "name": "gold", "kind": "replication"}, Policy)
    assert policy.scheme is Policy(0, "gold").scheme is WHOLE_REPLICAS
    with pytest.raises(msgspec.ValidationError, match="kind"):
        msgspec.convert({"index": 0, "name": "gold", "kind": "chalk"}, Policy)


EC = Policy(0, "ec", kind="erasure_coding", data_fragments=4, parity_fragments=2, segment_size=4096)


def test_a_write_of_fragments_outlives_the_loss_of_any_one() -> None:
    assert EC.scheme.write_quorum(6) == 5
    assert EC.replicas == 6
    doubled = msgspec.structs.replace(EC, duplication_factor=2)
    assert doubled.replicas == 12
    assert doubled.scheme.write_quorum(12) == 9
    assert [doubled.scheme.number(place) for place in range(12)] == [0, 1, 2, 3, 4, 5] * 2


def test_each_region_has_different_fragments_of_those_that_lie_twice() -> None:
    regions = [1, 1, 2, 1, 2, 2, 2, 1, 1, 2, 1, 2]
    devices = tuple(
        Device(place, region, 1, "127.0.0.1", 1, "127.0.0.1", 1, "d", 1.0) for place, region in enumerate(regions)
    )
    doubled = msgspec.structs.replace(EC, duplication_factor=2).scheme
    ordered = doubled.in_order(devices)
    for region in (1, 2):
        held = {doubled.number(place) for place, device in enumerate(ordered) if device.region == region}
        assert held == set(range(6))
    assert sorted(ordered, key=lambda device: device.id) == list(devices)
    assert EC.scheme.in_order(devices) == WHOLE_REPLICAS.in_order(devices) == devices


def test_small_objects_are_stored_whole() -> None:
    assert EC.scheme.for_body(4096) is WHOLE_REPLICAS
    assert EC.scheme.for_body(4097) is EC.scheme
    assert EC.scheme.for_body(None) is EC.scheme


@pytest.mark.parametrize("sizes", [[], [1], [4096], [100, 4000, 9000, 1], [4096, 4096], [20_000]])
def test_chunks_of_any_size_make_the_same_fragments(sizes: list[int]) -> None:
    code = EC.scheme.code
    assert code is not None
    body = bytes(range(256)) * 200
    body = body[: sum(sizes)]
    encoder, sent = EC.scheme.encoder([5, 0, 0]), [b""] * 3
    at = 0
    for size in sizes:
        pieces = encoder.encode(body[at : at + size])
        at += size
        encoder.checksum(pieces)
        sent = [before + bytes(piece) for before, piece in zip(sent, pieces or [b""] * 3, strict=True)]
    pieces = encoder.flush()
    encoder.checksum(pieces)
    sent = [before + bytes(piece) for before, piece in zip(sent, pieces or [b""] * 3, strict=True)]
    whole = [code.encode(body[start : start + 4096]) for start in range(0, len(body), 4096)]
    assert sent == [b"".join(each[number] for each in whole) for number in (5, 0, 0)]
    assert encoder.checksums() == [xxhash.xxh3_128_hexdigest(each) for each in sent]
    assert len(sent[0]) == code.fragment_length(len(body))
