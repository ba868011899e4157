"""Buckets: listed, made and deleted; where they are, whether they keep versions, and their access lists."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final

from objstore.headers import Client
from objstore.http.messages import Response
from objstore.paths import ResourcePath
from objstore.policies import Policy
from objstore.proxy.auth import grants as auth
from objstore.proxy.auth.grants import Grants, SwiftLists, to_swift
from objstore.proxy.core.accounts import GetAccount
from objstore.proxy.core.containers import GetContainer, PutContainer, WriteContainer
from objstore.proxy.core.errors import ContainerNotFound, CoreError
from objstore.proxy.core.info import LOCKABLE, OBJECT_LOCK, VERSIONS_ENABLED, ContainerInfo
from objstore.proxy.core.listing import ListedContainer, ListingQuery
from objstore.proxy.s3.access import ACL, ENFORCED, OWNERSHIP, effective_grants
from objstore.proxy.s3.acl import add_owner, grants_element, received_grants, requested_grants
from objstore.proxy.s3.buckets import Bucket, check_new_name
from objstore.proxy.s3.context import S3Context
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.checksums import check_setting
from objstore.proxy.s3.object_lock import check_lockable
from objstore.proxy.s3.request import S3Request, parsed
from objstore.proxy.s3.settings_table import OWNERSHIPS, TAGGING, ownership_document
from objstore.proxy.s3.storage_classes import ClassPolicies
from objstore.proxy.s3.tags import BUCKET_TAGS_MAX, checked_tags, tagging_element
from objstore.proxy.s3.xml import NAMESPACE, Element, MalformedDocument, ReceivedElement, document

XML_TYPE: Final = "application/xml"
LISTED_MAX: Final = 10_000
# The region whose name is not said where a bucket is, and whose buckets may be made again by their owner.
FIRST_REGION: Final = "us-east-1"
REGION_HEADER: Final = "x-amz-bucket-region"
_VERSIONING: Final = {"enabled": "Enabled", "suspended": "Suspended"}
_VERSIONS_ENABLED: Final = {"Enabled": "true", "Suspended": "false"}


def xml_response(root: Element, headers: dict[str, str] | None = None) -> Response:
    """200 with a document."""
    return Response(200, {Client.CONTENT_TYPE: XML_TYPE, **(headers or {})}, document(root, NAMESPACE))


class BucketHandler:
    def __init__(self, context: S3Context) -> None:
        proxy = context.proxy
        self._accounts: Final = proxy.accounts
        self._containers: Final = proxy.containers
        self._lookup: Final = proxy.lookup
        self._clock: Final = proxy.runtime.clock
        self._policies: Final = proxy.cluster.policies
        self._region: Final = proxy.config.s3.region
        self._classes: Final = ClassPolicies(proxy.config.s3, proxy.cluster.policies)
        self._keeps_versions: Final = proxy.config.objects.allow_object_versioning
        self._registry: Final = context.buckets.registry
        self._settings: Final = context.settings
        self._authorizer: Final = context.authorizer

    def list_all(self, request: S3Request) -> Response:
        """200: the buckets of the sender's account; in pages if it asks for them."""
        params, account = request.params, _account(request)
        limit, marker = _limit(params.get("max-buckets")), _marker(params.get("continuation-token"))
        prefix = params.get("prefix", "")
        query = ListingQuery(limit=str(limit), marker=marker, prefix=prefix)
        found = self._accounts.list(
            GetAccount(ResourcePath(account), query, newest=True, transaction_id=request.transaction_id)
        )
        names = [each for each in found if isinstance(each, ListedContainer)]
        if params.get("bucket-region", self._region) != self._region:
            names = []
        root = Element("ListAllMyBucketsResult")
        add_owner(root, account)
        listed = root.add("Buckets")
        for each in names:
            bucket = listed.add("Bucket")
            bucket.add("Name", each.name)
            bucket.add("CreationDate", f"{each.last_modified[:19]}.000Z")
            bucket.add("BucketRegion", self._region)
            bucket.add("BucketArn", f"arn:aws:s3:::{each.name}")
        if len(names) == limit:
            root.add("ContinuationToken", urlsafe_b64encode(names[-1].name.encode()).decode())
        if prefix:
            root.add("Prefix", prefix)
        return xml_response(root)

    def create(self, request: S3Request) -> Response:
        """200, 409 BucketAlreadyExists, BucketAlreadyOwnedByYou."""
        account, name = _account(request), request.bucket
        path = ResourcePath(account, name)
        changes, lists, policy = self._wanted(request, account)
        locked = self._lock_wanted(request, policy or self._policies.default)
        known = self._container(path, request.transaction_id)
        if known is not None:
            if (locked and not known.is_lockable) or (policy and policy.index != known.policy_index):
                raise S3Error("BucketAlreadyOwnedByYou", BucketName=name)
            return self._made_again(request, Bucket(path, known), changes, lists)
        check_new_name(name)
        self._registry.claim(name, account, request.transaction_id)
        claim = self._registry.held(name, account, request.transaction_id)
        command = PutContainer(
            path,
            self._clock.timestamp(),
            sysmeta=self._settings.encoded(path, changes, request.transaction_id) | locked,
            write_acl=lists.write or None,
            policy_index=None if policy is None else policy.index,
            transaction_id=request.transaction_id,
        )
        try:
            self._containers.put(command)
        except CoreError:
            self._registry.release(name, claim, request.transaction_id)
            raise
        return Response(200, {Client.LOCATION: f"/{name}", "x-amz-bucket-arn": f"arn:aws:s3:::{name}"})

    def _made_again(
        self, request: S3Request, bucket: Bucket, changes: dict[str, bytes | None], lists: SwiftLists
    ) -> Response:
        """What its owner has is made again in the first region, with the access lists that are asked for now."""
        if self._region != FIRST_REGION:
            raise S3Error("BucketAlreadyOwnedByYou", BucketName=bucket.name)
        self._settings.write(
            bucket,
            {ACL: changes.get(ACL)},
            request.transaction_id,
            read_acl="",
            write_acl=lists.write,
        )
        return Response(200, {Client.LOCATION: f"/{bucket.name}", "x-amz-bucket-arn": f"arn:aws:s3:::{bucket.name}"})

    def _wanted(self, request: S3Request, account: str) -> tuple[dict[str, bytes | None], SwiftLists, Policy | None]:
        """The settings of a new bucket, its lists in the Swift API, and its policy if one is named. Raises S3Error."""
        changes: dict[str, bytes | None] = {}
        environ = request.environ
        if environ.get("HTTP_X_AMZ_BUCKET_NAMESPACE", "global") != "global":
            raise S3Error("NotImplemented", Header="x-amz-bucket-namespace")
        ownership = environ.get("HTTP_X_AMZ_OBJECT_OWNERSHIP")
        if ownership is not None:
            if ownership not in OWNERSHIPS:
                raise S3Error("InvalidArgument", ArgumentName="x-amz-object-ownership", ArgumentValue=ownership)
            changes[OWNERSHIP] = ownership_document(ownership)
        lists = SwiftLists("", "")
        grants = requested_grants(environ, account)
        if grants is not None:
            if ownership == ENFORCED and any(each.grantee != account for each in grants.grants):
                raise S3Error("InvalidBucketAclWithObjectOwnership")
            kept, lists = to_swift(grants, lists)
            changes[ACL] = auth.encoded(kept).encode()
        content, policy = request.content(), None
        if content:
            tags, policy = self._configuration(parsed(content, "CreateBucketConfiguration"))
            if tags:
                changes[TAGGING] = document(tagging_element(tags), NAMESPACE)
        return changes, lists, policy

    def _lock_wanted(self, request: S3Request, policy: Policy) -> dict[str, str]:
        """The system metadata of a new bucket whose versions can be locked. Raises S3Error."""
        if (request.header("x-amz-bucket-object-lock-enabled") or "false").lower() != "true":
            return {}
        if not self._keeps_versions:
            raise S3Error("NotImplemented", "This store keeps no versions")
        check_lockable(policy.is_strong)
        return {VERSIONS_ENABLED: "true", OBJECT_LOCK: LOCKABLE}

    def _configuration(self, root: ReceivedElement) -> tuple[dict[str, str], Policy | None]:
        """The tags and the policy of a new bucket.

        Raises S3Error InvalidLocationConstraint, MalformedXML, NotImplemented.
        """
        try:
            if root.find("Location") is not None or root.find("Bucket") is not None:
                raise S3Error("NotImplemented", "There are no directory buckets")
            location, tags = root.value("LocationConstraint"), root.find("Tags")
            policy = self._classes.of_location(location) if location else None
            pairs = [] if tags is None else [(tag.needed("Key"), tag.needed("Value")) for tag in tags]
        except MalformedDocument as error:
            raise S3Error("MalformedXML", str(error)) from None
        return checked_tags(pairs, BUCKET_TAGS_MAX), policy

    def _container(self, path: ResourcePath, transaction_id: str) -> ContainerInfo | None:
        try:
            return self._containers.head(GetContainer(path, newest=True, transaction_id=transaction_id))
        except ContainerNotFound:
            return None

    def head(self, request: S3Request) -> Response:
        """200."""
        name = request.container.name
        return Response(200, {REGION_HEADER: self._region, "x-amz-bucket-arn": f"arn:aws:s3:::{name}"})

    def delete(self, request: S3Request) -> Response:
        """204, 409 BucketNotEmpty."""
        bucket, identifier = request.container, request.transaction_id
        claim = self._registry.held(bucket.name, bucket.owner, identifier)
        self._containers.delete(WriteContainer(bucket.path, self._clock.timestamp(), transaction_id=identifier))
        self._settings.forget_long(bucket, self._settings.names_of(bucket), identifier)
        self._registry.release(bucket.name, claim, identifier)
        return Response(204)

    def location(self, _request: S3Request) -> Response:
        """200."""
        return xml_response(Element("LocationConstraint", "" if self._region == FIRST_REGION else self._region))

    def versioning(self, request: S3Request) -> Response:
        """200: an empty document unless it was set once."""
        root = Element("VersioningConfiguration")
        state = request.container.info.versioning
        if state:
            root.add("Status", _VERSIONING[state])
        return xml_response(root)

    def put_versioning(self, request: S3Request) -> Response:
        """200, 409 InvalidBucketState."""
        content = request.content()
        check_setting(request, content)
        root = parsed(content, "VersioningConfiguration")
        try:
            status, mfa_delete = root.value("Status"), root.value("MfaDelete")
        except MalformedDocument as error:
            raise S3Error("MalformedXML", str(error)) from None
        if mfa_delete == "Enabled":
            raise S3Error("NotImplemented", "MfaDelete is not implemented")
        if status not in _VERSIONS_ENABLED:
            raise S3Error("MalformedXML" if status is not None else "IllegalVersioningConfigurationException")
        bucket = request.container
        info = self._containers.head(GetContainer(bucket.path, newest=True, transaction_id=request.transaction_id))
        if info.is_lockable and status != "Enabled":
            reason = (
                "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed."
            )
            raise S3Error("InvalidBucketState", reason)
        if status == "Enabled":
            if not self._keeps_versions:
                raise S3Error("NotImplemented", "This store keeps no versions")
            if info.sync_to or info.sysmeta.get("Versions-Location"):
                raise S3Error("InvalidBucketState", "The Swift API has synchronization or older versions set here")
        command = WriteContainer(
            bucket.path,
            self._clock.timestamp(),
            sysmeta={VERSIONS_ENABLED: _VERSIONS_ENABLED[status]},
            transaction_id=request.transaction_id,
        )
        self._containers.post(command)
        return Response(200)

    def acl(self, request: S3Request) -> Response:
        """200: the grants that are in force."""
        bucket, identifier = request.container, request.transaction_id
        if self._authorizer.ownership(bucket, identifier) == ENFORCED:
            return xml_response(grants_element(auth.private(bucket.owner)))
        grants = effective_grants(self._authorizer.grants(bucket, identifier), bucket)
        if self._authorizer.public_access(bucket, identifier).ignore_acls:
            grants = grants.without_public()
        return xml_response(grants_element(grants))

    def put_acl(self, request: S3Request) -> Response:
        """200, 400 AccessControlListNotSupported."""
        bucket, identifier = request.container, request.transaction_id
        grants = grants_of_request(request, bucket.owner)
        self._authorizer.check_grants(bucket, grants, identifier)
        kept, lists = to_swift(grants, SwiftLists(bucket.info.read_acl or "", bucket.info.write_acl or ""))
        self._settings.write(
            bucket,
            {ACL: auth.encoded(kept).encode()},
            identifier,
            read_acl=lists.read,
            write_acl=lists.write,
        )
        return Response(200)


