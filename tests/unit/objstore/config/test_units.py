import os

import pytest

from objstore.config.units import (
    Address,
    Reserve,
    parse_bytes,
    parse_percent,
    parse_seconds,
    parse_workers,
)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (10, 10.0),
        (0.5, 0.5),
        ("10", 10.0),
        ("10s", 10.0),
        ("500ms", 0.5),
        ("2m", 120.0),
        ("1.5 h", 5400.0),
        ("7d", 604_800.0),
        ("1w", 604_800.0),
        ("0", 0.0),
    ],
)
def test_seconds(value: object, seconds: float) -> None:
    assert parse_seconds(value) == seconds


@pytest.mark.parametrize("value", [True, None, [], "", "s", "-1", -1, "10 x", "1s2", "1e3", "inf", float("nan"), "١s"])
def test_no_seconds(value: object) -> None:
    with pytest.raises(ValueError, match="duration|unknown unit"):
        parse_seconds(value)


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (65536, 65536),
        ("64KiB", 65536),
        ("64KB", 64000),
        ("1.5 MiB", 1572864),
        ("1GiB", 1 << 30),
        ("2TB", 2 * 10**12),
        ("3B", 3),
        ("1PiB", 1 << 50),
    ],
)
def test_bytes(value: object, count: int) -> None:
    assert parse_bytes(value) == count


@pytest.mark.parametrize("value", [True, "1.5", 0.5, "10 kib", "-1", "1KiB1", "64 KiB/s"])
def test_no_bytes(value: object) -> None:
    with pytest.raises(ValueError, match="size|whole number|unknown unit"):
        parse_bytes(value)


def test_unknown_units_tell_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown unit 'x' in '3x'; known: ms, s, m, h, d, w"):
        parse_seconds("3x")


def test_percent() -> None:
    assert (parse_percent("1%"), parse_percent(2.5), parse_percent("100 %")) == (1.0, 2.5, 100.0)
    for value in ("101%", "x", -1, "1s"):
        with pytest.raises(ValueError, match="percent|share|unknown unit"):
            parse_percent(value)


def test_reserve_is_a_share_or_a_size() -> None:
    assert Reserve.parse("1.5%") == Reserve(percent=1.5)
    assert Reserve.parse("10GiB") == Reserve(bytes=10 << 30)
    assert Reserve.parse(4096) == Reserve(bytes=4096)
    with pytest.raises(ValueError, match="more than 100"):
        Reserve.parse("200%")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:8080", Address("0.0.0.0", 8080)),
        ("[::1]:0", Address("::1", 0)),
        ("store.example:65535", Address("store.example", 65535)),
    ],
)
def test_address(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "value", ["", "8080", ":8080", "host:", "host:x", "host:65536", "::1:80", "host:-1", "h:²", 80]
)
def test_no_address(value: object) -> None:
    with pytest.raises(ValueError, match="host:port|no such port"):
        Address.parse(value)


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("0.0.0.0", True),
        ("::", True),
        ("8.8.8.8", True),
        ("2a00:1450::1", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("10.1.2.3", False),
        ("192.168.0.7", False),
        ("fd00::1", False),
        ("store1", False),
    ],
)
def test_addresses_that_strangers_may_reach(host: str, public: bool) -> None:
    assert Address(host, 6200).is_public is public


def test_workers() -> None:
    assert parse_workers("auto") == len(os.sched_getaffinity(0))
    assert parse_workers(3) == 3
    for value in (0, -1, True, "3", "many", 1.5):
        with pytest.raises(ValueError, match="auto"):
            parse_workers(value)
