"""What holds for the checksums of every body, in however many parts it comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.checksums import COMBINABLE, Algorithm, Checksums, checksums_of, composite, decode, encode, full_object

bodies = st.lists(st.binary(max_size=300), max_size=8)


@given(bodies)
def test_chunks_make_no_difference(chunks: list[bytes]) -> None:
    running = Checksums(Algorithm)
    for chunk in chunks:
        running.update(memoryview(chunk))
    assert running.values() == checksums_of(Algorithm, b"".join(chunks))


@given(bodies, st.sampled_from(sorted(COMBINABLE)))
def test_crcs_of_parts_make_that_of_the_whole(parts: list[bytes], algorithm: Algorithm) -> None:
    known = [(checksums_of([algorithm], part)[algorithm], len(part)) for part in parts]
    assert full_object(algorithm, known) == checksums_of([algorithm], b"".join(parts))[algorithm]


@given(bodies, st.sampled_from(sorted(Algorithm)))
def test_composite_ones_are_over_those_of_the_parts(parts: list[bytes], algorithm: Algorithm) -> None:
    values = [checksums_of([algorithm], part)[algorithm] for part in parts]
    over = b"".join(decode(algorithm, value) for value in values)
    assert composite(algorithm, values) == f"{checksums_of([algorithm], over)[algorithm]}-{len(parts)}"


@given(st.text(), st.sampled_from(sorted(Algorithm)))
def test_any_text_is_read_or_refused(text: str, algorithm: Algorithm) -> None:
    try:
        digest = decode(algorithm, text)
    except ValueError:
        return
    assert decode(algorithm, encode(digest)) == digest


@pytest.mark.parametrize("algorithm", sorted(Algorithm))
def test_of_nothing(algorithm: Algorithm) -> None:
    assert len(decode(algorithm, checksums_of([algorithm], b"")[algorithm])) > 0
