"""What each operation is called in policies, and which rights of the older kinds, those of access lists, allow it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from msgspec import Struct

from objstore.proxy.s3.operations import Operation as _O


class Scope(Enum):
    """What an action is about, and so which access lists may grant it."""

    SERVICE = "no bucket: whoever is somebody"
    NEW_BUCKET = "a bucket that is to be made, in the caller's own account"
    OWNER = "the bucket's settings: by lists, its owner alone"
    LIST = "what the bucket holds"
    READ = "an object"
    WRITE = "an object that is stored or deleted"
    READ_ACL = "an access list"
    WRITE_ACL = "an access list that is changed"
    OBJECT_SETTING = "settings of an object: by lists, the bucket's owner alone"
    EACH = "several objects, each of which the handler has authorized"
    NOBODY = "an operation that is not implemented"


class PolicyAction(Struct, frozen=True):
    """The name in policies, and the one it has when the request names a version."""

    name: str
    scope: Scope
    of_version: str = ""

    def named(self, with_version: bool) -> str:
        return f"s3:{self.of_version if with_version and self.of_version else self.name}"


# Beside the operation that it is for.
BYPASS_GOVERNANCE: Final = PolicyAction("BypassGovernanceRetention", Scope.OBJECT_SETTING)


def _settings(operations: Mapping[_O, str]) -> dict[_O, PolicyAction]:
    return {operation: PolicyAction(name, Scope.OWNER) for operation, name in operations.items()}


_NOTHING: Final = PolicyAction("None", Scope.NOBODY)
ACTIONS: Final[Mapping[_O, PolicyAction]] = {
    **dict.fromkeys(_O, _NOTHING),
    _O.LIST_BUCKETS: PolicyAction("ListAllMyBuckets", Scope.SERVICE),
    _O.CREATE_BUCKET: PolicyAction("CreateBucket", Scope.NEW_BUCKET),
    **_settings(
        {
            _O.DELETE_BUCKET: "DeleteBucket",
            _O.GET_BUCKET_LOCATION: "GetBucketLocation",
            _O.GET_BUCKET_VERSIONING: "GetBucketVersioning",
            _O.PUT_BUCKET_VERSIONING: "PutBucketVersioning",
            _O.GET_BUCKET_POLICY: "GetBucketPolicy",
            _O.GET_BUCKET_POLICY_STATUS: "GetBucketPolicyStatus",
            _O.PUT_BUCKET_POLICY: "PutBucketPolicy",
            _O.DELETE_BUCKET_POLICY: "DeleteBucketPolicy",
            _O.GET_BUCKET_CORS: "GetBucketCORS",
            _O.PUT_BUCKET_CORS: "PutBucketCORS",
            _O.DELETE_BUCKET_CORS: "PutBucketCORS",
            _O.GET_BUCKET_TAGGING: "GetBucketTagging",
            _O.PUT_BUCKET_TAGGING: "PutBucketTagging",
            _O.DELETE_BUCKET_TAGGING: "PutBucketTagging",
            _O.GET_BUCKET_LIFECYCLE_CONFIGURATION: "GetLifecycleConfiguration",
            _O.PUT_BUCKET_LIFECYCLE_CONFIGURATION: "PutLifecycleConfiguration",
            _O.DELETE_BUCKET_LIFECYCLE: "PutLifecycleConfiguration",
            _O.GET_BUCKET_WEBSITE: "GetBucketWebsite",
            _O.PUT_BUCKET_WEBSITE: "PutBucketWebsite",
            _O.DELETE_BUCKET_WEBSITE: "DeleteBucketWebsite",
            _O.GET_BUCKET_NOTIFICATION_CONFIGURATION: "GetBucketNotification",
            _O.PUT_BUCKET_NOTIFICATION_CONFIGURATION: "PutBucketNotification",
            _O.GET_BUCKET_LOGGING: "GetBucketLogging",
            _O.PUT_BUCKET_LOGGING: "PutBucketLogging",
            _O.GET_BUCKET_ENCRYPTION: "GetEncryptionConfiguration",
            _O.PUT_BUCKET_ENCRYPTION: "PutEncryptionConfiguration",
            _O.DELETE_BUCKET_ENCRYPTION: "PutEncryptionConfiguration",
            _O.GET_BUCKET_OWNERSHIP_CONTROLS: "GetBucketOwnershipControls",
            _O.PUT_BUCKET_OWNERSHIP_CONTROLS: "PutBucketOwnershipControls",
            _O.DELETE_BUCKET_OWNERSHIP_CONTROLS: "PutBucketOwnershipControls",
            _O.GET_PUBLIC_ACCESS_BLOCK: "GetBucketPublicAccessBlock",
            _O.PUT_PUBLIC_ACCESS_BLOCK: "PutBucketPublicAccessBlock",
            _O.DELETE_PUBLIC_ACCESS_BLOCK: "PutBucketPublicAccessBlock",
            _O.GET_BUCKET_REQUEST_PAYMENT: "GetBucketRequestPayment",
            _O.PUT_BUCKET_REQUEST_PAYMENT: "PutBucketRequestPayment",
            _O.GET_OBJECT_LOCK_CONFIGURATION: "GetBucketObjectLockConfiguration",
            _O.PUT_OBJECT_LOCK_CONFIGURATION: "PutBucketObjectLockConfiguration",
            _O.GET_BUCKET_REPLICATION: "GetReplicationConfiguration",
            _O.GET_BUCKET_ACCELERATE_CONFIGURATION: "GetAccelerateConfiguration",
            _O.GET_BUCKET_ABAC: "GetBucketAbac",
            _O.LIST_BUCKET_ANALYTICS_CONFIGURATIONS: "GetAnalyticsConfiguration",
            _O.GET_BUCKET_ANALYTICS_CONFIGURATION: "GetAnalyticsConfiguration",
            _O.LIST_BUCKET_INVENTORY_CONFIGURATIONS: "GetInventoryConfiguration",
            _O.GET_BUCKET_INVENTORY_CONFIGURATION: "GetInventoryConfiguration",
            _O.LIST_BUCKET_METRICS_CONFIGURATIONS: "GetMetricsConfiguration",
            _O.GET_BUCKET_METRICS_CONFIGURATION: "GetMetricsConfiguration",
            _O.LIST_BUCKET_INTELLIGENT_TIERING_CONFIGURATIONS: "GetIntelligentTieringConfiguration",
            _O.GET_BUCKET_INTELLIGENT_TIERING_CONFIGURATION: "GetIntelligentTieringConfiguration",
        }
    ),
    _O.GET_BUCKET_ACL: PolicyAction("GetBucketAcl", Scope.READ_ACL),
    _O.PUT_BUCKET_ACL: PolicyAction("PutBucketAcl", Scope.WRITE_ACL),
    _O.HEAD_BUCKET: PolicyAction("ListBucket", Scope.LIST),
    _O.LIST_OBJECTS: PolicyAction("ListBucket", Scope.LIST),
    _O.LIST_OBJECTS_V2: PolicyAction("ListBucket", Scope.LIST),
    _O.LIST_OBJECT_VERSIONS: PolicyAction("ListBucketVersions", Scope.LIST),
    _O.LIST_MULTIPART_UPLOADS: PolicyAction("ListBucketMultipartUploads", Scope.LIST),
    _O.GET_OBJECT: PolicyAction("GetObject", Scope.READ, "GetObjectVersion"),
    _O.HEAD_OBJECT: PolicyAction("GetObject", Scope.READ, "GetObjectVersion"),
    _O.GET_OBJECT_ATTRIBUTES: PolicyAction("GetObject", Scope.READ, "GetObjectVersion"),
    _O.PUT_OBJECT: PolicyAction("PutObject", Scope.WRITE),
    _O.POST_OBJECT: PolicyAction("PutObject", Scope.EACH),
    _O.COPY_OBJECT: PolicyAction("PutObject", Scope.WRITE),
    _O.DELETE_OBJECT: PolicyAction("DeleteObject", Scope.WRITE, "DeleteObjectVersion"),
    _O.DELETE_OBJECTS: PolicyAction("DeleteObject", Scope.EACH, "DeleteObjectVersion"),
    _O.CREATE_MULTIPART_UPLOAD: PolicyAction("PutObject", Scope.WRITE),
    _O.UPLOAD_PART: PolicyAction("PutObject", Scope.WRITE),
    _O.UPLOAD_PART_COPY: PolicyAction("PutObject", Scope.WRITE),
    _O.COMPLETE_MULTIPART_UPLOAD: PolicyAction("PutObject", Scope.WRITE),
    _O.ABORT_MULTIPART_UPLOAD: PolicyAction("AbortMultipartUpload", Scope.WRITE),
    _O.LIST_PARTS: PolicyAction("ListMultipartUploadParts", Scope.WRITE),
    _O.GET_OBJECT_ACL: PolicyAction("GetObjectAcl", Scope.READ_ACL, "GetObjectVersionAcl"),
    _O.PUT_OBJECT_ACL: PolicyAction("PutObjectAcl", Scope.WRITE_ACL, "PutObjectVersionAcl"),
    _O.GET_OBJECT_TAGGING: PolicyAction("GetObjectTagging", Scope.OBJECT_SETTING, "GetObjectVersionTagging"),
    _O.PUT_OBJECT_TAGGING: PolicyAction("PutObjectTagging", Scope.OBJECT_SETTING, "PutObjectVersionTagging"),
    _O.DELETE_OBJECT_TAGGING: PolicyAction("DeleteObjectTagging", Scope.OBJECT_SETTING, "DeleteObjectVersionTagging"),
    _O.GET_OBJECT_RETENTION: PolicyAction("GetObjectRetention", Scope.OBJECT_SETTING),
    _O.PUT_OBJECT_RETENTION: PolicyAction("PutObjectRetention", Scope.OBJECT_SETTING),
    _O.GET_OBJECT_LEGAL_HOLD: PolicyAction("GetObjectLegalHold", Scope.OBJECT_SETTING),
    _O.PUT_OBJECT_LEGAL_HOLD: PolicyAction("PutObjectLegalHold", Scope.OBJECT_SETTING),
    _O.RESTORE_OBJECT: PolicyAction("RestoreObject", Scope.OBJECT_SETTING),
    _O.RENAME_OBJECT: PolicyAction("PutObject", Scope.WRITE),
}
