"""The limits of the API, and pure checks against them. Lengths are in bytes of UTF-8."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from objstore.config.units import Bytes, Count
from objstore.http.errors import HttpError
from objstore.paths import ResourcePath

# Headers a request may carry besides its metadata: those of HTTP, of the API and of proxies in front.
HEADERS_BESIDE_METADATA: Final = 36


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
    """The text of a path or query value that PEP 3333 hands over as UTF-8 bytes disguised as latin-1.

    Raises HttpError 412 if it is not UTF-8, or holds a NUL, which begins names reserved for internal use.
    """
    if value.isascii():
        text = value
    else:
        try:
            text = value.encode("latin-1").decode("utf-8")
        except UnicodeError:
            raise HttpError(412, "Invalid UTF8 or contains NULL") from None
    if "\0" in text and not allow_nul:
        raise HttpError(412, "Invalid UTF8 or contains NULL")
    return text


def is_utf8(value: str) -> bool:
    """Whether `text_of` can read it."""
    try:
        text_of(value)
    except HttpError:
        return False
    return True


def check_path(limits: Limits, path: ResourcePath) -> None:
    """Raises HttpError 400 if a name is too long, or an account or container name holds a slash."""
    _check_length("Account", path.account, limits.max_account_name_length)
    _check_length("Container", path.container, limits.max_container_name_length)
    _check_length("Object", path.object, limits.max_object_name_length)
    if "/" in path.account or "/" in path.container:
        raise HttpError(400, "Account and container names cannot contain slashes")


def check_metadata(limits: Limits, prefix: str, headers: Mapping[str, str], *, text_only: bool = True) -> None:
    """Check the user metadata among headers: those whose Title-Case name begins with `prefix`.

    Values are as PEP 3333 hands them over. With `text_only` they have to be UTF-8, as what listings and other servers
    show; objects carry any bytes. Raises HttpError 400.
    """
    count = total = 0
    for header, value in headers.items():
        if header.startswith(prefix):
            name = header[len(prefix) :]
            if text_only and not (is_utf8(name) and is_utf8(value)):
                raise HttpError(400, "Metadata must be valid UTF-8")
            _check_item(limits, prefix, name, value)
            count += 1
            total += len(name) + len(value)
    if count > limits.max_meta_count:
        raise HttpError(400, f"Too many metadata items; max {limits.max_meta_count}")
    if total > limits.max_meta_overall_size:
        raise HttpError(400, f"Total metadata too large; max {limits.max_meta_overall_size}")


def check_upload_size(limits: Limits, length: int | None, chunked: bool) -> None:
    """Raises HttpError 411 if an upload has no end, 413 if it is announced as too large."""
    if length is None and not chunked:
        raise HttpError(411, "Missing Content-Length header.")
    if length is not None and length > limits.max_file_size:
        raise HttpError(413, "Your request is too large.")


def listing_limit(text: str | None, maximum: int) -> int:
    """The number of rows to list: the query's `limit` or, if it gives none or no number, the maximum.

    Raises HttpError 412 if the query asks for more.
    """
    if text is None or not (text.isascii() and text.isdigit()):
        return maximum
    # Measured first: int() takes long over thousands of digits.
    if len(text) > 18 or int(text) > maximum:
        raise HttpError(412, f"Maximum limit is {maximum}")
    return int(text)


def _check_length(kind: str, name: str, longest: int) -> None:
    # No character takes more than four bytes, so most names need no encoding to be measured.
    if len(name) * 4 > longest and (length := len(name.encode())) > longest:
        raise HttpError(400, f"{kind} name length of {length} longer than {longest}")


def _check_item(limits: Limits, prefix: str, name: str, value: str) -> None:
    if not name:
        raise HttpError(400, "Metadata name cannot be empty")
    if len(name) > limits.max_meta_name_length:
        raise HttpError(400, f"Metadata name too long: {prefix}{name}")
    if len(value) > limits.max_meta_value_length:
        raise HttpError(400, f"Metadata value longer than {limits.max_meta_value_length}: {prefix}{name}")
