"""Objects."""

from __future__ import annotations

from typing import Final

from objstore.headers import Backend, Client, is_true
from objstore.http.errors import HttpError
from objstore.http.messages import Response, variable_of
from objstore.limits import check_path, check_upload_size
from objstore.paths import ResourcePath
from objstore.proxy.core.container_updates import OF_CONTAINER, OF_QUEUE, add_updates
from objstore.proxy.core.info import ContainerInfo
from objstore.proxy.core.nodes import Placement
from objstore.proxy.core.object_reader import ObjectReader
from objstore.proxy.core.object_writer import ObjectUpload, ObjectWriter
from objstore.proxy.core.put_outcome import delete_status
from objstore.proxy.swift.handlers.common import (
    OF_THE_CONNECTION,
    HandlerContext,
    authorize,
    backend_headers,
    error_response,
)
from objstore.proxy.swift.handlers.stored import content_type, delete_at, expiring_container, stored_headers
from objstore.proxy.swift.request import SwiftRequest
from objstore.quorum import best_status
from objstore.timestamps import Timestamp

# What a reader asks of the object itself, and what parts of the store ask in their own name.
PASSED_ON: Final = tuple(
    (variable_of(name), name)
    for name in (
        Client.RANGE,
        Client.IF_RANGE,
        Client.IF_MATCH,
        Client.IF_NONE_MATCH,
        Client.IF_MODIFIED_SINCE,
        Client.IF_UNMODIFIED_SINCE,
        Backend.OPEN_EXPIRED,
        Backend.REPLICATION,
    )
)
STATIC_LARGE_OBJECT: Final = variable_of(Client.STATIC_LARGE_OBJECT)
# What a refusal says of the object all the same.
EXPLAINING: Final = (
    Client.ACCEPT_RANGES,
    Client.CONTENT_RANGE,
    Client.ETAG,
    Client.LAST_MODIFIED,
    Client.TIMESTAMP,
    Backend.TIMESTAMP,
)


