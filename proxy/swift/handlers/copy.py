"""Copies inside the store: COPY with a Destination, or PUT with X-Copy-From.

Bodies pass through piece by piece; nothing is kept in memory. With `?heartbeat=on` the answer begins as soon as the
source is opened (`features/heartbeat.py`).
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote_to_bytes

from msgspec import Struct
from msgspec.structs import replace

from objstore.conditions import WriteConditions
from objstore.headers import Client, is_true
from objstore.http.errors import HttpError
from objstore.http.messages import Environ, Response
from objstore.limits import check_metadata, check_path, text_of
from objstore.paths import ResourcePath
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.encryption.settings import container_seal
from objstore.proxy.core.info import StoredMetadata
from objstore.proxy.core.manifest import UPLOAD, is_composite
from objstore.proxy.core.objects import Conditions, CopyObject, GetObject, OpenedObject, PutObject
from objstore.proxy.swift import errors
from objstore.proxy.swift.features import heartbeat
from objstore.proxy.swift.features.quotas import Quotas
from objstore.proxy.swift.handlers.object import (
    META,
    SYMLINK_TARGET,
    authorize,
    conditions_of,
    content_type,
    delete_at,
    is_manifest_wanted,
    metadata_of,
    policy_index,
    version_header,
)
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.swift.handlers.manifest_put import ManifestPut
    from objstore.proxy.swift.handlers.resolving import Resolver
    from objstore.proxy.swift.handlers.symlinks import Symlinks
    from objstore.proxy.swift.handlers.versions import ObjectVersioning

# What the copy is given back with if the source was, unless the request says otherwise.
COPIED: Final = (
    Client.CACHE_CONTROL,
    Client.CONTENT_DISPOSITION,
    Client.CONTENT_ENCODING,
    Client.CONTENT_LANGUAGE,
    Client.EXPIRES,
    Client.ROBOTS_TAG,
)
EXPIRY: Final = frozenset({"HTTP_X_DELETE_AT", "HTTP_X_DELETE_AFTER", "HTTP_X_REMOVE_DELETE_AT"})


class Copying(Struct, frozen=True):
    """One copy. fresh: it takes no metadata from its source."""

    source: ResourcePath
    target: ResourcePath
    fresh: bool


class CopyHandler:
    """Reads the source and writes the copy, each with the client's rights."""

    def __init__(
        self,
        context: ProxyContext,
        quotas: Quotas,
        symlinks: Symlinks,
        resolver: Resolver,
        versions: ObjectVersioning,
        manifests: ManifestPut,
    ) -> None:
        self._manifests = manifests
        self._objects = context.objects
        self._symlinks = symlinks
        self._resolver = resolver
        self._versions = versions
        self._lookup = context.lookup
        self._quotas = quotas
        self._limits = context.cluster.limits
        self._clock = context.runtime.clock
        self._log = context.runtime.log

    def __call__(self, request: SwiftRequest) -> Response:
        """201, 202 if newer data is stored already; what GET answers without a source, and what PUT answers."""
        copying = copying_of(request, request.storage_resource)
        request.log_info.append(f"copy-from:{copying.source.quoted}")
        with ExitStack() as undo:
            source = self._open(request, copying.source)
            undo.callback(source.close)
            if source.parts:
                raise HttpError(400, "Only one range of an object can be copied")
            if source.length is None or source.length > self._limits.max_file_size:
                raise HttpError(413, "The source is too large to be copied.")
            metadata = self._metadata(request, copying, source)
            if is_composite(source.info) and is_manifest_wanted(request):
                if UPLOAD in source.info.metadata.system:
                    raise HttpError(400, "The parts of an upload belong to one object. Copy its content.")
                made = self._manifests.copied(request, copying.target, source, metadata)
                if isinstance(made, Response):
                    return made
                source, metadata = made
            work = partial(self._write, request, copying, source, metadata)
            if is_true(request.params.get("heartbeat")):
                response = heartbeat.answer(request, partial(self._written, request, work, source))
                undo.pop_all()
            else:
                response = work()
        response.headers |= {META + name: value for name, value in metadata.user.items()}
        response.headers[Client.COPIED_FROM] = quote(f"{copying.source.container}/{copying.source.object}")
        response.headers[Client.COPIED_FROM_ACCOUNT] = quote(copying.source.account)
        response.headers[Client.COPIED_FROM_LAST_MODIFIED] = source.info.last_modified
        return response

    def _written(self, request: SwiftRequest, work: partial[Response], source: OpenedObject) -> Response:
        """What the copy comes to once the client has been told that it is under way: refusals come as answers."""
        try:
            return errors.guarded(self._log, request, work)
        finally:
            source.close()

    def _open(self, request: SwiftRequest, path: ResourcePath) -> OpenedObject:
        container = self._lookup.container(path, request.transaction_id)
        authorize(request, container, path, container.read_acl, "GET")
        environ = request.environ
        version = self._versions.asked(request) if environ["QUERY_STRING"] else ""
        command = GetObject(
            path=path,
            policy_index=policy_index(request, container),
            ranges=environ.get("HTTP_RANGE", ""),
            conditions=source_conditions(environ),
            newest=True,  # a copy is kept for long: better of what is newest than of what is nearest
            open_expired=bool(version),
            version=version,
            transaction_id=request.transaction_id,
        )
        opened = self._objects.open(command)
        return self._resolver.open(request, command, opened).found if opened.info.stands_for_others else opened

    def _write(
        self, request: SwiftRequest, copying: Copying, source: OpenedObject, metadata: StoredMetadata
    ) -> Response:
        path, info, length = copying.target, source.info, source.length
        check_path(self._limits, path)
        container, account = self._lookup.container_and_account(path, request.transaction_id)
        authorize(request, container, path, container.write_acl, "PUT")
        environ, timestamp = request.environ, request.timestamp(self._clock)
        moment = delete_at(environ, self._clock)
        if moment is None and not copying.fresh and environ.keys().isdisjoint(EXPIRY):
            moment = info.delete_at
        target = PutObject(
            path=path,
            policy_index=policy_index(request, container),
            timestamp=timestamp,
            body=request.body,
            length=0,
            length_max=self._limits.max_file_size,
            content_type=content_type(environ.get("CONTENT_TYPE") or info.content_type, environ, path.object),
            metadata=container.newly_locked(metadata, self._clock.now()),
            delete_at=moment,
            expected_md5=environ.get("HTTP_ETAG", "").strip().strip('"').lower(),
            conditions=WriteConditions(if_absent=True) if is_for_absent_target(environ) else None,
            version_mode=container.version_mode,
            transaction_id=request.transaction_id,
            seal=container_seal(container),
        )
        if container.sysmeta:
            self._versions.before_write(request, path, container, target.conditions)
        with self._quotas.reserve(request, path, container, account, length or 0):
            stored = self._objects.copy(CopyObject(source, target))
        if stored.superseded:
            return Response(202)
        headers = {Client.ETAG: stored.etag, Client.LAST_MODIFIED: stored.timestamp.http_date}
        return Response(201, headers | version_header(stored.version))

    def _metadata(self, request: SwiftRequest, copying: Copying, opened: OpenedObject) -> StoredMetadata:
        """The source's, unless the copy is to be fresh; what the request gives wins, also with an empty value."""
        metadata = self._merged(request, copying, opened.info.metadata)
        if SYMLINK_TARGET in request.environ or opened.info.stands_for_others:
            return self._symlinks.copied_metadata(request, copying.target, opened, metadata)
        return metadata

    def _merged(self, request: SwiftRequest, copying: Copying, source: StoredMetadata) -> StoredMetadata:
        given = metadata_of(request, self._limits)
        if copying.fresh:
            return given
        copied = (*COPIED, Client.OBJECT_MANIFEST) if is_manifest_wanted(request) else COPIED
        merged = StoredMetadata(
            source.user | given.user,
            source.system | given.system,
            source.transient | given.transient,
            {name: source.given[name] for name in copied if name in source.given} | given.given,
        )
        user = {META + name: value for name, value in merged.user.items()}
        check_metadata(self._limits, META, user, text_only=False)
        return merged


