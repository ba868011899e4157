"""The limits of the API, and pure checks against them. Lengths are in bytes of UTF-8."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from msgspec import Struct

from objstore.config.units import Bytes, Count
from objstore.errors import StoreError
from objstore.paths import ResourcePath

# Our own containers are named after those of clients, with a word before the name.
RESERVED_WORD_MAX: Final = 32
# Headers a request may carry besides its metadata: those of HTTP, of the API and of proxies in front.
HEADERS_BESIDE_METADATA: Final = 36


@dataclass(eq=False)
class InvalidText(StoreError):
    """What should be text is not UTF-8, or holds a NUL, which begins names reserved for internal use."""

    message: ClassVar[str] = "Invalid UTF8 or contains NULL"


@dataclass(eq=False)
class InvalidName(StoreError):
    """No account, container or object can be called so."""

    message: ClassVar[str] = "{reason}"

    reason: str


@dataclass(eq=False)
class InvalidMetadata(StoreError):
    """Metadata that cannot be stored, or too much of it."""

    message: ClassVar[str] = "{reason}"

    reason: str


@dataclass(eq=False)
class ObjectTooLarge(StoreError):
    """No object can be so large."""

    message: ClassVar[str] = "Your request is too large: at most {limit} bytes fit."

    limit: int


@dataclass(eq=False)
class ListingTooLong(StoreError):
    """A listing of more rows than one answer holds."""

    message: ClassVar[str] = "Maximum limit is {maximum}"

    maximum: int


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """Every limit of the API; the same on all servers of a cluster. Sizes are in bytes."""

    max_file_size: Bytes = 5_368_709_122
    max_meta_name_length: Count = 128
    max_meta_value_length: Count = 256
    max_meta_count: Count = 90
    max_meta_overall_size: Bytes = 4096
    max_header_size: Bytes = 8192
    max_request_line: Bytes = 8192
    extra_header_count: Count = 0
    max_object_name_length: Count = 1024
    max_container_name_length: Count = 256
    max_account_name_length: Count = 256
    container_listing_limit: Count = 10_000
    account_listing_limit: Count = 10_000
    valid_api_versions: tuple[str, ...] = ("v1", "v1.0")
    auto_create_account_prefix: str = "."

    @property
    def max_header_count(self) -> int:
        """How many headers one request may carry."""
        return self.max_meta_count + HEADERS_BESIDE_METADATA + self.extra_header_count

    def is_internal_account(self, account: str) -> bool:
        """Whether an account is the store's own: such are created on demand."""
        return account.startswith(self.auto_create_account_prefix)


def text_of(value: str, allow_nul: bool = False) -> str:
    """The text of a value that PEP 3333 hands over as UTF-8 bytes disguised as latin-1. Raises InvalidText."""
    if value.isascii():
        text = value
    else:
        try:
            text = value.encode("latin-1").decode("utf-8")
        except UnicodeError:
            raise InvalidText from None
    if "\0" in text and not allow_nul:
        raise InvalidText
    return text


def is_utf8(value: str) -> bool:
    """Whether `text_of` can read it."""
    try:
        text_of(value)
    except InvalidText:
        return False
    return True


def check_path(limits: Limits, path: ResourcePath) -> None:
    """Raises InvalidName if a name is too long, or an account or container name holds a slash."""
    _check_length("Account", path.account, limits.max_account_name_length)
    longest = limits.max_container_name_length
    _check_length("Container", path.container, longest + RESERVED_WORD_MAX * path.container.startswith("\0"))
    _check_length("Object", path.object, limits.max_object_name_length)
    if "/" in path.account or "/" in path.container:
        raise InvalidName("Account and container names cannot contain slashes")


def check_metadata(limits: Limits, prefix: str, headers: Mapping[str, str], *, text_only: bool = True) -> None:
    """Check the user metadata among headers: those whose Title-Case name begins with `prefix`.

    Values are as PEP 3333 hands them over. With `text_only` they have to be UTF-8, as what listings and other servers
    show; objects carry any bytes. Raises InvalidMetadata.
    """
    count = total = 0
    for header, value in headers.items():
        if header.startswith(prefix):
            name = header[len(prefix) :]
            if text_only and not (is_utf8(name) and is_utf8(value)):
                raise InvalidMetadata("Metadata must be valid UTF-8")
            _check_item(limits, prefix, name, value)
            count += 1
            total += len(name) + len(value)
    if count > limits.max_meta_count:
        raise InvalidMetadata(f"Too many metadata items; max {limits.max_meta_count}")
    if total > limits.max_meta_overall_size:
        raise InvalidMetadata(f"Total metadata too large; max {limits.max_meta_overall_size}")


def check_upload_size(limits: Limits, length: int | None) -> None:
    """Raises ObjectTooLarge if an upload is announced as larger than any object; None is not known yet."""
    if length is not None and length > limits.max_file_size:
        raise ObjectTooLarge(limits.max_file_size)


def listing_limit(text: str | None, maximum: int) -> int:
    """The number of rows to list: the query's `limit` or, if it gives none or no number, the maximum.

    Raises ListingTooLong if the query asks for more.
    """
    if text is None or not (text.isascii() and text.isdigit()):
        return maximum
    # Measured first: int() takes long over thousands of digits.
    if len(text) > 18 or int(text) > maximum:
        raise ListingTooLong(maximum)
    return int(text)


def _check_length(kind: str, name: str, longest: int) -> None:
    # No character takes more than four bytes, so most names need no encoding to be measured.
    if len(name) * 4 > longest and (length := len(name.encode())) > longest:
        raise InvalidName(f"{kind} name length of {length} longer than {longest}")


def _check_item(limits: Limits, prefix: str, name: str, value: str) -> None:
    if not name:
        raise InvalidMetadata("Metadata name cannot be empty")
    if len(name) > limits.max_meta_name_length:
        raise InvalidMetadata(f"Metadata name too long: {prefix}{name}")
    if len(value) > limits.max_meta_value_length:
        raise InvalidMetadata(f"Metadata value longer than {limits.max_meta_value_length}: {prefix}{name}")
