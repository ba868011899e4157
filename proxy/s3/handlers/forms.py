"""Objects from HTML forms: the fields of a form become headers, its file becomes the body, and the rest is a PUT."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from objstore.http.heads import UNDERSCORED, set_client_header
from objstore.http.messages import Environ, Response
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.form import read_form
from objstore.proxy.s3.handlers.object_tags import stored_tags
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.post_policy import parse_policy
from objstore.proxy.s3.request import S3Request, checked_key, parsed
from objstore.proxy.s3.tags import received_tags
from objstore.proxy.s3.xml import Element, document

if TYPE_CHECKING:
    from objstore.proxy.s3.access import Authorizer

TAGS_MAX: Final = 10
# Fields that are headers of the same name.
_PLAIN: Final = frozenset(
    {"cache-control", "content-disposition", "content-encoding", "content-language", "content-md5", "content-type"}
    | {"expires"}
)
# Fields that would be other requests, or other bodies.
_NO_HEADERS: Final = re.compile(
    r"x-amz-(?:algorithm|content-sha256|copy-source.*|credential|date|decoded-content-length|security-token|signature|trailer)"
)
# Of a token (RFC 9110, section 5.6.2): servers take no other names of headers.
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")
_HEADERS: Final = re.compile("HTTP_(?:X_AMZ_|IF_|CONTENT_|CACHE_CONTROL$|EXPIRES$|RANGE$)|CONTENT_(?:TYPE|LENGTH)$")


class FormHandler:
    """Stores what a form brings. `put` stores the body of a request."""

    def __init__(self, authorizer: Authorizer, put: Callable[[S3Request], Response], now: Callable[[], float]) -> None:
        self._authorizer = authorizer
        self._put = put
        self._now = now

    def post(self, request: S3Request) -> Response:
        """204, or what the form asks for. Raises S3Error."""
        form = read_form(request.body, request.header("Content-Type") or "")
        fields = form.fields
        assert request.authenticate_form is not None
        request.authenticate_form(fields)
        if "policy" in fields:
            policy = parse_policy(fields["policy"])
            policy.check(fields, request.bucket, self._now())
            form.file.limit(policy.length_min, policy.length_max)
        if not fields.get("key"):
            reason = "Bucket POST must contain a field named 'key', before the file"
            raise S3Error("InvalidArgument", reason, ArgumentName="key", ArgumentValue="")
        take_fields(request.environ, fields)
        request.key, request.input = checked_key(fields["key"]), form.file
        self._authorizer.authorize(request, Operation.PUT_OBJECT)
        return _told(request, fields, self._put(request))


def take_fields(environ: Environ, fields: Mapping[str, str]) -> None:
    """Put the fields in the place of the request's own headers, which nobody has signed. Raises S3Error."""
    for variable in [variable for variable in environ if _HEADERS.match(variable)]:
        del environ[variable]
    environ.pop(UNDERSCORED, None)
    for name, value in fields.items():
        if name == "acl":
            _set(environ, "x-amz-acl", value)
        elif name == "tagging":
            _set(environ, "x-amz-tagging", _tagging(value))
        elif name in _PLAIN or (name.startswith("x-amz-") and not _NO_HEADERS.fullmatch(name)):
            _set(environ, name, value)


def _set(environ: Environ, name: str, value: str) -> None:
    if not _HEADER_NAME.fullmatch(name):
        raise S3Error("InvalidArgument", "A field is no header", ArgumentName="name", ArgumentValue=name)
    if _CONTROLS.search(value):
        raise S3Error("InvalidArgument", "A field holds a control character", ArgumentName=name, ArgumentValue=value)
    set_client_header(environ, name, value)


def _tagging(text: str) -> str:
    """The document of a form's tags, as the header that means the same."""
    return stored_tags(received_tags(parsed(text.encode(), "Tagging"), TAGS_MAX))


def _told(request: S3Request, fields: Mapping[str, str], stored: Response) -> Response:
    """The answer that the form asks for."""
    etag, environ = stored.headers["ETag"], request.environ
    bucket_path = request.raw_path.rstrip("/")  # of a host that names the bucket, none
    place = f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}{bucket_path}"
    location = f"{place}/{quote(request.key, safe='/~')}"
    redirect = fields.get("success_action_redirect") or fields.get("redirect")
    if redirect and not _CONTROLS.search(redirect) and redirect.isascii():
        query = urlencode({"bucket": request.bucket, "key": request.key, "etag": etag})
        stored.headers["Location"] = f"{redirect}{'&' if '?' in redirect else '?'}{query}"
        return Response(303, stored.headers)
    stored.headers["Location"] = location
    status = fields.get("success_action_status")
    if status != "201":
        return Response(200 if status == "200" else 204, stored.headers)
    root = Element("PostResponse")
    for name, value in (("Location", location), ("Bucket", request.bucket), ("Key", request.key), ("ETag", etag)):
        root.add(name, value)
    return Response(201, {**stored.headers, "Content-Type": "application/xml"}, document(root))
