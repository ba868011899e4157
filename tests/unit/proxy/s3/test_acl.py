"""Access lists in requests: short names, headers and documents; and how they are told."""

from __future__ import annotations

import pytest

from objstore.proxy.auth.grants import Grant, GranteeGroup, Grants, Permission
from objstore.proxy.s3.acl import grants_element, received_grants, requested_grants
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.xml import document, parse

OWNER = "AUTH_test"
READ = "HTTP_X_AMZ_GRANT_READ"


def test_nothing_is_asked_for() -> None:
    assert requested_grants({}, OWNER) is None


def test_headers() -> None:
    environ = {
        READ: f'id="a:b", uri="{GranteeGroup.ALL_USERS}"',
        "HTTP_X_AMZ_GRANT_FULL_CONTROL": "id=c,id=c",
        "HTTP_X_AMZ_GRANT_WRITE_ACP": 'ID="d"',
    }
    grants = requested_grants(environ, OWNER)
    assert grants is not None
    assert set(grants.grants) == {
        Grant("a:b", Permission.READ),
        Grant(GranteeGroup.ALL_USERS, Permission.READ),
        Grant("c", Permission.FULL_CONTROL),
        Grant("d", Permission.WRITE_ACP),
    }
    assert len(grants.grants) == 4


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({"HTTP_X_AMZ_ACL": "open"}, "InvalidArgument"),
        ({"HTTP_X_AMZ_ACL": "private", READ: "id=a"}, "InvalidRequest"),
        ({READ: ""}, "InvalidArgument"),
        ({READ: "a"}, "InvalidArgument"),
        ({READ: 'id="a'}, "InvalidArgument"),
        ({READ: 'id="a" x'}, "InvalidArgument"),
        ({READ: 'id=""'}, "InvalidArgument"),
        ({READ: 'id=".admin"'}, "InvalidArgument"),
        ({READ: 'id="a,b"'}, "InvalidArgument"),
        ({READ: f'id="{GranteeGroup.ALL_USERS}"'}, "InvalidArgument"),
        ({READ: 'uri="http://else"'}, "InvalidArgument"),
        ({READ: 'emailAddress="a@example.com"'}, "MethodNotAllowed"),
        ({READ: ",".join(f'id="{number}"' for number in range(101))}, "MalformedACLError"),
    ],
)
def test_bad_headers(environ: dict[str, str], code: str) -> None:
    with pytest.raises(S3Error) as error:
        requested_grants(environ, OWNER)
    assert error.value.code == code


def test_documents_are_read_as_they_are_told() -> None:
    grants = Grants(
        OWNER,
        (
            Grant(OWNER, Permission.FULL_CONTROL),
            Grant(GranteeGroup.AUTHENTICATED_USERS, Permission.READ_ACP),
            Grant("ü & <x>", Permission.WRITE),
        ),
    )
    told = document(grants_element(grants), "http://s3.amazonaws.com/doc/2006-03-01/")
    assert b'xsi:type="Group"' in told and b'xsi:type="CanonicalUser"' in told
    assert received_grants(parse(told, "AccessControlPolicy"), OWNER) == grants


def grant(grantee: str, permission: str = "READ") -> str:
    return f"<Grant><Grantee>{grantee}</Grantee><Permission>{permission}</Permission></Grant>"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("<AccessControlList/>", "MalformedACLError"),
        ("<Owner><ID>AUTH_test</ID></Owner>", "MalformedACLError"),
        ("<Owner><ID>AUTH_other</ID></Owner><AccessControlList/>", "AccessDenied"),
        (grant("<ID>a</ID>", "WRITE_ALL"), "MalformedACLError"),
        (grant("<ID>a</ID><URI>b</URI>"), "MalformedACLError"),
        (grant(""), "MalformedACLError"),
        (grant("<ID>.admin</ID>"), "InvalidArgument"),
        (grant("<URI>http://else</URI>"), "InvalidArgument"),
        (grant("<EmailAddress>a@example.com</EmailAddress>"), "MethodNotAllowed"),
        ("<Grant><Permission>READ</Permission></Grant>", "MalformedACLError"),
        (grant("<ID>a</ID><ID>b</ID>"), "MalformedACLError"),
    ],
)
def test_bad_documents(body: str, code: str) -> None:
    if body.startswith("<Grant>"):
        body = f"<Owner><ID>AUTH_test</ID></Owner><AccessControlList>{body}</AccessControlList>"
    with pytest.raises(S3Error) as error:
        received_grants(
            parse(f"<AccessControlPolicy>{body}</AccessControlPolicy>".encode(), "AccessControlPolicy"), OWNER
        )
    assert error.value.code == code
