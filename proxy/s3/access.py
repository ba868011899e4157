"""Who may do what with a bucket and its objects.

What a policy of the bucket, the user or the session denies is denied. Otherwise one of these is enough: the rights of
the Swift API (an account's owner and the reseller may do all, lists of accounts and containers grant the rest), the
bucket policy, a policy of the user in the own account, or an access list of S3. Public access blocks and ownership
controls take from the last two.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from objstore.headers import Sysmeta
from objstore.paths import ResourcePath
from objstore.proxy.auth.access import ADMIN, Access, Attempt, Rights
from objstore.proxy.auth.grants import Grants, Permission, SwiftLists, decoded, encoded, private, with_swift
from objstore.proxy.auth.policy import (
    ARN,
    AccessPolicy,
    Decision,
    MalformedAccessPolicy,
    PolicyRequest,
    bucket_policy,
    user_policy,
)
from objstore.proxy.core.errors import ObjectNotFound, QuorumNotReached
from objstore.proxy.core.info import ABSENT, ContainerInfo
from objstore.proxy.core.objects import GetObject
from objstore.proxy.core.versions import version_of
from objstore.proxy.s3.acl import GRANT_VARIABLES, requested_grants
from objstore.proxy.s3.actions import ACTIONS, BYPASS_GOVERNANCE, PolicyAction, Scope
from objstore.proxy.s3.buckets import Bucket, Buckets
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.policy_keys import EXISTING_TAG, existing_tags, policy_keys
from objstore.proxy.s3.public_access import PublicAccessBlock, public_access_block, requester_pays
from objstore.proxy.s3.request import S3Request
from objstore.proxy.s3.settings import BucketSettings
from objstore.proxy.s3.xml import parse

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

# Names of settings.
POLICY: Final = "Policy"
ACL: Final = "Acl"
OWNERSHIP: Final = "Ownership"
PUBLIC_ACCESS: Final = "Public-Access-Block"
REQUEST_PAYMENT: Final = "Request-Payment"
# In the metadata of objects.
OBJECT_ACL: Final = Sysmeta.S3_ACL.removeprefix(Sysmeta.OBJECT_TRANSIENT_PREFIX)
ENFORCED: Final = "BucketOwnerEnforced"
ACCESS_CONTROL_KEY: Final = "Core-Access-Control"
# An account's owner can always repair a policy that denies too much.
_OF_POLICIES: Final = frozenset({"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"})
# What lists of the Swift API grant.
_SHARED: Final = frozenset({Scope.LIST, Scope.READ, Scope.WRITE})
_READING: Final = frozenset({Scope.LIST, Scope.READ, Scope.READ_ACL})
_PERMISSIONS: Final = {
    Scope.LIST: Permission.READ,
    Scope.READ: Permission.READ,
    Scope.WRITE: Permission.WRITE,
    Scope.READ_ACL: Permission.READ_ACP,
    Scope.WRITE_ACL: Permission.WRITE_ACP,
}
# A missing object is told only to those who may list the bucket.
_TELL_MISSING: Final = frozenset({Operation.GET_OBJECT, Operation.HEAD_OBJECT, Operation.GET_OBJECT_ATTRIBUTES})
# Nobody without credentials may do these, whatever the bucket says.
_SIGNED_ONLY: Final = frozenset({Operation.CREATE_MULTIPART_UPLOAD, Operation.COPY_OBJECT, Operation.UPLOAD_PART_COPY})
# Of containers whose objects the Swift API copies elsewhere before they are replaced or deleted.
_ARCHIVE: Final = "Versions-Location"
_ARCHIVED: Final = frozenset({"PutObject", "DeleteObject"})
_LISTING: Final = PolicyAction("ListBucket", Scope.LIST)


class Place(Struct, frozen=True):
    """An object with which a client may do something, and the container in which it lies."""

    path: ResourcePath
    container: ContainerInfo


class Authorizer:
    """Decides for each request; one for each process."""

    def __init__(self, context: ProxyContext, buckets: Buckets, settings: BucketSettings) -> None:
        self._rights: Final = Rights(context.config.auth)
        self._buckets: Final = buckets
        self._settings: Final = settings
        self._lookup: Final = context.lookup
        self._objects: Final = context.objects
        self._clock: Final = context.runtime.clock

    def authorize(self, request: S3Request, operation: Operation) -> None:
        """Find the bucket of a request, and check that its sender may do this. Raises S3Error, CoreError."""
        action = ACTIONS[operation]
        if action.scope is Scope.NOBODY:
            raise S3Error("NotImplemented", f"{operation} is not implemented by this store", Operation=operation)
        if action.scope in (Scope.SERVICE, Scope.NEW_BUCKET):
            self._check_account(request, action)
            self._buckets.check_writable(request, operation, request.identity.account if request.identity else "")
            return
        if request.identity is None and operation in _SIGNED_ONLY:
            raise S3Error("AccessDenied")
        bucket = request.found = self._buckets.find(request.bucket, request.identity, request.transaction_id)
        expected = request.header("x-amz-expected-bucket-owner")
        if expected is not None and expected != bucket.owner:
            raise S3Error("AccessDenied")
        self._check_use(request, bucket, action)
        self._buckets.check_writable(request, operation, bucket.path.account)
        if action.scope is not Scope.EACH and not self.allows(
            request, bucket, action, request.key, request.params.get("versionId", "")
        ):
            raise S3Error("AccessDenied")

    def place(self, request: S3Request) -> Place:
        """The object of an authorized request."""
        return Place(request.storage_path(), request.container.info)

    def other(self, request: S3Request, operation: Operation, bucket: str, key: str, version: str = "") -> Place:
        """Another object, with which the client may do this. Raises S3Error, CoreError."""
        found = self._buckets.find(bucket, request.identity, request.transaction_id)
        self._check_use(request, found, ACTIONS[operation])
        if not self.allows(request, found, ACTIONS[operation], key, version):
            raise S3Error("AccessDenied")
        return Place(found.path.with_object(key), found.info)

    def check(
        self, request: S3Request, operation: Operation, path: ResourcePath, container: ContainerInfo, version: str = ""
    ) -> None:
        """Raises S3Error AccessDenied unless the client may do this with an object, and CoreError."""
        bucket = Bucket(path.container_path, container)
        self._check_use(request, bucket, ACTIONS[operation])
        if not self.allows(request, bucket, ACTIONS[operation], path.object, version):
            raise S3Error("AccessDenied")

    def allows(
        self, request: S3Request, bucket: Bucket, action: PolicyAction, key: str = "", version: str = ""
    ) -> bool:
        """Whether the sender may do this. Raises CoreError."""
        identity = request.identity
        own = self._own_decision(request, bucket, action, key, version)
        if own is Decision.DENY:
            return False
        if identity is not None and identity.reseller_admin:
            return True
        decision, public = self._decision(request, bucket, action, key, version)
        access = self._access(request, bucket, action, key)
        name = action.named(bool(version))
        if decision is Decision.DENY and not (access is Access.OWNER and name in _OF_POLICIES):
            return False
        if access is Access.OWNER:
            return True
        at_home = identity is not None and identity.account == bucket.owner
        if own is Decision.ALLOW and at_home:
            return True
        if (
            request.own_policies
            and own is Decision.NONE
            and not at_home
            and not (identity and ADMIN in identity.groups)
        ):
            return False  # across accounts both sides have to allow it
        if access is Access.GRANTED and action.scope in _SHARED:
            return True
        if decision is Decision.ALLOW and (
            at_home or not (public and self.public_access(bucket, request.transaction_id).restrict_buckets)
        ):
            return True
        return self._granted(request, bucket, action, key, version)

    def _check_use(self, request: S3Request, bucket: Bucket, action: PolicyAction) -> None:
        """What a bucket demands of everybody: that requesters pay, and that its archive is kept.

        Raises S3Error AccessDenied, InvalidBucketState; CoreError.
        """
        sysmeta, identity = bucket.info.sysmeta, request.identity
        if not sysmeta:
            return
        if action.name in _ARCHIVED and sysmeta.get(_ARCHIVE):
            reason = (
                "The Swift API archives what is replaced or deleted here (X-Versions-Location): write there instead"
            )
            raise S3Error("InvalidBucketState", reason)
        payment = self._settings.read(bucket, REQUEST_PAYMENT, request.transaction_id)
        if payment is None or not requester_pays(payment):
            return
        if identity is not None and (identity.account == bucket.owner or identity.reseller_admin):
            return
        said = request.header("x-amz-request-payer") or request.params.get("x-amz-request-payer", "")
        if identity is None or said.lower() != "requester":
            raise S3Error("AccessDenied", "Requester pays: x-amz-request-payer is needed, and a signature")
        request.is_charged = True

    def conceal(self, request: S3Request) -> bool:
        """Whether the sender of a request may not know that its object is missing. Raises CoreError."""
        bucket = request.found
        return bucket is not None and request.operation in _TELL_MISSING and not self.allows(request, bucket, _LISTING)

    def policy(self, bucket: Bucket, transaction_id: str) -> AccessPolicy | None:
        """The policy of a bucket. Raises CoreError."""
        text = self._settings.read(bucket, POLICY, transaction_id)
        if text is None:
            return None
        try:
            return bucket_policy(text.decode(), bucket.name)
        except MalformedAccessPolicy as error:
            # One that cannot be read could deny anything.
            raise QuorumNotReached(bucket.path) from error

    def grants(self, bucket: Bucket, transaction_id: str) -> Grants:
        """The bucket's own grants, beside those of its lists in the Swift API. Raises CoreError."""
        text = self._settings.read(bucket, ACL, transaction_id)
        return private(bucket.owner) if text is None else decoded(text.decode(), bucket.owner)

    def ownership(self, bucket: Bucket, transaction_id: str) -> str:
        """Its ownership setting, "" without one. Raises CoreError."""
        text = self._settings.read(bucket, OWNERSHIP, transaction_id)
        return "" if text is None else _ownership(text)

    def public_access(self, bucket: Bucket, transaction_id: str) -> PublicAccessBlock:
        text = self._settings.read(bucket, PUBLIC_ACCESS, transaction_id)
        return PublicAccessBlock() if text is None else public_access_block(text)

    def check_grants(self, bucket: Bucket, grants: Grants, transaction_id: str) -> None:
        """Whether grants may be given in a bucket; if others than its owner get any, they find it by its name.

        Raises S3Error AccessControlListNotSupported, AccessDenied, BucketAlreadyExists, and CoreError.
        """
        if self.ownership(bucket, transaction_id) == ENFORCED and not grants.only_owner:
            raise S3Error("AccessControlListNotSupported")
        if grants.is_public and self.public_access(bucket, transaction_id).block_acls:
            raise S3Error("AccessDenied", "Public access lists are blocked")
        if not grants.only_owner:
            self._buckets.publish(bucket, transaction_id)

    def bypasses_governance(self, request: S3Request, place: Place, version: str = "") -> bool:
        """Whether the sender wants a lock under GOVERNANCE to be no obstacle, and may have that. Raises CoreError."""
        if (request.header("x-amz-bypass-governance-retention") or "").lower() != "true":
            return False
        bucket = Bucket(place.path.container_path, place.container)
        return self.allows(request, bucket, BYPASS_GOVERNANCE, place.path.object, version)

    def wanted_grants(self, request: S3Request, place: Place) -> dict[str, str]:
        """The metadata that keeps the grants with which a request stores an object; none for its owner's alone.

        Raises S3Error, CoreError.
        """
        environ = request.environ
        if not any(name in environ for name in GRANT_VARIABLES):
            return {}
        bucket = Bucket(place.path.container_path, place.container)
        grants = requested_grants(environ, bucket.owner, bucket.owner)
        if grants is None or grants.only_owner:
            return {}
        self.check_grants(bucket, grants, request.transaction_id)
        self.check(request, Operation.PUT_OBJECT_ACL, place.path, place.container)
        return {OBJECT_ACL: encoded(grants)}

    def _check_account(self, request: S3Request, action: PolicyAction) -> None:
        """Somebody may see the buckets of the own account, or make one."""
        identity, scope = request.identity, action.scope
        if identity is None:
            raise S3Error("AccessDenied")
        whole = Bucket(ResourcePath(identity.account, request.bucket or "*"), ContainerInfo(ABSENT))
        own = self._own_decision(request, whole, action, "", "")
        if own is Decision.ALLOW:
            return
        if own is Decision.DENY:
            raise S3Error("AccessDenied")
        path = ResourcePath(identity.account, request.bucket if scope is Scope.NEW_BUCKET else "")
        attempt = Attempt(
            identity,
            path,
            scope is Scope.SERVICE,
            scope is Scope.NEW_BUCKET,
            "",
            None,
            self._account_list(request, path),
        )
        if self._rights.access(attempt) is Access.DENIED:
            raise S3Error("AccessDenied")

    def _access(self, request: S3Request, bucket: Bucket, action: PolicyAction, key: str) -> Access:
        """What the rights of the Swift API say."""
        reading = action.scope in _READING
        granted = (bucket.info.read_acl if reading else bucket.info.write_acl) or ""
        if action.scope not in _SHARED:
            granted = ""
        elif reading and granted and self.public_access(bucket, request.transaction_id).ignore_acls:
            granted = ",".join(element for element in granted.split(",") if not element.startswith("."))
        path = bucket.path.with_object(key) if key else bucket.path
        account = self._account_list(request, path)
        return self._rights.access(
            Attempt(request.identity, path, reading, False, granted, request.header("Referer"), account)
        )

    def _account_list(self, request: S3Request, path: ResourcePath) -> Callable[[], str]:
        lookup, transaction_id = self._lookup, request.transaction_id
        return lambda: lookup.account(path.account, transaction_id).sysmeta.get(ACCESS_CONTROL_KEY, "")

    def _decision(
        self, request: S3Request, bucket: Bucket, action: PolicyAction, key: str, version: str
    ) -> tuple[Decision, bool]:
        """What the bucket's policy says, and whether that is public."""
        policy = self.policy(bucket, request.transaction_id)
        if policy is None:
            return Decision.NONE, False
        return policy.evaluate(self._asked(request, bucket, action, key, version, policy)), policy.is_public

    def _own_decision(
        self, request: S3Request, bucket: Bucket, action: PolicyAction, key: str, version: str
    ) -> Decision:
        """What the policies of the sender say; one of a session denies what it does not allow."""
        session, decision = request.session, Decision.NONE
        for document in request.own_policies:
            policy = user_policy(document)
            said = policy.evaluate(self._asked(request, bucket, action, key, version, policy))
            if said is Decision.DENY:
                return said
            decision = Decision.ALLOW if said is Decision.ALLOW else decision
        for document in () if session is None else session.policies:
            policy = user_policy(document)
            if policy.evaluate(self._asked(request, bucket, action, key, version, policy)) is not Decision.ALLOW:
                return Decision.DENY
        return decision

    def _asked(
        self, request: S3Request, bucket: Bucket, action: PolicyAction, key: str, version: str, policy: AccessPolicy
    ) -> PolicyRequest:
        """What the policy is to judge."""
        resource = f"{ARN}{bucket.name}/{key}" if key else ARN + bucket.name
        keys = policy_keys(request, self._clock.now())
        if key and any(each.startswith(EXISTING_TAG) for each in policy.condition_keys):
            keys |= existing_tags(self._object_metadata(request, bucket, key, version))
        return PolicyRequest(request.caller, action.named(bool(version)), resource, keys)

    def _granted(self, request: S3Request, bucket: Bucket, action: PolicyAction, key: str, version: str) -> bool:
        """Whether an access list of S3 allows it."""
        permission = _PERMISSIONS.get(action.scope)
        identifier = request.transaction_id
        if permission is None or self.ownership(bucket, identifier) == ENFORCED:
            return False
        ignored = self.public_access(bucket, identifier).ignore_acls
        if not key or action.scope is Scope.WRITE:
            grants = self.grants(bucket, identifier)
        else:
            grants = decoded(self._object_metadata(request, bucket, key, version).get(OBJECT_ACL, ""), bucket.owner)
        return grants.allow(request.identity, permission, ignore_public=ignored)

    def _object_metadata(self, request: S3Request, bucket: Bucket, key: str, version: str) -> dict[str, str]:
        """What of an object can change without it; nothing of one that is not there. Raises CoreError."""
        try:
            asked = version_of(version) if version else ""
        except ValueError:
            return {}
        command = GetObject(
            bucket.path.with_object(key),
            bucket.info.policy_index,
            as_stored=True,
            open_expired=bool(version),
            version=asked,
            transaction_id=request.transaction_id,
        )
        try:
            return self._objects.head(command).metadata.transient
        except ObjectNotFound:
            return {}


def _needs_policy(request: S3Request) -> bool:
    """Whether in other accounts a policy of the sender has to allow something too: of users who have any."""
    return bool(request.own_policies) and request.identity is not None and ADMIN not in request.identity.groups


def effective_grants(grants: Grants, bucket: Bucket) -> Grants:
    """All grants of a bucket, those of its lists in the Swift API too."""
    return with_swift(grants, SwiftLists(bucket.info.read_acl or "", bucket.info.write_acl or ""))


def is_enforced(document: bytes) -> bool:
    """Whether an ownership setting takes access lists out of force."""
    return _ownership(document) == ENFORCED


@lru_cache(maxsize=1024)
def _ownership(document: bytes) -> str:
    rule = parse(document, "OwnershipControls").find("Rule")
    return "" if rule is None else rule.value("ObjectOwnership") or ""
