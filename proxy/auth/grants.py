"""Access lists of S3: who may do what with a bucket or an object, as grants.

A grant says nothing to the owner's own users, whose rights come from elsewhere. Grants of buckets that the Swift API
can say as well, which are those to write, are kept as its lists say them, so each API takes back what the other gave.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

from objstore.proxy.auth import acl
from objstore.proxy.auth.identity import Identity

GRANTS_MAX: Final = 100


class Permission(StrEnum):
    READ = "READ"
    WRITE = "WRITE"
    READ_ACP = "READ_ACP"
    WRITE_ACP = "WRITE_ACP"
    FULL_CONTROL = "FULL_CONTROL"


EACH_PERMISSION: Final = (Permission.READ, Permission.WRITE, Permission.READ_ACP, Permission.WRITE_ACP)


class GranteeGroup(StrEnum):
    """Grantees that are many; the values are their URIs."""

    ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
    AUTHENTICATED_USERS = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
    LOG_DELIVERY = "http://acs.amazonaws.com/groups/s3/LogDelivery"


GROUPS: Final = frozenset(str(each) for each in GranteeGroup)
PUBLIC_GROUPS: Final = frozenset({GranteeGroup.ALL_USERS, GranteeGroup.AUTHENTICATED_USERS})


class Grant(Struct, frozen=True, array_like=True):
    """grantee: a GranteeGroup's URI, or the name of an account or a user as access lists of the Swift API name them."""

    grantee: str
    permission: Permission

    @property
    def is_group(self) -> bool:
        return self.grantee in GROUPS

    @property
    def is_public(self) -> bool:
        return self.grantee in PUBLIC_GROUPS


class Grants(Struct, frozen=True):
    """All grants of a bucket or an object. owner: the account that has it."""

    owner: str
    grants: tuple[Grant, ...] = ()

    @property
    def is_public(self) -> bool:
        return any(each.is_public for each in self.grants)

    @property
    def only_owner(self) -> bool:
        """Whether nobody else is granted anything."""
        return all(each.grantee == self.owner for each in self.grants)

    def allow(self, identity: Identity | None, permission: Permission, *, ignore_public: bool) -> bool:
        """Whether somebody may; what is granted to the owner is for nobody else."""
        names = frozenset() if identity is None else acl.names_of(identity)
        return any(
            each.permission in (permission, Permission.FULL_CONTROL)
            and (_in_group(each.grantee, identity) and not ignore_public if each.is_public else each.grantee in names)
            for each in self.grants
            if each.grantee != self.owner
        )

    def without_public(self) -> Grants:
        """What is left in force where public access is ignored."""
        return Grants(self.owner, tuple(each for each in self.grants if not each.is_public))


def _in_group(group: str, identity: Identity | None) -> bool:
    return group == GranteeGroup.ALL_USERS or identity is not None


def canned(name: str, owner: str, bucket_owner: str = "") -> Grants | None:
    """The grants that a short name stands for, of a bucket or, with the bucket's owner, of an object; None for none."""
    full = (Grant(owner, Permission.FULL_CONTROL),)
    more = _CANNED.get(name)
    if more is None:
        more = (_CANNED_OF_OBJECTS if bucket_owner else _CANNED_OF_BUCKETS).get(name)
    if more is None:
        return None
    grants = tuple(Grant(grantee or bucket_owner, permission) for grantee, permission in more)
    return Grants(owner, full + tuple(each for each in grants if each.grantee != owner))


_CANNED: Final[dict[str, tuple[tuple[str, Permission], ...]]] = {
    "private": (),
    "public-read": ((GranteeGroup.ALL_USERS, Permission.READ),),
    "public-read-write": ((GranteeGroup.ALL_USERS, Permission.READ), (GranteeGroup.ALL_USERS, Permission.WRITE)),
    "authenticated-read": ((GranteeGroup.AUTHENTICATED_USERS, Permission.READ),),
}
_CANNED_OF_BUCKETS: Final[dict[str, tuple[tuple[str, Permission], ...]]] = {
    "log-delivery-write": (
        (GranteeGroup.LOG_DELIVERY, Permission.WRITE),
        (GranteeGroup.LOG_DELIVERY, Permission.READ_ACP),
    ),
}
_CANNED_OF_OBJECTS: Final[dict[str, tuple[tuple[str, Permission], ...]]] = {
    "bucket-owner-read": (("", Permission.READ),),
    "bucket-owner-full-control": (("", Permission.FULL_CONTROL),),
    "aws-exec-read": (),
}