def grants_of_request(request: S3Request, owner: str, bucket_owner: str = "") -> Grants:
    """The grants that a PUT of an access list brings: in its headers or its body, and not in both. Raises S3Error."""
    grants, content = requested_grants(request.environ, owner, bucket_owner), request.content()
    if (grants is None) is not bool(content):
        if content:
            raise S3Error("UnexpectedContent", "This request does not support content")
        raise S3Error("MissingSecurityHeader", "An access list is needed", MissingHeaderName="x-amz-acl")
    if grants is not None:
        return grants
    check_setting(request, content)
    return received_grants(parsed(content, "AccessControlPolicy"), owner)


def _account(request: S3Request) -> str:
    """That of the sender, whom the authorization knows."""
    identity: Any = request.identity
    account: str = identity.account
    return account


def _limit(text: str | None) -> int:
    """Raises S3Error InvalidArgument."""
    if text is None:
        return LISTED_MAX
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= LISTED_MAX):
        raise S3Error("InvalidArgument", ArgumentName="max-buckets", ArgumentValue=text)
    return int(text)


def _marker(token: str | None) -> str | None:
    """The name behind which a page begins. Raises S3Error InvalidArgument."""
    if token is None:
        return None
    try:
        return urlsafe_b64decode(token.encode()).decode()
    except ValueError:
        raise S3Error("InvalidArgument", ArgumentName="continuation-token") from None
