"""Copies inside the store: COPY with a Destination, or PUT with X-Copy-From.

The source is read with a GET of our own and written with a PUT of our own, each with the client's rights, so that
every feature further in treats them as it treats the client's. With `?heartbeat=on` the answer begins as soon as the
source is there: see `heartbeat`.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from msgspec import Struct

from objstore.headers import Client, is_true
from objstore.http.errors import HttpError
from objstore.http.messages import Response, title_of
from objstore.paths import ResourcePath
from objstore.proxy.swift import errors
from objstore.proxy.swift.features import heartbeat
from objstore.proxy.swift.features.base import Feature, Handler
from objstore.proxy.swift.features.copy_headers import (
    NOT_FOR_THE_COPY,
    OF_THE_SOURCE,
    account_in,
    object_in,
    passes_to_copy,
)
from objstore.proxy.swift.features.response_body import ResponseReader
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext


class Copying(Struct, frozen=True):
    """One copy: what is read, what is written."""

    source: ResourcePath
    target: ResourcePath
    fresh: bool


class Copy(Feature):
    """Bodies pass through piece by piece; nothing is kept in memory."""

    __slots__ = ("_log", "_max_file_size")

    def __init__(self, next_handler: Handler, context: ProxyContext) -> None:
        super().__init__(next_handler, context)
        self._log = context.runtime.log
        self._max_file_size = context.cluster.limits.max_file_size

    def __call__(self, request: SwiftRequest) -> Response:
        """See Feature."""
        if request.method == "PUT":
            if "HTTP_X_COPY_FROM" not in request.environ:
                return self._next(request)
        elif request.method != "COPY":
            return self._next(request)
        resource = request.resource
        if resource is None or not resource.object:
            return self._next(request)
        copying = copying_of(request, resource)
        request.log_info.append(f"copy-from:{copying.source.quoted}")
        return self._copy(request, copying)

    def _copy(self, request: SwiftRequest, copying: Copying) -> Response:
        source = self._next(self._reading(request, copying))
        if source.status // 100 != 2:
            return source
        with ExitStack() as undo:
            undo.callback(source.close)
            if source.status == 206 and Client.CONTENT_RANGE not in source.headers:
                raise HttpError(400, "Only one range of an object can be copied")
            size = _length_of(source)
            if size is None or size > self._max_file_size:
                # Without a length: a large object of more parts than one listing shows.
                raise HttpError(413, "The source is too large to be copied.")
            writing = self._writing(request, copying, source, size)
            if is_true(request.params.get("heartbeat")):
                response = heartbeat.answer(request, partial(self._written, writing, source))
                undo.pop_all()
            else:
                response = self._next(writing)
        if response.status // 100 == 2:
            _add_copy_headers(response, writing, copying, source)
        return response

    def _written(self, writing: SwiftRequest, source: Response) -> Response:
        """What the copy comes to once the client has been told that it is under way: refusals come as answers."""
        try:
            return self._next(writing)
        except Exception as error:
            if not errors.is_foreseen(error):
                self._log.exception("unforeseen error", trans_id=writing.transaction_id, path=writing.path)
            return errors.answer_to(error)
        finally:
            source.close()

    def _reading(self, request: SwiftRequest, copying: Copying) -> SwiftRequest:
        headers = {name: value for name in OF_THE_SOURCE if (value := request.header(name)) is not None}
        # A copy is kept for long: better of what is newest than of what is nearest.
        headers[Client.NEWEST] = "true"
        return request.copy_for("GET", copying.source, headers, params=request.params)

    def _writing(self, request: SwiftRequest, copying: Copying, source: Response, size: int) -> SwiftRequest:
        headers = {}
        for name, value in source.headers.items():
            if name == Client.CONTENT_TYPE or (not copying.fresh and passes_to_copy(name)):
                headers[name] = value
        for variable, value in request.environ.items():
            if variable.startswith("HTTP_") or variable == "CONTENT_TYPE":
                name = title_of(variable)
                # What the request gives wins, also with an empty value; but clients send an empty type for want of one.
                if name not in NOT_FOR_THE_COPY and (value or name != Client.CONTENT_TYPE):
                    headers[name] = value
        return request.copy_for("PUT", copying.target, headers, body=ResponseReader(source.body), content_length=size)


def copying_of(request: SwiftRequest, resource: ResourcePath) -> Copying:
    """What a request asks to be copied. Raises HttpError 412 for headers that name no object, 400 for a body."""
    fresh = is_true(request.header(Client.FRESH_METADATA))
    if request.method == "COPY":
        account = account_in(request.header(Client.DESTINATION_ACCOUNT), resource.account)
        target = object_in(Client.DESTINATION, request.header(Client.DESTINATION), account)
        return Copying(resource, target, fresh)
    if request.content_length or (request.chunked and request.body.read(1)):
        raise HttpError(400, "Copy requests require a zero byte body")
    account = account_in(request.header(Client.COPY_FROM_ACCOUNT), resource.account)
    source = object_in(Client.COPY_FROM, request.header(Client.COPY_FROM), account)
    return Copying(source, resource, fresh)


def _length_of(response: Response) -> int | None:
    if isinstance(response.body, bytes):
        return len(response.body)
    if response.body.length is not None:
        return response.body.length
    announced = response.headers.get(Client.CONTENT_LENGTH)
    return int(announced) if announced is not None else None


def _add_copy_headers(response: Response, writing: SwiftRequest, copying: Copying, source: Response) -> None:
    """Tell what was copied, and the metadata the copy has."""
    headers = response.headers
    headers[Client.COPIED_FROM] = quote(f"{copying.source.container}/{copying.source.object}")
    headers[Client.COPIED_FROM_ACCOUNT] = quote(copying.source.account)
    if Client.LAST_MODIFIED in source.headers:
        headers[Client.COPIED_FROM_LAST_MODIFIED] = source.headers[Client.LAST_MODIFIED]
    for name, value in writing.headers_with_prefix(Client.OBJECT_META_PREFIX).items():
        headers.setdefault(name, value)