def private(owner: str) -> Grants:
    return Grants(owner, (Grant(owner, Permission.FULL_CONTROL),))


_decoder: Final = msgspec.json.Decoder(Grants)


def encoded(grants: Grants) -> str:
    return msgspec.json.encode(grants).decode()


def decoded(text: str, owner: str) -> Grants:
    """What `encoded` made; what cannot be read grants nothing."""
    try:
        return _decoder.decode(text) if text else private(owner)
    except msgspec.DecodeError:
        return private(owner)


class SwiftLists(Struct, frozen=True):
    """A container's access lists in the Swift API."""

    read: str
    write: str


def to_swift(grants: Grants, before: SwiftLists) -> tuple[Grants, SwiftLists]:
    """The grants of a bucket that stay, and the lists that say the others.

    Whoever may write may by a list. Lists for reading, which are also about the objects in it, are never made here;
    of those that were there only what the grants still allow stays.
    """
    kept: list[Grant] = []
    writers: list[str] = []
    for grant in grants.grants:
        name = _ANYBODY if grant.grantee == GranteeGroup.AUTHENTICATED_USERS else grant.grantee
        sayable = grant.grantee != grants.owner and _is_name(name)
        if not sayable or grant.permission not in (Permission.WRITE, Permission.FULL_CONTROL):
            kept.append(grant)
            continue
        writers.append(name)
        if grant.permission is Permission.FULL_CONTROL:
            kept += [Grant(grant.grantee, each) for each in EACH_PERMISSION if each is not Permission.WRITE]
    readers = {each.grantee for each in grants.grants if each.permission in (Permission.READ, Permission.FULL_CONTROL)}
    read = [element for element in before.read.split(",") if element and _stays(element, readers, before.read)]
    return Grants(grants.owner, tuple(kept)), SwiftLists(",".join(read), ",".join(dict.fromkeys(writers)))


def with_swift(grants: Grants, lists: SwiftLists) -> Grants:
    """All grants of a bucket: its own, and what its lists say. FULL_CONTROL is said where all is granted."""
    read, write = acl.parse(lists.read), acl.parse(lists.write)
    found = list(grants.grants)
    if _is_open(lists.read):
        found.append(Grant(GranteeGroup.ALL_USERS, Permission.READ))
    for names, permission in ((read.grantees, Permission.READ), (write.grantees, Permission.WRITE)):
        found += [
            Grant(GranteeGroup.AUTHENTICATED_USERS if name == _ANYBODY else name, permission) for name in sorted(names)
        ]
    return Grants(grants.owner, tuple(_merged(found)))


def _merged(grants: Iterable[Grant]) -> list[Grant]:
    by_grantee: dict[str, list[Permission]] = {}
    for grant in grants:
        given = by_grantee.setdefault(grant.grantee, [])
        if grant.permission not in given:
            given.append(grant.permission)
    merged = []
    for grantee, given in by_grantee.items():
        full = Permission.FULL_CONTROL in given or set(given) >= set(EACH_PERMISSION)
        merged += [Grant(grantee, each) for each in ([Permission.FULL_CONTROL] if full else given)]
    return merged


# Any user of any account, in lists.
_ANYBODY: Final = "*:*"


def _is_name(name: str) -> bool:
    """Whether a list can name it."""
    return name not in GROUPS and bool(name) and "," not in name and not name.startswith(".") and name == name.strip()


def _is_open(read: str) -> bool:
    """Whether the list lets everybody read and list."""
    parsed = acl.parse(read)
    return parsed.listings and acl.admits_referrer(parsed.referrers, None)


def _stays(element: str, readers: set[str], read: str) -> bool:
    """Whether grants still say what an element of a list for reading says."""
    if element.startswith("."):
        return GranteeGroup.ALL_USERS in readers and _is_open(read)
    return (GranteeGroup.AUTHENTICATED_USERS if element == _ANYBODY else element) in readers
