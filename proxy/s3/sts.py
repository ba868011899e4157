"""STS: temporary access keys for sessions.

A role is a user: whoever assumes the role arn:aws:iam::ACCOUNT:role/NAME has the rights of the user ACCOUNT:NAME. Users
may assume themselves, an account's administrator all of its users, others those whom their policies name. An ARN that
is none of AWS, as clients send that were made for MinIO, means the caller. A session's policies take from these rights.

https://docs.aws.amazon.com/STS/latest/APIReference/welcome.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from objstore.proxy.auth.access import ADMIN
from objstore.proxy.auth.identity import Identity
from objstore.proxy.auth.new_keys import TEMPORARY, new_id, new_secret_key
from objstore.proxy.auth.policy import Decision, MalformedAccessPolicy, user_policy
from objstore.proxy.auth.sessions import VERSION, AccessSession, TokenTooLarge
from objstore.proxy.s3.callers import caller_of, user_id_of
from objstore.proxy.s3.claims import iso_of
from objstore.proxy.s3.query import Action, QueryError, QueryRequest
from objstore.proxy.s3.xml import Element

if TYPE_CHECKING:
    from objstore.proxy.s3.authentication import RequestAuthentication

ROLE_SECONDS: Final = (900, 43_200, 3600)
SESSION_SECONDS: Final = (900, 129_600, 43_200)
POLICY_CHARACTERS_MAX: Final = 2048
# Those of sessions that opened sessions, together.
POLICIES_MAX: Final = 10
TAGS_MAX: Final = 50
_NAME: Final = r"[\w+=,.@-]{2,64}"
_ROLE: Final = re.compile(r"arn:aws:iam::([^:/]+):role/(?:.*/)?([^/]+)", re.DOTALL)


class TokenService:
    """Opens sessions."""

    def __init__(self, authentication: RequestAuthentication) -> None:
        self._keys: Final = authentication.keys
        self._sealer: Final = authentication.sealer
        self._now: Final = authentication.now

    def actions(self) -> Mapping[str, Action]:
        """By name."""
        return {
            "AssumeRole": self.assume_role,
            "GetCallerIdentity": self.caller_identity,
            "GetSessionToken": self.session_token,
        }

    def caller_identity(self, request: QueryRequest, result: Element) -> None:
        """Who has signed the request; everybody may ask."""
        identity, session = request.key.identity, request.key.session_name
        result.add("Arn", caller_of(identity, session).arn)
        result.add("UserId", user_id_of(identity, session))
        result.add("Account", identity.user.partition(":")[0])

    def session_token(self, request: QueryRequest, result: Element) -> None:
        """A session with the rights of the access key. Raises QueryError."""
        if request.key.session is not None:
            raise QueryError("AccessDenied", "Cannot call GetSessionToken with session credentials", 403)
        self._open(request, result, request.number("DurationSeconds", *SESSION_SECONDS))

    def assume_role(self, request: QueryRequest, result: Element) -> None:
        """A session with the rights of a role. Raises QueryError."""
        name = request.needed("RoleSessionName", _NAME)
        role = self._role(request, request.needed("RoleArn", r".{20,2048}"))
        seconds = request.number("DurationSeconds", *ROLE_SECONDS)
        self._open(request, result, seconds, role.user, name, _policies(request), _tags(request))
        user = result.add("AssumedRoleUser")
        user.add("Arn", caller_of(role, name).arn)
        user.add("AssumedRoleId", user_id_of(role, name))

    def _role(self, request: QueryRequest, arn: str) -> Identity:
        """Whose rights the role has. Raises QueryError AccessDenied, also if there is no such role."""
        caller = request.key.identity
        if not arn.startswith("arn:aws:"):
            return caller
        matched = _ROLE.fullmatch(arn)
        if matched is None:
            raise QueryError("ValidationError", "RoleArn is not the ARN of a role")
        user = f"{matched[1]}:{matched[2]}"
        if user == caller.user:
            return caller
        found = self._keys.user(user)
        at_home = caller.user.startswith(f"{matched[1]}:")
        said = request.decision("sts:AssumeRole", arn, self._now())
        may = caller.reseller_admin or (at_home and (ADMIN in caller.groups or said is Decision.ALLOW))
        if found is None or not may or said is Decision.DENY or (found.reseller_admin and not caller.reseller_admin):
            reason = f"User: {caller.user} is not authorized to perform: sts:AssumeRole on resource: {arn}"
            raise QueryError("AccessDenied", reason, 403)
        return found

    def _open(
        self,
        request: QueryRequest,
        result: Element,
        seconds: int,
        role: str = "",
        name: str = "",
        policies: tuple[str, ...] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Open a session, and tell its credentials; one that a session opens has no more rights and no longer life."""
        now, before = int(self._now()), request.key.session
        expires, parent = now + seconds, request.key.id
        if before is not None:
            expires, parent = min(expires, before.expires), before.parent
            policies = (*before.policies, *policies)
            tags = {**before.tags, **(tags or {})}
        if len(policies) > POLICIES_MAX:
            raise QueryError("PackedPolicyTooLarge", f"At most {POLICIES_MAX} policies")
        session = AccessSession(
            VERSION, new_id(TEMPORARY), new_secret_key(), parent, now, expires, role, name, policies, dict(tags or {})
        )
        try:
            token = self._sealer.token(session)
        except TokenTooLarge as error:
            raise QueryError("PackedPolicyTooLarge", f"The policies and tags make a token of {error}") from None
        credentials = result.add("Credentials")
        credentials.add("AccessKeyId", session.access_key)
        credentials.add("SecretAccessKey", session.secret)
        credentials.add("SessionToken", token)
        credentials.add("Expiration", iso_of(expires))


def _policies(request: QueryRequest) -> tuple[str, ...]:
    """The policy of a session. Raises QueryError MalformedPolicyDocument, PackedPolicyTooLarge."""
    if request.members("PolicyArns"):
        raise QueryError("ValidationError", "PolicyArns is not implemented: give the policy itself")
    policy = request.text("Policy")
    if not policy:
        return ()
    if len(policy) > POLICY_CHARACTERS_MAX:
        raise QueryError("PackedPolicyTooLarge", f"A session's policy has at most {POLICY_CHARACTERS_MAX} characters")
    try:
        user_policy(policy)
    except MalformedAccessPolicy as error:
        raise QueryError("MalformedPolicyDocument", error.reason) from None
    return (policy,)


def _tags(request: QueryRequest) -> dict[str, str]:
    """Raises QueryError ValidationError."""
    tags = request.members("Tags")
    if len(tags) > TAGS_MAX or any(not 0 < len(tag.get("Key", "")) <= 128 for tag in tags):
        raise QueryError("ValidationError", f"At most {TAGS_MAX} tags, each with a key of 1 to 128 characters")
    if any(len(tag.get("Value", "")) > 256 for tag in tags):
        raise QueryError("ValidationError", "A tag's value has at most 256 characters")
    return {tag["Key"]: tag.get("Value", "") for tag in tags}
