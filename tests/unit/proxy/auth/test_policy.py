"""Access policies: what they say about requests, which are public, and which are none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.proxy.auth.policy import (
    POLICY_BYTES_MAX,
    Caller,
    Decision,
    MalformedAccessPolicy,
    PolicyRequest,
    bucket_policy,
    user_policy,
)

ANNA = Caller(
    "arn:aws:iam::test:user/anna", frozenset({"arn:aws:iam::test:user/anna", "test:anna"}), frozenset({"test"})
)
KEYS = {
    "aws:sourceip": ("10.1.2.3",),
    "aws:securetransport": ("false",),
    "aws:username": ("anna",),
    "aws:currenttime": ("2026-05-25T12:00:00Z",),
    "s3:prefix": ("home/anna/",),
    "s3:max-keys": ("100",),
    "s3:requestobjecttagkeys": ("a", "b"),
    "aws:principalarn": ("arn:aws:iam::test:user/anna",),
    "s3:x-amz-acl": ("Public-Read",),
}
OBJECT = "arn:aws:s3:::b/home/anna/x"


def statement(**changes: Any) -> dict[str, Any]:
    whole = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}
    return {name: value for name, value in (whole | changes).items() if value is not None}


def text(*statements: Any, version: str = "2012-10-17") -> str:
    return json.dumps({"Version": version, "Statement": list(statements)})


def decide(
    *statements: dict[str, Any],
    caller: Caller | None = ANNA,
    action: str = "s3:GetObject",
    resource: str = OBJECT,
    keys: dict[str, tuple[str, ...]] = KEYS,
    version: str = "2012-10-17",
) -> Decision:
    return bucket_policy(text(*statements, version=version), "b").evaluate(
        PolicyRequest(caller, action, resource, keys)
    )


def allows(*statements: dict[str, Any], **request: Any) -> bool:
    return decide(*statements, **request) is Decision.ALLOW


@pytest.mark.parametrize(
    ("principal", "anna", "anonymous"),
    [
        ("*", True, True),
        ({"AWS": "*"}, True, True),
        ({"AWS": ["*"]}, True, True),
        ({"AWS": "arn:aws:iam::test:user/anna"}, True, False),
        ({"AWS": ["arn:aws:iam::test:user/bert", "arn:aws:iam::test:user/anna"]}, True, False),
        ({"AWS": "arn:aws:iam::test:user/bert"}, False, False),
        ({"AWS": "arn:aws:iam::test:root"}, True, False),
        ({"AWS": "test"}, True, False),
        ({"AWS": "other"}, False, False),
        ({"CanonicalUser": "test:anna"}, True, False),
        ({"Service": "logging.s3.amazonaws.com"}, False, False),
    ],
)
def test_principals(principal: Any, anna: bool, anonymous: bool) -> None:
    assert allows(statement(Principal=principal)) is anna
    assert allows(statement(Principal=principal), caller=None) is anonymous
    others = statement(Principal=None, NotPrincipal=principal)
    assert allows(others) is not anna
    assert allows(others, caller=None) is not anonymous


@pytest.mark.parametrize(
    ("action", "wanted"),
    [
        ("s3:GetObject", True),
        ("s3:getobject", True),
        ("s3:Get*", True),
        ("s3:*", True),
        ("*", True),
        ("s3:GetObjec?", True),
        ("s3:PutObject", False),
        (["s3:PutObject", "s3:GetObject"], True),
    ],
)
def test_actions(action: Any, wanted: bool) -> None:
    assert allows(statement(Action=action)) is wanted
    assert allows(statement(Action=None, NotAction=action)) is not wanted


@pytest.mark.parametrize(
    ("resource", "wanted"),
    [
        ("arn:aws:s3:::b/*", True),
        ("arn:aws:s3:::b/home/*", True),
        ("arn:aws:s3:::b/home/${aws:username}/*", True),
        ("arn:aws:s3:::b/home/${aws:userid}/*", False),
        ("arn:aws:s3:::b/Home/*", False),
        ("arn:aws:s3:::b", False),
        ("arn:aws:s3:::b*", True),
        ("*", True),
        (["arn:aws:s3:::b", "arn:aws:s3:::b/home/anna/?"], True),
    ],
)
def test_resources(resource: Any, wanted: bool) -> None:
    assert allows(statement(Resource=resource)) is wanted
    assert allows(statement(Resource=None, NotResource=resource)) is not wanted


def test_variables_came_with_the_language_of_2012() -> None:
    own = statement(Resource="arn:aws:s3:::b/home/${aws:username}/*")
    assert not allows(own, version="2008-10-17")
    assert allows(own, version="2008-10-17", resource="arn:aws:s3:::b/home/${aws:username}/x")


def test_a_denial_has_the_last_word() -> None:
    deny = statement(Effect="Deny", Principal={"AWS": "test"})
    assert decide(statement(), deny) is decide(deny, statement()) is Decision.DENY
    assert decide(statement(), deny, caller=None) is Decision.ALLOW
    assert decide(statement(Action="s3:PutObject")) is Decision.NONE


@pytest.mark.parametrize(
    ("operator", "key", "value", "wanted"),
    [
        ("StringEquals", "s3:prefix", "home/anna/", True),
        ("StringEquals", "s3:Prefix", ["x", "home/${aws:username}/"], True),
        ("StringEquals", "s3:prefix", "home/*", False),
        ("StringNotEquals", "s3:prefix", "home/anna/", False),
        ("StringNotEquals", "s3:prefix", ["x", "home/anna/"], False),
        ("StringNotEquals", "s3:prefix", ["x", "y"], True),
        ("StringEqualsIgnoreCase", "s3:x-amz-acl", "public-read", True),
        ("StringNotEqualsIgnoreCase", "s3:x-amz-acl", "public-read", False),
        ("StringLike", "s3:prefix", "home/*", True),
        ("StringLike", "s3:prefix", "h?me/${aws:username}/", True),
        ("StringNotLike", "s3:prefix", "home/*", False),
        ("NumericEquals", "s3:max-keys", 100, True),
        ("NumericNotEquals", "s3:max-keys", "100", False),
        ("NumericLessThan", "s3:max-keys", "100", False),
        ("NumericLessThanEquals", "s3:max-keys", "100", True),
        ("NumericGreaterThan", "s3:max-keys", "99.5", True),
        ("NumericGreaterThanEquals", "s3:max-keys", "101", False),
        ("DateEquals", "aws:CurrentTime", "2026-05-25T12:00:00Z", True),
        ("DateNotEquals", "aws:CurrentTime", "2026-05-25T14:00:00+02:00", False),
        ("DateLessThan", "aws:CurrentTime", "2026-05-25", False),
        ("DateGreaterThan", "aws:CurrentTime", "2026-05-25", True),
        ("DateGreaterThanEquals", "aws:CurrentTime", 1779710400, True),
        ("DateLessThanEquals", "aws:CurrentTime", 1779710399, False),
        ("Bool", "aws:SecureTransport", "false", True),
        ("Bool", "aws:SecureTransport", True, False),
        ("IpAddress", "aws:SourceIp", "10.0.0.0/8", True),
        ("IpAddress", "aws:SourceIp", ["192.168.0.0/16", "10.1.2.3"], True),
        ("IpAddress", "aws:SourceIp", "2001:db8::/32", False),
        ("NotIpAddress", "aws:SourceIp", "10.0.0.0/8", False),
        ("ArnEquals", "aws:PrincipalArn", "arn:aws:iam::test:user/*", True),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:user/anna", True),
        ("ArnLike", "aws:PrincipalArn", "arn:*:anna:x:y:z", False),
        ("ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::test:user/*", False),
        ("ArnNotEquals", "aws:PrincipalArn", "arn:aws:iam::test:user/bert", True),
        ("Null", "s3:prefix", "true", False),
        ("Null", "s3:delimiter", "true", True),
        ("Null", "s3:prefix", False, True),
        ("StringEquals", "s3:delimiter", "/", False),
        ("StringNotEquals", "s3:delimiter", "/", True),
        ("StringEqualsIfExists", "s3:delimiter", "/", True),
        ("StringEqualsIfExists", "s3:prefix", "x", False),
        ("IpAddressIfExists", "aws:VpcSourceIp", "10.0.0.0/8", True),
        ("ForAllValues:StringEquals", "s3:RequestObjectTagKeys", ["a", "b", "c"], True),
        ("ForAllValues:StringEquals", "s3:RequestObjectTagKeys", ["a"], False),
        ("ForAllValues:StringEquals", "s3:delimiter", "/", True),
        ("ForAllValues:StringNotEquals", "s3:RequestObjectTagKeys", ["c"], True),
        ("ForAllValues:StringNotEquals", "s3:RequestObjectTagKeys", ["a"], False),
        ("ForAnyValue:StringEquals", "s3:RequestObjectTagKeys", ["b"], True),
        ("ForAnyValue:StringEquals", "s3:RequestObjectTagKeys", ["c"], False),
        ("ForAnyValue:StringEquals", "s3:delimiter", "/", False),
        ("ForAnyValue:StringNotEquals", "s3:RequestObjectTagKeys", ["a"], True),
        ("ForAnyValue:StringNotEquals", "s3:RequestObjectTagKeys", ["a", "b"], False),
        ("ForAnyValue:StringNotEquals", "s3:delimiter", "/", False),
        ("ForAnyValue:StringLikeIfExists", "s3:delimiter", "/", True),
    ],
)
def test_conditions(operator: str, key: str, value: Any, wanted: bool) -> None:
    assert allows(statement(Condition={operator: {key: value}})) is wanted


def test_all_conditions_have_to_hold() -> None:
    both = {"StringEquals": {"s3:prefix": "home/anna/", "s3:max-keys": "1"}}
    assert not allows(statement(Condition=both))
    assert allows(statement(Condition=both), keys=KEYS | {"s3:max-keys": ("1",)})
    assert not allows(
        statement(Condition={"StringEquals": {"s3:prefix": "home/anna/"}, "Bool": {"aws:SecureTransport": "true"}})
    )


@pytest.mark.parametrize("junk", ["", "x", "nan", "9" * 10_000, "1e999", "infinity"])
def test_what_a_request_says_may_be_anything(junk: str) -> None:
    for operator, value in (("NumericLessThan", 5), ("DateLessThan", 5), ("IpAddress", "::/0"), ("Bool", "true")):
        condition = {operator: {"s3:max-keys": value}}
        assert not allows(statement(Condition=condition), keys={"s3:max-keys": (junk,)})


def test_a_policy_says_which_keys_it_weighs() -> None:
    policy = bucket_policy(text(statement(Condition={"StringEquals": {"s3:ExistingObjectTag/A": "x"}})), "b")
    assert policy.condition_keys == {"s3:existingobjecttag/a"}


@pytest.mark.parametrize(
    ("changes", "public"),
    [
        ({}, True),
        ({"Effect": "Deny"}, False),
        ({"Principal": {"AWS": "test"}}, False),
        ({"Principal": None, "NotPrincipal": {"AWS": "test"}}, True),
        ({"Condition": {"StringEquals": {"aws:SourceVpc": "vpc-1"}}}, False),
        ({"Condition": {"StringLike": {"aws:SourceVpc": "vpc-*"}}}, True),
        ({"Condition": {"StringLike": {"aws:SourceVpc": "vpc-1"}}}, False),
        ({"Condition": {"StringEqualsIfExists": {"aws:SourceVpc": "vpc-1"}}}, True),
        ({"Condition": {"ForAllValues:StringEquals": {"aws:SourceVpc": "vpc-1"}}}, True),
        ({"Condition": {"StringNotEquals": {"aws:SourceVpc": "vpc-1"}}}, True),
        ({"Condition": {"StringEquals": {"aws:PrincipalOrgID": "${aws:username}"}}}, True),
        ({"Condition": {"StringEquals": {"s3:prefix": "x"}}}, True),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}}, True),
        ({"Condition": {"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "::/0"]}}}, True),
        ({"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::x"}}}, False),
        ({"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}}}, True),
    ],
)
def test_public(changes: dict[str, Any], public: bool) -> None:
    assert bucket_policy(text(statement(**changes)), "b").is_public is public


DEEP = '{"Statement": ' + "[" * 9_000 + "]" * 9_000 + "}"


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "x",
        "[]",
        "null",
        "{}",
        DEEP,
        '{"Statement": NaN}',
        text(),
        text("x"),
        text(statement(Effect="allow")),
        text(statement(Effect=None)),
        text(statement(Principal=None)),
        text(statement(NotPrincipal="*")),
        text(statement(Principal="anna")),
        text(statement(Principal={})),
        text(statement(Principal={"AWS": []})),
        text(statement(Principal={"AWS": "arn:aws:iam::*:root"})),
        text(statement(Principal={"AWS": "arn:aws:s3:::b"})),
        text(statement(Principal={"Else": "x"})),
        text(statement(Action=None)),
        text(statement(Action=[])),
        text(statement(Action=5)),
        text(statement(Action="s3:Nothing")),
        text(statement(Action="ec2:RunInstances")),
        text(statement(Resource=None)),
        text(statement(Resource="b/*")),
        text(statement(Resource="arn:aws:s3:::other/*")),
        text(statement(Resource="arn:aws:s3:::bb")),
        text(statement(Resource=["arn:aws:s3:::b/*", "arn:aws:s3:::other"])),
        text(statement(Resource="arn:aws:s3:::b/${x")),
        text(statement(Resource="arn:aws:s3:::b/\0")),
        text(statement(Condition=[])),
        text(statement(Condition={"Equals": {"s3:prefix": "x"}})),
        text(statement(Condition={"ForSome:StringEquals": {"s3:prefix": "x"}})),
        text(statement(Condition={"NullIfExists": {"s3:prefix": "true"}})),
        text(statement(Condition={"StringEquals": {"s3:nothing": "x"}})),
        text(statement(Condition={"StringEquals": {"s3:ExistingObjectTag/": "x"}})),
        text(statement(Condition={"StringEquals": "x"})),
        text(statement(Condition={"StringEquals": {"s3:prefix": {}}})),
        text(statement(Condition={"NumericEquals": {"s3:max-keys": "x"}})),
        text(statement(Condition={"DateLessThan": {"aws:CurrentTime": "soon"}})),
        text(statement(Condition={"Bool": {"aws:SecureTransport": "perhaps"}})),
        text(statement(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/33"}})),
        text(statement(Condition={"ArnLike": {"aws:PrincipalArn": "anna"}})),
        text(statement(Sid="1"), statement(Sid="1")),
        text(statement(Sid=1)),
        text(statement(Other="x")),
        text(statement(), version="2010-01-01"),
        text(statement())[:-1] + ', "Other": 1}',
        text(statement())[:-1] + ', "Version": "2012-10-17"}',
        text(statement(Sid="x" * POLICY_BYTES_MAX)),
    ],
)
def test_what_is_no_policy(wrong: str) -> None:
    with pytest.raises(MalformedAccessPolicy):
        bucket_policy(wrong, "b")


def test_the_policy_of_a_user_names_nobody_and_any_service() -> None:
    own = {"Effect": "Allow", "Action": ["iam:GetUser", "s3:GetObject"], "Resource": "*"}
    policy = user_policy(text(own))
    assert policy.evaluate(PolicyRequest(ANNA, "iam:GetUser", "arn:aws:iam::test:user/anna")) is Decision.ALLOW
    assert not policy.is_public
    with pytest.raises(MalformedAccessPolicy):
        user_policy(text(own | {"Principal": "*"}))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Statement", "Effect", "Principal", "AWS", "Condition", "Bool"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@given(JSON_VALUES)
def test_whatever_comes_is_refused_or_understood(value: Any) -> None:
    for changes in ({}, {"Principal": value}, {"Action": value}, {"Resource": value}, {"Condition": value}):
        try:
            bucket_policy(text(statement(**changes) if changes else value), "b").evaluate(
                PolicyRequest(ANNA, "s3:GetObject", OBJECT, KEYS)
            )
        except MalformedAccessPolicy:
            pass


@given(st.lists(st.sampled_from(["Allow", "Deny", "Else"]), max_size=5))
def test_the_order_of_statements_does_not_matter(effects: list[str]) -> None:
    made = [
        statement()
        if each == "Allow"
        else statement(Effect="Deny")
        if each == "Deny"
        else statement(Action="s3:PutObject")
        for each in effects
    ]
    if made:
        wanted = Decision.DENY if "Deny" in effects else Decision.ALLOW if "Allow" in effects else Decision.NONE
        assert decide(*made) is decide(*reversed(made)) is wanted
