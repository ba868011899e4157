"""Checksums by the values that their definitions publish."""

from __future__ import annotations

from base64 import b64decode

import pytest

from objstore.checksums import Algorithm, checksums_of, composite, decode, full_object, is_composite_value

# Check values of "123456789": the catalogue of parametrised CRC algorithms, RFC 1321, RFC 3174, FIPS 180-4.
CHECKS = {
    Algorithm.MD5: "25f9e794323b453885f5181f1b624d0b",
    Algorithm.CRC32: "cbf43926",
    Algorithm.CRC32C: "e3069283",
    Algorithm.CRC64NVME: "ae8b14860a799888",
    Algorithm.SHA1: "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    Algorithm.SHA256: "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
}


@pytest.mark.parametrize("algorithm", Algorithm)
def test_values(algorithm: Algorithm) -> None:
    assert b64decode(checksums_of([algorithm], b"123456789")[algorithm]).hex() == CHECKS[algorithm]


def test_those_of_parts_beyond_4_gib_are_combined() -> None:
    zeros = [("AAAAAA==", 0), ("y/Q5Jg==", 9), ("AAAAAA==", 5 * 1024**3)]
    assert full_object(Algorithm.CRC32, zeros) != "y/Q5Jg=="


@pytest.mark.parametrize("value", ["", "AAAA", "AAAAAA=", "AAAAAAAAAAA=", "AAAA AA==", "AAAAAA==\n", "ÄAAAAA=="])
def test_what_is_none(value: str) -> None:
    with pytest.raises(ValueError):
        decode(Algorithm.CRC32, value)


def test_composite_values_are_told_apart() -> None:
    value = composite(Algorithm.SHA256, [checksums_of([Algorithm.SHA256], b"")[Algorithm.SHA256]] * 2)
    assert value.endswith("=-2")
    assert is_composite_value(value)
    assert not is_composite_value("y/Q5Jg==")
    with pytest.raises(ValueError):
        composite(Algorithm.CRC32, ["y/Q5"])
