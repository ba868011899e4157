"""The identity service (OpenStack's, version 3) as other services see it: who they are there, and whose a token is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from objstore.client.connections import ClientResponse, KeptConnections, ServerAddress, Timeouts
from objstore.client.errors import BadResponse, Unauthorized
from objstore.client.requests import HttpClient, RequestBody, RetryPolicy

RENEW_BEFORE_SECONDS: Final = 60.0
DOCUMENT_MAX: Final = 4 * 1024 * 1024  # bytes: a token with a large catalog has some 100 KB
TIMEOUT_SECONDS: Final = 10.0


@dataclass(frozen=True)
class ServiceUser:
    """With what a service logs in at the identity service."""

    name: str
    password: str = field(repr=False)
    domain: str = "Default"
    project: str = "service"
    project_domain: str = "Default"

    @property
    def login(self) -> dict[str, Any]:
        """The body of the request for a token."""
        user = {"name": self.name, "domain": {"name": self.domain}, "password": self.password}
        scope = {"project": {"name": self.project, "domain": {"name": self.project_domain}}}
        return {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}


@dataclass(frozen=True)
class IdentityToken:
    """A token, and the document that describes it; `renew_at` is by the monotonic clock."""

    text: str
    document: dict[str, Any]
    renew_at: float

    def endpoint(self, service: str, interface: str = "public") -> str:
        """Where the catalog says a service of this type is. Raises KeyError."""
        for entry in self.document.get("catalog", ()):
            if entry["type"] == service:
                for endpoint in entry["endpoints"]:
                    if endpoint["interface"] == interface:
                        return str(endpoint["url"])
        raise KeyError(f"no {interface} endpoint of a service of type {service} in the catalog")


def patient_client() -> HttpClient:
    """Asks twice, and waits ten seconds for each answer."""
    timeouts = Timeouts(TIMEOUT_SECONDS, TIMEOUT_SECONDS)
    return HttpClient(RetryPolicy(attempts=2, first_pause_seconds=0.1), KeptConnections(timeouts))


@dataclass
class IdentityClient:
    """Speaks to the identity service at `url` (http://HOST:PORT/v3). Every method raises ClientError. For threads."""

    url: str
    user: ServiceUser
    http: HttpClient = field(default_factory=patient_client)
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _token: IdentityToken | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Raises ValueError for a URL that is none."""
        self._server, path = ServerAddress.of_url(self.url)
        self._path = path.rstrip("/")

    def log_in(self) -> IdentityToken:
        """The service's own token; asks for one when there is none that holds for another minute."""
        with self._lock:
            if self._token is None or self.clock() >= self._token.renew_at:
                self._token = self._new_token()
            return self._token

    def _new_token(self) -> IdentityToken:
        body = RequestBody(msgspec.json.encode(self.user.login))
        headers = {"Content-Type": "application/json"}
        with self.http.request(
            self._server, "POST", f"{self._path}/auth/tokens", headers=headers, body=body
        ) as response:
            document = self._document(response)
            try:
                token = document["token"]
                holds = (datetime.fromisoformat(token["expires_at"]) - self.now()).total_seconds()
                text = response.headers["x-subject-token"]
            except (KeyError, TypeError, ValueError) as error:
                raise BadResponse(str(self._server), "the login gives no token") from error
        return IdentityToken(text, token, self.clock() + max(holds - RENEW_BEFORE_SECONDS, 0))

    def validate(self, token: str, *, allow_expired: bool = False) -> dict[str, Any] | None:
        """The document of a user's token; None if it does not hold. `allow_expired` is for work begun with it."""
        query = "?allow_expired=1" if allow_expired else ""
        headers = {"X-Subject-Token": token, "OpenStack-Identity-Access-Rules": "1"}
        if not token.isascii() or not token.isprintable():
            return None
        document = self.request("GET", f"/auth/tokens{query}", headers=headers, accept={404})
        return None if document is None else document["token"]

    def ec2_token(self, signed: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """The token, and its document, of whoever signed a request as AWS's clients do; None if nobody did.

        `signed` has access, signature, host, verb, path, params, headers and body_hash.
        """
        headers = {"X-Auth-Token": self.log_in().text, "Content-Type": "application/json"}
        body = RequestBody(msgspec.json.encode({"credentials": signed}))
        refused = {400, 401, 403, 404}
        with self.http.request(
            self._server, "POST", f"{self._path}/ec2tokens", headers=headers, body=body, accept=refused
        ) as response:
            if response.status in refused:
                return None
            try:
                return response.headers["x-subject-token"], self._document(response)["token"]
            except (KeyError, TypeError) as error:
                raise BadResponse(str(self._server), "a signature gives no token") from error

    def request(
        self,
        method: str,
        path: str,
        document: object = None,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (),
    ) -> Any:
        """The document of an answer; None if its status is not 2xx but in `accept`. `path` follows the version."""
        body = None if document is None else RequestBody(msgspec.json.encode(document))
        for _ in range(2):
            own = self.log_in()
            sent = {"X-Auth-Token": own.text, "Content-Type": "application/json", **(headers or {})}
            response = self.http.request(
                self._server, method, self._path + path, headers=sent, body=body, accept={401, *accept}
            )
            with response:
                if response.status != 401 or 401 in accept:
                    return self._document(response) if response.status < 300 else None
            self.forget(own)
        raise Unauthorized(method, self._path + path, 401, "the service's own token is refused")

    def forget(self, token: IdentityToken) -> None:
        """A service refused this token of its own: the next login asks for another."""
        with self._lock:
            if self._token is token:
                self._token = None

    def _document(self, response: ClientResponse) -> Any:
        try:
            return msgspec.json.decode(response.read(DOCUMENT_MAX) or b"null")
        except msgspec.DecodeError as error:
            raise BadResponse(str(self._server), "the answer is no JSON") from error
