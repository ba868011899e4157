"""Websites: configured by boto3, read by anybody at a host of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.functional.client import Answer, Client
from tests.functional.clients.s3 import body_of, headers_of, refused
from tests.functional.servers import Store

Site = Callable[..., Answer]
INDEX = {"IndexDocument": {"Suffix": "index.html"}}


@pytest.fixture
def site(store: Store, s3: Any, bucket: str) -> Site:
    """Reads from the website of a bucket that everybody may read; its client signs nothing."""
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statement}))
    client = Client(store.host, store.port)

    def read(path: str, method: str = "GET", **headers: str) -> Answer:
        return client.raw(method, path, {"Host": f"{bucket}.web.localhost", **headers})

    return read


def let_everybody_list(s3: Any, bucket: str) -> None:
    policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    listing = {"Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}"}
    policy["Statement"] = [policy["Statement"], listing]
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def test_the_configuration(s3: Any, bucket: str) -> None:
    assert refused(s3.get_bucket_website, Bucket=bucket) == (404, "NoSuchWebsiteConfiguration")
    rule = {
        "Condition": {"KeyPrefixEquals": "old/", "HttpErrorCodeReturnedEquals": "404"},
        "Redirect": {"ReplaceKeyPrefixWith": "new/", "HttpRedirectCode": "302", "Protocol": "https", "HostName": "h"},
    }
    wanted = {**INDEX, "ErrorDocument": {"Key": "lost.html"}, "RoutingRules": [rule]}
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=wanted)
    found = s3.get_bucket_website(Bucket=bucket)
    assert {name: found[name] for name in wanted} == wanted
    wrong = {**INDEX, "RedirectAllRequestsTo": {"HostName": "h"}}
    assert refused(s3.put_bucket_website, Bucket=bucket, WebsiteConfiguration=wrong) == (400, "InvalidRequest")
    s3.delete_bucket_website(Bucket=bucket)
    assert refused(s3.get_bucket_website, Bucket=bucket) == (404, "NoSuchWebsiteConfiguration")


def test_documents(s3: Any, bucket: str, site: Site) -> None:
    assert site("/").status == 404  # not a website yet
    for key in ("index.html", "photos/index.html", "photos/a.txt"):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode(), ContentType="text/html", CacheControl="max-age=5")
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=INDEX)
    for path, key in (("/", "index.html"), ("/photos/?versionId=x", "photos/index.html"), ("/photos/a.txt", None)):
        answer = site(path)
        assert (answer.status, answer.text) == (200, key or path[1:])
        assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("text/html", "max-age=5")
    head = site("/", "HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "10")
    assert site("/", **{"If-None-Match": head.headers["etag"]}).status == 304
    part = site("/", Range="bytes=0-4")
    assert (part.status, part.body) == (206, b"index")
    folder = site("/photos")
    assert (folder.status, folder.headers["location"]) == (302, f"http://{bucket}.web.localhost/photos/")
    refusal = site("/", "PUT")
    assert (refusal.status, refusal.headers["content-type"]) == (405, "text/html; charset=utf-8")


def test_errors(s3: Any, bucket: str, site: Site) -> None:
    s3.put_object(Bucket=bucket, Key="lost.html", Body=b"lost", ContentType="text/html")
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=INDEX)
    missing = site("/missing<b>")
    assert missing.status == 403  # who may not list is not told what is missing
    assert b"<h1>403 Forbidden</h1>" in missing.body
    assert b"<li>Code: AccessDenied</li>" in missing.body
    let_everybody_list(s3, bucket)
    missing = site("/missing<b>")
    assert (missing.status, missing.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert b"<li>Key: missing&lt;b&gt;</li>" in missing.body
    assert site("/missing", "HEAD").body == b""
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration={**INDEX, "ErrorDocument": {"Key": "lost.html"}})
    missing = site("/missing", **{"If-None-Match": "*", "Range": "bytes=1-"})
    assert (missing.status, missing.body, missing.headers["content-type"]) == (404, b"lost", "text/html")
    s3.delete_object(Bucket=bucket, Key="lost.html")
    assert site("/missing").status == 404


def test_redirections(s3: Any, bucket: str, site: Site) -> None:
    let_everybody_list(s3, bucket)
    rules = [
        {"Condition": {"KeyPrefixEquals": "docs/"}, "Redirect": {"ReplaceKeyPrefixWith": "papers/"}},
        {
            "Condition": {"HttpErrorCodeReturnedEquals": "404"},
            "Redirect": {"HostName": "spare.example", "Protocol": "https", "HttpRedirectCode": "307"},
        },
    ]
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration={**INDEX, "RoutingRules": rules})
    s3.put_object(Bucket=bucket, Key="moved", WebsiteRedirectLocation="/there")
    s3.put_object(Bucket=bucket, Key="docs/a", Body=b"never read")
    own = f"http://{bucket}.web.localhost"
    for path, status, location in (
        ("/docs/a%20b", 301, f"{own}/papers/a%20b"),
        ("/missing", 307, "https://spare.example/missing"),
        ("/moved", 301, "/there"),
    ):
        answer = site(path)
        assert (answer.status, answer.headers["location"]) == (status, location)
    plain = s3.get_object(Bucket=bucket, Key="moved")
    assert body_of(plain) == b""
    assert headers_of(plain)["x-amz-website-redirect-location"] == "/there"
    everything = {"RedirectAllRequestsTo": {"HostName": "elsewhere.example", "Protocol": "https"}}
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=everything)
    answer = site("/a/b?c=d")
    assert (answer.status, answer.headers["location"]) == (301, "https://elsewhere.example/a/b?c=d")


def test_objects_that_nobody_may_read_stay_hidden(store: Store, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="index.html", Body=b"secret")
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=INDEX)
    client = Client(store.host, store.port)
    answer = client.raw("GET", "/", {"Host": f"{bucket}.web.localhost"})
    assert answer.status == 403
    assert b"secret" not in answer.body
