"""Access policies in AWS's language: those of buckets, which name whom they are for, and those of users.

    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::test:user/tester"},
     "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/*", "Condition":
     {"Bool": {"aws:SecureTransport": "true"}}}]}

A statement speaks about a request whose principal, action and resource it names, if all its conditions hold. One that
denies has the last word.
"""

from __future__ import annotations

import json
import re
from enum import Enum
from functools import lru_cache
from typing import Any, ClassVar, Final

from msgspec import Struct

from objstore.errors import StoreError
from objstore.proxy.auth.patterns import Pattern, Variables, parse_pattern
from objstore.proxy.auth.policy_conditions import Condition, RequestKeys, parse_condition, pins
from objstore.proxy.auth.policy_words import is_action, is_condition_key

POLICY_BYTES_MAX: Final = 20 * 1024
VERSIONS: Final = ("2012-10-17", "2008-10-17")
VERSION_WITH_VARIABLES: Final = VERSIONS[0]
ARN: Final = "arn:aws:s3:::"
EVERYONE: Final = "*"
_PRINCIPAL_KINDS: Final = ("AWS", "CanonicalUser", "Federated", "Service")
_ACCOUNT_ROOT: Final = re.compile(r"arn:aws:iam::([^:]+):root")
_PRINCIPAL_ARN: Final = re.compile(
    r"arn:aws:(?:iam|sts)::[^:]+:(?:root|(?:user|role|group|assumed-role|federated-user)/.+)"
)
# A policy with a condition on one of these, and a fixed value, is not public.
_PINNING_KEYS: Final = frozenset(
    {
        "aws:sourceip", "aws:sourcearn", "aws:sourcevpc", "aws:sourcevpce", "aws:sourceowner", "aws:sourceaccount",
        "aws:userid", "aws:principalorgid", "aws:principalarn", "aws:principalaccount", "s3:dataaccesspointarn",
    }
)  # fmt: skip


class MalformedAccessPolicy(StoreError):
    """What should be a policy is none."""

    message: ClassVar[str] = "{reason}"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Effect(Enum):
    ALLOW = "Allow"
    DENY = "Deny"


class Decision(Enum):
    """What a policy says about a request; NONE: nothing, so others decide."""

    ALLOW = "allow"
    DENY = "deny"
    NONE = "none"


class Caller(Struct, frozen=True):
    """Who makes a request, as policies name callers.

    names: each of the user or the role alone, in every spelling. accounts: the names of its account. root: whether it
    owns its account.
    """

    arn: str
    names: frozenset[str]
    accounts: frozenset[str]
    root: bool = False


class PolicyRequest(Struct, frozen=True):
    """What a policy judges. caller: None for anybody without credentials. keys: for conditions and variables."""

    caller: Caller | None
    action: str
    resource: str
    keys: RequestKeys = {}


class Principals(Struct, frozen=True):
    """Whom a statement names; everyone: "*"."""

    everyone: bool
    names: frozenset[str]

    def include(self, caller: Caller | None) -> bool:
        if self.everyone:
            return True
        return caller is not None and not self.names.isdisjoint(caller.names | caller.accounts)


class Statement(Struct, frozen=True):
    """Each not_ field says that the one before holds what the statement does not speak about.

    principals: None in a user's policy, which is for that user.
    """

    effect: Effect
    principals: Principals | None
    not_principals: bool
    actions: tuple[Pattern, ...]
    not_actions: bool
    resources: tuple[Pattern, ...]
    not_resources: bool
    conditions: tuple[Condition, ...]

    def speaks_about(self, request: PolicyRequest, variables: Variables) -> bool:
        principals, action = self.principals, request.action.lower()
        return (
            (principals is None or principals.include(request.caller) is not self.not_principals)
            and any(each.matches(action, variables) for each in self.actions) is not self.not_actions
            and any(each.matches(request.resource, variables) for each in self.resources) is not self.not_resources
            and all(each.holds(request.keys, variables) for each in self.conditions)
        )

    @property
    def is_public(self) -> bool:
        """Whether it allows something to callers whom it does not name."""
        if self.effect is Effect.DENY or self.principals is None:
            return False
        if not self.principals.everyone and not self.not_principals:
            return False
        return not any(each.key in _PINNING_KEYS and pins(each) for each in self.conditions)


