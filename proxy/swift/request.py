"""A request at the edge of the store: what the pipeline's features and the handlers are given."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote_from_bytes, urlencode

import webob

from objstore.http import messages
from objstore.http.bodies import EMPTY_BODY
from objstore.http.errors import HttpError
from objstore.http.messages import BodyReader, Environ, variable_of
from objstore.limits import Limits, text_of
from objstore.paths import ResourcePath
from objstore.proxy.auth.identity import Identity

# Paths that begin with a version, right or wrong, are meant for the storage API.
VERSION_SHAPE: Final = re.compile(r"v[0-9][0-9.]*")
DEFAULT_LIMITS: Final = Limits()
# Variables of an environ that describe the connection and not the request: subrequests keep them.
_CONNECTION_VARIABLES: Final = ("SCRIPT_NAME", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "REMOTE_ADDR")
_KEPT_HEADERS: Final = ("HTTP_HOST", "HTTP_USER_AGENT", "HTTP_REFERER", "HTTP_ORIGIN", "HTTP_X_FORWARDED_FOR")

Authorize = Callable[["SwiftRequest"], None]


class SwiftRequest(messages.Request, webob.BaseRequest):  # type: ignore[misc]  # WebOb has no types
    """A request that has come in.

    What every request needs is read from the environ directly. WebOb parses the rest when it is asked:
    `accept`, `if_match`, `if_modified_since`, ...

    acl: the list that `authorize` weighs; handlers set it once they know the container.
    authorize: set by the authentication, called by handlers; raises HttpError 401 or 403. None: may do all.
    owner: whether headers for owners only may be shown; `authorize` sets it.
    length_max: the most bytes that a body may turn out to have; features may lower it.
    log_info: marks for the request's line in the access log.
    """

    __slots__ = (
        "_resource",
        "_resource_known",
        "acl",
        "authorize",
        "identity",
        "length_max",
        "limits",
        "log_info",
        "owner",
        "transaction_id",
        "version",
    )

    def __init__(self, environ: Environ, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(environ)
        self.limits = limits
        self.version = ""  # known once `resource` is
        self._resource: ResourcePath | None = None
        self._resource_known = False
        self.transaction_id = ""
        self.identity: Identity | None = None
        self.authorize: Authorize | None = None
        self.acl: str | None = None
        self.owner = False
        self.length_max = limits.max_file_size
        self.log_info: list[str] = []

    @property
    def resource(self) -> ResourcePath | None:
        """What the path names; None if it is none of the storage API's.

        Raises HttpError: 404 for a path with empty parts, 412 for a version we do not speak or text that is not UTF-8.
        """
        if not self._resource_known:
            self._resource = self._parse_path()
            self._resource_known = True
        return self._resource

    @property
    def known_resource(self) -> ResourcePath | None:
        """As `resource`, if somebody has asked for it already and it could be read; never raises."""
        return self._resource

    def _parse_path(self) -> ResourcePath | None:
        parts = self.path[1:].split("/", 3)
        if parts[0] not in self.limits.valid_api_versions:
            if len(parts) > 1 and not parts[0]:
                raise HttpError(404)
            if len(parts) > 1 and VERSION_SHAPE.fullmatch(parts[0]):
                raise HttpError(412, f"Unknown API version: {parts[0]}")
            return None
        self.version = parts[0]
        if len(parts) == 1 or parts[1:] == [""]:
            return None
        if len(parts) > 2 and parts[-1] == "":
            parts.pop()  # a slash at the end of an account or a container
        if "" in parts:
            raise HttpError(404)
        internal = self.environ.get("HTTP_X_BACKEND_ALLOW_RESERVED_NAMES") == "true"
        return ResourcePath(*(text_of(part, allow_nul=internal) for part in parts[1:]))

    @property
    def storage_resource(self) -> ResourcePath:
        """As `resource`, where there has to be one. Raises HttpError 412 as well."""
        resource = self.resource
        if resource is None:
            raise HttpError(412, "Bad URL")
        return resource

    @property
    def params(self) -> dict[str, str]:
        """The query's parameters, unquoted. Raises HttpError 400, 412. Change them by assigning a new dict."""
        return self.query

    @params.setter
    def params(self, parameters: Mapping[str, str]) -> None:
        self._query = dict(parameters)
        self.environ["QUERY_STRING"] = urlencode(self._query)

    @property
    def remote_user(self) -> str:
        """The user's name for logs; empty for anyone."""
        return self.identity.user if self.identity is not None else ""

    def set_header(self, name: str, value: str | None) -> None:
        """Change a header, or take it away with None."""
        if value is None:
            self.environ.pop(variable_of(name), None)
        else:
            self.environ[variable_of(name)] = value

    def copy_for(
        self,
        method: str,
        resource: ResourcePath,
        headers: Mapping[str, str] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        body: BodyReader | None = None,
        content_length: int | None = None,
        pre_authorised: bool = False,
    ) -> SwiftRequest:
        """A request of our own that belongs to this one.

        It carries `headers` and none of this one's but those that tell whom it comes from. A body without
        `content_length` goes in chunks. `pre_authorised` lets it do what the client itself could not.
        """
        environ = {key: value for key, value in self.environ.items() if _is_inherited(key)}
        path = f"/{self.version or self.limits.valid_api_versions[0]}{resource}".encode()
        environ["REQUEST_METHOD"] = method
        environ["PATH_INFO"] = path.decode("latin-1")
        environ["objstore.raw_path"] = quote_from_bytes(path)
        environ["QUERY_STRING"] = urlencode(params) if params else ""
        environ["wsgi.input"] = EMPTY_BODY if body is None else body
        if content_length is not None:
            environ["CONTENT_LENGTH"] = str(content_length)
        elif body is not None:
            environ["HTTP_TRANSFER_ENCODING"] = "chunked"
        for name, value in (headers or {}).items():
            environ[variable_of(name)] = value
        copy = SwiftRequest(environ, self.limits)
        copy.version = self.version
        copy._resource, copy._resource_known = resource, True
        copy._query = dict(params) if params else {}
        copy.transaction_id = self.transaction_id
        copy.identity = self.identity
        copy.authorize = None if pre_authorised else self.authorize
        copy.owner = pre_authorised
        copy.log_info = self.log_info
        return copy


def _is_inherited(variable: str) -> bool:
    return variable.startswith("wsgi.") or variable in _CONNECTION_VARIABLES or variable in _KEPT_HEADERS
