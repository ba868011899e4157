"""Lifecycle documents: what is taken, as what, and what is refused."""

from __future__ import annotations

import pytest

from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.lifecycle.rules import ROOT, LifecycleRule, RuleFilter, checked, stored_rules
from objstore.proxy.s3.xml import NAMESPACE, MalformedDocument, document, parse

DAYS = "<Expiration><Days>1</Days></Expiration>"
ABORT = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
TAG = "<Tag><Key>k</Key><Value>v</Value></Tag>"


def xml(*rules: str) -> bytes:
    return f"<{ROOT}>{''.join(f'<Rule>{rule}</Rule>' for rule in rules)}</{ROOT}>".encode()


def stored(*rules: str) -> bytes:
    return document(checked(parse(xml(*rules), ROOT)), NAMESPACE)


def rule(actions: str, filter: str = "<Filter/>", status: str = "Enabled") -> str:
    return f"<ID>r</ID>{filter}<Status>{status}</Status>{actions}"


def test_what_rules_mean() -> None:
    both = f"<Filter><And><Prefix>p</Prefix>{TAG}<ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter>"
    noncurrent = (
        "<NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays>"
        "<NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration>"
    )
    assert stored_rules(stored(rule(DAYS + noncurrent, both))) == (
        LifecycleRule(
            "r",
            True,
            RuleFilter("p", (("k", "v"),), smaller_than=9),
            days=1,
            noncurrent_days=3,
            newer_versions=2,
        ),
    )
    dated = "<Expiration><Date>2026-01-02T00:00:00.000Z</Date></Expiration>"
    [found] = stored_rules(stored(rule(dated + ABORT, "<Prefix>old</Prefix>")))
    assert (found.date, found.abort_days, found.filter) == (1_767_312_000, 1, RuleFilter("old"))
    assert stored_rules(stored(rule(DAYS, status="Disabled"))) == ()


def test_rules_without_a_name_get_one() -> None:
    text = stored(f"<Filter/><Status>Enabled</Status>{DAYS}", f"<ID/><Prefix/><Status>Enabled</Status>{DAYS}").decode()
    assert text.count("<ID>") == 2
    assert len({each.identifier for each in stored_rules(text.encode())}) == 2


def expiration(content: str) -> str:
    return rule(f"<Expiration>{content}</Expiration>")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "MalformedXML"),
        (rule(""), "InvalidRequest"),
        (rule(DAYS, "<Filter/><Prefix/>"), "MalformedXML"),
        (rule(DAYS, ""), "MalformedXML"),
        (rule(DAYS, f"<Filter><Prefix>a</Prefix>{TAG}</Filter>"), "MalformedXML"),
        (rule(DAYS, f"<Filter><And>{TAG}{TAG}</And></Filter>"), "InvalidRequest"),
        (rule(DAYS, "<Filter><And/></Filter>"), "MalformedXML"),
        (rule(DAYS, "<Filter><Size>1</Size></Filter>"), "MalformedXML"),
        (rule(DAYS, "<Filter><ObjectSizeLessThan>0</ObjectSizeLessThan></Filter>"), "InvalidRequest"),
        (rule(DAYS, status="enabled"), "MalformedXML"),
        (rule(DAYS + "<Else/>"), "MalformedXML"),
        (rule(ABORT, f"<Filter>{TAG}</Filter>"), "InvalidRequest"),
        (rule(ABORT, "<Filter><ObjectSizeLessThan>5</ObjectSizeLessThan></Filter>"), "InvalidRequest"),
        (rule("<NoncurrentVersionTransition/>"), "NotImplemented"),
        (expiration("<Days>-1</Days>"), "InvalidArgument"),
        (expiration("<Days>99999999999</Days>"), "InvalidArgument"),
        (expiration("<Date>2026-01-02T10:00:00Z</Date>"), "InvalidArgument"),
        (expiration("<Date>tomorrow</Date>"), "MalformedXML"),
        (expiration("<ExpiredObjectDeleteMarker>yes</ExpiredObjectDeleteMarker>"), "MalformedXML"),
        (expiration(""), "MalformedXML"),
    ],
)
def test_what_is_refused(text: str, code: str) -> None:
    with pytest.raises(S3Error) as error:
        stored(*([text] if text else []))
    assert error.value.code == code


def test_limits() -> None:
    with pytest.raises(S3Error, match="InvalidRequest"):
        stored(*(f"<Filter/><Status>Enabled</Status>{DAYS}" for _ in range(1001)))
    with pytest.raises(S3Error, match="unique"):
        stored(rule(DAYS), rule(DAYS))
    with pytest.raises(MalformedDocument):
        stored(expiration("<Days>one</Days>"))
