"""Access lists of S3: whom they let do what, and how they meet the lists of the Swift API."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.proxy.auth.grants import (
    EACH_PERMISSION,
    Grant,
    GranteeGroup,
    Grants,
    Permission,
    SwiftLists,
    canned,
    decoded,
    encoded,
    private,
    to_swift,
    with_swift,
)
from objstore.proxy.auth.identity import Identity

OWNER = "AUTH_test"
ANNA = Identity("test:anna", OWNER, frozenset({"test", "test:anna"}))
BERT = Identity("other:bert", "AUTH_other", frozenset({"other", "other:bert", "staff"}))
NONE = SwiftLists("", "")


def allowed(grants: Grants, identity: Identity | None, *, ignore_public: bool = False) -> set[Permission]:
    return {each for each in EACH_PERMISSION if grants.allow(identity, each, ignore_public=ignore_public)}


@pytest.mark.parametrize(
    ("name", "nobody", "somebody"),
    [
        ("private", "", ""),
        ("public-read", "READ", "READ"),
        ("public-read-write", "READ WRITE", "READ WRITE"),
        ("authenticated-read", "", "READ"),
        ("log-delivery-write", "", ""),
    ],
)
def test_canned_lists_of_buckets(name: str, nobody: str, somebody: str) -> None:
    grants = canned(name, OWNER)
    assert grants is not None
    assert allowed(grants, None) == {Permission(each) for each in nobody.split()}
    assert allowed(grants, BERT) == {Permission(each) for each in somebody.split()}
    assert allowed(grants, BERT, ignore_public=True) == set()


def test_canned_lists_of_objects() -> None:
    assert canned("bucket-owner-read", "AUTH_a", "AUTH_b") == Grants(
        "AUTH_a", (Grant("AUTH_a", Permission.FULL_CONTROL), Grant("AUTH_b", Permission.READ))
    )
    assert canned("bucket-owner-full-control", OWNER, OWNER) == private(OWNER)
    assert canned("log-delivery-write", OWNER, OWNER) is None
    assert canned("bucket-owner-read", OWNER) is None
    assert canned("open", OWNER) is None


@pytest.mark.parametrize("grantee", ["other:bert", "other", "AUTH_other", "staff"])
def test_grantees(grantee: str) -> None:
    grants = Grants(OWNER, (Grant(grantee, Permission.READ),))
    assert allowed(grants, BERT) == {Permission.READ}
    assert allowed(grants, ANNA) == allowed(grants, None) == set()
    assert allowed(grants, BERT, ignore_public=True) == {Permission.READ}


def test_full_control_is_everything_and_the_owners_is_nobodys() -> None:
    assert allowed(Grants(OWNER, (Grant("other", Permission.FULL_CONTROL),)), BERT) == set(EACH_PERMISSION)
    # A user of the account has no rights because the account has: they come from elsewhere.
    assert allowed(private(OWNER), ANNA) == set()


def test_what_cannot_be_read_grants_nothing() -> None:
    assert decoded("", OWNER) == decoded("{", OWNER) == private(OWNER)


def test_writing_is_a_list_and_reading_is_not() -> None:
    wanted = Grants(
        OWNER,
        (
            Grant(OWNER, Permission.FULL_CONTROL),
            Grant("other:bert", Permission.FULL_CONTROL),
            Grant("third", Permission.READ),
            Grant(GranteeGroup.AUTHENTICATED_USERS, Permission.WRITE),
            Grant(GranteeGroup.ALL_USERS, Permission.WRITE),
        ),
    )
    kept, lists = to_swift(wanted, SwiftLists("third,gone,.r:*,.rlistings", "gone"))
    assert lists == SwiftLists("third", "other:bert,*:*")
    assert set(with_swift(kept, lists).grants) == set(wanted.grants)


@pytest.mark.parametrize(
    ("read", "kept"),
    [(".r:*,.rlistings", True), (".r:*,.r:-bad.example,.rlistings", True), (".r:*", False), (".r:a.example", False)],
)
def test_lists_for_everybody(read: str, kept: bool) -> None:
    grants = with_swift(private(OWNER), SwiftLists(read, ""))
    assert grants.is_public is kept
    assert to_swift(grants, SwiftLists(read, ""))[1].read == (read if kept else "")
    assert to_swift(private(OWNER), SwiftLists(read, ""))[1] == NONE


GRANTEES = st.sampled_from(["other:bert", "third", OWNER, "a,b", ".odd", *GranteeGroup])
LISTS = st.lists(st.builds(Grant, GRANTEES.map(str), st.sampled_from(Permission)), max_size=6)


@given(LISTS)
def test_nothing_is_lost_or_added(listed: list[Grant]) -> None:
    wanted = Grants(OWNER, tuple(listed))
    kept, lists = to_swift(wanted, NONE)
    assert decoded(encoded(kept), OWNER) == kept
    found = with_swift(kept, lists)
    for identity in (BERT, ANNA, None, Identity("third:x", "AUTH_third", frozenset({"third"}))):
        assert allowed(found, identity) == allowed(wanted, identity)
    # What is read back and written again is the same.
    again, same = to_swift(found, lists)
    assert set(with_swift(again, same).grants) == set(found.grants)


@given(st.lists(st.sampled_from(["*:*", "a:b", "c", ".r:*", ".rlistings", ".r:-x.example"]), max_size=4, unique=True))
def test_lists_survive_what_tells_them(elements: list[str]) -> None:
    lists = SwiftLists(",".join(elements), "c")
    kept, after = to_swift(with_swift(private(OWNER), lists), lists)
    named = {element for element in elements if not element.startswith(".")}
    open_ = {".r:*", ".rlistings"} <= set(elements)
    assert after == SwiftLists(",".join(each for each in elements if each in named or open_), "c")
    found = with_swift(kept, after)
    assert all(allowed(found, who) == allowed(with_swift(private(OWNER), lists), who) for who in (BERT, ANNA, None))
