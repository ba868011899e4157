"""Whatever strangers send: parsers give a value or their own error, and policies decide as a plain evaluator does."""

from __future__ import annotations

import json
import re
from base64 import b64encode
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
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.post_policy import parse_policy
from objstore.proxy.s3.xml import MalformedDocument, parse

# Words of policies among what is none, so that some documents come close to what is read.
TEXT = """Version 2012-10-17 Statement Effect Allow Deny Principal * AWS Action s3:GetObject NotAction Resource
    arn:aws:s3:::b/* Condition StringLike aws:username ${aws:username} conditions expiration eq $key
    2030-01-01T00:00:00Z content-length-range NumericEquals 1e999"""
WORDS = st.sampled_from(TEXT.split())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=5),
    max_leaves=20,
)
STATEMENTS = st.fixed_dictionaries(
    {"Effect": st.sampled_from(["Allow", "Deny"]), "Action": VALUES, "Resource": VALUES},
    optional={
        "Condition": st.dictionaries(WORDS, st.dictionaries(WORDS, VALUES, max_size=2), max_size=2),
        "Sid": WORDS,
    },
)
DOCUMENTS = VALUES | st.builds(
    lambda each: {"Version": "2012-10-17", "Statement": each}, st.lists(STATEMENTS, max_size=3)
)


@given(DOCUMENTS | st.text(max_size=50))
def test_a_policy_is_read_or_refused(document: Any) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    for read in (user_policy, lambda each: bucket_policy(each, "b")):
        try:
            policy = read(text)
        except MalformedAccessPolicy:
            continue
        policy.evaluate(PolicyRequest(None, "s3:GetObject", "arn:aws:s3:::b/k", {"aws:username": ("anna",)}))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 20_000,
        '{"Statement":' * 1500,
        " " * POLICY_BYTES_MAX + "{}",
        "{" * (1 << 20),
        '"' + "\\u0000" * 3000 + '"',
    ],
    ids=["lists", "objects", "long", "a megabyte", "nul"],
)
def test_deep_and_long_policies_are_refused(text: str) -> None:
    with pytest.raises(MalformedAccessPolicy):
        user_policy(text)


PIECES = st.lists(st.sampled_from(["a", "b", "*", "?", "/", "ab"]), min_size=1, max_size=5).map("".join)
ACTIONS = st.sampled_from(["s3:GetObject", "s3:PutObject", "s3:Get*", "s3:*", "S3:getobject", "s3:?utObject"])
BUCKET = "arn:aws:s3:::b/"
ARNS = {name: f"arn:aws:iam::test:user/{name}" for name in ("anna", "bert")}
USERS = {name: Caller(arn, frozenset({arn}), frozenset({"test"})) for name, arn in ARNS.items()}
PRINCIPALS = st.sampled_from(["*", *(each.arn for each in USERS.values()), "arn:aws:iam::test:root"])
PLAIN_STATEMENTS = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Allow", "Deny"]),
        "Principal": PRINCIPALS.map(lambda each: each if each == "*" else {"AWS": each}),
        "action": st.tuples(st.booleans(), st.lists(ACTIONS, min_size=1, max_size=2)),
        "resource": st.tuples(st.booleans(), st.lists(PIECES, min_size=1, max_size=2)),
        "prefix": st.none() | PIECES,
    }
)


def fits(pattern: str, text: str) -> bool:
    """A pattern of the language, by a regular expression."""
    pieces = (".*" if each == "*" else "." if each == "?" else re.escape(each) for each in pattern)
    return re.fullmatch("".join(pieces), text, re.DOTALL) is not None


def speaks(statement: dict[str, Any], user: str, action: str, key: str, prefix: str) -> bool:
    principal = statement["Principal"]
    negated, actions = statement["action"]
    other, resources = statement["resource"]
    return (
        (principal == "*" or principal["AWS"] in (USERS[user].arn, "arn:aws:iam::test:root"))
        and any(fits(each.lower(), action.lower()) for each in actions) is not negated
        and any(fits(BUCKET + each, BUCKET + key) for each in resources) is not other
        and (statement["prefix"] is None or fits(statement["prefix"], prefix))
    )


