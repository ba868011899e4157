"""Users and their access keys."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from objstore.config.access_keys import KEYS_PER_USER_MAX, USERS_MAX, ManagedUser, StoredKey
from objstore.proxy.auth.new_keys import new_access_key
from objstore.proxy.s3.iam.request import (
    NEW_USER,
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

_STATUS: Final = {"Active": True, "Inactive": False}


def user_element(user: ManagedUser, name: str = "User") -> Element:
    return structure(
        name,
        {
            "Path": "/",
            "UserName": user.name,
            "UserId": f"{user.account}:{user.name}",
            "Arn": arn_of("user", user.account, user.name),
            "CreateDate": user.created or NO_MOMENT,
        },
    )


def create_user(request: IamRequest) -> list[Element]:
    """A user without rights and keys."""
    name = request.asked.needed("UserName", NEW_USER)
    users = request.users()
    if any(user.name == name for user in users):
        raise exists(f"User with name {name} already exists.")
    if len(users) >= USERS_MAX:
        raise limit(f"An account has at most {USERS_MAX} users")
    user = ManagedUser(request.account, name, added=True, created=request.moment)
    request.store(user)
    return [user_element(user)]


def get_user(request: IamRequest) -> list[Element]:
    return [user_element(request.user(request.user_name))]


def list_users(request: IamRequest) -> list[Element]:
    return request.page("Users", ((user.name, user_element(user, "member")) for user in request.users()))


def delete_user(request: IamRequest) -> list[Element]:
    """One who has no keys, groups and policies any more; what the user has stored stays."""
    name = request.asked.needed("UserName")
    user = request.changeable(name)
    if not user.added:
        raise QueryError("UnmodifiableEntity", f"{user.account}:{name} stands in the operator's file of users")
    left = {
        "access keys": user.keys,
        "policies": user.policies or [each for each in request.policies() if name in each.users],
        "groups": [each for each in request.groups() if name in each.users],
    }
    for what, those in left.items():
        if those:
            raise conflict(f"Cannot delete entity, must delete {what} first: {len(those)}")
    request.tables.remove_user((user.account, name))
    return []


def create_access_key(request: IamRequest) -> list[Element]:
    user = request.changeable(request.user_name)
    if len(user.keys) >= KEYS_PER_USER_MAX:
        raise limit(f"A user has at most {KEYS_PER_USER_MAX} access keys")
    key = new_access_key(request.now)
    request.store(replace(user, keys=(*user.keys, key)))
    element = _key_element(user, key, "AccessKey")
    element.add("SecretAccessKey", key.secret)
    return [element]


def list_access_keys(request: IamRequest) -> list[Element]:
    user = request.user(request.user_name)
    keys = ((key.id, _key_element(user, key, "member")) for key in user.keys)
    return [Element("UserName", user.name), *request.page("AccessKeyMetadata", keys)]


def update_access_key(request: IamRequest) -> list[Element]:
    user, key = _key_of(request)
    status = request.asked.needed("Status")
    if status not in _STATUS:
        raise QueryError("ValidationError", f"Status must be one of {', '.join(_STATUS)}")
    changed = replace(key, active=_STATUS[status])
    request.store(replace(user, keys=tuple(changed if each is key else each for each in user.keys)))
    return []


def delete_access_key(request: IamRequest) -> list[Element]:
    user, key = _key_of(request)
    request.store(replace(user, keys=tuple(each for each in user.keys if each is not key)))
    return []


def _key_of(request: IamRequest) -> tuple[ManagedUser, StoredKey]:
    """The access key that a request names, and whose it is. Raises QueryError."""
    user, identifier = request.changeable(request.user_name), request.asked.needed("AccessKeyId")
    for key in user.keys:
        if key.id == identifier:
            return user, key
    raise missing(f"The Access Key with id {identifier} cannot be found.")


def _key_element(user: ManagedUser, key: StoredKey, name: str) -> Element:
    status = "Active" if key.active and not user.disabled else "Inactive"
    return structure(
        name, {"UserName": user.name, "AccessKeyId": key.id, "Status": status, "CreateDate": key.created or NO_MOMENT}
    )
