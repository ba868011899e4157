"""What a bucket's website answers: documents, redirects, and errors as pages. Nobody signs in there."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Final

from objstore.http.messages import Response
from objstore.proxy.core.errors import ObjectNotFound
from objstore.proxy.core.objects import GetObject
from objstore.proxy.s3.errors import S3Error, is_foreseen, refusal_of
from objstore.proxy.s3.handlers.metadata import object_headers
from objstore.proxy.s3.handlers.reading import ObjectReader
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.settings_table import WEBSITE
from objstore.proxy.s3.website import Redirect, RoutingRule, Website, redirection, website_of

if TYPE_CHECKING:
    from objstore.proxy.s3.application import Handler
    from objstore.proxy.s3.context import S3Context
    from objstore.proxy.s3.request import S3Request

_METHODS: Final = {"GET": Operation.GET_OBJECT, "HEAD": Operation.HEAD_OBJECT}
_REDIRECT_HEADER: Final = "x-amz-website-redirect-location"
_FOUND: Final = Redirect(status=302)


class WebsiteEndpoint:
    """Serves what everybody may read of buckets that are websites."""

    def __init__(self, context: S3Context, handlers: Mapping[Operation, Handler]) -> None:
        self._buckets: Final = context.buckets
        self._settings: Final = context.settings
        self._authorizer: Final = context.authorizer
        self._handlers: Final = handlers
        self._reader: Final = ObjectReader(context.proxy, context.authorizer)

    def serve(self, request: S3Request) -> Response:
        """A document, or where it is; an error document under the error's status. Raises S3Error, CoreError."""
        operation = request.operation = _METHODS.get(request.method)
        if operation is None:
            raise S3Error("MethodNotAllowed", headers={"Allow": "GET, HEAD, OPTIONS"}, Method=request.method)
        asked, request.params = request.key, {}
        site = self._site(request)
        if site.redirect_all is not None:
            return _sent_on(request, site.redirect_all, asked)
        if (rule := site.rule_for(asked, None)) is not None:
            return _by_rule(request, rule, asked)
        try:
            return self._document(request, operation, site, asked)
        except Exception as error:
            if not is_foreseen(error):
                raise
            status = refusal_of(error).status
            if (rule := site.rule_for(asked, status)) is not None:
                return _by_rule(request, rule, asked)
            page = self._error_document(request, site, status) if status < 500 else None
            if page is None:
                raise
            return page

    def _site(self, request: S3Request) -> Website:
        bucket = request.found = self._buckets.find(request.bucket, None, request.transaction_id)
        stored = self._settings.read(bucket, WEBSITE, request.transaction_id)
        if stored is None:
            raise S3Error("NoSuchWebsiteConfiguration", BucketName=request.bucket)
        return website_of(stored)

    def _document(self, request: S3Request, operation: Operation, site: Website, asked: str) -> Response:
        request.key = site.document_of(asked)
        self._authorizer.authorize(request, operation)
        try:
            response = self._handlers[operation](request)
        except ObjectNotFound:
            if asked == request.key and self._is_folder(request, operation, site):
                return _sent_on(request, _FOUND, f"{asked}/")
            if self._authorizer.conceal(request):
                raise S3Error("AccessDenied") from None
            raise
        location = response.headers.get(_REDIRECT_HEADER)
        if location is None:
            return response
        response.close()
        return redirection(301, location)

    def _is_folder(self, request: S3Request, operation: Operation, site: Website) -> bool:
        """Whether everybody may read the index document below a key."""
        key, request.key = request.key, f"{request.key}/{site.index}"
        try:
            self._authorizer.authorize(request, operation)
            self._reader.head(request, self._command(request))
        except (S3Error, ObjectNotFound):
            return False
        finally:
            request.key = key
        return True

    def _error_document(self, request: S3Request, site: Website, status: int) -> Response | None:
        """None if there is none, or not everybody may read it."""
        if not site.error_key:
            return None
        request.key = site.error_key
        try:
            self._authorizer.authorize(request, Operation.GET_OBJECT)
            reading = self._reader.open(request, self._command(request))
        except Exception as error:
            if not is_foreseen(error):
                raise
            return None
        opened = reading.opened
        headers = object_headers(opened.info)
        if request.method == "GET":
            return Response(status, headers, opened.body)
        with closing(opened):
            headers["Content-Length"] = str(opened.length)
        return Response(status, headers)

    def _command(self, request: S3Request) -> GetObject:
        place = self._authorizer.place(request)
        return GetObject(place.path, place.container.policy_index, transaction_id=request.transaction_id)


def _by_rule(request: S3Request, rule: RoutingRule, asked: str) -> Response:
    return _sent_on(request, rule.redirect, asked, rule.prefix)


def _sent_on(request: S3Request, redirect: Redirect, asked: str, matched: str = "") -> Response:
    environ = request.environ
    query = environ.get("QUERY_STRING", "")
    location = redirect.location(
        environ["wsgi.url_scheme"], environ.get("HTTP_HOST", ""), asked, matched, f"?{query}" if query else ""
    )
    return redirection(redirect.status, location)
