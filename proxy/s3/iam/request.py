"""What an action of IAM works on: the users, groups and policies of the caller's account, and what it was sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from objstore.config.access_keys import ManagedGroup, ManagedPolicy, ManagedTables, ManagedUser, Name
from objstore.config.users import User
from objstore.proxy.auth.identity import Identity
from objstore.proxy.auth.new_keys import moment_of
from objstore.proxy.auth.policy import MalformedAccessPolicy, user_policy
from objstore.proxy.s3.iam.aws_policies import AWS_POLICIES
from objstore.proxy.s3.query import QueryError, QueryRequest
from objstore.proxy.s3.xml import Element

NAME: Final = r"[\w+=,.@-]{1,128}"
NEW_USER: Final = r"[\w+=,.@-]{1,64}"
# Users whom the operator has added may have other names.
USER: Final = r"[^/]{1,128}"
ITEMS_MAX: Final = 1000
ITEMS: Final = 100
# Of what has no known moment.
NO_MOMENT: Final = "1970-01-01T00:00:00Z"
_ARN: Final = "arn:"


class IamRequest(Struct, frozen=True):
    """An action that somebody may do. listed: the users of users.toml. now: in seconds since the epoch."""

    asked: QueryRequest
    tables: ManagedTables
    listed: Mapping[Name, User]
    now: float

    @property
    def caller(self) -> Identity:
        return self.asked.key.identity

    @property
    def account(self) -> str:
        return self.caller.user.partition(":")[0]

    @property
    def moment(self) -> str:
        """Now, as moments of creation are kept."""
        return moment_of(self.now)

    @property
    def user_name(self) -> str:
        """The user that is meant: the caller if the request names nobody."""
        return self.asked.text("UserName", USER) or self.caller.user.partition(":")[2]

    def user(self, name: str) -> ManagedUser:
        """What is kept of a user, with the operator's groups. Raises QueryError NoSuchEntity."""
        who = (self.account, name)
        entry, own = self.tables.users.get(who), self.listed.get(who)
        if own is not None:
            return msgspec.structs.replace(entry or ManagedUser(*who), groups=own.groups, added=False)
        if entry is None or not entry.added:
            raise missing(f"The user with name {name} cannot be found.")
        return entry

    def changeable(self, name: str) -> ManagedUser:
        """A user whom the caller may change: one who has no group of the operator's that the caller has not.

        Groups carry rights beyond the account, and of access lists. Raises QueryError AccessDenied, NoSuchEntity.
        """
        user = self.user(name)
        more = set(user.groups) - self.caller.groups
        if more and not self.caller.reseller_admin:
            reason = (
                f"The operator has given {user.account}:{name} groups that you are not in: {', '.join(sorted(more))}"
            )
            raise QueryError("AccessDenied", reason, 403)
        return user

    def store(self, user: ManagedUser) -> None:
        """Keep what has become of a user."""
        who = (user.account, user.name)
        groups = () if who in self.listed else user.groups
        self.tables.users[who] = msgspec.structs.replace(user, groups=groups)

    def users(self) -> list[ManagedUser]:
        """All users of the account."""
        names = {name for account, name in self.listed if account == self.account}
        names |= {each.name for each in self.tables.users.values() if each.added and each.account == self.account}
        return [self.user(name) for name in names]

    def group(self, name: str) -> ManagedGroup:
        """Raises QueryError NoSuchEntity."""
        found = self.tables.groups.get((self.account, name))
        if found is None:
            raise missing(f"The group with name {name} cannot be found.")
        return found

    def groups(self) -> list[ManagedGroup]:
        """All groups of the account."""
        return [each for each in self.tables.groups.values() if each.account == self.account]

    def policy(self, arn: str) -> ManagedPolicy:
        """A policy of the account, or one of AWS's. Raises QueryError NoSuchEntity."""
        name = arn if arn in AWS_POLICIES else arn.removeprefix(f"arn:aws:iam::{self.account}:policy/")
        found = self.tables.policies.get((self.account, name))
        if found is None and name in AWS_POLICIES:
            return ManagedPolicy(self.account, name, AWS_POLICIES[name])
        if found is None or (name == arn and arn not in AWS_POLICIES):
            raise missing(f"Policy {arn} does not exist or is not attachable.")
        return found

    def policies(self) -> list[ManagedPolicy]:
        """All policies of the account, and those of AWS's that are attached to somebody."""
        return [each for each in self.tables.policies.values() if each.account == self.account]

    def document(self, characters_max: int) -> str:
        """A policy that was sent. Raises QueryError MalformedPolicyDocument, LimitExceeded."""
        text = self.asked.needed("PolicyDocument")
        if sum(not each.isspace() for each in text) > characters_max:
            raise limit(f"A policy has at most {characters_max} characters")
        try:
            user_policy(text)
        except MalformedAccessPolicy as error:
            raise QueryError("MalformedPolicyDocument", error.reason) from None
        return text

    def page(self, name: str, items: Iterable[tuple[str, Element]]) -> list[Element]:
        """Elements "member" in a list by this name, in the order of their keys: as many as wanted, after the marker."""
        after, wanted = self.asked.text("Marker"), self.asked.number("MaxItems", 1, ITEMS_MAX, ITEMS)
        ordered = sorted(items, key=lambda item: item[0])
        left = [item for item in ordered if not after or item[0] > after]
        page, more = left[:wanted], len(left) > wanted
        listed = Element(name)
        for _key, element in page:
            listed.append(element)
        answer = [listed, Element("IsTruncated", "true" if more else "false")]
        return [*answer, Element("Marker", page[-1][0])] if more else answer


def arn_of(kind: str, account: str, name: str) -> str:
    """The ARN of a user, a group or a policy; AWS's own policies are named by theirs."""
    return name if name.startswith(_ARN) else f"arn:aws:iam::{account}:{kind}/{name}"


def structure(name: str, fields: Mapping[str, Any]) -> Element:
    """An element with these children, each a text or a number."""
    element = Element(name)
    for each, value in fields.items():
        element.add(each, value)
    return element


def missing(reason: str) -> QueryError:
    return QueryError("NoSuchEntity", reason, 404)


def limit(reason: str) -> QueryError:
    return QueryError("LimitExceeded", reason, 409)


def conflict(reason: str) -> QueryError:
    return QueryError("DeleteConflict", reason, 409)


def exists(reason: str) -> QueryError:
    return QueryError("EntityAlreadyExists", reason, 409)
