"""Whose a token is, asked at the identity service and remembered for a while."""

from __future__ import annotations

from typing import Any

import pytest

from objstore.client.errors import ServerUnreachable
from objstore.client.identity import IdentityClient, ServiceUser
from objstore.cloud import callers
from objstore.cloud.callers import AccessRule, Callers, IdentityUnavailable

DOCUMENT: dict[str, Any] = {
    "user": {"id": "u", "name": "user", "domain": {"id": "default", "name": "Default"}},
    "project": {"id": "p", "name": "project", "domain": {"id": "default", "name": "Default"}},
    "roles": [{"id": "1", "name": "member"}, {"id": "2", "name": "admin"}],
    "expires_at": "2100-01-01T00:00:00.000000Z",
    "audit_ids": ["a"],
}


class Identity(IdentityClient):
    """Answers from memory, and counts how often it is asked."""

    def __init__(self, answer: dict[str, Any] | Exception | None) -> None:
        super().__init__("http://127.0.0.1:1/v3", ServiceUser("service", "secret"))
        self.answer = answer
        self.times = 0

    def validate(self, token: str, *, allow_expired: bool = False) -> dict[str, Any] | None:
        self.times += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_token_is_asked_for_once_in_a_while() -> None:
    identity, clock = Identity(DOCUMENT), Clock()
    known = Callers(identity, clock)
    caller = known.of("token")
    assert caller is not None
    assert (caller.user_id, caller.project_id, caller.roles) == ("u", "p", {"member", "admin"})
    assert caller.is_admin and not caller.is_service
    assert known.of("token") == caller
    assert identity.times == 1
    clock.now = callers.REMEMBERED_SECONDS
    identity.answer = None
    assert known.of("token") is None
    assert identity.times == 2


def test_a_token_that_does_not_hold_is_nobodys_and_not_remembered() -> None:
    identity = Identity(None)
    known = Callers(identity)
    assert known.of("token") is None
    identity.answer = DOCUMENT
    assert known.of("token") is not None


def test_an_expired_token_is_nobodys() -> None:
    assert Callers(Identity({**DOCUMENT, "expires_at": "2020-01-01T00:00:00.000000Z"})).of("token") is None


@pytest.mark.parametrize("answer", [ServerUnreachable("server", "silence"), {}, {"user": {}}])
def test_an_identity_service_that_cannot_be_asked(answer: dict[str, Any] | Exception) -> None:
    with pytest.raises(IdentityUnavailable):
        Callers(Identity(answer)).of("token")


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "REMEMBERED_MAX", 2)
    identity = Identity(DOCUMENT)
    known = Callers(identity)
    for token in ("a", "b", "c", "c", "b", "a"):
        known.of(token)
    assert identity.times == 4


@pytest.mark.parametrize(
    ("pattern", "path", "allowed"),
    [
        ("/v2/images", "/v2/images", True),
        ("/v2/images", "/v2/images/1", False),
        ("/v2/images/*", "/v2/images/1", True),
        ("/v2/images/*", "/v2/images/1/file", False),
        ("/v2/**", "/v2/images/1/file", True),
        ("/v2/images/{image_id}/file", "/v2/images/1/file", True),
        ("/v2/images/{image_id}/file", "/v2/images//file", False),
        ("/v2/a.c", "/v2/abc", False),
    ],
)
def test_access_rules(pattern: str, path: str, allowed: bool) -> None:
    assert AccessRule("image", "GET", pattern).allows("image", "GET", path) is allowed
    assert not AccessRule("image", "GET", pattern).allows("image", "PUT", path)
    assert not AccessRule("compute", "GET", pattern).allows("image", "GET", path)
