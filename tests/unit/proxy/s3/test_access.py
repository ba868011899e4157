"""Who may do what: the order in which policies, access lists and the rights of the Swift API decide."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest

from objstore.config.proxy import ReadOnlyConfig
from objstore.paths import ResourcePath
from objstore.proxy.auth.grants import Grants, canned, encoded
from objstore.proxy.auth.identity import Identity
from objstore.proxy.core.info import PRESENT, AccountInfo, ContainerInfo, StoredMetadata
from objstore.proxy.s3.access import (
    ACL,
    ENFORCED,
    OBJECT_ACL,
    OWNERSHIP,
    POLICY,
    PUBLIC_ACCESS,
    Authorizer,
)
from objstore.proxy.s3.buckets import Bucket, Buckets
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.registry import BucketRegistry
from objstore.proxy.s3.request import S3Request
from objstore.proxy.s3.settings import BucketSettings
from objstore.proxy.s3.settings_table import PUBLIC_ACCESS_NAMES, ownership_document
from objstore.system.generations import Generations
from tests.unit.proxy.s3.memory import MemoryCore

PATH = ResourcePath("AUTH_test", "photos")
OWNER = Identity("test:tester", "AUTH_test", frozenset({"test", "test:tester", ".admin"}))
MEMBER = Identity("test:anna", "AUTH_test", frozenset({"test", "test:anna"}))
OTHER = Identity("other:bert", "AUTH_other", frozenset({"other", "other:bert", ".admin"}))
RESELLER = Identity("admin:admin", "AUTH_admin", frozenset({"admin", "admin:admin", ".reseller_admin"}), True)
WHO = {"owner": OWNER, "member": MEMBER, "other": OTHER, "reseller": RESELLER, "nobody": None}

LIST, GET, PUT = Operation.LIST_OBJECTS_V2, Operation.GET_OBJECT, Operation.PUT_OBJECT
GET_POLICY, GET_ACL, PUT_ACL = Operation.GET_BUCKET_POLICY, Operation.GET_BUCKET_ACL, Operation.PUT_BUCKET_ACL
DELETE_BUCKET = Operation.DELETE_BUCKET


class Store:
    """A bucket with an object, and who may do what with them."""

    def __init__(self, read_only: ReadOnlyConfig | None = None) -> None:
        self.core = MemoryCore()
        if read_only is not None:
            self.core.context.config.read_only = read_only
        self.core.made[PATH] = ContainerInfo(PRESENT)
        self.core.put_object(PATH.with_object("cat"), StoredMetadata())
        self.settings = BucketSettings(self.core.context)
        self.buckets = Buckets(self.core.context)
        self.buckets.registry.claim("photos", "AUTH_test", "")
        self.authorizer = Authorizer(self.core.context, self.buckets, self.settings)

    def set(self, name: str, content: bytes | str, **lists: str) -> None:
        text = content.encode() if isinstance(content, str) else content
        self.settings.write(Bucket(PATH, self.core.made[PATH]), {name: text}, "", **lists)

    def set_policy(self, *statements: dict[str, Any]) -> None:
        self.set(POLICY, json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))

    def block(self, *names: str) -> None:
        body = "".join(f"<{name}>{str(name in names).lower()}</{name}>" for name in PUBLIC_ACCESS_NAMES)
        self.set(PUBLIC_ACCESS, f"<PublicAccessBlockConfiguration>{body}</PublicAccessBlockConfiguration>")

    def set_object_acl(self, name: str) -> None:
        grants = canned(name, "AUTH_test", "AUTH_test")
        assert isinstance(grants, Grants)
        self.core.put_object(PATH.with_object("cat"), StoredMetadata(transient={OBJECT_ACL: encoded(grants)}))

    def request(self, who: str, operation: Operation, **environ: str) -> S3Request:
        given = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.input": BytesIO(), "REMOTE_ADDR": "10.0.0.1"}
        request = S3Request(given | environ)
        request.identity, request.operation, request.bucket = WHO[who], operation, "photos"
        request.key = "cat" if operation in (GET, PUT) else ""
        return request

    def may(self, who: str, operation: Operation, **environ: str) -> bool:
        try:
            self.authorizer.authorize(self.request(who, operation, **environ), operation)
        except S3Error as error:
            assert error.code == "AccessDenied"
            return False
        return True

    def who_may(self, operation: Operation) -> set[str]:
        return {who for who in WHO if self.may(who, operation)}


@pytest.fixture
def store() -> Store:
    return Store()


def allow(action: str | list[str], principal: Any = "*", effect: str = "Allow", **more: Any) -> dict[str, Any]:
    resources = ["arn:aws:s3:::photos", "arn:aws:s3:::photos/*"]
    return {"Effect": effect, "Principal": principal, "Action": action, "Resource": resources} | more


FEW = {"owner", "reseller"}


def test_with_nothing_set_only_the_owner_and_the_reseller(store: Store) -> None:
    for operation in (LIST, GET, PUT, GET_POLICY, GET_ACL, PUT_ACL, DELETE_BUCKET):
        assert store.who_may(operation) == FEW


def test_lists_of_the_swift_api(store: Store) -> None:
    store.core.made[PATH] = ContainerInfo(PRESENT, read_acl=".r:*,.rlistings", write_acl="test:anna")
    assert store.who_may(LIST) == store.who_may(GET) == set(WHO)
    assert store.who_may(PUT) == FEW | {"member"}
    assert store.who_may(GET_ACL) == store.who_may(DELETE_BUCKET) == FEW
    store.core.made[PATH] = ContainerInfo(PRESENT, read_acl=".r:site.example")
    assert not store.may("nobody", GET)
    assert store.may("nobody", GET, HTTP_REFERER="http://site.example/x")
    assert not store.may("nobody", LIST, HTTP_REFERER="http://site.example/x")


def test_one_allowance_is_enough(store: Store) -> None:
    store.set_policy(allow("s3:GetObject", {"AWS": "other"}))
    assert store.who_may(GET) == FEW | {"other"}
    assert store.who_may(LIST) == FEW
    store.set_policy(allow("s3:ListBucket"), allow("s3:PutObject", {"AWS": "arn:aws:iam::test:user/anna"}))
    assert store.who_may(LIST) == set(WHO)
    assert store.who_may(PUT) == FEW | {"member"}


def test_a_denial_stands_above_all_but_the_reseller_and_repairs(store: Store) -> None:
    store.core.made[PATH] = ContainerInfo(PRESENT, read_acl=".r:*,.rlistings")
    store.set_policy(allow("s3:*"), allow("s3:*", effect="Deny"))
    assert store.who_may(LIST) == store.who_may(GET) == {"reseller"}
    assert store.who_may(GET_POLICY) == FEW
    store.set_policy(allow("s3:*"), allow("s3:*", {"AWS": "other"}, "Deny"))
    assert store.who_may(GET) == set(WHO) - {"other"}


def test_conditions_see_the_request(store: Store) -> None:
    store.set_policy(allow("s3:GetObject", Condition={"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}))
    assert not store.may("nobody", GET)
    assert store.may("nobody", GET, REMOTE_ADDR="192.0.2.7")
    store.set_policy(allow("s3:PutObject", Condition={"StringEquals": {"s3:x-amz-acl": "private"}}))
    assert not store.may("nobody", PUT)
    assert store.may("nobody", PUT, HTTP_X_AMZ_ACL="private")


def test_public_policies_are_restricted(store: Store) -> None:
    store.set_policy(allow("s3:GetObject"))
    store.block("RestrictPublicBuckets")
    assert store.who_may(GET) == FEW | {"member"}
    store.set_policy(allow("s3:GetObject", {"AWS": "other"}))
    assert store.who_may(GET) == FEW | {"other"}


@pytest.mark.parametrize(
    ("name", "listing", "writing"),
    [
        ("private", set(), set()),
        ("public-read", set(WHO), set()),
        ("public-read-write", set(WHO), set(WHO)),
        ("authenticated-read", set(WHO) - {"nobody"}, set()),
    ],
)
def test_access_lists_of_buckets(store: Store, name: str, listing: set[str], writing: set[str]) -> None:
    grants = canned(name, "AUTH_test")
    assert grants is not None
    store.set(ACL, encoded(grants))
    assert store.who_may(LIST) == FEW | listing
    assert store.who_may(PUT) == FEW | writing
    assert store.who_may(GET) == store.who_may(GET_ACL) == FEW
    store.block("IgnorePublicAcls")
    assert store.who_may(LIST) == store.who_may(PUT) == FEW
    store.block()
    store.set(OWNERSHIP, ownership_document(ENFORCED))
    assert store.who_may(LIST) == store.who_may(PUT) == FEW


def test_access_lists_of_objects(store: Store) -> None:
    store.set_object_acl("public-read")
    assert store.who_may(GET) == set(WHO)
    assert store.who_may(LIST) == store.who_may(PUT) == FEW
    store.set_object_acl("authenticated-read")
    assert store.who_may(GET) == set(WHO) - {"nobody"}
    store.block("IgnorePublicAcls")
    assert store.who_may(GET) == FEW
    store.block()
    store.set(OWNERSHIP, ownership_document(ENFORCED))
    assert store.who_may(GET) == FEW


def test_ignoring_public_lists_is_also_for_those_of_the_swift_api(store: Store) -> None:
    store.core.made[PATH] = ContainerInfo(PRESENT, read_acl=".r:*,.rlistings,other:bert")
    store.block("IgnorePublicAcls")
    assert store.who_may(GET) == store.who_may(LIST) == FEW | {"other"}


def test_a_missing_object_is_told_to_those_who_may_list(store: Store) -> None:
    store.set_policy(allow("s3:GetObject"))
    for who, hidden in (("nobody", True), ("owner", False)):
        request = store.request(who, GET)
        store.authorizer.authorize(request, GET)
        assert store.authorizer.conceal(request) is hidden


def test_names_of_others(store: Store) -> None:
    store.core.made[ResourcePath("AUTH_other", "photos")] = ContainerInfo(PRESENT)
    request = store.request("other", LIST)
    store.authorizer.authorize(request, LIST)
    assert request.container.owner == "AUTH_other"
    request = store.request("nobody", LIST)
    request.bucket = "absent"
    with pytest.raises(S3Error) as error:
        store.authorizer.authorize(request, LIST)
    assert error.value.code == "NoSuchBucket"


def test_a_name_that_has_gone_to_another_account(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.who_may(LIST) == FEW
    del store.core.made[PATH]
    # Through a proxy of another machine, whose changes this one is not told.
    monkeypatch.setattr("objstore.proxy.s3.registry.shared_generations", Generations)
    elsewhere = BucketRegistry(store.core.context)
    elsewhere.release("photos", elsewhere.held("photos", "AUTH_test", ""), "")
    elsewhere.claim("photos", "AUTH_other", "")
    store.core.made[ResourcePath("AUTH_other", "photos")] = ContainerInfo(PRESENT, read_acl=".r:*,.rlistings")
    assert store.may("nobody", LIST)


def test_accounts(store: Store) -> None:
    assert store.who_may(Operation.LIST_BUCKETS) == {"owner", "other", "reseller"}
    assert store.who_may(Operation.CREATE_BUCKET) == {"owner", "other", "reseller"}


@pytest.mark.parametrize(
    ("operation", "method", "deletes", "refused"),
    [
        (GET, "GET", False, False),
        (GET, "HEAD", False, False),
        (PUT, "PUT", False, True),
        (Operation.POST_OBJECT, "POST", False, True),
        (DELETE_BUCKET, "DELETE", False, True),
        (DELETE_BUCKET, "DELETE", True, False),
        (Operation.DELETE_OBJECTS, "POST", True, False),
        (Operation.CREATE_BUCKET, "PUT", True, True),
    ],
)
def test_accounts_of_which_nothing_is_written(operation: Operation, method: str, deletes: bool, refused: bool) -> None:
    store = Store(ReadOnlyConfig(enabled=True, allow_deletes=deletes))
    store.core.accounts["AUTH_test"] = AccountInfo(PRESENT, sysmeta={"Read-Only": "true"})
    request = store.request("owner", operation, REQUEST_METHOD=method)
    if not refused:
        store.authorizer.authorize(request, operation)
        return
    with pytest.raises(S3Error) as caught:
        store.authorizer.authorize(request, operation)
    assert caught.value.code == "MethodNotAllowed"


def test_what_nobody_may_is_not_implemented(store: Store) -> None:
    with pytest.raises(S3Error) as error:
        store.authorizer.authorize(store.request("owner", Operation.CREATE_SESSION), Operation.CREATE_SESSION)
    assert error.value.code == "NotImplemented"


def test_each_of_several_objects_is_checked_by_its_handler(store: Store) -> None:
    request = store.request("nobody", Operation.DELETE_OBJECTS)
    store.authorizer.authorize(request, Operation.DELETE_OBJECTS)
    path = PATH.with_object("cat")
    store.set_policy(allow("s3:DeleteObject"))
    request = store.request("nobody", Operation.DELETE_OBJECTS)
    store.authorizer.authorize(request, Operation.DELETE_OBJECTS)
    store.authorizer.check(request, Operation.DELETE_OBJECT, path, request.container.info)
    with pytest.raises(S3Error):
        store.authorizer.check(request, Operation.DELETE_OBJECT, path, request.container.info, "null")
