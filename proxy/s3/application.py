"""The S3 API: each request passes through the stages of `S3Application` and ends in the handler of its operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from objstore.http.messages import Environ, Response, StartResponse
from objstore.proxy.access_log import AccessLog
from objstore.proxy.core.errors import ObjectNotFound
from objstore.proxy.s3 import errors
from objstore.proxy.s3.access import Authorizer
from objstore.proxy.s3.authentication import RequestAuthentication, check_coding
from objstore.proxy.s3.buckets import Buckets
from objstore.proxy.s3.context import S3Context
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.attributes import AttributesHandler
from objstore.proxy.s3.handlers.bucket_encryption import BucketEncryptionHandler
from objstore.proxy.s3.handlers.buckets import REGION_HEADER, BucketHandler
from objstore.proxy.s3.handlers.copying import CopySources, S3CopyHandler
from objstore.proxy.s3.handlers.deletions import DeletionHandler, ObjectDeleter
from objstore.proxy.s3.handlers.events import POSTED, EventStage
from objstore.proxy.s3.handlers.forms import FormHandler
from objstore.proxy.s3.handlers.listings import ListingHandler
from objstore.proxy.s3.handlers.log_delivery import LogDelivery
from objstore.proxy.s3.handlers.multipart import MultipartHandler
from objstore.proxy.s3.handlers.object_acl import ObjectAclHandler
from objstore.proxy.s3.handlers.object_lock import ObjectLockHandler
from objstore.proxy.s3.handlers.objects import S3ObjectHandler
from objstore.proxy.s3.handlers.reading import ObjectReader
from objstore.proxy.s3.handlers.settings import NO_GUARDS, CorsStage, Guard, SettingsHandler
from objstore.proxy.s3.handlers.tagging import TaggingHandler
from objstore.proxy.s3.handlers.upload_listings import UploadListings
from objstore.proxy.s3.handlers.website import WebsiteEndpoint
from objstore.proxy.s3.handlers.writing import ObjectWriter
from objstore.proxy.s3.iam.service import IdentityService
from objstore.proxy.s3.lifecycle.headers import LifecycleHeaders
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.query import QueryApplication, service_of
from objstore.proxy.s3.request import S3Request
from objstore.proxy.s3.settings import BucketSettings
from objstore.proxy.s3.settings_table import LOGGING, NOTIFICATION
from objstore.proxy.s3.sts import TokenService
from objstore.proxy.s3.website import error_page
from objstore.proxy.shared_users import users_of

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

# Clients learn from a refusal where a bucket is, and try again there.
_TELL_REGION: Final = frozenset({301, 400, 403})
Handler = Callable[[S3Request], Response]


class S3Application:
    """The far side of `Front`: serves the S3 API."""

    def __init__(self, context: ProxyContext) -> None:
        config, runtime = context.config, context.runtime
        self._domains: Final = config.s3.domains
        self._website_domains: Final = config.s3.website_domains
        self._region: Final = config.s3.region
        self._access_log = AccessLog(context) if config.metrics.wanted or config.log.has_access_lines else None
        self._log, self._now, self._random = runtime.log, runtime.clock.now, runtime.random
        self._monotonic: Final = runtime.clock.monotonic
        self._suffix: Final = quote(config.transaction_suffix)
        self._authentication: Final = RequestAuthentication(context)
        buckets, settings = Buckets(context), BucketSettings(context)
        self._authorizer: Final = Authorizer(context, buckets, settings)
        given = S3Context(context, buckets, settings, self._authorizer)
        self._cors: Final = CorsStage(given)
        self._log_delivery: Final = LogDelivery(given)
        self.observe: Final = self._log_delivery.expect_other
        self._handlers: Final = handlers(given, {LOGGING: self._log_delivery.check})
        self._website: Final = WebsiteEndpoint(given, self._handlers)
        self._query: Final = QueryApplication(
            self._authentication,
            {
                "sts": TokenService(self._authentication).actions(),
                "iam": IdentityService(config.auth, users_of(context), runtime).actions(),
            },
        )

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        request = S3Request(environ)
        return self.answer(request)(environ, start_response)

    def answer(self, request: S3Request) -> Response:
        """The response to a request, whatever happens; it is logged once it has been sent."""
        begun, method = self._monotonic(), request.method
        response = self._guarded(request)
        self._log_delivery.expect(request, response, begun)
        if self._access_log is not None:
            self._access_log.expect(request, response, method, request.raw_path, begun)
        return response

    def _guarded(self, request: S3Request) -> Response:
        """Errors become answers; every answer carries the id under which the log speaks of the request."""
        identifier = f"tx{self._random.getrandbits(84):021x}-{int(self._now()):010x}{self._suffix}"
        request.transaction_id = identifier
        try:
            response = self._served(request)
        except Exception as error:
            if not errors.is_foreseen(error):
                path = request.raw_path
                self._log.exception("unforeseen error", trans_id=identifier, method=request.method, path=path)
            request.error_code = errors.refusal_of(error).code
            answer = error_page if request.is_website else errors.answer_to
            response = answer(error, request.resource, identifier)
            if request.method == "HEAD":
                response.body = b""
            if request.operation is Operation.HEAD_BUCKET and response.status in _TELL_REGION:
                response.headers[REGION_HEADER] = self._region
        if "HTTP_ORIGIN" in request.environ and request.bucket and request.method != "OPTIONS":
            self._mark(request, response)
        headers = response.headers
        headers["x-amz-request-id"] = headers["x-amz-id-2"] = headers["X-Trans-Id"] = identifier
        return response

    def _served(self, request: S3Request) -> Response:
        request.read(self._domains, self._website_domains)
        if request.method == "OPTIONS":
            return self._cors.preflight(request)
        if request.is_website:
            return self._website.serve(request)
        if service := service_of(request.environ):
            return self._query.answer(request, service)
        self._authentication.authenticate(request)
        request.find_operation()
        check_coding(request)
        operation = request.operation
        if operation is None:
            raise S3Error("NotImplemented")
        if operation is not Operation.POST_OBJECT:  # which only its fields say who has signed
            self._authorizer.authorize(request, operation)
        handler = self._handlers.get(operation)
        if handler is None:
            raise S3Error("NotImplemented", f"{operation} is not implemented by this store", Operation=operation)
        try:
            response = handler(request)
        except ObjectNotFound:
            if self._authorizer.conceal(request):
                raise S3Error("AccessDenied") from None
            raise
        if request.is_charged:
            response.headers["x-amz-request-charged"] = "requester"
        return response

    def _mark(self, request: S3Request, response: Response) -> None:
        """Scripts of other sites read the answer if the bucket says so; what goes wrong here changes no answer."""
        try:
            self._cors.mark(request, response)
        except Exception as error:
            if not errors.is_foreseen(error):
                self._log.exception("unforeseen error", trans_id=request.transaction_id, path=request.raw_path)


def handlers(context: S3Context, guards: Mapping[str, Guard] = NO_GUARDS) -> Mapping[Operation, Handler]:
    """What carries each operation out; those that are missing are not implemented. guards: of settings."""
    events = EventStage(context)
    buckets, settings = BucketHandler(context), SettingsHandler(context, {NOTIFICATION: events.check, **guards})
    listings = ListingHandler(context)
    proxy, authorizer = context.proxy, context.authorizer
    reader, writer, deleter = ObjectReader(proxy, authorizer), ObjectWriter(proxy, authorizer), ObjectDeleter(proxy)
    sources, uploads = CopySources(proxy, authorizer, reader), UploadListings(proxy, authorizer)
    lifecycle = LifecycleHeaders(context.settings)
    objects = S3ObjectHandler(proxy, authorizer, reader, writer, deleter, lifecycle)
    found: dict[Operation, Handler] = {
        **objects.handlers(),
        Operation.POST_OBJECT: FormHandler(
            authorizer, events.around(POSTED, objects.put), proxy.runtime.clock.now
        ).post,
        **TaggingHandler(proxy, authorizer, reader).handlers(),
        **ObjectAclHandler(context, reader).handlers(),
        **ObjectLockHandler(context, reader).handlers(),
        **MultipartHandler(proxy, authorizer, sources, writer, lifecycle).handlers(),
        Operation.COPY_OBJECT: S3CopyHandler(authorizer, sources, writer, lifecycle),
        Operation.DELETE_OBJECTS: DeletionHandler(authorizer, deleter, events),
        Operation.LIST_MULTIPART_UPLOADS: uploads.uploads,
        Operation.LIST_PARTS: uploads.parts,
        Operation.GET_OBJECT_ATTRIBUTES: AttributesHandler(authorizer, reader),
        **{operation: getattr(settings, name) for operation, name in settings.operations().items()},
        **BucketEncryptionHandler(context).handlers(),
        Operation.LIST_BUCKETS: buckets.list_all,
        Operation.CREATE_BUCKET: buckets.create,
        Operation.HEAD_BUCKET: buckets.head,
        Operation.DELETE_BUCKET: buckets.delete,
        Operation.GET_BUCKET_LOCATION: buckets.location,
        Operation.GET_BUCKET_VERSIONING: buckets.versioning,
        Operation.PUT_BUCKET_VERSIONING: buckets.put_versioning,
        Operation.GET_BUCKET_ACL: buckets.acl,
        Operation.PUT_BUCKET_ACL: buckets.put_acl,
        Operation.GET_BUCKET_POLICY: settings.policy,
        Operation.GET_BUCKET_POLICY_STATUS: settings.policy_status,
        Operation.PUT_BUCKET_POLICY: settings.put_policy,
        Operation.DELETE_BUCKET_POLICY: settings.delete_policy,
        Operation.LIST_OBJECTS: listings.objects,
        Operation.LIST_OBJECTS_V2: listings.objects_v2,
        Operation.LIST_OBJECT_VERSIONS: listings.versions,
    }
    return events.around_all(found)
