"""Users of a file get tokens, and tokens say who asks: authentication without a service of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from objstore.config.loading import load
from objstore.config.users import User, UsersConfig
from objstore.headers import Client, Owner, Sysmeta
from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.limits import text_of
from objstore.paths import ResourcePath
from objstore.proxy.auth import account_acl, acl
from objstore.proxy.auth.login_throttle import LoginThrottle
from objstore.proxy.auth.rights import Rights, unauthorized
from objstore.proxy.auth.tokens import TokenIssuer
from objstore.proxy.auth.users import UserTable
from objstore.proxy.swift.features.base import Feature, Handler, Section
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

AUTH_PATH: Final = "/auth/"
LOGIN_PATH: Final = re.compile(r"/auth/v1(?:\.0)?(?:/(?:([^/]+)/auth/?)?)?")
REMOVE_ACCESS_CONTROL: Final = "X-Remove-Account-Access-Control"
# Hashed like a path, but no path holds a NUL: a secret that all proxies of a cluster share, and nobody sees.
SECRET_NAME: Final = ResourcePath("\0token-secret")


class TempAuth(Feature):
    """Knows whose a request is, and hands it to handlers with what they call once they know the container's lists."""

    __slots__ = ("_authorize", "_issuer", "_life_seconds", "_log", "_throttle", "_users")

    def __init__(self, next_handler: Handler, context: ProxyContext) -> None:
        """Raises ConfigError if the file of users cannot be read."""
        super().__init__(next_handler, context)
        config, runtime = context.config.auth, context.runtime
        secret = config.token_secret.encode() or context.cluster.hasher.digest(SECRET_NAME)
        self._issuer = TokenIssuer(secret, f"{config.reseller_prefix}_", runtime.clock)
        users = load(config.users, UsersConfig).users
        self._users = UserTable(users, self._issuer, config.reseller_prefix, runtime)
        self._authorize = Rights(config, context.info).authorize
        self._life_seconds = int(config.token_life)
        self._throttle = LoginThrottle(runtime.clock)
        self._log = runtime.log

    def sections(self) -> Mapping[str, Section]:
        """See Feature."""
        return {"tempauth": {"account_acls": True}}

    def __call__(self, request: SwiftRequest) -> Response:
        """See Feature."""
        if request.path.startswith(AUTH_PATH):
            return self._login(request)
        request.authorize = self._authorize
        environ = request.environ
        token = environ.get("HTTP_X_AUTH_TOKEN") or environ.get("HTTP_X_STORAGE_TOKEN")
        if token is not None:
            self._identify(request, token)
        resource = request.resource
        if resource is None or resource.object:
            return self._next(request)
        if resource.container:
            _clean_container_lists(request)
            return self._next(request)
        _clean_account_list(request)
        response = self._next(request)
        access = response.headers.get(Sysmeta.ACCESS_CONTROL)
        if access and request.owner:
            response.headers[Owner.ACCOUNT_ACCESS_CONTROL] = access
        return response

    def _identify(self, request: SwiftRequest, token: str) -> None:
        """Raises HttpError 401 for a token that is not good, also if the request would be allowed without."""
        identity = self._users.identity_of(token)
        if identity is None:
            raise unauthorized(_account_of(request))
        service_token = request.header(Client.SERVICE_TOKEN)
        if service_token:
            service = self._users.identity_of(service_token)
            if service is None:
                raise unauthorized(_account_of(request))
            identity = msgspec.structs.replace(identity, service_groups=service.groups)
        request.identity = identity

    def _login(self, request: SwiftRequest) -> Response:
        """GET /auth/v1.0 with a user and a key."""
        match = LOGIN_PATH.fullmatch(request.path)
        if match is None:
            raise HttpError(404)
        if request.method not in ("GET", "HEAD"):
            raise HttpError(405, headers={Client.ALLOW: "GET, HEAD"})
        account, name = _user_of(request, text_of(match[1] or ""))
        key = request.header(Client.AUTH_KEY) or request.header(Client.STORAGE_PASS)
        if not account or not name or not key:
            raise unauthorized(account)
        user = self._check_key(request.environ.get("REMOTE_ADDR", ""), account, name, text_of(key))
        token = self._issuer.issue(user, self._life_seconds)
        return Response(
            200,
            {
                Client.CONTENT_TYPE: "text/plain; charset=utf-8",
                Client.AUTH_TOKEN: token,
                Client.STORAGE_TOKEN: token,
                Client.AUTH_TOKEN_EXPIRES: str(self._life_seconds),
                Client.STORAGE_URL: user.url or self._storage_url(request, user),
            },
        )

    def _check_key(self, address: str, account: str, name: str, key: str) -> User:
        who = f"{account}:{name}"
        wait_seconds = self._throttle.seconds_to_wait(address, who)
        if wait_seconds:
            retry_after = str(int(wait_seconds) + 1)
            raise HttpError(429, "Too many failed logins", {Client.RETRY_AFTER: retry_after})
        user = self._users.login(account, name, key)
        if user is None:
            self._throttle.failed(address, who)
            self._log.warning("login failed", user=who, client=address)
            raise unauthorized(account)
        self._throttle.succeeded(address, who)
        return user

    def _storage_url(self, request: SwiftRequest, user: User) -> str:
        environ = request.environ
        host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
        account = ResourcePath(self._users.account_of(user)).quoted
        return f"{environ['wsgi.url_scheme']}://{host}/v1{account}"


def _user_of(request: SwiftRequest, path_account: str) -> tuple[str, str]:
    """Account and name as the request gives them: "account:name", or the account in the path; empty if neither."""
    given = text_of(request.header(Client.AUTH_USER) or request.header(Client.STORAGE_USER) or "")
    account, colon, name = given.partition(":")
    if not colon:
        return path_account, given
    if path_account and path_account != account:
        return path_account, ""
    return account, name


def _account_of(request: SwiftRequest) -> str:
    resource = request.resource
    return "" if resource is None else resource.account


def _clean_container_lists(request: SwiftRequest) -> None:
    """Lists are checked before they are stored. Raises HttpError 400."""
    if request.method not in ("PUT", "POST"):
        return
    for header, writing in ((Owner.CONTAINER_READ, False), (Owner.CONTAINER_WRITE, True)):
        given = request.header(header)
        if given:
            try:
                request.set_header(header, acl.clean(given, writing=writing))
            except ValueError as error:
                raise HttpError(400, f"{header}: {error}") from None


def _clean_account_list(request: SwiftRequest) -> None:
    """Lists of accounts are kept out of what everybody may read. Raises HttpError 400."""
    given = request.header(Owner.ACCOUNT_ACCESS_CONTROL)
    if request.header(REMOVE_ACCESS_CONTROL) is not None:
        request.set_header(REMOVE_ACCESS_CONTROL, None)
        given = given or ""
    if given is None or request.method not in ("PUT", "POST"):
        return
    try:
        cleaned = account_acl.clean(given)
    except ValueError as error:
        raise HttpError(400, f"{Owner.ACCOUNT_ACCESS_CONTROL}: {error}") from None
    request.set_header(Owner.ACCOUNT_ACCESS_CONTROL, None)
    request.set_header(Sysmeta.ACCESS_CONTROL, cleaned)
