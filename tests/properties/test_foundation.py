"""Properties of the values every tier speaks in."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from objstore.config.units import (
    BYTES_OF,
    SECONDS_OF,
    Address,
    parse_bytes,
    parse_seconds,
)
from objstore.limits import (
    InvalidMetadata,
    InvalidName,
    InvalidText,
    Limits,
    ListingTooLong,
    check_metadata,
    check_path,
    listing_limit,
    text_of,
)
from objstore.logs import Logger, Sink
from objstore.paths import ResourcePath
from objstore.quorum import best_status, has_quorum, quorum_size
from objstore.timestamps import OFFSET_MAX, TICKS_MAX, TICKS_PER_SECOND, Timestamp

timestamps = st.builds(Timestamp, st.integers(0, TICKS_MAX), st.integers(0, 3) | st.integers(0, OFFSET_MAX))
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
names = texts.filter(lambda name: "/" not in name)
paths = (
    st.builds(ResourcePath, names)
    | st.builds(ResourcePath, names, names)
    | st.builds(ResourcePath, names, names, texts)
)


@given(timestamps)
def test_a_timestamp_survives_its_texts(timestamp: Timestamp) -> None:
    assert Timestamp.parse(timestamp.internal) == timestamp
    assert Timestamp.parse(timestamp.normal) == Timestamp(timestamp.ticks)


@given(timestamps, timestamps)
def test_internal_forms_sort_as_timestamps_do(first: Timestamp, second: Timestamp) -> None:
    assert (first.internal < second.internal) == (first < second)


@given(st.text("0123456789.+-_ eabcdef", max_size=40) | st.text(max_size=20))
def test_parse_reads_or_refuses(text: str) -> None:
    try:
        timestamp = Timestamp.parse(text)
    except ValueError:
        return
    assert 0 <= timestamp.ticks <= TICKS_MAX
    assert 0 <= timestamp.offset <= OFFSET_MAX


@given(timestamps)
def test_dates_say_the_same_moment(timestamp: Timestamp) -> None:
    moment = datetime.fromisoformat(timestamp.isoformat).replace(tzinfo=UTC)
    whole, fraction = divmod(timestamp.ticks, TICKS_PER_SECOND)
    assert int(moment.timestamp()) == whole
    assert moment.microsecond == fraction * 10
    assert parsedate_to_datetime(timestamp.http_date).timestamp() == whole + (fraction > 0)
    assert timestamp.ceil_seconds == whole + (fraction > 0)


@given(timestamps)
def test_seconds_lead_back_to_the_tick(timestamp: Timestamp) -> None:
    assert Timestamp.from_seconds(timestamp.seconds).ticks == timestamp.ticks
    assert Timestamp.from_isoformat(timestamp.isoformat).ticks == timestamp.ticks


@given(paths)
def test_a_path_survives_its_texts(path: ResourcePath) -> None:
    assert ResourcePath.parse(str(path)) == path
    assert unquote(path.quoted) == str(path)
    assert path.quoted.isascii()
    assert (path.is_container, path.is_object) == (len(path.parts) == 2, len(path.parts) == 3)


@given(texts)
def test_text_survives_the_gateway(text: str) -> None:
    assert text_of(text.encode().decode("latin-1"), allow_nul=True) == text


@given(st.text(st.characters(max_codepoint=255)))
def test_any_bytes_are_text_or_refused(value: str) -> None:
    try:
        text = text_of(value)
    except InvalidText:
        return
    assert text.encode() == value.encode("latin-1")
    assert "\0" not in text


@given(paths, st.integers(1, 60))
def test_names_are_measured_in_bytes(path: ResourcePath, longest: int) -> None:
    limits = Limits(max_account_name_length=longest, max_container_name_length=longest, max_object_name_length=longest)
    fits = all(len(part.encode()) <= longest for part in path.parts)
    try:
        check_path(limits, path)
    except InvalidName:
        assert not fits
    else:
        assert fits


words = st.text("abcdef", max_size=12)


@given(
    st.dictionaries(words.map("X-Object-Meta-".__add__), words, max_size=6),
    st.integers(0, 8), st.integers(0, 12), st.integers(0, 12), st.integers(0, 60),
)  # fmt: skip
def test_metadata_passes_if_and_only_if_it_keeps_every_limit(
    headers: dict[str, str], count: int, name_length: int, value_length: int, overall: int
) -> None:
    limits = Limits(
        max_meta_count=count,
        max_meta_name_length=name_length,
        max_meta_value_length=value_length,
        max_meta_overall_size=overall,
    )
    items = {name.removeprefix("X-Object-Meta-"): value for name, value in headers.items()}
    fits = (
        len(items) <= count
        and all(0 < len(name) <= name_length for name in items)
        and all(len(value) <= value_length for value in items.values())
        and sum(len(name) + len(value) for name, value in items.items()) <= overall
    )
    try:
        check_metadata(limits, "X-Object-Meta-", headers)
    except InvalidMetadata:
        assert not fits
    else:
        assert fits


@given(st.text("0123456789-x", max_size=6), st.integers(0, 20_000))
def test_a_listing_never_exceeds_its_maximum(text: str, maximum: int) -> None:
    try:
        assert 0 <= listing_limit(text, maximum) <= maximum
    except ListingTooLong:
        assert int(text) > maximum


@given(st.integers(0, 10**6), st.sampled_from(sorted(SECONDS_OF)))
def test_seconds_scale_with_their_unit(number: int, unit: str) -> None:
    assert parse_seconds(f"{number}{unit}") == float(number * SECONDS_OF[unit])
    assert parse_seconds(f" {number} {unit} ") == parse_seconds(f"{number}{unit}")


@given(st.integers(0, 10**6), st.sampled_from(sorted(BYTES_OF)))
def test_bytes_scale_with_their_unit(number: int, unit: str) -> None:
    assert parse_bytes(f"{number}{unit}") == number * BYTES_OF[unit]


@given(st.ip_addresses().map(str), st.integers(0, 65535))
def test_an_address_survives_its_text(host: str, port: int) -> None:
    assert Address.parse(str(Address(host, port))) == Address(host, port)


statuses = st.lists(st.sampled_from([200, 201, 204, 304, 404, 409, 412, 500, 503, 507]), max_size=7)


@given(statuses, st.integers(1, 7))
def test_the_best_status_was_given_by_a_quorum(answers: list[int], replicas: int) -> None:
    needed = quorum_size(replicas)
    best = best_status(answers, needed)
    assert (best != 503) == has_quorum(answers, needed)
    if best != 503:
        assert best in answers
        assert sum(status // 100 == best // 100 for status in answers) >= needed


@given(st.integers(1, 50))
def test_a_write_and_a_read_by_a_majority_meet_for_odd_counts(replicas: int) -> None:
    assert 2 * quorum_size(replicas) == replicas + replicas % 2


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.text(max_size=20), max_size=3), st.text())
def test_whatever_is_logged_is_one_line(fields: dict[str, str], message: str) -> None:
    lines: list[bytes] = []
    Logger("test", Sink(write=lines.append)).info(message, **fields)
    (line,) = lines
    text = line.decode()
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    assert len(text.splitlines()) == 1
