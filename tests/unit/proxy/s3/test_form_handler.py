"""What a form's fields become, and the answers that forms ask for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from objstore.http.bodies import BytesBody
from objstore.http.heads import UNDERSCORED
from objstore.http.messages import Environ, Response
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.forms import FormHandler, take_fields
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.request import S3Request
from tests.unit.proxy.s3.signing import HOST, environ_of
from tests.unit.proxy.s3.test_forms import NOW, TYPE, policy_text, written


def taken(fields: dict[str, str], **environ: str) -> Environ:
    result: Environ = dict(environ)
    take_fields(result, fields)
    return result


def test_fields_become_headers() -> None:
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b c</Value></Tag></TagSet></Tagging>"
    fields = {
        "key": "a",
        "acl": "private",
        "content-type": "text/plain",
        "cache-control": "no-cache",
        "x-amz-meta-name": "\u00e9",
        "x-amz-storage-class": "STANDARD",
        "tagging": tags,
        "x-ignore-this": "1",
        "success_action_status": "200",
    }
    assert taken(fields) == {
        "HTTP_X_AMZ_ACL": "private",
        "CONTENT_TYPE": "text/plain",
        "HTTP_CACHE_CONTROL": "no-cache",
        "HTTP_X_AMZ_META_NAME": "\u00c3\u00a9",
        "HTTP_X_AMZ_STORAGE_CLASS": "STANDARD",
        "HTTP_X_AMZ_TAGGING": "a=b%20c",
    }


@pytest.mark.parametrize(
    "name",
    [
        "x-amz-copy-source",
        "x-amz-copy-source-range",
        "x-amz-date",
        "x-amz-signature",
        "x-amz-decoded-content-length",
        "x-amz-content-sha256",
        "x-amz-trailer",
        "host",
        "authorization",
        "content-length",
        "x-object-meta-a",
        "range",
    ],
)
def test_fields_that_are_no_headers(name: str) -> None:
    assert taken({name: "1"}) == {}


def test_headers_of_the_request_itself_are_not_signed() -> None:
    own = {"HTTP_X_AMZ_ACL": "public-read", "CONTENT_TYPE": "a", "CONTENT_LENGTH": "9", "HTTP_IF_MATCH": "x"}
    assert taken({}, HTTP_HOST=HOST, REQUEST_METHOD="POST", **own) == {"HTTP_HOST": HOST, "REQUEST_METHOD": "POST"}


def test_names_with_underscores_keep_them() -> None:
    environ = taken({"x-amz-meta-a_b": "1"}, HTTP_X_AMZ_META_C_D="2", **{UNDERSCORED: "of the request itself"})
    assert environ == {"HTTP_X_AMZ_META_A_B": "1", UNDERSCORED: {"HTTP_X_AMZ_META_A_B": "x-amz-meta-a_b"}}


@pytest.mark.parametrize("value", ["a\r\nX-Timestamp: 1", "\x00", "\x7f"])
def test_control_characters_are_refused(value: str) -> None:
    with pytest.raises(S3Error, match="InvalidArgument"):
        taken({"x-amz-meta-a": value})


class Posted:
    """A form that is posted; what the handler asked for is kept."""

    def __init__(self, fields: list[tuple[str, str]], content: bytes = b"abc") -> None:
        self.authenticated: dict[str, str] = {}
        self.authorized: list[tuple[str, Operation]] = []
        self.stored = b""
        wire = written(fields, content)
        environ = environ_of("POST", "/photos", {"Host": HOST, "Content-Type": TYPE, "Content-Length": str(len(wire))})
        environ |= {"wsgi.input": BytesBody(wire), "wsgi.url_scheme": "http"}
        self.request = S3Request(environ)
        self.request.read(())
        self.request.authenticate_form = self.authenticated.update
        authorizer = SimpleNamespace(authorize=lambda request, what: self.authorized.append((request.key, what)))
        handler = FormHandler(cast(Any, authorizer), self.put, lambda: NOW)
        self.answer = handler.post(self.request)

    def put(self, request: S3Request) -> Response:
        assert request.content_length is None
        self.stored = request.body.read()
        return Response(200, {"ETag": '"e"'})


def test_a_form_is_stored() -> None:
    posted = Posted([("key", "docs/${filename}"), ("acl", "private")])
    assert posted.stored == b"abc"
    assert posted.authenticated == {"key": "docs/a.txt", "acl": "private"}
    assert posted.authorized == [("docs/a.txt", Operation.PUT_OBJECT)]
    assert posted.answer.status == 204
    assert posted.answer.headers["Location"] == f"http://{HOST}/photos/docs/a.txt"


@pytest.mark.parametrize(("asked", "status"), [("200", 200), ("201", 201), ("204", 204), ("302", 204), ("", 204)])
def test_the_status_that_is_asked_for(asked: str, status: int) -> None:
    answer = Posted([("key", "a b"), ("success_action_status", asked)]).answer
    assert answer.status == status
    if status == 201:
        assert answer.read_all().endswith(
            f"<PostResponse><Location>http://{HOST}/photos/a%20b</Location><Bucket>photos</Bucket><Key>a b</Key>"
            "<ETag>&quot;e&quot;</ETag></PostResponse>".encode()
        )


@pytest.mark.parametrize("name", ["success_action_redirect", "redirect"])
def test_a_redirect(name: str) -> None:
    answer = Posted([("key", "a b"), (name, "http://example.com/done?x=1")]).answer
    assert answer.status == 303
    assert answer.headers["Location"] == "http://example.com/done?x=1&bucket=photos&key=a+b&etag=%22e%22"
    assert Posted([("key", "a"), (name, "http://example.com/\u00e9")]).answer.status == 204


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ([], "InvalidArgument"),
        ([("key", "")], "InvalidArgument"),
        ([("key", "a" * 1025)], "KeyTooLongError"),
        ([("key", "a"), ("policy", policy_text({"bucket": "photos"}))], "AccessDenied"),
        ([("key", "a"), ("policy", "e30=")], "InvalidPolicyDocument"),
        (
            [("key", "a"), ("policy", policy_text({"bucket": "photos"}, {"key": "a"}, ["content-length-range", 4, 9]))],
            "EntityTooSmall",
        ),
        ([("key", "a"), ("tagging", "<Tagging>")], "MalformedXML"),
    ],
)
def test_forms_that_are_refused(fields: list[tuple[str, str]], code: str) -> None:
    with pytest.raises(S3Error) as caught:
        Posted(fields)
    assert caught.value.code == code


@pytest.mark.parametrize("name", ["a\nX-Other: 1", "a\rb", "цвет", "{a}"])
def test_names_of_fields_are_no_way_to_other_headers(name: str) -> None:
    with pytest.raises(S3Error):
        take_fields({}, {f"x-amz-meta-{name}": "1"})
