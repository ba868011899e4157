import time

import pytest

from objstore.timestamps import TICKS_MAX, Timestamp


@pytest.mark.parametrize(
    ("text", "ticks", "offset"),
    [
        ("1234567890.12345", 123456789012345, 0),
        ("1234567890.12345_000000000000000f", 123456789012345, 15),
        ("1234567890.12345_F", 123456789012345, 15),
        ("0", 0, 0),
        ("12.5", 1250000, 0),
        ("1234567890.123454", 123456789012345, 0),
        ("1234567890.123455", 123456789012346, 0),
        ("0.999999", 100000, 0),
        ("9999999999.99999", TICKS_MAX, 0),
    ],
)
def test_parse(text: str, ticks: int, offset: int) -> None:
    assert Timestamp.parse(text) == Timestamp(ticks, offset)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".5",
        "1.",
        "-1",
        "+1",
        " 1",
        "1_",
        "1_g",
        "1_+1",
        "1_ 1",
        "1_1_1",
        "1_00000000000000000",
        "1e5",
        "nan",
        "1_000.5",
        "١٢٣٤٥٦٧٨٩٠.١٢٣٤٥",
        "123456789x.12345",
        "10000000000",
        "9999999999.999999",
    ],
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="timestamp"):
        Timestamp.parse(text)


@pytest.mark.parametrize("text", ["", "x", "2009-02-13", "2009-02-13T23:31:30", "2009-02-13T23:31:30.123450+00:00"])
def test_from_isoformat_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=".+"):
        Timestamp.from_isoformat(text)


def test_forms() -> None:
    timestamp = Timestamp.parse("1234567890.12345_f")
    assert timestamp.normal == "1234567890.12345"
    assert timestamp.internal == "1234567890.12345_000000000000000f"
    assert timestamp.isoformat == "2009-02-13T23:31:30.123450"
    assert timestamp.http_date == "Fri, 13 Feb 2009 23:31:31 GMT"
    assert timestamp.seconds == 1234567890.12345
    assert timestamp.ceil_seconds == 1234567891
    assert Timestamp(1).normal == Timestamp(1).internal == "0000000000.00001"


def test_whole_seconds_are_not_rounded_up() -> None:
    assert Timestamp.parse("784111777").http_date == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert Timestamp.parse("784111777").ceil_seconds == 784111777


def test_rounding_up_carries_into_the_next_day() -> None:
    assert Timestamp.parse("1388534399.00001").http_date == "Wed, 01 Jan 2014 00:00:00 GMT"


def test_the_offset_breaks_ties_only() -> None:
    assert Timestamp(1) < Timestamp(1, 1) < Timestamp(1, 2) < Timestamp(2)
    assert max(Timestamp(3), Timestamp(2, 9)) == Timestamp(3)
    assert len({Timestamp(1), Timestamp(1, 0), Timestamp(1, 1)}) == 2


def test_from_seconds_takes_the_nearest_tick() -> None:
    assert Timestamp.from_seconds(0.1 + 0.2) == Timestamp(30000)
    assert Timestamp.from_seconds(1.0000149) == Timestamp(100001)


def test_it_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Timestamp(1).ticks = 2  # type: ignore[misc]


def test_dates_do_not_depend_on_the_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        # A day no other test asks for: days are remembered.
        assert Timestamp.parse("86400").isoformat == "1970-01-02T00:00:00.000000"
    finally:
        monkeypatch.undo()
        time.tzset()
