"""Who calls a cloud service: a token is looked up at the identity service, and remembered for a few seconds."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from objstore.client.errors import ClientError
from objstore.client.identity import IdentityClient
from objstore.errors import StoreError
from objstore.logs import get_logger

REMEMBERED_SECONDS: Final = 10.0
REMEMBERED_MAX: Final = 10_000  # tokens
ADMIN: Final = "admin"
SERVICE: Final = "service"


@dataclass(eq=False)
class IdentityUnavailable(StoreError):
    """The identity service cannot be asked at this moment."""

    message: ClassVar[str] = "The identity service at {url} cannot be asked at this moment"

    url: str


@dataclass(frozen=True)
class AccessRule:
    """What an application credential may call: a service's type, a method, and a path with *, ** and {name} in it."""

    service: str
    method: str
    path: str

    def allows(self, service: str, method: str, path: str) -> bool:
        return (
            self.service == service and self.method == method and _path_pattern(self.path).fullmatch(path) is not None
        )


def _path_pattern(path: str) -> re.Pattern[str]:
    """* and {name} stand for a part of one segment, ** for any number of segments."""
    words = {"**": ".*", "*": "[^/]*"}
    parts = re.split(r"(\*\*|\*|\{[^{}/]*\})", path)
    return re.compile("".join(words.get(part, "[^/]+") if n % 2 else re.escape(part) for n, part in enumerate(parts)))


@dataclass(frozen=True)
class CloudCaller:
    """A user as the token of a request describes them. Without a project there may be a domain, or neither."""

    user_id: str
    user_name: str
    user_domain_id: str
    project_id: str | None
    project_name: str | None
    project_domain_id: str | None
    roles: frozenset[str]
    token: str
    expires_at: datetime
    audit_ids: tuple[str, ...] = ()
    domain_id: str | None = None
    access_rules: tuple[AccessRule, ...] | None = None  # of the application credential; None is no restriction

    @classmethod
    def of_token(cls, text: str, token: Mapping[str, Any]) -> CloudCaller:
        """From the document that the identity service gives for a token. Raises KeyError, TypeError, ValueError."""
        user, project = token["user"], token.get("project") or {}
        rules = (token.get("application_credential") or {}).get("access_rules")
        return cls(
            user["id"],
            user["name"],
            user["domain"]["id"],
            project.get("id"),
            project.get("name"),
            project["domain"]["id"] if project else None,
            frozenset(role["name"] for role in token.get("roles", ())),
            text,
            datetime.fromisoformat(token["expires_at"]),
            tuple(token.get("audit_ids", ())),
            (token.get("domain") or {}).get("id"),
            None if rules is None else access_rules_of(rules),
        )

    @property
    def is_admin(self) -> bool:
        return ADMIN in self.roles

    @property
    def is_service(self) -> bool:
        return SERVICE in self.roles

    def may(self, service: str, method: str, path: str) -> bool:
        """Whether no access rule of an application credential stands against it."""
        return self.access_rules is None or any(rule.allows(service, method, path) for rule in self.access_rules)


def access_rules_of(rules: Sequence[Mapping[str, str]]) -> tuple[AccessRule, ...]:
    return tuple(AccessRule(rule["service"], rule["method"], rule["path"]) for rule in rules)


class Callers:
    """Looks tokens up at the identity service. Threads may share it.

    What it learned holds for REMEMBERED_SECONDS at most: so long may a revoked token still work.
    """

    def __init__(self, identity: IdentityClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._identity = identity
        self.challenge = f'Keystone uri="{identity.url}"'
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, CloudCaller]] = OrderedDict()
        self._lock = threading.Lock()
        self._log = get_logger("callers")

    def of(self, token: str) -> CloudCaller | None:
        """Raises IdentityUnavailable."""
        key = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        with self._lock:
            until, caller = self._known.get(key, (0.0, None))
        now = datetime.now(UTC)
        if caller is None or self._clock() >= until:
            caller = self._asked(token)
            with self._lock:
                self._known.pop(key, None)
                if caller is not None:
                    self._known[key] = self._clock() + REMEMBERED_SECONDS, caller
                    while len(self._known) > REMEMBERED_MAX:
                        self._known.popitem(last=False)
        return caller if caller is not None and caller.expires_at > now else None

    def _asked(self, token: str) -> CloudCaller | None:
        try:
            document = self._identity.validate(token)
            return None if document is None else CloudCaller.of_token(token, document)
        except (ClientError, KeyError, TypeError, ValueError) as error:
            self._log.repeated(
                "the identity service cannot say whose a token is", self._identity.url, reason=repr(error)
            )
            raise IdentityUnavailable(self._identity.url) from error
