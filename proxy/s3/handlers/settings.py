"""Settings of buckets: read, written and removed alike, by the table of settings; and policies, which are JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from objstore.headers import Client
from objstore.http.messages import Response
from objstore.proxy.auth.policy import POLICY_BYTES_MAX, MalformedAccessPolicy, bucket_policy
from objstore.proxy.s3.access import ENFORCED, OWNERSHIP, POLICY, effective_grants, is_enforced
from objstore.proxy.s3.buckets import Bucket
from objstore.proxy.s3.context import S3Context
from objstore.proxy.s3.cors import CorsRule, cors_headers, parse_cors, rule_for
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.buckets import XML_TYPE, xml_response
from objstore.proxy.s3.handlers.checksums import check_setting
from objstore.proxy.s3.lifecycle.entries import LifecycleEntries
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.request import S3Request, parsed
from objstore.proxy.s3.settings import DOCUMENT_BYTES_MAX
from objstore.proxy.s3.settings_table import CORS, ECHOED, LIFECYCLE, by_operation
from objstore.proxy.s3.xml import NAMESPACE, Element, MalformedDocument, document, parse

# Given the request, its bucket and the document, raises what keeps it from being stored.
Guard = Callable[[S3Request, Bucket, bytes], None]
NO_GUARDS: Final[Mapping[str, Guard]] = {}


class SettingsHandler:
    def __init__(self, context: S3Context, guards: Mapping[str, Guard] = NO_GUARDS) -> None:
        """`guards`: by the name of a setting, who else has a say before it is stored."""
        self._guards: Final = {OWNERSHIP: self._check_unshared, LIFECYCLE: self._note_lifecycle, **guards}
        self._settings: Final = context.settings
        self._authorizer: Final = context.authorizer
        self._lifecycle: Final = LifecycleEntries(context.proxy)
        self._registry: Final = context.buckets.registry
        self._by_get: Final = by_operation("get")
        self._by_put: Final = by_operation("put")
        self._by_delete: Final = by_operation("delete")

    def operations(self) -> Mapping[Operation, str]:
        """Every operation of the table, by the name of the method that carries it out."""
        return {
            **dict.fromkeys(self._by_get, "get"),
            **dict.fromkeys(self._by_put, "put"),
            **dict.fromkeys(self._by_delete, "delete"),
        }

    def get(self, request: S3Request) -> Response:
        """200: what is set, or what stands for nothing."""
        setting = self._by_get[_operation(request)]
        stored = self._settings.read(request.container, setting.name, request.transaction_id)
        if stored is not None:
            headers = {Client.CONTENT_TYPE: XML_TYPE}
            if setting.echoed is not None:
                value = self._settings.read(request.container, setting.name + ECHOED, request.transaction_id)
                headers[setting.echoed.header] = (value or b"").decode() or setting.echoed.values[0]
            return Response(200, headers, stored)
        if isinstance(setting.absent, str):
            raise S3Error(setting.absent, BucketName=request.bucket)
        return xml_response(setting.absent)

    def put(self, request: S3Request) -> Response:
        """200 or 204."""
        setting, bucket = self._by_put[_operation(request)], request.container
        content = request.content(DOCUMENT_BYTES_MAX)
        check_setting(request, content)
        received = parsed(content, setting.root)
        assert setting.check is not None
        try:
            checked = document(setting.check(received), NAMESPACE)
        except MalformedDocument as error:
            raise S3Error("MalformedXML", str(error)) from None
        if (guard := self._guards.get(setting.name)) is not None:
            guard(request, bucket, checked)
        if setting.shared:
            self._registry.claim(bucket.name, bucket.owner, request.transaction_id)
        changes: dict[str, bytes | None] = {setting.name: checked}
        echoed = {}
        if setting.echoed is not None:
            echoed = {setting.echoed.header: setting.echoed.given(request.header(setting.echoed.header))}
            changes[setting.name + ECHOED] = echoed[setting.echoed.header].encode()
        self._settings.write(bucket, changes, request.transaction_id)
        return Response(setting.put_status, echoed)

    def delete(self, request: S3Request) -> Response:
        """204."""
        setting, bucket = self._by_delete[_operation(request)], request.container
        if setting.name:
            echoed = {} if setting.echoed is None else {setting.name + ECHOED: None}
            self._settings.write(bucket, {setting.name: None, **echoed}, request.transaction_id)
        return Response(204)

    def _check_unshared(self, request: S3Request, bucket: Bucket, document: bytes) -> None:
        """An owner who enforces to have all to himself has to take back what is granted. Raises S3Error."""
        if not is_enforced(document):
            return
        grants = effective_grants(self._authorizer.grants(bucket, request.transaction_id), bucket)
        if any(each.grantee != bucket.owner for each in grants.grants):
            raise S3Error("InvalidBucketAclWithObjectOwnership", f"Bucket cannot have ACLs set with {ENFORCED}")

    def _note_lifecycle(self, request: S3Request, bucket: Bucket, _document: bytes) -> None:
        """Before there are rules, the daemon knows of the bucket. Raises CoreError."""
        self._lifecycle.note(bucket.path, request.transaction_id)

    def policy(self, request: S3Request) -> Response:
        """200: the policy, as it was given."""
        return Response(200, {Client.CONTENT_TYPE: "application/json"}, self._stored_policy(request))

    def policy_status(self, request: S3Request) -> Response:
        """200: whether the policy is public."""
        policy = bucket_policy(self._stored_policy(request).decode(), request.container.name)
        root = Element("PolicyStatus")
        root.add("IsPublic", str(policy.is_public).lower())
        return xml_response(root)

    def put_policy(self, request: S3Request) -> Response:
        """204, 400 MalformedPolicy, 405 for users of other accounts."""
        bucket, identifier = request.container, request.transaction_id
        self._check_own(request, bucket)
        content = request.content(4 * POLICY_BYTES_MAX)
        check_setting(request, content)
        try:
            policy = bucket_policy(content.decode(), bucket.name)
        except MalformedAccessPolicy as error:
            raise S3Error("MalformedPolicy", str(error)) from None
        except UnicodeDecodeError:
            raise S3Error("MalformedPolicy", "Policies are UTF-8") from None
        if policy.is_public and self._authorizer.public_access(bucket, identifier).block_policy:
            raise S3Error("AccessDenied", "Public policies are blocked")
        self._registry.claim(bucket.name, bucket.owner, identifier)
        self._settings.write(bucket, {POLICY: content}, identifier)
        return Response(204)

    def delete_policy(self, request: S3Request) -> Response:
        """204."""
        self._check_own(request, request.container)
        self._settings.write(request.container, {POLICY: None}, request.transaction_id)
        return Response(204)

    def _stored_policy(self, request: S3Request) -> bytes:
        self._check_own(request, request.container)
        stored = self._settings.read(request.container, POLICY, request.transaction_id)
        if stored is None:
            raise S3Error("NoSuchBucketPolicy", BucketName=request.bucket)
        return stored

    def _check_own(self, request: S3Request, bucket: Bucket) -> None:
        """Policies are for users of the bucket's own account. Raises S3Error MethodNotAllowed."""
        identity = request.identity
        if identity is None or (identity.account != bucket.owner and not identity.reseller_admin):
            raise S3Error("MethodNotAllowed")