class AccessPolicy(Struct, frozen=True):
    statements: tuple[Statement, ...]

    @property
    def is_public(self) -> bool:
        return any(each.is_public for each in self.statements)

    @property
    def condition_keys(self) -> frozenset[str]:
        """The keys, in lower case, that a request needs for its conditions to be weighed."""
        return frozenset(each.key for statement in self.statements for each in statement.conditions)

    def evaluate(self, request: PolicyRequest) -> Decision:
        def variables(name: str) -> str | None:
            values = request.keys.get(name, ())
            return values[0] if len(values) == 1 else None

        decision = Decision.NONE
        for statement in self.statements:
            # Variables and conditions cost more than a comparison of effects.
            if decision is Decision.ALLOW and statement.effect is Effect.ALLOW:
                continue
            if statement.speaks_about(request, variables):
                if statement.effect is Effect.DENY:
                    return Decision.DENY
                decision = Decision.ALLOW
        return decision


@lru_cache(maxsize=512)
def bucket_policy(text: str, bucket: str) -> AccessPolicy:
    """The policy of a bucket. Raises MalformedAccessPolicy."""
    policy = _parse(text, of_bucket=True)
    for statement in policy.statements:
        if not all(_may_be_in(each, bucket) for each in statement.resources):
            raise MalformedAccessPolicy("Policy has invalid resource")
    return policy


@lru_cache(maxsize=512)
def user_policy(text: str) -> AccessPolicy:
    """The policy of a user, a group or a session, which names no principals. Raises MalformedAccessPolicy."""
    return _parse(text, of_bucket=False)


def _may_be_in(resource: Pattern, bucket: str) -> bool:
    """Whether it can be this bucket, or a key in it."""
    whole, beginning = ARN + bucket, resource.beginning
    if beginning.startswith(whole + "/"):
        return True
    return beginning == whole if resource.fixed else whole.startswith(beginning) or beginning == whole


def _parse(text: str, *, of_bucket: bool) -> AccessPolicy:
    if len(text.encode("utf-8", "surrogatepass")) > POLICY_BYTES_MAX:
        raise MalformedAccessPolicy(f"Policies are limited to {POLICY_BYTES_MAX} bytes")
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise MalformedAccessPolicy("This policy contains invalid Json") from None
    if not isinstance(document, dict):
        raise MalformedAccessPolicy("This policy contains invalid Json")
    _only(document, {"Version", "Id", "Statement"}, "Policy")
    version = document.get("Version", VERSIONS[1])
    if version not in VERSIONS:
        raise MalformedAccessPolicy(f"The policy must contain a valid version string: {', '.join(VERSIONS)}")
    if not isinstance(document.get("Id", ""), str):
        raise MalformedAccessPolicy("The policy's Id is no text")
    given = document.get("Statement")
    statements = [given] if isinstance(given, dict) else given
    if not isinstance(statements, list) or not statements:
        raise MalformedAccessPolicy("Missing required field Statement")
    sids = [each["Sid"] for each in statements if isinstance(each, dict) and isinstance(each.get("Sid"), str)]
    if len(set(sids)) != len(sids):
        raise MalformedAccessPolicy("Statement IDs (SID) in a single policy must be unique")
    variables = version == VERSION_WITH_VARIABLES
    return AccessPolicy(tuple(_statement(each, variables, of_bucket) for each in statements))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object: of two equal names one would be lost, and the policy mean less than it says."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _only(given: dict[str, Any], names: set[str], where: str) -> None:
    if unknown := given.keys() - names:
        raise MalformedAccessPolicy(f"{where} has an unknown element: {min(unknown)}")


