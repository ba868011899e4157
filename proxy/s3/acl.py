"""Access lists in requests and answers of the S3 API: short names, headers with grants, and documents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from objstore.http.messages import variable_of
from objstore.proxy.auth.grants import EACH_PERMISSION, GRANTS_MAX, GROUPS, Grant, Grants, Permission, canned
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.xml import Element, MalformedDocument, ReceivedElement

_PERMISSIONS: Final = frozenset(str(each) for each in Permission)
_CANNED: Final = "x-amz-acl"
_GRANT_HEADERS: Final = {
    variable_of(f"x-amz-grant-{each.lower().replace('_', '-')}"): each
    for each in (*EACH_PERMISSION, Permission.FULL_CONTROL)
}
# The headers by which a request asks for grants.
GRANT_VARIABLES: Final = frozenset({variable_of(_CANNED), *_GRANT_HEADERS})
_GRANTEE: Final = re.compile(r'\s*(id|uri|emailAddress)\s*=\s*(?:"([^"]*)"|([^",]*))\s*', re.IGNORECASE)
_XSI: Final = {"xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance"}


def requested_grants(environ: Mapping[str, str], owner: str, bucket_owner: str = "") -> Grants | None:
    """The grants that the headers of a request ask for, None if they ask for none; `bucket_owner` for an object.

    Raises S3Error InvalidArgument, InvalidRequest, MethodNotAllowed.
    """
    name = environ.get(variable_of(_CANNED))
    headers = {permission: environ[key] for key, permission in _GRANT_HEADERS.items() if key in environ}
    if name is not None and headers:
        raise S3Error("InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed")
    if name is not None:
        grants = canned(name, owner, bucket_owner)
        if grants is None:
            raise S3Error("InvalidArgument", ArgumentName=_CANNED, ArgumentValue=name)
        return grants
    if not headers:
        return None
    found = [Grant(each, permission) for permission, text in headers.items() for each in _grantees(text)]
    return Grants(owner, tuple(_limited(found)))


def _grantees(text: str) -> list[str]:
    found, at = [], 0
    while True:
        match = _GRANTEE.match(text, at)
        if match is None or (match.end() < len(text) and text[match.end()] != ","):
            raise S3Error("InvalidArgument", "Argument format not recognized", ArgumentValue=text)
        found.append(_checked(match[1].lower(), match[2] if match[2] is not None else match[3].strip()))
        if match.end() == len(text):
            return found
        at = match.end() + 1


def _checked(kind: str, value: str) -> str:
    """A grantee. Raises S3Error."""
    if kind == "emailaddress":
        raise S3Error("MethodNotAllowed", "Grantees are not named by e-mail address")
    if kind == "uri" and value not in GROUPS:
        raise S3Error("InvalidArgument", "Invalid group uri", ArgumentName="uri", ArgumentValue=value)
    if not value or (kind == "id" and (value in GROUPS or value.startswith(".") or "," in value)):
        raise S3Error("InvalidArgument", "Invalid id", ArgumentName="id", ArgumentValue=value)
    return value


def _limited(grants: list[Grant]) -> list[Grant]:
    if len(grants) > GRANTS_MAX:
        raise S3Error("MalformedACLError", f"At most {GRANTS_MAX} grants")
    return list(dict.fromkeys(grants))


def received_grants(document: ReceivedElement, owner: str) -> Grants:
    """The grants of an AccessControlPolicy. Raises S3Error MalformedACLError, AccessDenied, InvalidArgument."""
    try:
        named, listed = document.find("Owner"), document.find("AccessControlList")
        if named is None or listed is None:
            raise S3Error("MalformedACLError")
        if named.value("ID") != owner:
            raise S3Error("AccessDenied", "An owner is not changed")
        return Grants(owner, tuple(_limited([_received_grant(each) for each in listed.all("Grant")])))
    except MalformedDocument:
        raise S3Error("MalformedACLError") from None


def _received_grant(element: ReceivedElement) -> Grant:
    grantee, permission = element.find("Grantee"), element.needed("Permission")
    if grantee is None or permission not in _PERMISSIONS:
        raise S3Error("MalformedACLError")
    ways = {"ID": "id", "URI": "uri", "EmailAddress": "emailaddress"}
    given = [(kind, value) for name, kind in ways.items() if (value := grantee.value(name)) is not None]
    if len(given) != 1:
        raise S3Error("MalformedACLError")
    return Grant(_checked(*given[0]), Permission(permission))


def grants_element(grants: Grants) -> Element:
    """The document that tells grants."""
    root = Element("AccessControlPolicy")
    add_owner(root, grants.owner)
    listed = root.add("AccessControlList")
    for each in grants.grants:
        grant = listed.add("Grant")
        kind = "Group" if each.is_group else "CanonicalUser"
        grantee = grant.add("Grantee", attributes={**_XSI, "xsi:type": kind})
        grantee.add("URI" if each.is_group else "ID", each.grantee)
        if not each.is_group:
            grantee.add("DisplayName", each.grantee)
        grant.add("Permission", each.permission)
    return root


def add_owner(element: Element, account: str) -> None:
    """Who has something."""
    owner = element.add("Owner")
    owner.add("ID", account)
    owner.add("DisplayName", account)
