"""Policies of an account, and the users and groups to which they are attached."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from msgspec.structs import replace

from objstore.config.access_keys import POLICIES_MAX, ManagedPolicy
from objstore.proxy.s3.iam.aws_policies import AWS_POLICIES
from objstore.proxy.s3.iam.groups import named_group
from objstore.proxy.s3.iam.request import (
    NAME,
    NO_MOMENT,
    IamRequest,
    arn_of,
    conflict,
    exists,
    limit,
    missing,
    structure,
)
from objstore.proxy.s3.query import QueryError
from objstore.proxy.s3.xml import Element

DOCUMENT_CHARACTERS_MAX: Final = 6144
DESCRIPTION_CHARACTERS_MAX: Final = 1000
# To one user or group.
ATTACHED_MAX: Final = 20
_SCOPES: Final = ("All", "AWS", "Local")


def _arn(policy: ManagedPolicy) -> str:
    return arn_of("policy", policy.account, policy.name)


def _name(policy: ManagedPolicy) -> str:
    return policy.name.rpartition("/")[2]


def _element(policy: ManagedPolicy, name: str = "Policy") -> Element:
    fields = {
        "PolicyName": _name(policy),
        "PolicyId": f"{policy.account}:{_name(policy)}",
        "Arn": _arn(policy),
        "Path": "/",
        "DefaultVersionId": f"v{policy.edition}",
        "AttachmentCount": len(policy.users) + len(policy.groups),
        "IsAttachable": "true",
        "CreateDate": policy.created or NO_MOMENT,
        "UpdateDate": policy.created or NO_MOMENT,
    }
    return structure(name, fields | ({"Description": policy.description} if policy.description else {}))


def _version_element(policy: ManagedPolicy, name: str, *, with_document: bool) -> Element:
    document = {"Document": quote(policy.document, safe="-_.~")} if with_document else {}
    version = {"VersionId": f"v{policy.edition}", "IsDefaultVersion": "true"}
    return structure(name, {**document, **version, "CreateDate": policy.created or NO_MOMENT})


def _named(request: IamRequest) -> ManagedPolicy:
    """The policy that a request names. Raises QueryError."""
    return request.policy(request.asked.needed("PolicyArn", r"arn:.{1,2044}"))


def _own(request: IamRequest) -> ManagedPolicy:
    """The same, but none of AWS's. Raises QueryError."""
    policy = _named(request)
    if policy.name in AWS_POLICIES:
        raise QueryError("AccessDenied", f"{policy.name} is AWS's", 403)
    return policy


def create_policy(request: IamRequest) -> list[Element]:
    name, document = request.asked.needed("PolicyName", NAME), request.document(DOCUMENT_CHARACTERS_MAX)
    if (request.account, name) in request.tables.policies:
        raise exists(f"A policy called {name} already exists.")
    if len(request.policies()) >= POLICIES_MAX:
        raise limit(f"An account has at most {POLICIES_MAX} policies")
    description = request.asked.text("Description")
    if len(description) > DESCRIPTION_CHARACTERS_MAX:
        raise QueryError("ValidationError", f"Description has at most {DESCRIPTION_CHARACTERS_MAX} characters")
    policy = ManagedPolicy(request.account, name, document, created=request.moment, description=description)
    _store(request, policy)
    return [_element(policy)]


def create_policy_version(request: IamRequest) -> list[Element]:
    """Replaces the document: one version of each policy is kept."""
    policy = _own(request)
    if request.asked.text("SetAsDefault") != "true":
        raise QueryError("ValidationError", "One version of a policy is kept: SetAsDefault must be true")
    changed = replace(policy, document=request.document(DOCUMENT_CHARACTERS_MAX), edition=policy.edition + 1)
    _store(request, changed)
    return [_version_element(changed, "PolicyVersion", with_document=False)]


def get_policy(request: IamRequest) -> list[Element]:
    return [_element(_named(request))]


def get_policy_version(request: IamRequest) -> list[Element]:
    policy, version = _named(request), request.asked.needed("VersionId", r"v[1-9][0-9]{0,8}")
    if version != f"v{policy.edition}":
        raise missing(f"Policy {_arn(policy)} version {version} does not exist.")
    return [_version_element(policy, "PolicyVersion", with_document=True)]


