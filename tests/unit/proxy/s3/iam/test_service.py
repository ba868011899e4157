"""The query API of IAM: what its actions change, whom they refuse, and with which errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from objstore.config.access_keys import (
    GROUPS_MAX,
    KEYS_PER_USER_MAX,
    MANAGED_FILE,
    ManagedGroup,
    ManagedUser,
    ManagedUsers,
    StoredKey,
)
from objstore.config.proxy import AuthConfig
from objstore.logs import Logger, Sink
from objstore.proxy.auth.access_keys import AccessKey, AccessKeys
from objstore.proxy.auth.sessions import VERSION, AccessSession
from objstore.proxy.auth.user_file import ManagedUsersFile
from objstore.proxy.s3.iam.service import IdentityService
from objstore.proxy.s3.query import QueryError, QueryRequest
from objstore.proxy.s3.request import S3Request
from objstore.proxy.s3.xml import Element, document
from objstore.proxy.shared_users import LocalUsers
from objstore.runtime import Runtime
from tests.doubles import ManualClock
from tests.unit.proxy.s3.signing import environ_of

USERS = """
users = [
    { account = "test", name = "boss", key = "k", groups = [".admin"] },
    { account = "test", name = "root", key = "k", groups = [".admin", ".reseller_admin"] },
    { account = "test", name = "plain", key = "k" },
    { account = "other", name = "boss", key = "k", groups = [".admin"] },
]
"""
READING = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}}'
ARN = "arn:aws:iam::test:"


class Iam:
    def __init__(self, folder: Path) -> None:
        self.file = folder / "access-keys.json"
        (folder / "users.toml").write_text(USERS)
        self.runtime = Runtime(Logger("test", Sink(write=lambda _line: None)), clock=ManualClock())
        self.config = AuthConfig(users=str(folder / "users.toml"), access_keys=str(self.file))
        users = LocalUsers(ManagedUsersFile(self.config.access_keys, self.config.users))
        self.actions = IdentityService(self.config, users, self.runtime).actions()
        self.keys = AccessKeys(self.config, self.runtime)

    def call(self, action: str, who: str = "test:boss", session: AccessSession | None = None, **parameters: Any) -> str:
        """The answer, as XML. Raises QueryError."""
        identity = self.keys.user(who)
        assert identity is not None
        key = AccessKey("K", "s", identity, session, self.policies(who))
        sent = {name: str(value) for name, value in parameters.items()}
        source = S3Request({**environ_of("POST", "/", {"Host": "h"}), "wsgi.input": None, "REMOTE_ADDR": "127.0.0.1"})
        source.identity = identity
        result = Element("Result")
        self.actions[action](QueryRequest(action, sent, key, source), result)
        return document(result).decode()

    def policies(self, who: str) -> tuple[str, ...]:
        """Those of a user who has an access key."""
        key = self.keys.find(who)
        if key is None:
            made = [key.id for user in self.managed.users if f"{user.account}:{user.name}" == who for key in user.keys]
            key = self.keys.find(made[0])
        assert key is not None
        return key.policies

    def refused(self, action: str, who: str = "test:boss", **parameters: Any) -> tuple[int, str]:
        before = self.file.read_bytes() if self.file.exists() else b""
        with pytest.raises(QueryError) as error:
            self.call(action, who, **parameters)
        assert (self.file.read_bytes() if self.file.exists() else b"") == before
        return error.value.status, error.value.code

    @property
    def managed(self) -> ManagedUsers:
        return MANAGED_FILE.read(str(self.file))


@pytest.fixture
def iam(tmp_path: Path) -> Iam:
    return Iam(tmp_path)


def test_a_user_may_nothing_until_somebody_says_so(iam: Iam) -> None:
    iam.call("CreateUser", UserName="anna")
    (user,) = iam.managed.users
    assert (user.account, user.name, user.groups, user.added, user.keys) == ("test", "anna", (), True, ())
    assert iam.refused("CreateUser", UserName="anna") == (409, "EntityAlreadyExists")
    assert iam.refused("CreateUser", UserName="boss") == (409, "EntityAlreadyExists")
    assert "<SecretAccessKey>" in iam.call("CreateAccessKey", UserName="anna")
    key = iam.managed.users[0].keys[0]
    found = iam.keys.find(key.id)
    assert found is not None and found.policies == () and found.identity.groups == {"test", "test:anna"}


def test_keys_are_known_at_once_and_gone_at_once(iam: Iam) -> None:
    iam.call("CreateUser", UserName="anna")
    for _ in range(KEYS_PER_USER_MAX):
        iam.call("CreateAccessKey", UserName="anna")
    assert iam.refused("CreateAccessKey", UserName="anna") == (409, "LimitExceeded")
    key = iam.managed.users[0].keys[0]
    assert iam.keys.find(key.id) is not None
    iam.call("UpdateAccessKey", UserName="anna", AccessKeyId=key.id, Status="Inactive")
    assert iam.keys.find(key.id) is None
    iam.call("UpdateAccessKey", UserName="anna", AccessKeyId=key.id, Status="Active")
    assert iam.keys.find(key.id) is not None
    iam.call("DeleteAccessKey", UserName="anna", AccessKeyId=key.id)
    assert iam.keys.find(key.id) is None
    assert iam.refused("DeleteAccessKey", UserName="anna", AccessKeyId=key.id) == (404, "NoSuchEntity")
    assert key.secret not in iam.call("ListAccessKeys", UserName="anna")


def test_a_user_is_deleted_last(iam: Iam) -> None:
    iam.call("CreateUser", UserName="anna")
    iam.call("CreateGroup", GroupName="readers")
    iam.call("AddUserToGroup", UserName="anna", GroupName="readers")
    assert iam.refused("DeleteUser", UserName="anna") == (409, "DeleteConflict")
    assert iam.refused("DeleteGroup", GroupName="readers") == (409, "DeleteConflict")
    iam.call("RemoveUserFromGroup", UserName="anna", GroupName="readers")
    iam.call("PutUserPolicy", UserName="anna", PolicyName="own", PolicyDocument=READING)
    assert iam.refused("DeleteUser", UserName="anna") == (409, "DeleteConflict")
    iam.call("DeleteUserPolicy", UserName="anna", PolicyName="own")
    iam.call("DeleteUser", UserName="anna")
    iam.call("DeleteGroup", GroupName="readers")
    assert iam.managed == ManagedUsers()
    assert iam.refused("DeleteUser", UserName="plain") == (400, "UnmodifiableEntity")
    assert iam.refused("GetUser", UserName="anna") == (404, "NoSuchEntity")


def test_policies_come_by_name_by_group_and_alone(iam: Iam) -> None:
    documents = [READING.replace("Get", letter) for letter in "abcd"]
    iam.call("CreateUser", UserName="anna")
    iam.call("CreateAccessKey", UserName="anna")
    iam.call("CreateGroup", GroupName="readers")
    iam.call("AddUserToGroup", UserName="anna", GroupName="readers")
    for name, document_ in zip(("user", "group"), documents, strict=False):
        iam.call("CreatePolicy", PolicyName=name, PolicyDocument=document_)
    iam.call("AttachUserPolicy", UserName="anna", PolicyArn=ARN + "policy/user")
    iam.call("AttachGroupPolicy", GroupName="readers", PolicyArn=ARN + "policy/group")
    iam.call("PutUserPolicy", UserName="anna", PolicyName="own", PolicyDocument=documents[2])
    iam.call("PutGroupPolicy", GroupName="readers", PolicyName="own", PolicyDocument=documents[3])
    assert sorted(iam.policies("test:anna")) == documents
    assert iam.policies("test:plain") == ()
    assert iam.refused("DeletePolicy", PolicyArn=ARN + "policy/user") == (409, "DeleteConflict")
    iam.call("DetachUserPolicy", UserName="anna", PolicyArn=ARN + "policy/user")
    iam.call("DeletePolicy", PolicyArn=ARN + "policy/user")
    iam.call("RemoveUserFromGroup", UserName="anna", GroupName="readers")
    assert iam.policies("test:anna") == (documents[2],)


def test_policies_of_aws(iam: Iam) -> None:
    arn = "arn:aws:iam::aws:policy/AmazonS3FullAccess"
    iam.call("AttachUserPolicy", UserName="plain", PolicyArn=arn)
    assert "s3:*" in iam.policies("test:plain")[0]
    assert arn in iam.call("ListAttachedUserPolicies", UserName="plain")
    assert iam.refused("DeletePolicy", PolicyArn=arn) == (403, "AccessDenied")
    iam.call("DetachUserPolicy", UserName="plain", PolicyArn=arn)
    assert iam.managed.policies == () and iam.policies("test:plain") == ()
    assert iam.refused("GetPolicy", PolicyArn=arn + "s") == (404, "NoSuchEntity")


def test_a_policy_has_one_version(iam: Iam) -> None:
    iam.call("CreatePolicy", PolicyName="p", PolicyDocument=READING)
    arn = ARN + "policy/p"
    more = {"PolicyArn": arn, "PolicyDocument": READING.replace("Get", "Put")}
    assert iam.refused("CreatePolicyVersion", **more) == (400, "ValidationError")
    iam.call("CreatePolicyVersion", SetAsDefault="true", **more)
    assert "Put%2A" in iam.call("GetPolicyVersion", PolicyArn=arn, VersionId="v2")
    assert iam.refused("GetPolicyVersion", PolicyArn=arn, VersionId="v1") == (404, "NoSuchEntity")


def test_who_may_call(iam: Iam) -> None:
    denied = (403, "AccessDenied")
    assert iam.refused("ListUsers", "test:plain") == denied
    statement = {"Effect": "Allow", "Action": "iam:*AccessKey*", "Resource": ARN + "user/${aws:username}"}
    own = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam.call("PutUserPolicy", UserName="plain", PolicyName="own", PolicyDocument=own)
    iam.call("CreateAccessKey", "test:plain")
    iam.call("ListAccessKeys", "test:plain", UserName="plain")
    assert iam.refused("CreateAccessKey", "test:plain", UserName="boss") == denied
    assert iam.refused("CreateUser", "test:plain", UserName="x") == denied
    forbid = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "iam:*", "Resource": "*"}})
    iam.call("PutUserPolicy", UserName="boss", PolicyName="none", PolicyDocument=forbid)
    assert iam.refused("ListUsers") == denied
    session = AccessSession(VERSION, "T", "s", "K", 1, 2)
    assert iam.refused("CreateAccessKey", "other:boss", session=session) == denied


def test_nobody_gets_rights_of_the_operators_by_it(iam: Iam) -> None:
    denied = (403, "AccessDenied")
    for action in ("CreateAccessKey", "PutUserPolicy", "AttachUserPolicy"):
        more = {"PolicyName": "p", "PolicyDocument": READING} if action == "PutUserPolicy" else {}
        more |= {"PolicyArn": "arn:aws:iam::aws:policy/IAMFullAccess"} if action == "AttachUserPolicy" else {}
        assert iam.refused(action, UserName="root", **more) == denied
    iam.call("CreateAccessKey", "test:root", UserName="root")
    for name in (".reseller_admin", ".admin", "test"):
        assert iam.refused("CreateGroup", GroupName=name) == (400, "ValidationError")
    iam.call("CreateGroup", GroupName="other")
    iam.call("AddUserToGroup", UserName="plain", GroupName="other")
    identity = iam.keys.user("test:plain")
    assert identity is not None and identity.groups == {"test", "test:plain"}  # access lists know nothing of it


def test_accounts_know_nothing_of_each_other(iam: Iam) -> None:
    iam.call("CreateUser", UserName="anna")
    iam.call("CreatePolicy", PolicyName="p", PolicyDocument=READING)
    assert iam.refused("GetUser", "other:boss", UserName="anna") == (404, "NoSuchEntity")
    assert iam.refused("GetPolicy", "other:boss", PolicyArn=ARN + "policy/p") == (404, "NoSuchEntity")
    assert "anna" not in iam.call("ListUsers", "other:boss")


@pytest.mark.parametrize(
    ("action", "parameters", "code"),
    [
        ("CreateUser", {"UserName": "a/b"}, "ValidationError"),
        ("CreateUser", {}, "ValidationError"),
        ("CreateUser", {"UserName": "a", "Path": "/x/"}, "ValidationError"),
        ("CreateUser", {"UserName": "a", "PermissionsBoundary": "arn:aws:iam::aws:policy/x"}, "ValidationError"),
        ("UpdateAccessKey", {"AccessKeyId": "none", "Status": "Active"}, "NoSuchEntity"),
        ("CreatePolicy", {"PolicyName": "p", "PolicyDocument": "{"}, "MalformedPolicyDocument"),
        ("CreatePolicy", {"PolicyName": "p", "PolicyDocument": READING + "x" * 6144}, "LimitExceeded"),
        ("PutUserPolicy", {"UserName": "boss", "PolicyName": "p", "PolicyDocument": READING.replace("Get", "G" * 2048)},
         "LimitExceeded"),
        ("AttachUserPolicy", {"UserName": "plain", "PolicyArn": ARN + "policy/none"}, "NoSuchEntity"),
        ("ListUsers", {"MaxItems": "0"}, "ValidationError"),
        ("GetGroup", {"GroupName": "none"}, "NoSuchEntity"),
    ],
)  # fmt: skip
def test_what_is_refused(iam: Iam, action: str, parameters: dict[str, str], code: str) -> None:
    assert iam.refused(action, **parameters)[1] == code


def test_lists_come_in_pages(iam: Iam) -> None:
    for number in range(5):
        iam.call("CreateGroup", GroupName=f"g{number}")
    first = iam.call("ListGroups", MaxItems=3)
    assert "<IsTruncated>true</IsTruncated><Marker>g2</Marker>" in first
    rest = iam.call("ListGroups", MaxItems=3, Marker="g2")
    assert "g3" in rest and "g4" in rest and "<IsTruncated>false</IsTruncated>" in rest and "g2<" not in rest
    groups = tuple(ManagedGroup("test", f"g{number}", "") for number in range(GROUPS_MAX))
    iam.file.write_bytes(MANAGED_FILE.encode(ManagedUsers(groups=groups)))
    assert iam.refused("CreateGroup", GroupName="more") == (409, "LimitExceeded")


def test_a_file_that_cannot_be_read_is_an_error_of_the_service(iam: Iam) -> None:
    iam.file.write_text("{")
    assert iam.refused("ListUsers") == (500, "ServiceFailure")


def test_what_the_command_has_kept_stays(iam: Iam) -> None:
    key = StoredKey("OS1", "secret", "2026-01-01T00:00:00Z")
    mine = ManagedUser("test", "alice", ("staff",), added=True, keys=(key,))
    iam.file.write_bytes(MANAGED_FILE.encode(ManagedUsers(users=(mine, ManagedUser("test", "plain", disabled=True)))))
    assert iam.refused("DeleteUser", UserName="alice") == (403, "AccessDenied")  # of a group that the boss is not in
    iam.call("PutUserPolicy", UserName="plain", PolicyName="p", PolicyDocument=READING)
    users = {user.name: user for user in iam.managed.users}
    assert users["alice"] == mine and users["plain"].disabled and not users["plain"].added
