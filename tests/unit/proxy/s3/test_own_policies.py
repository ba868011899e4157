"""Policies of users and sessions, beside those of buckets and the rights of the Swift API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from objstore.proxy.auth.access_keys import AccessKey
from objstore.proxy.auth.sessions import VERSION, AccessSession
from objstore.proxy.s3.authentication import Signed
from objstore.proxy.s3.claims import AuthType, SignatureClaim
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.operations import Operation
from tests.unit.proxy.s3.test_access import GET, LIST, PUT, WHO, Store, allow

ANY = "arn:aws:s3:::*"


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def own(action: str, effect: str = "Allow", resource: str = ANY) -> str:
    return document({"Effect": effect, "Action": action, "Resource": resource})


class SignedStore(Store):
    """Its users sign with keys that have policies."""

    def may_with(self, who: str, operation: Operation, *policies: str, session: tuple[str, ...] | None = None) -> bool:
        identity = WHO[who]
        assert identity is not None
        opened = None if session is None else AccessSession(VERSION, "T", "s", "K", 1, 2, policies=session)
        request = self.request(who, operation)
        key = AccessKey("K", "secret", identity, opened, policies)
        request.signed = Signed(key, SignatureClaim("K", "", AuthType.HEADER, 0))
        try:
            self.authorizer.authorize(request, operation)
        except S3Error as error:
            assert error.code == "AccessDenied"
            return False
        return True


@pytest.fixture
def store() -> SignedStore:
    return SignedStore()


def test_a_policy_allows_in_the_own_account(store: SignedStore) -> None:
    assert store.may_with("member", GET, own("s3:GetObject"))
    assert not store.may_with("member", PUT, own("s3:GetObject"))
    assert not store.may_with("member", GET, own("s3:GetObject", resource="arn:aws:s3:::photos/d*"))
    assert not store.may_with("other", GET, own("s3:*"))
    assert store.may_with("member", Operation.LIST_BUCKETS, own("s3:ListAllMyBuckets"))
    assert not store.may_with("member", Operation.LIST_BUCKETS, own("s3:GetObject"))


def test_what_it_denies_is_denied_to_all(store: SignedStore) -> None:
    for who in ("owner", "reseller", "member"):
        assert not store.may_with(who, GET, own("s3:*"), own("s3:Get*", "Deny"))
    assert store.may_with("owner", PUT, own("s3:Get*", "Deny"))
    assert not store.may_with("owner", Operation.LIST_BUCKETS, own("s3:List*", "Deny"))


def test_what_the_bucket_denies_no_policy_of_a_user_allows(store: SignedStore) -> None:
    store.set_policy(allow("s3:GetObject", effect="Deny"))
    assert not store.may_with("member", GET, own("s3:*"))


def test_across_accounts_both_sides_have_to_allow_it(store: SignedStore) -> None:
    user = WHO["other"]
    assert user is not None
    store.set_policy(allow("s3:*", {"AWS": "other"}))
    WHO["plain"] = type(user)("other:carl", "AUTH_other", frozenset({"other", "other:carl"}))
    try:
        assert store.may_with("plain", GET)
        assert store.may_with("plain", GET, own("s3:GetObject"))
        assert not store.may_with("plain", LIST, own("s3:GetObject"))
        assert store.may_with("other", LIST, own("s3:GetObject"))  # an administrator
    finally:
        del WHO["plain"]


def test_policies_of_sessions_only_take_away(store: SignedStore) -> None:
    assert store.may_with("owner", GET, session=())
    assert store.may_with("owner", GET, session=(own("s3:GetObject"),))
    assert not store.may_with("member", GET, session=(own("s3:*"),))
    for who in ("owner", "reseller"):
        assert not store.may_with(who, PUT, session=(own("s3:GetObject"),))
        assert not store.may_with(who, GET, session=(own("s3:GetObject"), own("s3:PutObject")))
    assert not store.may_with("owner", Operation.LIST_BUCKETS, session=(own("s3:GetObject"),))
    assert store.may_with("member", GET, own("s3:GetObject"), session=(own("s3:Get*"),))
