"""Groups of users, who share policies."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from objstore.config.access_keys import GROUPS_MAX, ManagedGroup
from objstore.proxy.s3.iam.request import NAME, IamRequest, arn_of, conflict, exists, limit, missing, structure
from objstore.proxy.s3.iam.users import user_element
from objstore.proxy.s3.query import QueryError
from objstore.proxy.s3.xml import Element

GROUPS_PER_USER_MAX: Final = 10


def group_element(group: ManagedGroup, name: str = "Group") -> Element:
    return structure(
        name,
        {
            "Path": "/",
            "GroupName": group.name,
            "GroupId": f"{group.account}:{group.name}",
            "Arn": arn_of("group", group.account, group.name),
            "CreateDate": group.created,
        },
    )


def named_group(request: IamRequest) -> ManagedGroup:
    """The group that a request names. Raises QueryError."""
    return request.group(request.asked.needed("GroupName", NAME))


def create_group(request: IamRequest) -> list[Element]:
    """A group of nobody. Its name is none of the operator's kind, nor the account's, which stands for all users."""
    name, groups = request.asked.needed("GroupName", NAME), request.groups()
    if name.startswith(".") or name == request.account:
        raise QueryError("ValidationError", "GroupName must not begin with a dot, nor be the name of the account")
    if any(group.name == name for group in groups):
        raise exists(f"Group with name {name} already exists.")
    if len(groups) >= GROUPS_MAX:
        raise limit(f"An account has at most {GROUPS_MAX} groups")
    group = ManagedGroup(request.account, name, request.moment)
    request.tables.groups[group.account, name] = group
    return [group_element(group)]


def get_group(request: IamRequest) -> list[Element]:
    """A group and its users."""
    group = named_group(request)
    users = ((name, user_element(request.user(name), "member")) for name in group.users)
    return [group_element(group), *request.page("Users", users)]


def list_groups(request: IamRequest) -> list[Element]:
    return request.page("Groups", ((group.name, group_element(group, "member")) for group in request.groups()))


def list_groups_for_user(request: IamRequest) -> list[Element]:
    name = request.user(request.asked.needed("UserName")).name
    groups = [group for group in request.groups() if name in group.users]
    return request.page("Groups", ((group.name, group_element(group, "member")) for group in groups))


def delete_group(request: IamRequest) -> list[Element]:
    """One that has no users and policies any more."""
    group = named_group(request)
    if group.users:
        raise conflict("Cannot delete entity, must remove users from group first.")
    if group.policies or any(group.name in policy.groups for policy in request.policies()):
        raise conflict("Cannot delete entity, must delete or detach policies first.")
    del request.tables.groups[group.account, group.name]
    return []


def add_user_to_group(request: IamRequest) -> list[Element]:
    """It is no error if the user is in it already."""
    group, user = named_group(request), request.changeable(request.asked.needed("UserName"))
    if user.name not in group.users:
        if sum(user.name in each.users for each in request.groups()) >= GROUPS_PER_USER_MAX:
            raise limit(f"A user is in at most {GROUPS_PER_USER_MAX} groups")
        request.tables.groups[group.account, group.name] = replace(group, users=(*group.users, user.name))
    return []


def remove_user_from_group(request: IamRequest) -> list[Element]:
    group, user = named_group(request), request.changeable(request.asked.needed("UserName"))
    if user.name not in group.users:
        raise missing(f"The user with name {user.name} is not in the group {group.name}.")
    left = tuple(name for name in group.users if name != user.name)
    request.tables.groups[group.account, group.name] = replace(group, users=left)
    return []