@given(
    st.lists(PLAIN_STATEMENTS, min_size=1, max_size=4),
    st.sampled_from(list(USERS)),
    st.sampled_from(["s3:GetObject", "s3:PutObject"]),
    st.text("ab/", min_size=1, max_size=5),
    st.text("ab/", max_size=3),
)
def test_policies_decide_as_a_plain_evaluator_does(
    statements: list[dict[str, Any]], user: str, action: str, key: str, prefix: str
) -> None:
    said = {each["Effect"] for each in statements if speaks(each, user, action, key, prefix)}
    expected = Decision.DENY if "Deny" in said else Decision.ALLOW if said else Decision.NONE
    written = [
        {
            "Effect": each["Effect"],
            "Principal": each["Principal"],
            ("NotAction" if each["action"][0] else "Action"): each["action"][1],
            ("NotResource" if each["resource"][0] else "Resource"): [
                f"arn:aws:s3:::b/{x}" for x in each["resource"][1]
            ],
            "Condition": {} if each["prefix"] is None else {"StringLike": {"s3:prefix": each["prefix"]}},
        }
        for each in statements
    ]
    policy = bucket_policy(json.dumps({"Version": "2012-10-17", "Statement": written}), "b")
    asked = PolicyRequest(USERS[user], action, f"arn:aws:s3:::b/{key}", {"s3:prefix": (prefix,)})
    assert policy.evaluate(asked) is expected


@given(
    VALUES | st.fixed_dictionaries({"expiration": WORDS, "conditions": st.lists(VALUES, max_size=4)}),
    st.text(max_size=9),
)
def test_a_policy_of_a_form_is_read_or_refused(document: Any, noise: str) -> None:
    for text in (b64encode(json.dumps(document).encode()).decode(), noise):
        try:
            policy = parse_policy(text)
            policy.check({"key": "k"}, "b", 0.0)
        except S3Error as error:
            assert error.code in ("InvalidPolicyDocument", "AccessDenied")


DOCUMENT = (
    b'<?xml version="1.0"?><Tagging xmlns="x"><TagSet><Tag><Key>a</Key><Value>&#1;</Value></Tag></TagSet></Tagging>'
)


@given(st.lists(st.tuples(st.integers(0, len(DOCUMENT)), st.binary(max_size=6)), max_size=4) | st.binary(max_size=60))
def test_a_document_is_read_or_refused(damage: list[tuple[int, bytes]] | bytes) -> None:
    if isinstance(damage, bytes):
        content = damage
    else:
        content = DOCUMENT
        for place, inserted in damage:
            content = content[:place] + inserted + content[place + len(inserted) // 2 :]
    try:
        root = parse(content, "Tagging")
        for child in root:
            for tag in child:
                tag.value("Key")
    except MalformedDocument:
        pass


BOMB = b'<!DOCTYPE Tagging [<!ENTITY a "aaaaaaaaaa">' + b"".join(
    b'<!ENTITY %c "%s">' % (98 + at, b"&%c;" % (97 + at) * 10) for at in range(9)
)


@pytest.mark.parametrize(
    "content",
    [
        BOMB + b"]><Tagging>&j;</Tagging>",
        b'<!DOCTYPE Tagging SYSTEM "file:///etc/passwd"><Tagging/>',
        b'<!DOCTYPE Tagging [<!ENTITY x SYSTEM "file:///etc/hostname">]><Tagging>&x;</Tagging>',
        b"<Tagging>" + b"<a>" * 100_000,
        b"<Tagging>" + b"<a>" * 200 + b"</a>" * 200 + b"</Tagging>",
        b"<Tagging " + b" ".join(b'a%d=""' % at for at in range(100_000)),
    ],
    ids=["bomb", "external", "entity", "deep and open", "deep", "attributes"],
)
def test_bombs_are_refused(content: bytes) -> None:
    with pytest.raises(MalformedDocument):
        parse(content, "Tagging")