class CorsStage:
    """Answers preflights, and marks the answers to requests from other origins, errors too."""

    def __init__(self, context: S3Context) -> None:
        self._buckets: Final = context.buckets
        self._settings: Final = context.settings

    def preflight(self, request: S3Request) -> Response:
        """200, 403 AccessForbidden; before authentication, since browsers send no credentials with it."""
        origin = request.header(Client.ORIGIN)
        method = request.header(Client.ACCESS_CONTROL_REQUEST_METHOD)
        if not origin:
            raise S3Error("BadRequest", "Insufficient information. Origin request header needed.")
        if not method:
            raise S3Error("BadRequest", f"Invalid Access-Control-Request-Method: {method}")
        asked = request.header(Client.ACCESS_CONTROL_REQUEST_HEADERS) or ""
        headers = [each for header in asked.split(",") if (each := header.strip())]
        rules = self._rules(self._buckets.find(request.bucket, None, request.transaction_id), request)
        resource = "OBJECT" if request.key else "BUCKET"
        if rules is None:
            reason = "CORSResponse: CORS is not enabled for this bucket."
            raise S3Error("AccessForbidden", reason, Method=method, ResourceType=resource)
        rule = rule_for(rules, origin, method, headers)
        if rule is None:
            reason = "CORSResponse: This CORS request is not allowed: no rule of the bucket fits"
            raise S3Error("AccessForbidden", reason, Method=method, ResourceType=resource)
        return Response(200, cors_headers(rule, origin, headers))

    def mark(self, request: S3Request, response: Response) -> None:
        """Say what the script may read, if a rule of the bucket allows the request. Raises S3Error, CoreError."""
        bucket = request.found or self._buckets.find(request.bucket, request.identity, request.transaction_id)
        rules = self._rules(bucket, request)
        origin = request.header(Client.ORIGIN) or ""
        rule = rule_for(rules or (), origin, request.method)
        if rule is not None:
            response.headers.update(cors_headers(rule, origin))

    def _rules(self, bucket: Bucket, request: S3Request) -> tuple[CorsRule, ...] | None:
        stored = self._settings.read(bucket, CORS, request.transaction_id)
        return None if stored is None else _parsed_rules(stored)


@lru_cache(maxsize=256)
def _parsed_rules(stored: bytes) -> tuple[CorsRule, ...]:
    return parse_cors(parse(stored, "CORSConfiguration"))


def _operation(request: S3Request) -> Operation:
    assert request.operation is not None
    return request.operation