def list_policy_versions(request: IamRequest) -> list[Element]:
    policy = _named(request)
    return request.page("Versions", [("", _version_element(policy, "member", with_document=False))])


def list_policies(request: IamRequest) -> list[Element]:
    scope = request.asked.text("Scope", default="All")
    if scope not in _SCOPES:
        raise QueryError("ValidationError", f"Scope must be one of {', '.join(_SCOPES)}")
    found = {policy.name: policy for policy in request.policies()}
    found |= {name: request.policy(name) for name in AWS_POLICIES}
    if scope != "All":
        found = {name: policy for name, policy in found.items() if (name in AWS_POLICIES) is (scope == "AWS")}
    if request.asked.text("OnlyAttached") == "true":
        found = {name: policy for name, policy in found.items() if policy.users or policy.groups}
    return request.page("Policies", ((name, _element(policy, "member")) for name, policy in found.items()))


def delete_policy(request: IamRequest) -> list[Element]:
    """One that is attached to nobody any more."""
    policy = _own(request)
    if policy.users or policy.groups:
        raise conflict("Cannot delete a policy attached to entities.")
    del request.tables.policies[policy.account, policy.name]
    return []


def attach_user_policy(request: IamRequest) -> list[Element]:
    """It is no error if it is attached already."""
    policy, user = _named(request), request.changeable(request.asked.needed("UserName"))
    if user.name not in policy.users:
        _check_count(sum(user.name in each.users for each in request.policies()))
        _store(request, replace(policy, users=(*policy.users, user.name)))
    return []


def detach_user_policy(request: IamRequest) -> list[Element]:
    policy, user = _named(request), request.changeable(request.asked.needed("UserName"))
    if user.name not in policy.users:
        raise missing(f"Policy {_arn(policy)} was not found.")
    _store(request, replace(policy, users=tuple(name for name in policy.users if name != user.name)))
    return []


def attach_group_policy(request: IamRequest) -> list[Element]:
    """It is no error if it is attached already."""
    policy, group = _named(request), named_group(request)
    if group.name not in policy.groups:
        _check_count(sum(group.name in each.groups for each in request.policies()))
        _store(request, replace(policy, groups=(*policy.groups, group.name)))
    return []


def detach_group_policy(request: IamRequest) -> list[Element]:
    policy, group = _named(request), named_group(request)
    if group.name not in policy.groups:
        raise missing(f"Policy {_arn(policy)} was not found.")
    _store(request, replace(policy, groups=tuple(name for name in policy.groups if name != group.name)))
    return []


def list_attached_user_policies(request: IamRequest) -> list[Element]:
    name = request.user(request.asked.needed("UserName")).name
    return _attached(request, [policy for policy in request.policies() if name in policy.users])


def list_attached_group_policies(request: IamRequest) -> list[Element]:
    name = named_group(request).name
    return _attached(request, [policy for policy in request.policies() if name in policy.groups])


def list_entities_for_policy(request: IamRequest) -> list[Element]:
    """Whom a policy is attached to; all are on one page."""
    policy = _named(request)
    found = []
    for kind, names in (("User", policy.users), ("Group", policy.groups), ("Role", ())):
        listed = Element(f"Policy{kind}s")
        for name in names:
            listed.append(structure("member", {f"{kind}Name": name, f"{kind}Id": f"{policy.account}:{name}"}))
        found.append(listed)
    return [*found, Element("IsTruncated", "false")]


def _attached(request: IamRequest, policies: list[ManagedPolicy]) -> list[Element]:
    members = (
        (_arn(each), structure("member", {"PolicyName": _name(each), "PolicyArn": _arn(each)})) for each in policies
    )
    return request.page("AttachedPolicies", members)


def _check_count(attached: int) -> None:
    if attached >= ATTACHED_MAX:
        raise limit(f"At most {ATTACHED_MAX} policies are attached to a user or a group")


def _store(request: IamRequest, policy: ManagedPolicy) -> None:
    """Keep what has become of a policy; those of AWS only while they are attached."""
    key = (policy.account, policy.name)
    if policy.name in AWS_POLICIES and not policy.users and not policy.groups:
        request.tables.policies.pop(key, None)
    else:
        request.tables.policies[key] = policy
