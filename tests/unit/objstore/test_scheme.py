"""The scheme of a policy: whole replicas."""

import msgspec
import pytest
import xxhash

from objstore.policies import Policy
from objstore.quorum import quorum_size
from objstore.scheme import SCHEMES, WHOLE_REPLICAS


def test_every_place_gets_every_byte_and_the_same_checksum() -> None:
    encoder = WHOLE_REPLICAS.encoder(3)
    sent = [b""] * 3
    for pieces in (encoder.encode(b"one "), encoder.encode(b"object"), encoder.flush()):
        encoder.checksum(pieces)
        for place, piece in enumerate(pieces):
            sent[place] += piece
    assert sent == [b"one object"] * 3
    assert encoder.checksums() == [xxhash.xxh3_128_hexdigest(b"one object")] * 3


@pytest.mark.parametrize("places", [1, 2, 3, 4, 5])
def test_a_quorum_of_replicas_is_durable_without_a_commit_phase(places: int) -> None:
    scheme = WHOLE_REPLICAS
    assert scheme.write_quorum(places) == scheme.durable_quorum(places) == quorum_size(places)
    assert not scheme.has_commit_phase
    assert scheme.replicates_to_all


def test_any_one_replica_gives_the_body_and_rebuilds_another() -> None:
    scheme = WHOLE_REPLICAS
    assert scheme.read_count(3) == 1
    assert scheme.piece_size(4096) == 4096
    assert scheme.decode([[b"body"]]) == [b"body"]
    assert scheme.rebuild_sources(1, {1}) == []
    (source,) = scheme.rebuild_sources(1, {1, 2})
    assert b"".join(scheme.rebuild(1, {source: [b"a", b"b"]})) == b"ab"


def test_a_policy_names_its_scheme() -> None:
    policy = msgspec.convert({"index": 0, "name": "gold", "kind": "replication"}, Policy)
    assert policy.scheme is Policy(0, "gold").scheme is SCHEMES["replication"]
    with pytest.raises(msgspec.ValidationError, match="kind"):
        msgspec.convert({"index": 0, "name": "gold", "kind": "chalk"}, Policy)
