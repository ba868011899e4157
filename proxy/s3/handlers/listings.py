"""Listings of a bucket: its current objects, as both versions of the operation tell them, and all versions of all.

One row more is asked for than the page has, so that a page knows whether it is the last one.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from urllib.parse import quote_plus

import msgspec
from msgspec import Struct

from objstore.headers import Client
from objstore.http.messages import Response
from objstore.proxy.core.containers import GetContainer
from objstore.proxy.core.listing import ListingQuery, VersionsQuery, whole
from objstore.proxy.core.versions import NULL, public_id, version_of
from objstore.proxy.s3.context import S3Context
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.request import S3Request
from objstore.proxy.s3.storage_classes import STANDARD
from objstore.proxy.s3.xml import NAMESPACE, escaped

KEYS_MAX: Final = 1000
_TOKEN_VERSION: Final = b"1"
_WHOLE_NUMBER: Final = re.compile(r"[0-9]{1,10}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~/-]*").fullmatch
# The longest name that there is: longer ones begin or divide none.
_NAME_LENGTH_MAX: Final = 1024


class ListedRow(Struct, frozen=True, gc=False):
    """A row of a listing as containers render it, as far as it is told here; `subdir` alone is that of a prefix."""

    name: str = ""
    hash: str = ""
    bytes: int = 0
    last_modified: str = ""
    subdir: str | None = None
    slo_etag: str = ""
    storage_class: str = STANDARD
    version_id: str = ""
    is_latest: bool = False
    marker: bool = False


_rows: Final = msgspec.json.Decoder(list[ListedRow])
# What a row may say besides its fields, and a time in whole seconds: where none of them stands, all rows are alike.
_UNLIKE: Final = (b'"subdir"', b'"slo_etag"', b'"storage_class"', b'.000000"')
# Names and ETags of these alone stand as they are in any spelling.
_SAFE: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.~/-"


class ListedPage(Struct, frozen=True):
    """The rows of a page. more: others follow. alike: all are objects, in need of no care."""

    rows: Sequence[ListedRow]
    more: bool
    alike: bool = False


class _RoundedTimes(dict[str, str]):
    """The next second of each, as listings tell it; in a page many are the same."""

    def __missing__(self, second: str) -> str:
        self[second] = told = f"{_next(second)}.000Z"
        return told


class AskedPage(Struct, frozen=True):
    """What a request asks a listing for. spelt: spells names as the client wants them."""

    size: int
    prefix: str
    delimiter: str
    encoding: str | None
    spelt: Callable[[str], str]


def asked_page(params: Mapping[str, str], size_parameter: str = "max-keys") -> AskedPage:
    """Raises S3Error InvalidArgument."""
    encoding = params.get("encoding-type") or None
    if encoding not in (None, "url"):
        raise invalid("encoding-type", encoding, "Invalid Encoding Method specified in Request")
    for name in ("prefix", "delimiter", "marker", "start-after", "key-marker"):
        if "\0" in params.get(name, ""):
            raise invalid(name, "", "No name holds a NUL")
    size = page_size(params, size_parameter)
    return AskedPage(
        size, params.get("prefix", ""), params.get("delimiter", ""), encoding, url_spelt if encoding else escaped
    )


def page_size(params: Mapping[str, str], name: str) -> int:
    """How many entries a page has at most. Raises S3Error InvalidArgument."""
    text = params.get(name)
    if not text:
        return KEYS_MAX
    if not text.isascii() or not _WHOLE_NUMBER.fullmatch(text) or int(text) > 0x7FFFFFFF:
        raise invalid(name, text, f"Argument {name} must be an integer between 0 and 2147483647")
    return min(int(text), KEYS_MAX)


def invalid(name: str, value: str | None, reason: str = "") -> S3Error:
    return S3Error("InvalidArgument", reason, ArgumentName=name, ArgumentValue=value or "")


def url_spelt(name: str) -> str:
    """A name in the style of forms, as encoding-type=url has it: a blank is "+", a slash stays."""
    return name if _PLAIN(name) else quote_plus(name, safe="/", errors="replace")


def seconds_of(moment: str) -> str:
    """A time of a listing in whole seconds, rounded up as in Last-Modified: both name the same second."""
    second = moment[:19]
    return f"{_next(second) if moment[19:].strip('.0') else second}.000Z"


@lru_cache(maxsize=4096)
def _next(second: str) -> str:
    return (datetime.fromisoformat(second) + timedelta(seconds=1)).isoformat()


class ListingHandler:
    def __init__(self, context: S3Context) -> None:
        self._containers: Final = context.proxy.containers

    def objects(self, request: S3Request) -> Response:
        """200: the first version of the operation, which goes on behind a name."""
        params, page = request.params, asked_page(request.params)
        marker = params.get("marker", "")
        found = self._page(request, page, marker)
        rows, more, spelt = found.rows, found.more, page.spelt
        parts = _head("ListBucketResult", request, page)
        parts.append(f"<Marker>{spelt(marker)}</Marker>")
        if more and page.delimiter:
            parts.append(f"<NextMarker>{spelt(_last(rows))}</NextMarker>")
        parts.append(f"<MaxKeys>{page.size}</MaxKeys><IsTruncated>{_truth(more)}</IsTruncated>")
        _add_objects(parts, found, spelt, _owner(request))
        _add_prefixes(parts, rows, spelt)
        return _answer(parts, "ListBucketResult")

    def objects_v2(self, request: S3Request) -> Response:
        """200: the second version, whose pages are continued with a token."""
        params, page = request.params, asked_page(request.params)
        token, start_after = params.get("continuation-token"), params.get("start-after")
        found = self._page(request, page, (start_after or "") if token is None else _name_of(token))
        rows, more, spelt = found.rows, found.more, page.spelt
        parts = _head("ListBucketResult", request, page)
        parts.append(f"<MaxKeys>{page.size}</MaxKeys><KeyCount>{len(rows)}</KeyCount>")
        parts.append(f"<IsTruncated>{_truth(more)}</IsTruncated>")
        if token is not None:
            parts.append(f"<ContinuationToken>{escaped(token)}</ContinuationToken>")
        if start_after is not None:
            parts.append(f"<StartAfter>{spelt(start_after)}</StartAfter>")
        if more:
            parts.append(f"<NextContinuationToken>{_token(_last(rows))}</NextContinuationToken>")
        _add_objects(parts, found, spelt, _owner(request) if params.get("fetch-owner", "").lower() == "true" else "")
        _add_prefixes(parts, rows, spelt)
        return _answer(parts, "ListBucketResult")

    def versions(self, request: S3Request) -> Response:
        """200: all versions and delete markers, by key, then the newest first."""
        params, page = request.params, asked_page(request.params)
        marker, version = params.get("key-marker", ""), params.get("version-id-marker")
        if version is not None and not marker:
            raise invalid("version-id-marker", version, "A version-id marker cannot be specified without a key marker.")
        found = self._page(request, page, marker, _version(version))
        rows, more, spelt = found.rows, found.more, page.spelt
        parts = _head("ListVersionsResult", request, page)
        parts.append(
            f"<KeyMarker>{spelt(marker)}</KeyMarker><VersionIdMarker>{escaped(version or '')}</VersionIdMarker>"
        )
        if more:
            parts.append(f"<NextKeyMarker>{spelt(_last(rows))}</NextKeyMarker>")
            if rows[-1].subdir is None:
                parts.append(f"<NextVersionIdMarker>{public_id(rows[-1].version_id)}</NextVersionIdMarker>")
        parts.append(f"<MaxKeys>{page.size}</MaxKeys><IsTruncated>{_truth(more)}</IsTruncated>")
        _add_versions(parts, rows, spelt, _owner(request))
        _add_prefixes(parts, rows, spelt)
        return _answer(parts, "ListVersionsResult")

    def _page(self, request: S3Request, page: AskedPage, marker: str, version: str | None = None) -> ListedPage:
        """Raises CoreError."""
        if not page.size or len(page.prefix.encode()) > _NAME_LENGTH_MAX:
            return ListedPage((), False)
        delimiter = page.delimiter if 0 < len(page.delimiter.encode()) <= _NAME_LENGTH_MAX else None
        limit = str(page.size + 1)
        query = (
            ListingQuery(limit, marker or None, None, page.prefix or None, delimiter)
            if version is None
            else VersionsQuery(
                limit, marker or None, None, page.prefix or None, delimiter, version_marker=version or None
            )
        )
        command = GetContainer(request.container.path, query, transaction_id=request.transaction_id)
        content = whole(self._containers.open(command).body)
        rows = _rows.decode(content)
        alike = not any(mark in content for mark in _UNLIKE) and _are_safe(rows)
        return ListedPage(rows[: page.size], len(rows) > page.size, alike)


def _version(identifier: str | None) -> str:
    """The version behind which a page begins, "" for all of the next name. Raises S3Error InvalidArgument."""
    if not identifier:
        return ""
    try:
        return NULL if identifier == NULL else version_of(identifier)
    except ValueError:
        raise invalid("version-id-marker", identifier, "Invalid version id specified") from None


def _token(name: str) -> str:
    return urlsafe_b64encode(_TOKEN_VERSION + name.encode()).decode()


def _name_of(token: str) -> str:
    """The name behind which a page goes on. Raises S3Error InvalidArgument."""
    try:
        content = urlsafe_b64decode(token.encode())
        if content[:1] == _TOKEN_VERSION and b"\0" not in content:
            return content[1:].decode()
    except ValueError:
        pass
    raise invalid("continuation-token", token, "The continuation token provided is incorrect")


def _last(rows: Sequence[ListedRow]) -> str:
    last = rows[-1]
    return last.name if last.subdir is None else last.subdir


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _head(root: str, request: S3Request, page: AskedPage) -> list[str]:
    """The declaration and what every listing says of itself."""
    spelt = page.spelt
    parts = [
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{NAMESPACE}"><Name>{escaped(request.bucket)}</Name>',
        f"<Prefix>{spelt(page.prefix)}</Prefix>",
    ]
    if page.delimiter:
        parts.append(f"<Delimiter>{spelt(page.delimiter)}</Delimiter>")
    if page.encoding:
        parts.append(f"<EncodingType>{page.encoding}</EncodingType>")
    return parts


def _owner(request: S3Request) -> str:
    name = escaped(request.container.owner)
    return f"<Owner><ID>{name}</ID><DisplayName>{name}</DisplayName></Owner>"


def _etag(row: ListedRow) -> str:
    return escaped(row.slo_etag.strip('"') or row.hash)


def _are_safe(rows: Sequence[ListedRow]) -> bool:
    texts = "".join([row.name for row in rows]) + "".join([row.hash for row in rows])
    return not texts.encode().translate(None, _SAFE)


def _add_objects(parts: list[str], page: ListedPage, spelt: Callable[[str], str], owner: str) -> None:
    """A page of a thousand is the most common of all: where rows are alike, each is one piece of text."""
    tail = f"</Size><StorageClass>{STANDARD}</StorageClass>{owner}</Contents>"
    if page.alike:
        times = _RoundedTimes()
        parts += [
            f"<Contents><Key>{row.name}</Key><LastModified>{times[row.last_modified[:19]]}</LastModified>"
            f"<ETag>&quot;{row.hash}&quot;</ETag><Size>{row.bytes}{tail}"
            for row in page.rows
        ]
        return
    parts += [
        f"<Contents><Key>{spelt(row.name)}</Key><LastModified>{seconds_of(row.last_modified)}</LastModified>"
        f"<ETag>&quot;{_etag(row)}&quot;</ETag><Size>{row.bytes}</Size>"
        f"<StorageClass>{escaped(row.storage_class)}</StorageClass>{owner}</Contents>"
        for row in page.rows
        if row.subdir is None
    ]


def _add_versions(parts: list[str], rows: Sequence[ListedRow], spelt: Callable[[str], str], owner: str) -> None:
    for row in rows:
        if row.subdir is not None:
            continue
        kind = "DeleteMarker" if row.marker else "Version"
        parts.append(
            f"<{kind}><Key>{spelt(row.name)}</Key><VersionId>{public_id(row.version_id)}</VersionId>"
            f"<IsLatest>{_truth(row.is_latest)}</IsLatest><LastModified>{seconds_of(row.last_modified)}</LastModified>"
        )
        if not row.marker:
            parts.append(
                f"<ETag>&quot;{_etag(row)}&quot;</ETag><Size>{row.bytes}</Size>"
                f"<StorageClass>{escaped(row.storage_class)}</StorageClass>"
            )
        parts.append(f"{owner}</{kind}>")


def _add_prefixes(parts: list[str], rows: Sequence[ListedRow], spelt: Callable[[str], str]) -> None:
    parts += [
        f"<CommonPrefixes><Prefix>{spelt(row.subdir)}</Prefix></CommonPrefixes>"
        for row in rows
        if row.subdir is not None
    ]


def _answer(parts: list[str], root: str) -> Response:
    parts.append(f"</{root}>")
    return Response(200, {Client.CONTENT_TYPE: "application/xml"}, "".join(parts).encode())
