"""CORS of buckets: which rule a request falls under, what the browser is told, and what is no configuration."""

from __future__ import annotations

import pytest

from objstore.proxy.s3.cors import CorsRule, cors_headers, parse_cors, rule_for
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.xml import MalformedDocument, parse


def rule(body: str) -> str:
    return f"<CORSRule>{body}</CORSRule>"


def parsed(*rules: str) -> tuple[CorsRule, ...]:
    return parse_cors(parse(f"<CORSConfiguration>{''.join(rules)}</CORSConfiguration>".encode(), "CORSConfiguration"))


GET = "<AllowedMethod>GET</AllowedMethod>"
ANY = "<AllowedOrigin>*</AllowedOrigin>"


@pytest.mark.parametrize(
    ("pattern", "origin", "fits"),
    [
        ("*", "https://a.example", True),
        ("https://a.example", "https://a.example", True),
        ("https://a.example", "https://b.example", False),
        ("https://*.example", "https://a.b.example", True),
        ("https://*.example", "https://.example", True),
        ("https://*.example", "http://a.example", False),
        ("aba*ba", "aba", False),
    ],
)
def test_origins(pattern: str, origin: str, fits: bool) -> None:
    found = rule_for((CorsRule((pattern,), ("GET",)),), origin, "GET")
    assert (found is not None) is fits


def test_the_first_rule_that_allows_all() -> None:
    strict = CorsRule(("https://a",), ("GET", "PUT"), ("x-amz-*", "content-type"))
    open_ = CorsRule(("*",), ("GET",), ("*",), ("ETag",), 30)
    rules = (strict, open_)
    assert rule_for(rules, "https://a", "GET", ["X-Amz-Meta-A", "Content-Type"]) is strict
    assert rule_for(rules, "https://a", "GET", ["X-Other"]) is open_
    assert rule_for(rules, "https://a", "PUT", ["X-Other"]) is None
    assert rule_for(rules, "https://a", "DELETE") is None
    assert rule_for((CorsRule(("*",), ("GET",)),), "https://a", "GET", ["X-Other"]) is None


def test_what_the_browser_is_told() -> None:
    told = cors_headers(CorsRule(("*",), ("GET", "PUT"), ("*",), ("ETag", "x-amz-meta-a"), 30), "https://a", ["X-A"])
    assert told["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in told
    assert told["Access-Control-Allow-Methods"] == "GET, PUT"
    assert told["Access-Control-Allow-Headers"] == "x-a"
    assert told["Access-Control-Expose-Headers"] == "ETag, x-amz-meta-a"
    assert told["Access-Control-Max-Age"] == "30"
    assert told["Vary"] == "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
    named = cors_headers(CorsRule(("https://*",), ("GET",)), "https://a")
    assert (named["Access-Control-Allow-Origin"], named["Access-Control-Allow-Credentials"]) == ("https://a", "true")
    assert "Access-Control-Max-Age" not in named


def test_parsed() -> None:
    body = f"<ID>1</ID>{ANY}{GET}<AllowedHeader>X-A</AllowedHeader><ExposeHeader>ETag</ExposeHeader>"
    assert parsed(rule(f"{body}<MaxAgeSeconds>5</MaxAgeSeconds>")) == (
        CorsRule(("*",), ("GET",), ("x-a",), ("ETag",), 5),
    )


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ([], "MalformedXML"),
        (["<Other/>"], "MalformedXML"),
        ([rule(GET)], "MalformedXML"),
        ([rule(ANY)], "MalformedXML"),
        ([rule(ANY + GET + "<Other/>")], "MalformedXML"),
        ([rule(ANY + GET + "<MaxAgeSeconds>soon</MaxAgeSeconds>")], "MalformedXML"),
        ([rule(ANY + "<AllowedMethod>PATCH</AllowedMethod>")], "InvalidRequest"),
        ([rule(GET + "<AllowedOrigin>https://*.*</AllowedOrigin>")], "InvalidRequest"),
        ([rule(ANY + GET + "<AllowedHeader>**</AllowedHeader>")], "InvalidRequest"),
        ([rule(ANY + GET + "<ExposeHeader>x-*</ExposeHeader>")], "InvalidRequest"),
        ([rule(ANY + GET + "<ExposeHeader>a\n\nSet-Cookie: x</ExposeHeader>")], "InvalidRequest"),
        ([rule("<ID>1</ID>" + ANY + GET)] * 2, "InvalidRequest"),
        ([rule(f"<ID>{'x' * 256}</ID>" + ANY + GET)], "InvalidRequest"),
        ([rule(ANY + GET)] * 101, "MalformedXML"),
    ],
)
def test_what_is_no_configuration(rules: list[str], code: str) -> None:
    with pytest.raises(S3Error) as error:
        parsed(*rules)
    assert error.value.code == code


def test_an_element_stands_once() -> None:
    with pytest.raises(MalformedDocument):
        parsed(rule(ANY + GET + "<MaxAgeSeconds>1</MaxAgeSeconds>" * 2))
