"""Users of an identity service, OpenStack's or ours: whose a token is, and whose an access key.

A project has the account of its id. Threads ask the service over HTTP, and what it says is remembered for a while.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from objstore.client.errors import ClientError
from objstore.client.identity import IdentityClient, ServiceUser
from objstore.errors import StoreError
from objstore.proxy.auth.access import ADMIN, READER, RESELLER_READER
from objstore.proxy.auth.access_keys import AccessKey
from objstore.proxy.auth.identity import Identity
from objstore.system.concurrency import WaitTimeout
from objstore.system.threads import ThreadGroup

if TYPE_CHECKING:
    from objstore.config.proxy import ProxyConfig
    from objstore.runtime import Runtime

T = TypeVar("T")

THREADS: Final = 8
ASK_SECONDS: Final = 30.0
REMEMBERED_MAX: Final = 10_000
# For so long may a revoked token still work, and one that was just made be unknown.
TOKEN_SECONDS: Final = 10.0
KEY_SECONDS: Final = 60.0
UNKNOWN_SECONDS: Final = 5.0
DEFAULT_DOMAIN: Final = "default"


@dataclass(eq=False)
class IdentityServiceDown(StoreError):
    """The identity service cannot be asked, so that nobody knows whose a token or access key is."""

    message: ClassVar[str] = "The identity service cannot be asked at this moment"


class _Remembered(Generic[T]):
    """Answers by their question until their time is over; the oldest goes when there are too many."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._answers: dict[str, tuple[float, T | None]] = {}

    def get(self, question: str, ask: Callable[[], T | None], seconds: float) -> T | None:
        known = self._answers.get(question)
        if known is None or known[0] <= self._monotonic():
            answer = ask()
            self._answers.pop(question, None)
            if len(self._answers) >= REMEMBERED_MAX:
                del self._answers[next(iter(self._answers))]
            until = self._monotonic() + (UNKNOWN_SECONDS if answer is None else seconds)
            known = self._answers[question] = (until, answer)
        return known[1]


class _Secret(Struct):
    """What the blob of a credential of type ec2 says."""

    access: str
    secret: str


class IdentityServiceUsers:
    """Identities by tokens and by access keys. Methods wait for the service, and raise IdentityServiceDown."""

    def __init__(self, proxy: ProxyConfig, runtime: Runtime) -> None:
        """Raises ValueError for a URL that is none."""
        config = proxy.identity
        user = ServiceUser(config.user, config.password, config.user_domain, config.project, config.project_domain)
        self._client = IdentityClient(config.url, user)
        self._config = config
        self._prefix = proxy.auth.reseller_prefix
        self._clock = runtime.clock
        self._log = runtime.log
        self._threads = ThreadGroup(THREADS, "identity")
        self._tokens: _Remembered[tuple[Identity, float]] = _Remembered(runtime.clock.monotonic)
        self._keys: _Remembered[AccessKey] = _Remembered(runtime.clock.monotonic)

    def identity_of(self, token: str) -> Identity | None:
        """The identity that a token proves; None for one that is not good, or no longer."""
        name = hashlib.sha256(token.encode("latin-1", "replace")).hexdigest()
        found = self._tokens.get(name, lambda: self._ask(self._of_token, token), TOKEN_SECONDS)
        return found[0] if found is not None and found[1] > self._clock.now() else None

    def find_key(self, identifier: str) -> AccessKey | None:
        """The access key of this id; None if there is none, or its user has no rights any more."""
        return self._keys.get(identifier, lambda: self._ask(self._of_key, identifier), KEY_SECONDS)

    def _ask(self, work: Callable[[str], T], question: str) -> T:
        try:
            return self._threads.call_within(ASK_SECONDS, work, question)
        except (ClientError, WaitTimeout, KeyError, TypeError, ValueError) as error:
            self._log.repeated("the identity service cannot be asked", self._config.url, reason=repr(error))
            raise IdentityServiceDown from error

    def _of_token(self, token: str) -> tuple[Identity, float] | None:
        document = self._client.validate(token)
        # A token with access rules is good for what they name: services of other types refuse it.
        if document is None or (document.get("application_credential") or {}).get("access_rules") is not None:
            return None
        return self.identity(document), datetime.fromisoformat(document["expires_at"]).timestamp()

    def _of_key(self, identifier: str) -> AccessKey | None:
        """The secret, and what its user may do: the service is shown a signature, as if a client had made it."""
        named = hashlib.sha256(identifier.encode()).hexdigest()
        found = self._client.request("GET", f"/credentials/{named}", accept={404})
        if found is None or found["credential"]["type"] != "ec2":
            return None
        secret = msgspec.json.decode(found["credential"]["blob"], type=_Secret).secret
        shown = signed_probe(identifier, secret, datetime.fromtimestamp(self._clock.now(), UTC))
        said = self._client.request("POST", "/s3tokens", {"credentials": shown}, accept={401, 403, 404})
        return None if said is None else AccessKey(identifier, secret, self.identity(said["token"]))

    def identity(self, token: dict[str, Any]) -> Identity:
        """What the document of a token says, in the store's words. Raises KeyError, TypeError."""
        config, user, project = self._config, token["user"], token.get("project")
        roles = {role["name"] for role in token.get("roles", ())}
        # Names with a dot are the store's own rights: a role of such a name gives none.
        groups = {role for role in roles if not role.startswith(".")}
        if project is None:
            if token.get("system", {}).get("all") is True and not roles.isdisjoint(config.reader_roles):
                groups.add(RESELLER_READER)
            return Identity(f":{user['id']}", "", frozenset(groups))
        name = f"{project['id']}:{user['id']}"
        groups |= {project["id"], name}
        if not roles.isdisjoint(config.operator_roles):
            groups.add(ADMIN)
        if not roles.isdisjoint(config.reader_roles):
            groups.add(READER)
        if project["domain"]["id"] == user["domain"]["id"] == DEFAULT_DOMAIN:
            # Elsewhere names may be anybody's who has a domain.
            groups |= {f"{project['name']}:{user['name']}", f"*:{user['name']}", f"{project['name']}:*"}
        is_reseller = config.reseller_admin_role in roles
        return Identity(name, f"{self._prefix}_{project['id']}", frozenset(groups), is_reseller)


def service_users(proxy: ProxyConfig, runtime: Runtime) -> IdentityServiceUsers | None:
    """None without an identity service."""
    return IdentityServiceUsers(proxy, runtime) if proxy.identity.url else None


def signed_probe(identifier: str, secret: str, now: datetime) -> dict[str, str]:
    """A string that whoever has this access key signs, as a service shows it at /v3/s3tokens."""
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    scope = (moment[:8], "us-east-1", "s3", "aws4_request")
    text = "\n".join(("AWS4-HMAC-SHA256", moment, "/".join(scope), hashlib.sha256().hexdigest()))
    key = b"AWS4" + secret.encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return {"access": identifier, "token": urlsafe_b64encode(text.encode()).decode(), "signature": signature}