def is_for_absent_target(environ: Environ) -> bool:
    """Whether the copy must not replace anything. If-None-Match: * says that: about a source it would make no sense."""
    return bool(environ.get("HTTP_IF_NONE_MATCH", "").strip() == "*")


def source_conditions(environ: Environ) -> Conditions | None:
    """On what the reading of the source depends: all other conditions are about that."""
    conditions = conditions_of(environ)
    if conditions is not None and is_for_absent_target(environ):
        return replace(conditions, if_none_match=None)
    return conditions


def copying_of(request: SwiftRequest, path: ResourcePath) -> Copying:
    """What a request asks to be copied. Raises HttpError 412 for headers that name no object, 400 for a body."""
    fresh = is_true(request.header(Client.FRESH_METADATA))
    if request.method == "COPY":
        account = account_in(request.header(Client.DESTINATION_ACCOUNT), path.account)
        return Copying(path, object_in(Client.DESTINATION, request.header(Client.DESTINATION), account), fresh)
    if request.content_length or (request.chunked and request.body.read(1)):
        raise HttpError(400, "Copy requests require a zero byte body")
    account = account_in(request.header(Client.COPY_FROM_ACCOUNT), path.account)
    return Copying(object_in(Client.COPY_FROM, request.header(Client.COPY_FROM), account), path, fresh)


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
        reason = f"{header} header must be of the form <container name>/<object name>"
        raise HttpError(412, reason, {Client.CONTENT_TYPE: errors.TEXT_TYPE})
    return ResourcePath(account, container, name)


def _unquoted(value: str) -> str:
    return text_of(unquote_to_bytes(value.encode("latin-1")).decode("latin-1"))