class ObjectHandler:
    """One function for each verb."""

    def __init__(self, tools: HandlerContext) -> None:
        self._tools = tools
        self._context = tools.context
        self._limits = tools.context.cluster.limits
        self._objects = ObjectReader(tools.reader, tools.context.runtime.random)
        self._uploads = ObjectWriter(tools.writer, tools.context.runtime.threads)

    def get(self, request: SwiftRequest) -> Response:
        """200, 206, 304, 404, 412, 416."""
        return self._read(request, "GET")

    def head(self, request: SwiftRequest) -> Response:
        """As GET, without the body; ranges are ignored."""
        return self._read(request, "HEAD")

    def _read(self, request: SwiftRequest, method: str) -> Response:
        resource = request.storage_resource
        container = self._container(request, resource, writing=False)
        place = self._place(request, resource, container)
        environ = request.environ
        headers = self._headers(request, container)
        for variable, name in PASSED_ON:
            if variable in environ:
                headers[name] = environ[variable]
        if self._opens_expired(request):
            headers[Backend.OPEN_EXPIRED] = "true"
        newest = "HTTP_X_NEWEST" in environ and is_true(environ["HTTP_X_NEWEST"])
        if method == "GET":
            response = self._objects.get(place, headers, newest=newest)
        else:
            headers.pop(Client.RANGE, None)
            response = self._objects.head(place, headers, newest=newest)
        if response.status >= 400:
            return _failure(response)
        for name in OF_THE_CONNECTION:
            response.headers.pop(name, None)
        return response

    def put(self, request: SwiftRequest) -> Response:
        """201, 202 if newer data is stored already, 400, 404 without container, 412, 413, 422, 503 without a quorum."""
        resource, length = request.storage_resource, request.content_length
        check_path(self._limits, resource)
        if length is None and not request.chunked:
            raise HttpError(411, "Missing Content-Length header.")
        check_upload_size(self._limits, length)
        if STATIC_LARGE_OBJECT in request.environ:
            raise HttpError(400, f"{Client.STATIC_LARGE_OBJECT} is not for clients to set")
        unless_there = _if_none_match(request)
        stored = stored_headers(request, self._limits)
        container = self._container(request, resource, writing=True)
        timestamp = self._tools.timestamp(request)
        place = self._place(request, resource, container)
        stored[Client.CONTENT_TYPE] = content_type(request, resource.object)
        if unless_there:
            stored[Client.IF_NONE_MATCH] = "*"
        result = self._uploads.store(
            ObjectUpload(
                place,
                self._context.cluster.policies.by_index(self._policy_index(request, container)).scheme,
                self._write_headers(request, place, container, timestamp, stored),
                request.body,
                length,
                request.length_max,
                (request.environ.get("HTTP_ETAG") or "").strip().strip('"').lower(),
                ask_first=unless_there and request.header(Client.EXPECT) is not None,
            )
        )
        if result.status != 201:
            return Response(202) if result.status == 202 else error_response(result.status)
        return Response(201, {Client.ETAG: result.etag, Client.LAST_MODIFIED: timestamp.http_date})

    def post(self, request: SwiftRequest) -> Response:
        """202, 404. Replaces all metadata; the type stays unless one is given."""
        resource = request.storage_resource
        stored = stored_headers(request, self._limits)
        container = self._container(request, resource, writing=True)
        timestamp = self._tools.timestamp(request)
        place = self._place(request, resource, container)
        if request.environ.get("CONTENT_TYPE"):
            stored[Client.CONTENT_TYPE] = content_type(request, resource.object)
        if self._opens_expired(request):
            stored[Backend.OPEN_EXPIRED] = "true"
        headers = self._write_headers(request, place, container, timestamp, stored)
        answers = self._tools.writer.send("POST", place, headers)
        status = best_status(answers.statuses, answers.quorum)
        if status == 404 and min(answers.statuses) < 300 and not answers.header(404, Backend.TIMESTAMP):
            status = 503  # it is there, though most of those asked have not got it, nor know of a deletion
        return Response(status) if status < 300 else error_response(status)

    def delete(self, request: SwiftRequest) -> Response:
        """204, 404, 409 if something newer is stored."""
        resource = request.storage_resource
        container = self._container(request, resource, writing=True)
        timestamp = self._tools.timestamp(request)
        place = self._place(request, resource, container)
        headers = self._headers(request, container)
        headers[Client.TIMESTAMP] = timestamp.internal
        guard = request.header(Client.IF_DELETE_AT)
        if guard is not None:
            headers[Client.IF_DELETE_AT] = guard
        each = [dict(headers) for _ in range(place.replicas)]
        add_updates(each, self._tools.container_place(resource.container_path), OF_CONTAINER)
        answers = self._tools.writer.send("DELETE", place, each)
        status = delete_status(answers.statuses, answers.quorum)
        return Response(204) if status < 300 else error_response(status)

    def _container(self, request: SwiftRequest, resource: ResourcePath, *, writing: bool) -> ContainerInfo:
        """The container the request may use. Raises HttpError 401, 403, 404, 503."""
        info = self._context.info.container(request, resource)
        if info.status >= 500:
            raise HttpError(503)  # who may use it nobody can say
        request.acl = info.write_acl if writing else info.read_acl
        authorize(request)
        if not info.exists:
            raise HttpError(404)
        return info

    def _opens_expired(self, request: SwiftRequest) -> bool:
        """Whether an owner reads, or brings back, what has expired and is not deleted yet."""
        if "HTTP_X_OPEN_EXPIRED" not in request.environ:
            return False
        allowed = self._context.config.objects.allow_open_expired and request.owner
        return allowed and is_true(request.header(Client.OPEN_EXPIRED))

    def _headers(self, request: SwiftRequest, container: ContainerInfo) -> dict[str, str]:
        headers = backend_headers(request)
        headers[Backend.POLICY_INDEX] = str(self._policy_index(request, container))
        return headers

    def _policy_index(self, request: SwiftRequest, container: ContainerInfo) -> int:
        """The container's, unless a part of the store looks for what lies in the wrong place."""
        given = request.environ.get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX")
        return container.policy_index if given is None else int(given)

    def _place(self, request: SwiftRequest, resource: ResourcePath, container: ContainerInfo) -> Placement:
        ring = self._context.rings.object(self._policy_index(request, container))
        return self._tools.place(ring, resource)

    def _write_headers(
        self,
        request: SwiftRequest,
        place: Placement,
        container: ContainerInfo,
        timestamp: Timestamp,
        stored: dict[str, str],
    ) -> list[dict[str, str]]:
        """For each node what is to be stored, and whom it tells: the container, and the queue if it expires."""
        headers = self._headers(request, container)
        headers[Client.TIMESTAMP] = timestamp.internal
        headers.update(stored)
        moment = delete_at(request, self._context.runtime.clock.now())
        if moment is not None:
            headers[Client.DELETE_AT] = str(moment)
        each = [dict(headers) for _ in range(place.replicas)]
        add_updates(each, self._tools.container_place(place.path.container_path), OF_CONTAINER)
        if moment is not None:
            queue = expiring_container(moment, self._context.cluster.hasher.digest(place.path))
            for node_headers in each:
                node_headers[Backend.DELETE_AT_CONTAINER] = queue.container
            add_updates(each, self._tools.container_place(queue), OF_QUEUE)
        return each


def _if_none_match(request: SwiftRequest) -> bool:
    """Whether an object must not be there yet. Raises HttpError 400 for what a PUT cannot ask."""
    value = request.environ.get("HTTP_IF_NONE_MATCH")
    if value is None:
        return False
    if value.strip() != "*":
        raise HttpError(400, "If-None-Match only supports *")
    return True


def _failure(response: Response) -> Response:
    """A refusal with the headers that explain it, and a line of text."""
    response.close()
    return error_response(
        response.status, {name: response.headers[name] for name in EXPLAINING if name in response.headers}
    )
