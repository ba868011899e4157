"""Which headers a copy takes from its source, which from the request, and how requests name objects."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

from objstore.headers import Client, Sysmeta
from objstore.http.errors import HttpError
from objstore.limits import text_of
from objstore.paths import ResourcePath

# Conditions and the range are about the source.
OF_THE_SOURCE: Final = (
    Client.RANGE,
    Client.IF_MATCH,
    Client.IF_NONE_MATCH,
    Client.IF_MODIFIED_SINCE,
    Client.IF_UNMODIFIED_SINCE,
    Client.IF_RANGE,
)
# What the request says of the copying itself, or of its connection, and not of the new object.
NOT_FOR_THE_COPY: Final = frozenset(
    {
        *OF_THE_SOURCE,
        Client.ACCEPT,
        Client.CONNECTION,
        Client.CONTENT_LENGTH,
        Client.COPY_FROM,
        Client.COPY_FROM_ACCOUNT,
        Client.DESTINATION,
        Client.DESTINATION_ACCOUNT,
        Client.EXPECT,
        Client.FRESH_METADATA,
        Client.HOST,
        Client.NEWEST,
        Client.TRANSFER_ENCODING,
    }
)
_COPIED: Final = frozenset(
    {
        Client.CACHE_CONTROL,
        Client.CONTENT_DISPOSITION,
        Client.CONTENT_ENCODING,
        Client.CONTENT_LANGUAGE,
        Client.DELETE_AT,
        Client.EXPIRES,
        Client.ROBOTS_TAG,
    }
)
_COPIED_PREFIXES: Final = (Client.OBJECT_META_PREFIX, Sysmeta.OBJECT_PREFIX, Sysmeta.OBJECT_TRANSIENT_PREFIX)


def passes_to_copy(name: str) -> bool:
    """Whether a header of the source, by its canonical name, becomes one of the copy."""
    return name in _COPIED or name.startswith(_COPIED_PREFIXES)


def account_in(value: str | None, default: str) -> str:
    """The account a header names, percent-quoted. Raises HttpError 412."""
    if value is None:
        return default
    account = _unquoted(value)
    if not account or "/" in account:
        raise HttpError(412, "Account name cannot be empty or contain slashes")
    return account


def object_in(header: str, value: str | None, account: str) -> ResourcePath:
    """The object a header names, percent-quoted: "container/object" or "/container/object". Raises HttpError 412."""
    container, slash, name = _unquoted(value or "").removeprefix("/").partition("/")
    if not container or not slash or not name:
        raise HttpError(412, f"{header} header must be of the form <container name>/<object name>")
    return ResourcePath(account, container, name)


def _unquoted(value: str) -> str:
    return text_of(unquote_to_bytes(value.encode("latin-1")).decode("latin-1"))
