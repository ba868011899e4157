"""Authentication without a service of its own: users of a file log in at /auth/v1.0 and get tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from objstore.config.users import User
from objstore.headers import Client, Owner, Sysmeta
from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.limits import text_of
from objstore.login_throttle import LoginClient, LoginThrottle
from objstore.passwords import TooManyLogins
from objstore.paths import ResourcePath
from objstore.proxy.auth import account_acl, acl
from objstore.proxy.auth.access import Rights
from objstore.proxy.auth.access_keys import CurrentUsers
from objstore.proxy.auth.identity_service import service_users
from objstore.proxy.auth.tokens import TokenIssuer, token_secret
from objstore.proxy.swift.features.base import Feature, Section
from objstore.proxy.swift.request import Authentication, SwiftRequest, unauthorized
from objstore.system import concurrency

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

AUTH_PATH: Final = "/auth/"
LOGIN_PATH: Final = re.compile(r"/auth/v1(?:\.0)?(?:/(?:([^/]+)/auth/?)?)?")
REMOVE_ACCESS_CONTROL: Final = "X-Remove-Account-Access-Control"
# Which of the failed or refused logins from one address within a minute have a line in the log.
LOGGED_COUNTS: Final = frozenset(10**exponent for exponent in range(10))
REFUSAL_PAUSE_SECONDS: Final = 1.0
# Refused logins beyond these are answered at once, so that they do not take the connections of others.
PAUSED_MAX: Final = 100


class TempAuth(Feature):
    """Logs users in, identifies requests by their tokens, and stores access lists in the one spelling that is read."""

    def __init__(self, context: ProxyContext) -> None:
        """Raises ConfigError if the file of users cannot be read."""
        config, runtime = context.config.auth, context.runtime
        self._issuer = TokenIssuer(token_secret(config, context.cluster), f"{config.reseller_prefix}_", runtime.clock)
        service = service_users(context.config, runtime)
        self._users = CurrentUsers(config, self._issuer, runtime, None if service is None else service.identity_of)
        self._authentication = Authentication(self._users, Rights(config), context.lookup)
        self._life_seconds = int(config.token_life)
        self._throttle = LoginThrottle(runtime)
        self._paused = 0
        self._log = runtime.log

    def sections(self) -> Mapping[str, Section]:
        """Accounts have access lists."""
        return {"tempauth": {"account_acls": True}}

    def handler_for(self, kind: str) -> Callable[[SwiftRequest], Response | None]:
        """Requests about objects are identified, and no more."""
        return self._authentication.identify if kind == "object" else self

    def __call__(self, request: SwiftRequest) -> Response | None:
        """The answer to a login; other requests are identified, and their lists cleaned. Raises HttpError 400, 401."""
        if request.path.startswith(AUTH_PATH):
            return self._login(request)
        self._authentication.identify(request)
        if request.method in ("PUT", "POST"):
            if request.kind == "container":
                _clean_container_lists(request)
            elif request.kind == "account":
                _clean_account_list(request)
        return None

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
        client = LoginClient(address, f"{account}:{name}")
        wait_seconds = self._throttle.seconds_to_wait(client)
        if wait_seconds:
            self._log_some("login refused after too many failures", client, self._throttle.refused(client))
            self._pause()
            retry_after = str(int(wait_seconds) + 1)
            raise HttpError(429, "Too many failed logins", {Client.RETRY_AFTER: retry_after})
        try:
            user = self._users.login(account, name, key)
        except TooManyLogins:
            self._pause()
            raise
        if user is None:
            self._log_some("login failed", client, self._throttle.failed(client))
            raise unauthorized(account)
        self._throttle.succeeded(client)
        return user

    def _pause(self) -> None:
        """Whoever tries again at once, instead of after Retry-After, costs one request a second on each connection."""
        if self._paused < PAUSED_MAX:
            self._paused += 1
            try:
                concurrency.sleep(REFUSAL_PAUSE_SECONDS)
            finally:
                self._paused -= 1

    def _log_some(self, message: str, client: LoginClient, count: int) -> None:
        """A line for the first, the tenth, the hundredth of an address within a minute: floods fill no log."""
        if count in LOGGED_COUNTS:
            self._log.warning(message, user=client.user, client=client.address, times=count)

    def _storage_url(self, request: SwiftRequest, user: User) -> str:
        return f"{request.origin}/v1{ResourcePath(self._users.account_of(user)).quoted}"


def _user_of(request: SwiftRequest, path_account: str) -> tuple[str, str]:
    """Account and name as the request gives them: "account:name", or the account in the path; empty if neither."""
    given = text_of(request.header(Client.AUTH_USER) or request.header(Client.STORAGE_USER) or "")
    account, colon, name = given.partition(":")
    if not colon:
        return path_account, given
    if path_account and path_account != account:
        return path_account, ""
    return account, name


def _clean_container_lists(request: SwiftRequest) -> None:
    """Lists are checked before they are stored. Raises HttpError 400."""
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
    if given is None:
        return
    try:
        cleaned = account_acl.clean(given)
    except ValueError as error:
        raise HttpError(400, f"{Owner.ACCOUNT_ACCESS_CONTROL}: {error}") from None
    request.set_header(Owner.ACCOUNT_ACCESS_CONTROL, None)
    request.set_header(Sysmeta.ACCESS_CONTROL, cleaned)
