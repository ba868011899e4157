"""Configurations of websites: which are refused, which rule is for a request, and where it leads."""

from __future__ import annotations

import pytest

from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.request import website_of_host
from objstore.proxy.s3.website import Redirect, Website, error_page, parse_website, website_of
from objstore.proxy.s3.xml import MalformedDocument, parse

INDEX = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>"
HOST = "<HostName>h</HostName>"


def parsed(body: str) -> Website:
    return parse_website(parse(f"<WebsiteConfiguration>{body}</WebsiteConfiguration>".encode(), "WebsiteConfiguration"))


def rules(*bodies: str) -> str:
    return f"{INDEX}<RoutingRules>{''.join(f'<RoutingRule>{body}</RoutingRule>' for body in bodies)}</RoutingRules>"


def condition(prefix: str | None = None, status: str | None = None) -> str:
    found = "" if prefix is None else f"<KeyPrefixEquals>{prefix}</KeyPrefixEquals>"
    found += "" if status is None else f"<HttpErrorCodeReturnedEquals>{status}</HttpErrorCodeReturnedEquals>"
    return f"<Condition>{found}</Condition>"


def redirect(body: str) -> str:
    return f"<Redirect>{body}</Redirect>"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "InvalidArgument"),
        ("<IndexDocument><Suffix/></IndexDocument>", "InvalidArgument"),
        ("<IndexDocument><Suffix>a/b</Suffix></IndexDocument>", "InvalidArgument"),
        (f"{INDEX}<ErrorDocument><Key/></ErrorDocument>", "InvalidArgument"),
        (f"{INDEX}<RedirectAllRequestsTo>{HOST}</RedirectAllRequestsTo>", "InvalidRequest"),
        ("<RedirectAllRequestsTo><HostName>a b</HostName></RedirectAllRequestsTo>", "InvalidRequest"),
        (f"<RedirectAllRequestsTo>{HOST}<Protocol>ftp</Protocol></RedirectAllRequestsTo>", "InvalidRequest"),
        (f"{INDEX}<Else/>", "MalformedXML"),
        (f"{INDEX}<RoutingRules/>", "MalformedXML"),
        (rules(condition("a")), "MalformedXML"),
        (rules(redirect("")), "InvalidRequest"),
        (rules(condition() + redirect(HOST)), "InvalidRequest"),
        (rules(condition(status="200") + redirect(HOST)), "InvalidRequest"),
        (rules(redirect("<HttpRedirectCode>300</HttpRedirectCode>")), "InvalidRequest"),
        (rules(redirect("<ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith/>")), "InvalidRequest"),
        (rules(*[redirect(HOST)] * 51), "InvalidRequest"),
    ],
)
def test_what_is_no_website(body: str, code: str) -> None:
    with pytest.raises(S3Error) as error:
        parsed(body)
    assert error.value.code == code


def test_a_redirection_of_everything_says_where() -> None:
    with pytest.raises(MalformedDocument):
        parsed("<RedirectAllRequestsTo/>")


def test_rules_by_prefix_and_by_status() -> None:
    site = parsed(
        rules(
            condition("a/", "404") + redirect("<ReplaceKeyWith>x</ReplaceKeyWith>"),
            condition("a/") + redirect("<ReplaceKeyPrefixWith>b/</ReplaceKeyPrefixWith>"),
            condition(status="403") + redirect("<HostName>h</HostName><HttpRedirectCode>307</HttpRedirectCode>"),
        )
    )
    assert len(site.rules) == len(rules_of := site.rules) == 3
    assert site.rule_for("a/k", None) is rules_of[1]
    assert site.rule_for("b/k", None) is None
    assert site.rule_for("a/k", 404) is rules_of[0]
    assert site.rule_for("b/k", 404) is None
    assert site.rule_for("a/k", 403) is rules_of[2]  # that by prefix alone is for what has not been read
    assert site.rule_for("b/k", 403) is rules_of[2]
    assert rules_of[2].redirect.status == 307


@pytest.mark.parametrize(
    ("redirect", "location"),
    [
        (Redirect(), "http://web:80/docs/a%20b?x=1"),
        (Redirect(protocol="https", host="else"), "https://else/docs/a%20b?x=1"),
        (Redirect(key="lost.html"), "http://web:80/lost.html?x=1"),
        (Redirect(prefix="papers/"), "http://web:80/papers/a%20b?x=1"),
        (Redirect(prefix=""), "http://web:80/a%20b?x=1"),
    ],
)
def test_locations(redirect: Redirect, location: str) -> None:
    assert redirect.location("http", "web:80", "docs/a b", "docs/", "?x=1") == location


def test_index_documents() -> None:
    site = website_of(f"<WebsiteConfiguration>{INDEX}</WebsiteConfiguration>".encode())
    assert [site.document_of(key) for key in ("", "a/", "a")] == ["index.html", "a/index.html", "a"]


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("photos.web.example:8080", "photos"),
        ("A.B.web.example", "a.b"),
        ("web.example", "web.example"),
        ("www.example.org", "www.example.org"),
        ("example", ""),
        ("otherweb.example", ""),
    ],
)
def test_hosts(host: str, bucket: str) -> None:
    assert website_of_host({"HTTP_HOST": host}, ("web.example", "www.example.org")) == bucket
    assert website_of_host({"HTTP_HOST": host}, ()) == ""


def test_pages_of_errors_hold_no_markup_of_clients() -> None:
    page = error_page(S3Error("NoSuchKey", Key="<script>"), "", "tx1")
    assert page.status == 404
    assert isinstance(page.body, bytes)
    assert b"<li>Key: &lt;script&gt;</li>" in page.body
    assert b"<h1>404 Not Found</h1>" in page.body
