"""IAM: which actions there are, who may call them, and how what they change is kept.

An account's administrators may call all, and users whom a policy allows it; each about the users, groups and policies
of the own account. What an action changes is on disk before it is answered, and all processes take it at once.

https://docs.aws.amazon.com/IAM/latest/APIReference/welcome.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from objstore.config.access_keys import ManagedTables
from objstore.config.loading import ConfigError, load
from objstore.config.users import UsersConfig
from objstore.errors import reason_of
from objstore.proxy.auth.access import ADMIN
from objstore.proxy.auth.policy import Decision
from objstore.proxy.s3.callers import caller_of
from objstore.proxy.s3.iam import groups, policies, users
from objstore.proxy.s3.iam.inline import InlinePolicies
from objstore.proxy.s3.iam.request import IamRequest, arn_of
from objstore.proxy.s3.query import Action, QueryError, QueryRequest
from objstore.proxy.s3.xml import Element

if TYPE_CHECKING:
    from objstore.config.proxy import AuthConfig
    from objstore.proxy.shared_users import UserStore
    from objstore.runtime import Runtime

_PAGES: Final = frozenset({"Marker", "MaxItems"})
_COMMON: Final = frozenset({"Action", "Version"})
# The one path that there is: parameters may say it.
_ROOT: Final = frozenset({"Path", "PathPrefix"})
_KINDS: Final = {"UserName": "user", "GroupName": "group", "PolicyArn": "policy"}


class IamAction(Struct, frozen=True):
    """run: gives the elements of the answer. subject: the parameter that names what a policy may speak of, or "".

    parameters: beside the subject. changes: whether it changes anything.
    """

    run: Callable[[IamRequest], list[Element]]
    subject: str
    parameters: frozenset[str] = frozenset()
    changes: bool = True


def _changing(run: Callable[[IamRequest], list[Element]], subject: str, parameters: str = "") -> IamAction:
    return IamAction(run, subject, frozenset(parameters.split()))


def _reading(run: Callable[[IamRequest], list[Element]], subject: str, parameters: str = "") -> IamAction:
    return IamAction(run, subject, frozenset(parameters.split()) | _PAGES, changes=False)


_OF_USERS: Final = InlinePolicies("UserName")
_OF_GROUPS: Final = InlinePolicies("GroupName")
ACTIONS: Final = {
    "CreateUser": _changing(users.create_user, "UserName"),
    "GetUser": _reading(users.get_user, "UserName"),
    "ListUsers": _reading(users.list_users, ""),
    "DeleteUser": _changing(users.delete_user, "UserName"),
    "CreateAccessKey": _changing(users.create_access_key, "UserName"),
    "ListAccessKeys": _reading(users.list_access_keys, "UserName"),
    "UpdateAccessKey": _changing(users.update_access_key, "UserName", "AccessKeyId Status"),
    "DeleteAccessKey": _changing(users.delete_access_key, "UserName", "AccessKeyId"),
    "CreateGroup": _changing(groups.create_group, "GroupName"),
    "GetGroup": _reading(groups.get_group, "GroupName"),
    "ListGroups": _reading(groups.list_groups, ""),
    "ListGroupsForUser": _reading(groups.list_groups_for_user, "UserName"),
    "DeleteGroup": _changing(groups.delete_group, "GroupName"),
    "AddUserToGroup": _changing(groups.add_user_to_group, "GroupName", "UserName"),
    "RemoveUserFromGroup": _changing(groups.remove_user_from_group, "GroupName", "UserName"),
    "CreatePolicy": _changing(policies.create_policy, "PolicyName", "PolicyDocument Description"),
    "CreatePolicyVersion": _changing(policies.create_policy_version, "PolicyArn", "PolicyDocument SetAsDefault"),
    "GetPolicy": _reading(policies.get_policy, "PolicyArn"),
    "GetPolicyVersion": _reading(policies.get_policy_version, "PolicyArn", "VersionId"),
    "ListPolicyVersions": _reading(policies.list_policy_versions, "PolicyArn"),
    "ListPolicies": _reading(policies.list_policies, "", "Scope OnlyAttached"),
    "DeletePolicy": _changing(policies.delete_policy, "PolicyArn"),
    "AttachUserPolicy": _changing(policies.attach_user_policy, "UserName", "PolicyArn"),
    "DetachUserPolicy": _changing(policies.detach_user_policy, "UserName", "PolicyArn"),
    "ListAttachedUserPolicies": _reading(policies.list_attached_user_policies, "UserName"),
    "AttachGroupPolicy": _changing(policies.attach_group_policy, "GroupName", "PolicyArn"),
    "DetachGroupPolicy": _changing(policies.detach_group_policy, "GroupName", "PolicyArn"),
    "ListAttachedGroupPolicies": _reading(policies.list_attached_group_policies, "GroupName"),
    "ListEntitiesForPolicy": _reading(policies.list_entities_for_policy, "PolicyArn"),
    "PutUserPolicy": _changing(_OF_USERS.put, "UserName", "PolicyName PolicyDocument"),
    "GetUserPolicy": _reading(_OF_USERS.get, "UserName", "PolicyName"),
    "DeleteUserPolicy": _changing(_OF_USERS.delete, "UserName", "PolicyName"),
    "ListUserPolicies": _reading(_OF_USERS.names, "UserName"),
    "PutGroupPolicy": _changing(_OF_GROUPS.put, "GroupName", "PolicyName PolicyDocument"),
    "GetGroupPolicy": _reading(_OF_GROUPS.get, "GroupName", "PolicyName"),
    "DeleteGroupPolicy": _changing(_OF_GROUPS.delete, "GroupName", "PolicyName"),
    "ListGroupPolicies": _reading(_OF_GROUPS.names, "GroupName"),
}


class IdentityService:
    """Carries the actions out."""

    def __init__(self, config: AuthConfig, users: UserStore, runtime: Runtime) -> None:
        """Blocks; raises ConfigError."""
        self._users: Final = users
        self._listed: Final = {(user.account, user.name): user for user in load(config.users, UsersConfig).users}
        self._now: Final = runtime.clock.now
        self._log: Final = runtime.log

    def actions(self) -> Mapping[str, Action]:
        """By name."""
        return {name: partial(self._answer, action) for name, action in ACTIONS.items()}

    def _answer(self, action: IamAction, asked: QueryRequest, result: Element) -> None:
        """Raises QueryError, CoreError."""
        _check_parameters(action, asked)
        self._authorize(action, asked)

        def run(tables: ManagedTables) -> list[Element]:
            return action.run(IamRequest(asked, tables, self._listed, self._now()))

        try:
            elements = self._users.change(run) if action.changes else run(ManagedTables.of(self._users.read()))
        except (ConfigError, OSError) as error:
            self._log.error("users cannot be read or changed", action=asked.action, reason=reason_of(error))
            raise QueryError("ServiceFailure", "The users of this store cannot be read or changed now", 500) from None
        for element in elements:
            result.append(element)

    def _authorize(self, action: IamAction, asked: QueryRequest) -> None:
        """Raises QueryError AccessDenied."""
        key, identity = asked.key, asked.key.identity
        account, _, own = identity.user.partition(":")
        name = asked.parameters.get(action.subject) or (own if action.subject == "UserName" else "*")
        resource = arn_of(_KINDS.get(action.subject, "policy"), account, name) if action.subject else "*"
        called = f"iam:{asked.action}"
        said = asked.decision(called, resource, self._now())
        may = said is Decision.ALLOW or ADMIN in identity.groups or identity.reseller_admin
        # A session lives for hours at most: it makes no key that lasts, unless it has a role, whose policies say so.
        if said is Decision.DENY or not may or (key.session is not None and not key.session.role):
            who = caller_of(identity, key.session_name).arn
            reason = f"User: {who} is not authorized to perform: {called} on resource: {resource}"
            raise QueryError("AccessDenied", reason, 403)


def _check_parameters(action: IamAction, asked: QueryRequest) -> None:
    """What is not there is refused, as limits of rights that would not be kept. Raises QueryError ValidationError."""
    for name, value in asked.parameters.items():
        if name in _COMMON or name.lower().startswith("x-amz-") or name == action.subject or name in action.parameters:
            continue
        if name not in _ROOT or value != "/":
            raise QueryError("ValidationError", f"{asked.action} has no {name} here")
