"""Erasure codes: any fragments that are enough give the body back, and any range of it."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyeclib.ec_iface import ECDriver, ECDriverError

from objstore.erasure import EC_TYPES, BadCode, ErasureCode, PieceDamaged, checked_code

CODES = st.builds(
    checked_code, st.sampled_from(EC_TYPES), st.integers(1, 9), st.integers(1, 4), st.sampled_from([4096, 5000])
)
SIZES = st.one_of(st.integers(1, 30), st.integers(1, 15_000))


def body_of(size: int, seed: int) -> bytes:
    return Random(seed).randbytes(size)


def fragments_of(code: ErasureCode, body: bytes) -> list[bytes]:
    encoded = [code.encode(body[at : at + code.segment_size]) for at in range(0, len(body), code.segment_size)]
    return [b"".join(pieces[number] for pieces in encoded) for number in range(code.fragments)]


def piece_of(code: ErasureCode, fragment: bytes, segment: int, size: int) -> bytes:
    return fragment[code.offset(segment, size) : code.offset(segment + 1, size)]


# Schemes that are used, and those at the edge of what is accepted.
USED = [(2, 2), (4, 2), (8, 3), (10, 4), (3, 3), (12, 4)]


@pytest.mark.parametrize(("data", "parity"), USED)
@pytest.mark.parametrize("ec_type", EC_TYPES)
def test_whatever_is_lost_of_a_scheme_comes_back(ec_type: str, data: int, parity: int) -> None:
    code = checked_code(ec_type, data, parity, 4096)
    body = body_of(data * 16, 1)
    pieces = code.encode(body)
    for chosen in combinations(range(data + parity), data):
        assert b"".join(code.decode({number: pieces[number] for number in chosen}, len(body))) == body


def test_a_code_that_loses_data_is_refused() -> None:
    """By Vandermonde's matrix 22+4 fragments cannot lose the numbers 0, 10, 21 and 24."""
    with pytest.raises(BadCode, match="data would be lost"):
        checked_code("isa_l_rs_vand", 22, 4, 4096)
    driver, body = ECDriver(k=22, m=4, ec_type="isa_l_rs_vand", chksum_type="none"), body_of(4096, 1)
    left = [piece for number, piece in enumerate(driver.encode(body)) if number not in (0, 10, 21, 24)]
    try:
        assert driver.decode(left) != body
    except ECDriverError:
        pass
    checked_code("isa_l_rs_vand", 21, 4, 4096)


@given(CODES, SIZES, st.integers(0, 2**32))
def test_any_fragments_that_are_enough_give_the_body_and_any_other(code: ErasureCode, size: int, seed: int) -> None:
    body, random = body_of(size, seed), Random(seed)
    fragments = fragments_of(code, body)
    assert {len(fragment) for fragment in fragments} == {code.fragment_length(size)}
    chosen = random.sample(range(code.fragments), code.data)
    lost = random.choice([number for number in range(code.fragments) if number not in chosen])
    found, rebuilt = b"", b""
    for segment in range(code.segment_count(size)):
        pieces = {number: piece_of(code, fragments[number], segment, size) for number in chosen}
        for number, piece in pieces.items():
            code.check(piece, number, segment)
        found += b"".join(map(bytes, code.decode(pieces, code.segment_length(segment, size))))
        rebuilt += code.rebuild(pieces, lost)
    assert found == body
    assert rebuilt == fragments[lost]


@given(CODES, SIZES, st.data())
def test_a_range_is_in_the_payloads_of_few_data_fragments(code: ErasureCode, size: int, data: st.DataObject) -> None:
    body = body_of(size, size)
    fragments = fragments_of(code, body)
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first, size - 1))
    found = b""
    for segment in range(first // code.segment_size, last // code.segment_size + 1):
        begin, length = segment * code.segment_size, code.segment_length(segment, size)
        payload = code.payload_length(length)
        for number in code.data_indexes(segment, first, last, size):
            piece = piece_of(code, fragments[number], segment, size)
            code.check(piece, number, segment)
            part = bytes(code.payload(piece, number, length))
            at = begin + number * payload
            found += part[max(first - at, 0) : max(last + 1 - at, 0)]
            assert at <= last
            assert at + payload > first
    assert found == body[first : last + 1]


@given(CODES, SIZES, st.data())
def test_no_flipped_bit_goes_unnoticed(code: ErasureCode, size: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, code.fragments - 1))
    piece = bytearray(code.encode(body_of(min(size, code.segment_size), size))[number])
    code.check(bytes(piece), number, 0)
    with pytest.raises(PieceDamaged):
        code.check(bytes(piece), (number + 1) % code.fragments, 0)
    piece[data.draw(st.integers(0, len(piece) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(PieceDamaged):
        code.check(bytes(piece), number, 0)


def test_a_code_is_read_from_its_text() -> None:
    code = checked_code("isa_l_rs_cauchy", 8, 3, 65536)
    assert ErasureCode.parse(str(code)) == code
    for text in ("", "isa_l_rs_cauchy", "isa_l_rs_cauchy/8/3", "chalk/8/3/65536", "isa_l_rs_cauchy/8/x/65536"):
        with pytest.raises(ValueError, match="erasure code"):
            ErasureCode.parse(text)
