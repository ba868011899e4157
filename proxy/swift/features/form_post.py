"""Uploads by HTML forms: POST of a container or a prefix with files, and a signature in place of a token.

The owner signs "PATH \n REDIRECT \n MAX_FILE_SIZE \n MAX_FILE_COUNT \n EXPIRES" with a key of the account or the
container. The fields of these names stand before the files in the form; x_delete_at and x_delete_after, which are not
signed, say when the files are deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from objstore.config.proxy import ProxyConfig
from objstore.errors import StoreError
from objstore.headers import Client
from objstore.http.bodies import ByteStream
from objstore.http.errors import REASONS, HttpError
from objstore.http.messages import Response
from objstore.http.multipart import FormPart, Multipart
from objstore.paths import ResourcePath
from objstore.proxy.swift import errors
from objstore.proxy.swift.features.base import Feature, Section
from objstore.proxy.swift.features.signed import digest_section, key_that_signs, keys_of, refuse
from objstore.proxy.swift.features.temp_url import parse_time
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

FORM_TYPE: Final = "multipart/form-data"
VALUE_BYTES_MAX: Final = 4096
FIELDS_MAX: Final = 100
FILES_MAX: Final = 1000


class LimitedPart(ByteStream):
    """A file of a form. Reading raises HttpError 413 if it is longer than the form may have it."""

    __slots__ = ("_left", "_part")

    def __init__(self, part: FormPart, length_max: int) -> None:
        super().__init__(None)
        self._part = part
        self._left = length_max

    def _advance(self) -> bool:
        if not self._ready:
            piece = self._part.read(65_536)
            self._left -= len(piece)
            if self._left < 0:
                raise HttpError(413, "max_file_size exceeded")
            self._ready = memoryview(piece)
        return bool(self._ready)


class FormPost(Feature):
    """Stores the files of signed forms."""

    methods = frozenset({"POST"})
    kinds = frozenset({"container", "object"})
    variables = frozenset({"CONTENT_TYPE"})

    def __init__(self, context: ProxyContext) -> None:
        self._digests = context.config.temp_url.digests
        self._info = context.lookup
        self._now = context.runtime.clock.now

    @classmethod
    def wanted(cls, config: ProxyConfig) -> bool:
        return bool(config.temp_url.methods)

    def sections(self) -> Mapping[str, Section]:
        """The digests that signatures may be made with."""
        return {"formpost": digest_section(self._digests)}

    def __call__(self, request: SwiftRequest) -> Response | None:
        """201, or 303 to where the form wants the outcome; None for a POST of no form. Raises HttpError 401."""
        if not request.environ.get("CONTENT_TYPE", "").lower().startswith(FORM_TYPE):
            return None
        request.log_info.append("formpost")
        granted: dict[str, str] = {}
        try:
            self._store(request, granted)
            status, message = 201, ""
        except StoreError as error:
            if not errors.is_foreseen(error):
                raise
            refusal = errors.refusal_of(error)
            if refusal.status == 401:
                raise
            status, message = refusal.status, refusal.reason or REASONS[refusal.status]
        return _outcome(granted.get("redirect", ""), status, message)

    def _store(self, request: SwiftRequest, granted: dict[str, str]) -> None:
        """Store each file as it comes. Raises StoreError: those before stay.

        granted: filled with the fields before the first file, once their signature is good. Later ones mean nothing.
        """
        fields: dict[str, str] = {}
        parts = Multipart(request.body, request.environ["CONTENT_TYPE"])
        stored = 0
        size_max = count_max = 0
        while (part := parts.next()) is not None:
            if part.filename is None:
                if len(fields) >= FIELDS_MAX:
                    raise HttpError(400, "Too many fields")
                fields.setdefault(part.name.lower(), part.text(VALUE_BYTES_MAX))
                continue
            if not part.filename:
                continue  # a field for a file in which none was chosen
            if not stored:
                self._check(request, fields)
                granted |= fields
                size_max, count_max = _number(fields, "max_file_size"), _number(fields, "max_file_count")
            if stored >= min(count_max, FILES_MAX):
                raise HttpError(400, "max file count exceeded")
            self._put(request, granted, part, size_max)
            stored += 1
        if not stored:
            self._check(request, fields)
            granted |= fields
            raise HttpError(400, "no files to process")

    def _check(self, request: SwiftRequest, fields: Mapping[str, str]) -> None:
        """Whether the form is signed, and good still. Raises HttpError 400, 401."""
        expires = fields.get("expires", "")
        if not expires:
            raise HttpError(400, "expires not an integer")
        if parse_time(expires) <= self._now():
            raise refuse(request, "Form Expired")
        signed = (fields.get(name, "") for name in ("redirect", "max_file_size", "max_file_count"))
        message = "\n".join([request.path.encode("latin-1").decode("utf-8", "replace"), *signed, expires])
        path = request.storage_resource
        keys = keys_of(self._info, path, request.transaction_id)
        key = key_that_signs(fields.get("signature", ""), [message.encode()], keys, self._digests)
        if key is None:
            raise refuse(request, "Invalid Signature")
        request.authorize = partial(key.authorize, methods=frozenset({"PUT"}))

    def _put(self, request: SwiftRequest, fields: Mapping[str, str], part: FormPart, size_max: int) -> None:
        place = request.storage_resource
        path = ResourcePath(place.account, place.container, f"{place.object}{part.filename}")
        headers = {}
        for field, header in (("x_delete_at", Client.DELETE_AT), ("x_delete_after", Client.DELETE_AFTER)):
            if fields.get(field):
                headers[header] = str(_number(fields, field))
        if part.content_type and part.content_type.isprintable():
            headers[Client.CONTENT_TYPE] = part.content_type.encode().decode("latin-1")
        self.send(request.derived("PUT", path, headers=headers, body=LimitedPart(part, size_max)))


def _number(fields: Mapping[str, str], name: str) -> int:
    value = fields.get(name, "")
    if not (value.isascii() and value.isdecimal() and len(value) < 19):
        raise HttpError(400, f"{name} not an integer")
    return int(value)


def _outcome(redirect: str, status: int, message: str) -> Response:
    """The answer to a form: a page, or where the form sends the browser to."""
    if not redirect:
        body = f"<h1>{status} {REASONS[status]}</h1>FormPost: {escape(message)}".encode() if message else b""
        return Response(status, {Client.CONTENT_TYPE: "text/html; charset=UTF-8"}, body)
    mark = "&" if "?" in redirect else "?"
    location = f"{redirect}{mark}status={status}&message={quote(message)}"
    if any(each in location for each in "\r\n\0"):
        raise HttpError(400, "redirect is no URL")
    location = quote(location, safe="%/:=&?~#+!$,;'@()*[]")
    page = f'<html><body><p><a href="{escape(location)}">Click to continue...</a></p></body></html>'
    return Response(303, {"Location": location, Client.CONTENT_TYPE: "text/html; charset=UTF-8"}, page.encode())
