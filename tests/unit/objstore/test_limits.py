import pytest

from objstore.limits import (
    InvalidMetadata,
    InvalidName,
    InvalidText,
    Limits,
    ListingTooLong,
    ObjectTooLarge,
    check_metadata,
    check_path,
    check_upload_size,
    listing_limit,
    text_of,
)
from objstore.paths import ResourcePath

LIMITS = Limits()
PREFIX = "X-Object-Meta-"


def wsgi(text: str) -> str:
    return text.encode().decode("latin-1")


def test_defaults() -> None:
    assert LIMITS.max_file_size == 5 * 1024**3 + 2
    assert LIMITS.max_header_count == 90 + 36
    assert Limits(max_meta_count=10, extra_header_count=4).max_header_count == 50
    assert LIMITS.is_internal_account(".expiring_objects")
    assert not LIMITS.is_internal_account("AUTH_test")


def test_text_of() -> None:
    assert text_of("plain") == "plain"
    assert text_of(wsgi("größe")) == "größe"
    assert text_of("\0versions", allow_nul=True) == "\0versions"


@pytest.mark.parametrize("value", ["\xff", "a\0b", wsgi("ö\0"), "\u20ac"])
def test_text_of_refuses(value: str) -> None:
    with pytest.raises(InvalidText) as caught:
        text_of(value)
    assert str(caught.value) == "Invalid UTF8 or contains NULL"


def test_names_may_be_as_long_as_allowed() -> None:
    check_path(LIMITS, ResourcePath("a" * 256, "c" * 256, "o" * 1024))
    check_path(LIMITS, ResourcePath("a", "ü" * 128, "€" * 341))
    check_path(LIMITS, ResourcePath("a", f"\0uploads\0{'c' * 256}"))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (ResourcePath("a" * 257), "Account name length of 257 longer than 256"),
        (ResourcePath("a", "c" * 257), "Container name length of 257 longer than 256"),
        (ResourcePath("a", "c", "o" * 1025), "Object name length of 1025 longer than 1024"),
        (ResourcePath("a", "ü" * 129), "Container name length of 258 longer than 256"),
        (ResourcePath("a", "c", "€" * 342), "Object name length of 1026 longer than 1024"),
        (ResourcePath("a", "c/d"), "Account and container names cannot contain slashes"),
        (ResourcePath("a/b"), "Account and container names cannot contain slashes"),
    ],
)
def test_check_path_refuses(path: ResourcePath, reason: str) -> None:
    with pytest.raises(InvalidName) as caught:
        check_path(LIMITS, path)
    assert str(caught.value) == reason


def test_metadata_up_to_each_limit() -> None:
    check_metadata(LIMITS, PREFIX, {PREFIX + "N" * 128: "v" * 256})
    check_metadata(LIMITS, PREFIX, {f"{PREFIX}{number:02}": "v" for number in range(90)})
    check_metadata(LIMITS, PREFIX, {f"{PREFIX}{number:02}": "v" * 254 for number in range(16)})
    check_metadata(LIMITS, PREFIX, {PREFIX + "Empty": "", PREFIX + wsgi("Ünïcode"): wsgi("wért")})


def test_metadata_of_objects_is_any_bytes() -> None:
    check_metadata(LIMITS, PREFIX, {PREFIX + "N": "\xff" * 256}, text_only=False)
    with pytest.raises(InvalidMetadata):
        check_metadata(LIMITS, PREFIX, {PREFIX + "N": "\xff" * 257}, text_only=False)


def test_other_headers_are_not_looked_at() -> None:
    check_metadata(LIMITS, PREFIX, {"X-Container-Meta-" + "N" * 200: "v" * 9000, "Etag": "\xff"})


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({PREFIX: "v"}, "Metadata name cannot be empty"),
        ({PREFIX + "\xff": "v"}, "Metadata must be valid UTF-8"),
        ({PREFIX + "N": "\xff"}, "Metadata must be valid UTF-8"),
        ({PREFIX + "N": "a\0"}, "Metadata must be valid UTF-8"),
        ({PREFIX + "N" * 129: "v"}, f"Metadata name too long: {PREFIX}{'N' * 129}"),
        ({PREFIX + "N": "v" * 257}, f"Metadata value longer than 256: {PREFIX}N"),
        ({f"{PREFIX}{n:02}": "v" for n in range(91)}, "Too many metadata items; max 90"),
        (
            {f"{PREFIX}{n:02}": "v" * 254 for n in range(16)} | {f"{PREFIX}N": ""},
            "Total metadata too large; max 4096",
        ),
    ],
)
def test_check_metadata_refuses(headers: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidMetadata) as caught:
        check_metadata(LIMITS, PREFIX, headers)
    assert str(caught.value) == reason


def test_check_upload_size() -> None:
    for length in (None, 0, LIMITS.max_file_size):
        check_upload_size(LIMITS, length)
    with pytest.raises(ObjectTooLarge, match="at most 5368709122 bytes"):
        check_upload_size(LIMITS, LIMITS.max_file_size + 1)


@pytest.mark.parametrize(
    ("text", "limit"),
    [(None, 100), ("", 100), ("x", 100), ("-1", 100), ("²", 100), ("0", 0), ("7", 7), ("007", 7), ("100", 100)],
)
def test_listing_limit(text: str | None, limit: int) -> None:
    assert listing_limit(text, 100) == limit


@pytest.mark.parametrize("text", ["101", "9" * 18, "9" * 10_000])
def test_listing_limit_refuses(text: str) -> None:
    with pytest.raises(ListingTooLong) as caught:
        listing_limit(text, 100)
    assert str(caught.value) == "Maximum limit is 100"
