"""A request at the edge of the store: given to features and handlers; and its authentication."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote, urlencode

import msgspec
import webob

from objstore.errors import StoreError
from objstore.headers import Client
from objstore.http import messages
from objstore.http.bodies import EMPTY_BODY
from objstore.http.errors import HttpError
from objstore.http.messages import BodyReader, Environ, Response, variable_of
from objstore.limits import Limits, text_of
from objstore.paths import ResourcePath
from objstore.proxy.auth.access import Access, Attempt, Rights
from objstore.proxy.auth.access_keys import CurrentUsers
from objstore.proxy.auth.identity import Identity
from objstore.proxy.core.info import ContainerInfo
from objstore.proxy.core.lookup import InfoSource
from objstore.system.clock import Clock
from objstore.timestamps import Timestamp

# Paths that begin with a version, right or wrong, are meant for the storage API.
VERSION_SHAPE: Final = re.compile(r"v[0-9][0-9.]*")
DEFAULT_LIMITS: Final = Limits()
READING: Final = frozenset({"GET", "HEAD"})
# What creates or deletes the resource itself.
MANAGING: Final = frozenset({"PUT", "DELETE"})
# In the system metadata of an account.
ACCESS_CONTROL_KEY: Final = "Core-Access-Control"

Authorize = Callable[["SwiftRequest"], None]


class SwiftRequest(messages.Request, webob.BaseRequest):  # type: ignore[misc]  # WebOb has no types
    """A request that has come in.

    What every request needs is read from the environ directly. WebOb parses the rest when it is asked:
    `accept`, `if_match`, `if_modified_since`, ...

    acl, accessed, access_method: what `authorize` weighs: the container's list, the path (None: `resource`) and what is
    done with it. Handlers set them with `check_access`, once they know the container.
    container: what is known of the container that the path names or lies in, once handlers know it.
    authorize: set by the authentication, called by handlers; raises HttpError 401 or 403. None: may do all.
    owner: whether headers for owners only may be shown; `authorize` sets it.
    log_info: marks for the request's line in the access log.
    amendments: what features do to the answer, the last one first, errors too.
    is_of_web_page: the store asks for it, to make a page of the answer.
    """

    __slots__ = (
        "_kind",
        "_resource",
        "_resource_known",
        "access_method",
        "accessed",
        "acl",
        "amendments",
        "authorize",
        "container",
        "identity",
        "is_of_web_page",
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
        self._kind = ""
        self.transaction_id = ""
        self.identity: Identity | None = None
        self.authorize: Authorize | None = None
        self.container: ContainerInfo | None = None
        self.acl: str | None = None
        self.accessed: ResourcePath | None = None
        self.access_method = self.method
        self.owner = False
        self.log_info: list[str] = []
        self.amendments: list[Callable[[Response], Response]] = []
        self.is_of_web_page = False

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
    def kind(self) -> str:
        """The kind of the path: "account", "container", "object", or "other", also for what `resource` refuses."""
        if not self._kind:
            try:
                resource = self.resource
            except StoreError:
                resource = None
            if resource is None:
                self._kind = "other"
            else:
                self._kind = "object" if resource.object else "container" if resource.container else "account"
        return self._kind

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
        if self.path.isascii() and "\0" not in self.path:
            return ResourcePath(*parts[1:])
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
    def origin(self) -> str:
        """How the client reaches the store: "https://store.example:8080"."""
        environ = self.environ
        host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
        return f"{environ['wsgi.url_scheme']}://{host}"

    def set_header(self, name: str, value: str | None) -> None:
        """Change a header, or take it away with None."""
        if value is None:
            self.environ.pop(variable_of(name), None)
        else:
            self.environ[variable_of(name)] = value

    def timestamp(self, clock: Clock) -> Timestamp:
        """When the write happened: now, unless a part of the store itself says. Raises HttpError 400."""
        given = self.environ.get("HTTP_X_TIMESTAMP")
        if given is None:
            return clock.timestamp()
        try:
            return Timestamp.parse(given)
        except ValueError:
            raise HttpError(400, f"Bad {Client.TIMESTAMP}: {given}") from None

    def derived(
        self,
        method: str,
        path: ResourcePath,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: BodyReader = EMPTY_BODY,
    ) -> SwiftRequest:
        """A request that the store makes on the way, with the rights of this one's client.

        Without a Content-Length among `headers` the body is as long as it turns out.
        """
        environ = {name: value for name, value in self.environ.items() if not name.startswith(("HTTP_", "CONTENT_"))}
        if "HTTP_REFERER" in self.environ:
            environ["HTTP_REFERER"] = self.environ["HTTP_REFERER"]
        location = f"/{self.version}{path}".encode().decode("latin-1")
        environ |= {"REQUEST_METHOD": method, "PATH_INFO": location, "QUERY_STRING": query, "wsgi.input": body}
        environ |= {variable_of(name): value for name, value in (headers or {}).items()}
        if body is not EMPTY_BODY and "CONTENT_LENGTH" not in environ:
            environ["HTTP_TRANSFER_ENCODING"] = "chunked"
        made = SwiftRequest(environ, self.limits)
        made.transaction_id, made.identity, made.authorize = self.transaction_id, self.identity, self.authorize
        return made

    def check_access(self, acl: str | None = None, path: ResourcePath | None = None, method: str = "") -> None:
        """Authorize the request by the container's access list. Raises HttpError 401, 403.

        A copy asks twice, with the path and the method of each of its sides.
        """
        self.acl, self.accessed, self.access_method = acl, path, method or self.method
        if self.authorize is None:
            self.owner = True
        else:
            self.authorize(self)


class Authentication:
    """Identifies requests by their tokens, and authorizes them."""

    def __init__(self, users: CurrentUsers, rights: Rights, info: InfoSource) -> None:
        self._users = users
        self._rights = rights
        self._info = info

    def identify(self, request: SwiftRequest) -> None:
        """Raises HttpError 401 for a token that is not good, also if the request would be allowed without."""
        if request.authorize is not None:
            return  # by a signature, or by the request that this one is made for
        request.authorize = self.authorize
        environ = request.environ
        token = environ.get("HTTP_X_AUTH_TOKEN") or environ.get("HTTP_X_STORAGE_TOKEN")
        if token is None:
            return
        identity = self._users.identity_of(token)
        if identity is None:
            raise unauthorized(_account_of(request))
        if environ.get("HTTP_X_SERVICE_TOKEN"):
            service = self._users.identity_of(environ["HTTP_X_SERVICE_TOKEN"])
            if service is None:
                raise unauthorized(_account_of(request))
            identity = msgspec.structs.replace(identity, service_groups=service.groups)
        request.identity = identity

    def authorize(self, request: SwiftRequest) -> None:
        """Let the request pass, as an owner's or not, or raise HttpError 401 (not identified) or 403."""
        path, method = request.accessed or request.storage_resource, request.access_method
        acl = request.acl
        attempt = Attempt(
            request.identity,
            path,
            method in READING,
            method in MANAGING,
            "" if acl is None else text_of(acl),
            request.environ.get("HTTP_REFERER"),
            lambda: self._info.account(path.account, request.transaction_id).sysmeta.get(ACCESS_CONTROL_KEY, ""),
        )
        access = self._rights.access(attempt)
        if access is Access.DENIED:
            raise HttpError(403) if request.identity is not None else unauthorized(path.account)
        if access is Access.OWNER:
            request.owner = True


def unauthorized(account: str = "") -> HttpError:
    """Asks for a token of an account (RFC 9110, section 11.6.1)."""
    realm = quote(account) or "unknown"
    return HttpError(401, headers={Client.WWW_AUTHENTICATE: f'Swift realm="{realm}"'})


def _account_of(request: SwiftRequest) -> str:
    resource = request.resource
    return "" if resource is None else resource.account
