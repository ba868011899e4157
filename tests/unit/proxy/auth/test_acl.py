"""Access control lists of containers and accounts."""

from __future__ import annotations

import json

import pytest

from objstore.proxy.auth import account_acl, acl
from objstore.proxy.auth.account_acl import Right
from objstore.proxy.auth.identity import Identity

TESTER = Identity("test:tester", "AUTH_test", frozenset({"test", "test:tester", "friends", ".admin"}))


@pytest.mark.parametrize(
    ("given", "cleaned"),
    [
        ("", ""),
        (" , ,", ""),
        (".r:*", ".r:*"),
        (".referrer : *", ".r:*"),
        (".ref:*.example.com", ".r:.example.com"),
        (".referer:.example.com", ".r:.example.com"),
        (".r:-example.com", ".r:-example.com"),
        (".r: - *.example.com", ".r:-.example.com"),
        (".r:*, .rlistings , test:tester", ".r:*,.rlistings,test:tester"),
        ("test, test2:*,*:user,*:*", "test,test2:*,*:user,*:*"),
        ("project-id:user-id", "project-id:user-id"),
    ],
)
def test_clean(given: str, cleaned: str) -> None:
    assert acl.clean(given, writing=False) == cleaned
    assert acl.clean(cleaned, writing=False) == cleaned


@pytest.mark.parametrize(
    "given",
    [
        ".r:",
        ".r",
        ".r:*,.r:",
        ".r:-",
        ".r:.",
        ".r:*.",
        ".unknown:x",
        ".ref",
        ".unknown",
        "test,.rlisting",
        ". r:x",
        ".r:-*.",
    ],
)
def test_malformed(given: str) -> None:
    with pytest.raises(ValueError, match="designator|host"):
        acl.clean(given, writing=False)


@pytest.mark.parametrize("given", [".r:*", "test,.referer:a.example", ".rlistings"])
def test_referrers_cannot_write(given: str) -> None:
    with pytest.raises(ValueError, match="writing"):
        acl.clean(given, writing=True)
    assert acl.clean("test:tester", writing=True) == "test:tester"


@pytest.mark.parametrize(
    "host",
    ["http://a.example", "a.example/page", "a.example:80", "a example", "a..example", "*a.*", "b\xc3\xbccher.example"],
)
def test_hosts_that_can_never_match_are_refused(host: str) -> None:
    with pytest.raises(ValueError, match="no host or domain"):
        acl.clean(f".r:{host}", writing=False)
    with pytest.raises(ValueError, match="no host or domain"):
        acl.clean(f".r:-{host}", writing=False)


@pytest.mark.parametrize("host", ["*", "a.example", ".a.example", "-a.example", "localhost", "::1", "10.0.0.1"])
def test_hosts_that_can_match_are_kept(host: str) -> None:
    assert acl.clean(f".r:{host}", writing=False) == f".r:{host}"


@pytest.mark.parametrize(
    ("text", "referer", "admitted"),
    [
        ("", None, False),
        ("test", "http://a.example/", False),
        (".r:*", None, True),
        (".r:*", "http://a.example/", True),
        (".r:a.example", "http://a.example/page?x", True),
        (".r:a.example", "http://A.Example:80/", True),
        (".r:a.example", "http://www.a.example/", False),
        (".r:a.example", None, False),
        (".r:a.example", "a.example", False),
        (".r:a.example", "http://a.example@evil.example/", False),
        (".r:a.example", "http://[broken", False),
        (".r:.a.example", "http://www.a.example/", True),
        (".r:.a.example", "http://xa.example/", False),
        (".r:*,.r:-bad.example", "http://bad.example/", False),
        (".r:*,.r:-bad.example", "http://good.example/", True),
        (".r:-bad.example,.r:*", "http://bad.example/", True),
        (".r:*,.r:-.example,.r:a.example", "http://a.example/", True),
    ],
)
def test_referrers(text: str, referer: str | None, admitted: bool) -> None:
    assert acl.admits_referrer(acl.parse(text).referrers, referer) is admitted


@pytest.mark.parametrize(
    ("text", "admitted"),
    [
        ("test", True),
        ("test:tester", True),
        ("*:tester", True),
        ("test:*", True),
        ("*:*", True),
        ("friends", True),
        ("other,test:tester", True),
        ("AUTH_test", True),
        ("AUTH_test2", False),
        ("", False),
        ("tester", False),
        ("test:other", False),
        ("test2:tester", False),
        ("*", False),
        (".admin", False),
        (".reseller_admin", False),
        (".r:*", False),
    ],
)
def test_users(text: str, admitted: bool) -> None:
    assert acl.admits_user(acl.parse(text).grantees, TESTER) is admitted


@pytest.mark.parametrize(
    ("given", "cleaned"),
    [
        ("", ""),
        ("{}", ""),
        ('{"admin": []}', ""),
        ('{ "read-only": ["b", "a"], "admin": ["x"] }', '{"admin":["x"],"read-only":["b","a"]}'),
    ],
)
def test_clean_account_list(given: str, cleaned: str) -> None:
    assert account_acl.clean(given) == cleaned


def test_account_lists_are_stored_in_ascii() -> None:
    given = json.dumps({"read-only": ["test:jörg", "x:\U0001f600"]}, ensure_ascii=False)
    cleaned = account_acl.clean(given.encode().decode("latin-1"))
    assert cleaned.isascii()
    assert json.loads(cleaned) == json.loads(given)


@pytest.mark.parametrize(
    "given",
    ["not json", "[]", '"x"', "3", '{"write": ["x"]}', '{"admin": "x"}', '{"admin": [3]}', '{"admin": null}', "\x80"],
)
def test_malformed_account_list(given: str) -> None:
    with pytest.raises(ValueError, match="."):
        account_acl.clean(given)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("", Right.NOTHING),
        ("garbage", Right.NOTHING),
        ('{"read-only":["other"]}', Right.NOTHING),
        ('{"read-only":["test"]}', Right.READ),
        ('{"read-only":["test"],"read-write":["test:tester"]}', Right.WRITE),
        ('{"admin":["*:*"]}', Right.ADMINISTER),
        ('{"admin":[".admin"]}', Right.NOTHING),
    ],
)
def test_rights_in_an_account(text: str, right: Right) -> None:
    assert account_acl.right_of(account_acl.parse(text), TESTER) is right
