"""A small API of uploads in parts, beside the one of the proxies: for clients of the simulation, which sign nothing."""

from __future__ import annotations

from typing import Any

from objstore.errors import StoreError
from objstore.http.messages import Environ
from objstore.paths import ResourcePath
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.errors import ContainerNotFound, InvalidPart, QuorumNotReached, UploadNotFound
from objstore.proxy.core.info import PRESENT, UNKNOWN
from objstore.proxy.core.upload_commands import BeginUpload, ChosenPart, CompleteUpload, PutPart, UploadRecord


class UploadEdge:
    """Uploads as an API would show them: the object in the path, what is asked in the query."""

    def __init__(self, context: ProxyContext) -> None:
        self._context = context

    def __call__(self, environ: Environ, start_response: Any) -> list[bytes]:
        status, body = 200, b""
        try:
            body = self._do(environ).encode()
        except (ContainerNotFound, UploadNotFound):
            status = 404
        except InvalidPart:
            status = 400
        except StoreError:
            status = 503
        start_response(f"{status} Told", [("Content-Length", str(len(body)))])
        return [body]

    def _do(self, environ: Environ) -> str:
        path = ResourcePath.parse(environ["PATH_INFO"].removeprefix("/v1"))
        action, *asked = environ["QUERY_STRING"].split("&")
        operations, body = self._context.uploads, environ["wsgi.input"]
        container = self._context.lookup.container(path, "")
        if container.existence is UNKNOWN:
            raise QuorumNotReached(path)
        if container.existence is not PRESENT:
            raise ContainerNotFound(path)
        index = container.policy_index
        if action == "begin":
            return operations.begin(BeginUpload(path, index, UploadRecord("text/plain")))
        upload, *rest = asked
        if action == "abort":
            operations.abort(path, upload, "")
        elif action == "part":
            size = int(environ["CONTENT_LENGTH"])
            return operations.put_part(PutPart(path, upload, int(rest[0]), body, size, size)).etag
        else:
            chosen = [ChosenPart(int(number), etag) for number, etag in (each.split(":") for each in rest)]
            operations.complete(CompleteUpload(path, index, upload, chosen, 1))
        return ""