def _statement(given: Any, variables: bool, of_bucket: bool) -> Statement:
    if not isinstance(given, dict):
        raise MalformedAccessPolicy("A statement is no object")
    names = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}
    _only(given, names | {"Principal", "NotPrincipal"} if of_bucket else names, "Statement")
    if not isinstance(given.get("Sid", ""), str):
        raise MalformedAccessPolicy("A statement's Sid is no text")
    if given.get("Effect") not in ("Allow", "Deny"):
        raise MalformedAccessPolicy(f"Invalid effect: {given.get('Effect')}")
    principals, not_principals = None, False
    if of_bucket:
        named, not_principals = _either(given, "Principal")
        principals = _principals(named)
    actions, not_actions = _either(given, "Action")
    resources, not_resources = _either(given, "Resource")
    try:
        return Statement(
            Effect(given["Effect"]),
            principals,
            not_principals,
            tuple(_action(each, of_bucket) for each in _texts(actions)),
            not_actions,
            tuple(_resource(each, variables) for each in _texts(resources)),
            not_resources,
            _conditions(given.get("Condition", {}), variables, of_bucket),
        )
    except (ValueError, OverflowError) as error:
        raise MalformedAccessPolicy(f"Policy has an invalid element: {error}") from None


def _either(given: dict[str, Any], name: str) -> tuple[Any, bool]:
    """The value of an element or of the one that says the contrary, and which it is."""
    if (name in given) is (f"Not{name}" in given):
        raise MalformedAccessPolicy(f"Missing required field {name}")
    return (given[name], False) if name in given else (given[f"Not{name}"], True)


def _texts(given: Any) -> list[str]:
    found = given if isinstance(given, list) else [given]
    if not found or not all(isinstance(each, str) and "\0" not in each for each in found):
        raise MalformedAccessPolicy("Policy has an element that is neither a text nor a list of texts")
    return found


def _principals(given: Any) -> Principals:
    """Raises MalformedAccessPolicy for what names nobody, as AWS does."""
    if given == EVERYONE:
        return Principals(True, frozenset())
    if not isinstance(given, dict) or not given or not given.keys() <= set(_PRINCIPAL_KINDS):
        raise MalformedAccessPolicy("Invalid principal in policy")
    everyone, names = False, set()
    for kind, value in given.items():
        for name in _texts(value):
            if name == EVERYONE and kind == "AWS":
                everyone = True
            elif not name or "*" in name or (kind == "AWS" and ":" in name and not _PRINCIPAL_ARN.fullmatch(name)):
                raise MalformedAccessPolicy("Invalid principal in policy")
            else:
                root = _ACCOUNT_ROOT.fullmatch(name) if kind == "AWS" else None
                names.add(root[1] if root else name)
    return Principals(everyone, frozenset(names))


def _action(text: str, of_bucket: bool) -> Pattern:
    if of_bucket and not is_action(text):
        raise MalformedAccessPolicy("Policy has invalid action")
    return parse_pattern(text.lower(), variables=False)


def _resource(text: str, variables: bool) -> Pattern:
    if text != "*" and not text.startswith("arn:"):
        raise MalformedAccessPolicy("Policy has invalid resource")
    return parse_pattern(text, variables=variables)


def _conditions(given: Any, variables: bool, of_bucket: bool) -> tuple[Condition, ...]:
    found = []
    if not isinstance(given, dict):
        raise MalformedAccessPolicy("A condition is no object")
    for operator, block in given.items():
        if not isinstance(block, dict):
            raise MalformedAccessPolicy("A condition is no object")
        for key, value in block.items():
            # A key that no request ever has would make the policy mean something else than it says.
            if of_bucket and not is_condition_key(key):
                raise MalformedAccessPolicy("Policy has an invalid condition key")
            values = value if isinstance(value, list) else [value]
            found.append(parse_condition(operator, key, tuple(_scalar(each) for each in values), variables=variables))
    return tuple(found)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise MalformedAccessPolicy("A condition's value is neither a text, a number nor a truth value")
