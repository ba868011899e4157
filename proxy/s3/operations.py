"""The operations of S3: one closed set, and which of them a request means.

The names, methods and subresources are those of the service model that AWS publishes (the API reference of S3). Four
old names share the method and path of a newer operation, and are not listed: GetBucketLifecycle, PutBucketLifecycle,
GetBucketNotification and PutBucketNotification.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from objstore.proxy.s3.errors import S3Error


class Operation(StrEnum):
    ABORT_MULTIPART_UPLOAD = "AbortMultipartUpload"
    COMPLETE_MULTIPART_UPLOAD = "CompleteMultipartUpload"
    COPY_OBJECT = "CopyObject"
    CREATE_BUCKET = "CreateBucket"
    CREATE_BUCKET_METADATA_CONFIGURATION = "CreateBucketMetadataConfiguration"
    CREATE_BUCKET_METADATA_TABLE_CONFIGURATION = "CreateBucketMetadataTableConfiguration"
    CREATE_MULTIPART_UPLOAD = "CreateMultipartUpload"
    CREATE_SESSION = "CreateSession"
    DELETE_BUCKET = "DeleteBucket"
    DELETE_BUCKET_ANALYTICS_CONFIGURATION = "DeleteBucketAnalyticsConfiguration"
    DELETE_BUCKET_CORS = "DeleteBucketCors"
    DELETE_BUCKET_ENCRYPTION = "DeleteBucketEncryption"
    DELETE_BUCKET_INTELLIGENT_TIERING_CONFIGURATION = "DeleteBucketIntelligentTieringConfiguration"
    DELETE_BUCKET_INVENTORY_CONFIGURATION = "DeleteBucketInventoryConfiguration"
    DELETE_BUCKET_LIFECYCLE = "DeleteBucketLifecycle"
    DELETE_BUCKET_METADATA_CONFIGURATION = "DeleteBucketMetadataConfiguration"
    DELETE_BUCKET_METADATA_TABLE_CONFIGURATION = "DeleteBucketMetadataTableConfiguration"
    DELETE_BUCKET_METRICS_CONFIGURATION = "DeleteBucketMetricsConfiguration"
    DELETE_BUCKET_OWNERSHIP_CONTROLS = "DeleteBucketOwnershipControls"
    DELETE_BUCKET_POLICY = "DeleteBucketPolicy"
    DELETE_BUCKET_REPLICATION = "DeleteBucketReplication"
    DELETE_BUCKET_TAGGING = "DeleteBucketTagging"
    DELETE_BUCKET_WEBSITE = "DeleteBucketWebsite"
    DELETE_OBJECT = "DeleteObject"
    DELETE_OBJECT_ANNOTATION = "DeleteObjectAnnotation"
    DELETE_OBJECT_TAGGING = "DeleteObjectTagging"
    DELETE_OBJECTS = "DeleteObjects"
    DELETE_PUBLIC_ACCESS_BLOCK = "DeletePublicAccessBlock"
    GET_BUCKET_ABAC = "GetBucketAbac"
    GET_BUCKET_ACCELERATE_CONFIGURATION = "GetBucketAccelerateConfiguration"
    GET_BUCKET_ACL = "GetBucketAcl"
    GET_BUCKET_ANALYTICS_CONFIGURATION = "GetBucketAnalyticsConfiguration"
    GET_BUCKET_CORS = "GetBucketCors"
    GET_BUCKET_ENCRYPTION = "GetBucketEncryption"
    GET_BUCKET_INTELLIGENT_TIERING_CONFIGURATION = "GetBucketIntelligentTieringConfiguration"
    GET_BUCKET_INVENTORY_CONFIGURATION = "GetBucketInventoryConfiguration"
    GET_BUCKET_LIFECYCLE_CONFIGURATION = "GetBucketLifecycleConfiguration"
    GET_BUCKET_LOCATION = "GetBucketLocation"
    GET_BUCKET_LOGGING = "GetBucketLogging"
    GET_BUCKET_METADATA_CONFIGURATION = "GetBucketMetadataConfiguration"
    GET_BUCKET_METADATA_TABLE_CONFIGURATION = "GetBucketMetadataTableConfiguration"
    GET_BUCKET_METRICS_CONFIGURATION = "GetBucketMetricsConfiguration"
    GET_BUCKET_NOTIFICATION_CONFIGURATION = "GetBucketNotificationConfiguration"
    GET_BUCKET_OWNERSHIP_CONTROLS = "GetBucketOwnershipControls"
    GET_BUCKET_POLICY = "GetBucketPolicy"
    GET_BUCKET_POLICY_STATUS = "GetBucketPolicyStatus"
    GET_BUCKET_REPLICATION = "GetBucketReplication"
    GET_BUCKET_REQUEST_PAYMENT = "GetBucketRequestPayment"
    GET_BUCKET_TAGGING = "GetBucketTagging"
    GET_BUCKET_VERSIONING = "GetBucketVersioning"
    GET_BUCKET_WEBSITE = "GetBucketWebsite"
    GET_OBJECT = "GetObject"
    GET_OBJECT_ACL = "GetObjectAcl"
    GET_OBJECT_ANNOTATION = "GetObjectAnnotation"
    GET_OBJECT_ATTRIBUTES = "GetObjectAttributes"
    GET_OBJECT_LEGAL_HOLD = "GetObjectLegalHold"
    GET_OBJECT_LOCK_CONFIGURATION = "GetObjectLockConfiguration"
    GET_OBJECT_RETENTION = "GetObjectRetention"
    GET_OBJECT_TAGGING = "GetObjectTagging"
    GET_OBJECT_TORRENT = "GetObjectTorrent"
    GET_PUBLIC_ACCESS_BLOCK = "GetPublicAccessBlock"
    HEAD_BUCKET = "HeadBucket"
    HEAD_OBJECT = "HeadObject"
    LIST_BUCKET_ANALYTICS_CONFIGURATIONS = "ListBucketAnalyticsConfigurations"
    LIST_BUCKET_INTELLIGENT_TIERING_CONFIGURATIONS = "ListBucketIntelligentTieringConfigurations"
    LIST_BUCKET_INVENTORY_CONFIGURATIONS = "ListBucketInventoryConfigurations"
    LIST_BUCKET_METRICS_CONFIGURATIONS = "ListBucketMetricsConfigurations"
    LIST_BUCKETS = "ListBuckets"
    LIST_DIRECTORY_BUCKETS = "ListDirectoryBuckets"
    LIST_MULTIPART_UPLOADS = "ListMultipartUploads"
    LIST_OBJECT_ANNOTATIONS = "ListObjectAnnotations"
    LIST_OBJECT_VERSIONS = "ListObjectVersions"
    LIST_OBJECTS = "ListObjects"
    LIST_OBJECTS_V2 = "ListObjectsV2"
    LIST_PARTS = "ListParts"
    PUT_BUCKET_ABAC = "PutBucketAbac"
    PUT_BUCKET_ACCELERATE_CONFIGURATION = "PutBucketAccelerateConfiguration"
    PUT_BUCKET_ACL = "PutBucketAcl"
    PUT_BUCKET_ANALYTICS_CONFIGURATION = "PutBucketAnalyticsConfiguration"
    PUT_BUCKET_CORS = "PutBucketCors"
    PUT_BUCKET_ENCRYPTION = "PutBucketEncryption"
    PUT_BUCKET_INTELLIGENT_TIERING_CONFIGURATION = "PutBucketIntelligentTieringConfiguration"
    PUT_BUCKET_INVENTORY_CONFIGURATION = "PutBucketInventoryConfiguration"
    PUT_BUCKET_LIFECYCLE_CONFIGURATION = "PutBucketLifecycleConfiguration"
    PUT_BUCKET_LOGGING = "PutBucketLogging"
    PUT_BUCKET_METRICS_CONFIGURATION = "PutBucketMetricsConfiguration"
    PUT_BUCKET_NOTIFICATION_CONFIGURATION = "PutBucketNotificationConfiguration"
    PUT_BUCKET_OWNERSHIP_CONTROLS = "PutBucketOwnershipControls"
    PUT_BUCKET_POLICY = "PutBucketPolicy"
    PUT_BUCKET_REPLICATION = "PutBucketReplication"
    PUT_BUCKET_REQUEST_PAYMENT = "PutBucketRequestPayment"
    PUT_BUCKET_TAGGING = "PutBucketTagging"
    PUT_BUCKET_VERSIONING = "PutBucketVersioning"
    PUT_BUCKET_WEBSITE = "PutBucketWebsite"
    PUT_OBJECT = "PutObject"
    PUT_OBJECT_ACL = "PutObjectAcl"
    PUT_OBJECT_ANNOTATION = "PutObjectAnnotation"
    PUT_OBJECT_LEGAL_HOLD = "PutObjectLegalHold"
    PUT_OBJECT_LOCK_CONFIGURATION = "PutObjectLockConfiguration"
    PUT_OBJECT_RETENTION = "PutObjectRetention"
    PUT_OBJECT_TAGGING = "PutObjectTagging"
    PUT_PUBLIC_ACCESS_BLOCK = "PutPublicAccessBlock"
    RENAME_OBJECT = "RenameObject"
    RESTORE_OBJECT = "RestoreObject"
    SELECT_OBJECT_CONTENT = "SelectObjectContent"
    UPDATE_BUCKET_METADATA_ANNOTATION_TABLE_CONFIGURATION = "UpdateBucketMetadataAnnotationTableConfiguration"
    UPDATE_BUCKET_METADATA_INVENTORY_TABLE_CONFIGURATION = "UpdateBucketMetadataInventoryTableConfiguration"
    UPDATE_BUCKET_METADATA_JOURNAL_TABLE_CONFIGURATION = "UpdateBucketMetadataJournalTableConfiguration"
    UPDATE_OBJECT_ENCRYPTION = "UpdateObjectEncryption"
    UPLOAD_PART = "UploadPart"
    UPLOAD_PART_COPY = "UploadPartCopy"
    WRITE_GET_OBJECT_RESPONSE = "WriteGetObjectResponse"
    # Not in the model, but part of the API: a form of a browser, and the question that precedes another site's request.
    POST_OBJECT = "PostObject"
    PREFLIGHT = "Preflight"


_O = Operation
Methods = Mapping[str, Operation]

# What a request without a subresource means.
_SERVICE: Final[Methods] = {"GET": _O.LIST_BUCKETS}
_BUCKET: Final[Methods] = {
    "GET": _O.LIST_OBJECTS,
    "HEAD": _O.HEAD_BUCKET,
    "PUT": _O.CREATE_BUCKET,
    "DELETE": _O.DELETE_BUCKET,
    "POST": _O.POST_OBJECT,
}
_OBJECT: Final[Methods] = {
    "GET": _O.GET_OBJECT,
    "HEAD": _O.HEAD_OBJECT,
    "PUT": _O.PUT_OBJECT,
    "DELETE": _O.DELETE_OBJECT,
}
# Parameters that make it another resource, and what each method does with it.
_OF_BUCKETS: Final[Mapping[str, Methods]] = {
    "abac": {"GET": _O.GET_BUCKET_ABAC, "PUT": _O.PUT_BUCKET_ABAC},
    "accelerate": {"GET": _O.GET_BUCKET_ACCELERATE_CONFIGURATION, "PUT": _O.PUT_BUCKET_ACCELERATE_CONFIGURATION},
    "acl": {"GET": _O.GET_BUCKET_ACL, "PUT": _O.PUT_BUCKET_ACL},
    "analytics": {
        "GET": _O.LIST_BUCKET_ANALYTICS_CONFIGURATIONS,
        "PUT": _O.PUT_BUCKET_ANALYTICS_CONFIGURATION,
        "DELETE": _O.DELETE_BUCKET_ANALYTICS_CONFIGURATION,
    },
    "cors": {"GET": _O.GET_BUCKET_CORS, "PUT": _O.PUT_BUCKET_CORS, "DELETE": _O.DELETE_BUCKET_CORS},
    "delete": {"POST": _O.DELETE_OBJECTS},
    "encryption": {
        "GET": _O.GET_BUCKET_ENCRYPTION,
        "PUT": _O.PUT_BUCKET_ENCRYPTION,
        "DELETE": _O.DELETE_BUCKET_ENCRYPTION,
    },
    "intelligent-tiering": {
        "GET": _O.LIST_BUCKET_INTELLIGENT_TIERING_CONFIGURATIONS,
        "PUT": _O.PUT_BUCKET_INTELLIGENT_TIERING_CONFIGURATION,
        "DELETE": _O.DELETE_BUCKET_INTELLIGENT_TIERING_CONFIGURATION,
    },
    "inventory": {
        "GET": _O.LIST_BUCKET_INVENTORY_CONFIGURATIONS,
        "PUT": _O.PUT_BUCKET_INVENTORY_CONFIGURATION,
        "DELETE": _O.DELETE_BUCKET_INVENTORY_CONFIGURATION,
    },
    "lifecycle": {
        "GET": _O.GET_BUCKET_LIFECYCLE_CONFIGURATION,
        "PUT": _O.PUT_BUCKET_LIFECYCLE_CONFIGURATION,
        "DELETE": _O.DELETE_BUCKET_LIFECYCLE,
    },
    "location": {"GET": _O.GET_BUCKET_LOCATION},
    "logging": {"GET": _O.GET_BUCKET_LOGGING, "PUT": _O.PUT_BUCKET_LOGGING},
    "metadataAnnotationTable": {"PUT": _O.UPDATE_BUCKET_METADATA_ANNOTATION_TABLE_CONFIGURATION},
    "metadataConfiguration": {
        "GET": _O.GET_BUCKET_METADATA_CONFIGURATION,
        "POST": _O.CREATE_BUCKET_METADATA_CONFIGURATION,
        "DELETE": _O.DELETE_BUCKET_METADATA_CONFIGURATION,
    },
    "metadataInventoryTable": {"PUT": _O.UPDATE_BUCKET_METADATA_INVENTORY_TABLE_CONFIGURATION},
    "metadataJournalTable": {"PUT": _O.UPDATE_BUCKET_METADATA_JOURNAL_TABLE_CONFIGURATION},
    "metadataTable": {
        "GET": _O.GET_BUCKET_METADATA_TABLE_CONFIGURATION,
        "POST": _O.CREATE_BUCKET_METADATA_TABLE_CONFIGURATION,
        "DELETE": _O.DELETE_BUCKET_METADATA_TABLE_CONFIGURATION,
    },
    "metrics": {
        "GET": _O.LIST_BUCKET_METRICS_CONFIGURATIONS,
        "PUT": _O.PUT_BUCKET_METRICS_CONFIGURATION,
        "DELETE": _O.DELETE_BUCKET_METRICS_CONFIGURATION,
    },
    "notification": {
        "GET": _O.GET_BUCKET_NOTIFICATION_CONFIGURATION,
        "PUT": _O.PUT_BUCKET_NOTIFICATION_CONFIGURATION,
    },
    "object-lock": {"GET": _O.GET_OBJECT_LOCK_CONFIGURATION, "PUT": _O.PUT_OBJECT_LOCK_CONFIGURATION},
    "ownershipControls": {
        "GET": _O.GET_BUCKET_OWNERSHIP_CONTROLS,
        "PUT": _O.PUT_BUCKET_OWNERSHIP_CONTROLS,
        "DELETE": _O.DELETE_BUCKET_OWNERSHIP_CONTROLS,
    },
    "policy": {"GET": _O.GET_BUCKET_POLICY, "PUT": _O.PUT_BUCKET_POLICY, "DELETE": _O.DELETE_BUCKET_POLICY},
    "policyStatus": {"GET": _O.GET_BUCKET_POLICY_STATUS},
    "publicAccessBlock": {
        "GET": _O.GET_PUBLIC_ACCESS_BLOCK,
        "PUT": _O.PUT_PUBLIC_ACCESS_BLOCK,
        "DELETE": _O.DELETE_PUBLIC_ACCESS_BLOCK,
    },
    "replication": {
        "GET": _O.GET_BUCKET_REPLICATION,
        "PUT": _O.PUT_BUCKET_REPLICATION,
        "DELETE": _O.DELETE_BUCKET_REPLICATION,
    },
    "requestPayment": {"GET": _O.GET_BUCKET_REQUEST_PAYMENT, "PUT": _O.PUT_BUCKET_REQUEST_PAYMENT},
    "session": {"GET": _O.CREATE_SESSION},
    "tagging": {"GET": _O.GET_BUCKET_TAGGING, "PUT": _O.PUT_BUCKET_TAGGING, "DELETE": _O.DELETE_BUCKET_TAGGING},
    "uploads": {"GET": _O.LIST_MULTIPART_UPLOADS},
    "versioning": {"GET": _O.GET_BUCKET_VERSIONING, "PUT": _O.PUT_BUCKET_VERSIONING},
    "versions": {"GET": _O.LIST_OBJECT_VERSIONS},
    "website": {"GET": _O.GET_BUCKET_WEBSITE, "PUT": _O.PUT_BUCKET_WEBSITE, "DELETE": _O.DELETE_BUCKET_WEBSITE},
}
_OF_OBJECTS: Final[Mapping[str, Methods]] = {
    "acl": {"GET": _O.GET_OBJECT_ACL, "PUT": _O.PUT_OBJECT_ACL},
    "annotation": {
        "GET": _O.LIST_OBJECT_ANNOTATIONS,
        "PUT": _O.PUT_OBJECT_ANNOTATION,
        "DELETE": _O.DELETE_OBJECT_ANNOTATION,
    },
    "attributes": {"GET": _O.GET_OBJECT_ATTRIBUTES},
    "encryption": {"PUT": _O.UPDATE_OBJECT_ENCRYPTION},
    "legal-hold": {"GET": _O.GET_OBJECT_LEGAL_HOLD, "PUT": _O.PUT_OBJECT_LEGAL_HOLD},
    "renameObject": {"PUT": _O.RENAME_OBJECT},
    "restore": {"POST": _O.RESTORE_OBJECT},
    "retention": {"GET": _O.GET_OBJECT_RETENTION, "PUT": _O.PUT_OBJECT_RETENTION},
    "select": {"POST": _O.SELECT_OBJECT_CONTENT},
    "tagging": {"GET": _O.GET_OBJECT_TAGGING, "PUT": _O.PUT_OBJECT_TAGGING, "DELETE": _O.DELETE_OBJECT_TAGGING},
    "torrent": {"GET": _O.GET_OBJECT_TORRENT},
    "uploadId": {
        "GET": _O.LIST_PARTS,
        "PUT": _O.UPLOAD_PART,
        "POST": _O.COMPLETE_MULTIPART_UPLOAD,
        "DELETE": _O.ABORT_MULTIPART_UPLOAD,
    },
    "uploads": {"POST": _O.CREATE_MULTIPART_UPLOAD},
}
_SUBRESOURCES: Final = {
    operation: name
    for subresources in (_OF_BUCKETS, _OF_OBJECTS)
    for name, methods in subresources.items()
    for operation in methods.values()
}


def subresource_of(operation: Operation) -> str:
    """The parameter that makes a request one of this operation, "" for none."""
    return _SUBRESOURCES.get(operation, "")


# One of the listed configurations, if the parameter says which.
_ONE_OF: Final[Mapping[Operation, tuple[str, Operation]]] = {
    _O.LIST_BUCKET_ANALYTICS_CONFIGURATIONS: ("id", _O.GET_BUCKET_ANALYTICS_CONFIGURATION),
    _O.LIST_BUCKET_INTELLIGENT_TIERING_CONFIGURATIONS: ("id", _O.GET_BUCKET_INTELLIGENT_TIERING_CONFIGURATION),
    _O.LIST_BUCKET_INVENTORY_CONFIGURATIONS: ("id", _O.GET_BUCKET_INVENTORY_CONFIGURATION),
    _O.LIST_BUCKET_METRICS_CONFIGURATIONS: ("id", _O.GET_BUCKET_METRICS_CONFIGURATION),
    _O.LIST_OBJECT_ANNOTATIONS: ("annotationName", _O.GET_OBJECT_ANNOTATION),
    _O.LIST_BUCKETS: ("max-directory-buckets", _O.LIST_DIRECTORY_BUCKETS),
}
# Parameters that may be empty and name no resource: empty means absent.
_PLAIN: Final = frozenset(
    {"continuation-token", "delimiter", "encoding-type", "key-marker", "marker", "max-keys", "max-parts"}
    | {"max-uploads", "part-number-marker", "prefix", "start-after", "upload-id-marker", "version-id-marker"}
    | {"fetch-owner", "list-type", "versionId", "partNumber", "select-type", "x-id", "max-buckets", "bucket-region"}
    | {"annotationName", "id", "max-directory-buckets"}
)
_RESPONSE_SERVER: Final = "WriteGetObjectResponse"


def route(method: str, bucket: str, key: str, params: Mapping[str, str], *, copies: bool) -> Operation:
    """The operation that a request means; `copies` tells whether it names a source to copy.

    It is chosen by method, kind of path and subresource: never by falling through, which would make `PUT /bucket?cors`
    create a bucket. Raises S3Error NotImplemented, MethodNotAllowed, InvalidArgument, InvalidRequest.
    """
    if method == "OPTIONS":
        return _O.PREFLIGHT
    if bucket == _RESPONSE_SERVER and method == "POST":
        return _O.WRITE_GET_OBJECT_RESPONSE
    methods = _methods_of(method, bucket, key, params)
    operation = methods.get(method)
    if operation is None:
        raise S3Error("MethodNotAllowed", headers={"Allow": ", ".join(methods)})
    if operation is _O.LIST_OBJECTS and params.get("list-type") == "2":
        return _O.LIST_OBJECTS_V2
    if operation in _ONE_OF:
        name, other = _ONE_OF[operation]
        return other if name in params else operation
    if operation is _O.PUT_OBJECT and "partNumber" in params:
        raise S3Error("InvalidArgument", "This operation needs an uploadId", ArgumentName="uploadId")
    if copies and operation is _O.PUT_OBJECT:
        return _O.COPY_OBJECT
    if copies and operation is _O.UPLOAD_PART:
        return _O.UPLOAD_PART_COPY
    if copies and method != "PUT":
        raise S3Error("InvalidArgument", "Only a PUT copies", ArgumentName="x-amz-copy-source")
    return operation


def _methods_of(method: str, bucket: str, key: str, params: Mapping[str, str]) -> Methods:
    """What may be done with the resource that path and parameters name."""
    if not bucket:
        return _SERVICE
    plain, subresources, other = (_OBJECT, _OF_OBJECTS, _OF_BUCKETS) if key else (_BUCKET, _OF_BUCKETS, _OF_OBJECTS)
    named = [
        name for name in params if method in subresources.get(name, ()) or (name in subresources and name not in other)
    ]
    if len(named) > 1:
        names = ", ".join(sorted(named))
        raise S3Error("InvalidArgument", f"Conflicting query string parameters: {names}", ArgumentName="ResourceType")
    if named:
        return subresources[named[0]]
    for name, value in params.items():
        if name in other and not value:
            raise S3Error("InvalidRequest", f"The parameter {name} is not for {'objects' if key else 'buckets'}")
        if not value and name not in _PLAIN and not name.lower().startswith(("x-amz-", "response-")):
            raise S3Error("NotImplemented")
    return plain
