"""Errors become answers of the S3 API: one table of its codes, and one from the core's errors to them.

Codes, statuses and extra elements: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from objstore.errors import StoreError
from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.http.transport import NodeFailure
from objstore.limits import InvalidMetadata, InvalidName, InvalidText, ListingTooLong, ObjectTooLarge
from objstore.mounts import DeviceFull, DeviceUnavailable
from objstore.passwords import TooManyLogins
from objstore.policies import BadPolicies, UnknownPolicy
from objstore.proxy.auth.identity_service import IdentityServiceDown
from objstore.proxy.auth.policy import MalformedAccessPolicy
from objstore.proxy.core import errors as core
from objstore.proxy.core.versions import public_id
from objstore.proxy.s3.xml import Element, document, readable
from objstore.ring.errors import RingFileError, RingMissing
from objstore.rows import InvalidRows
from objstore.system.concurrency import WaitTimeout
from objstore.system.locks import LockTimeout
from objstore.system.threads import CallTimeout

CODES: Final[dict[str, tuple[int, str]]] = {
    "AccessControlListNotSupported": (400, "The bucket does not allow ACLs"),
    "AccessDenied": (403, "Access Denied"),
    "AccessForbidden": (403, "CORSResponse: This CORS request is not allowed"),
    "AuthorizationHeaderMalformed": (400, "The authorization header is malformed"),
    "AuthorizationQueryParametersError": (400, "The query parameters for authorization are malformed"),
    "BadDigest": (400, "The Content-MD5 or checksum value that you specified did not match what the server received"),
    "BadRequest": (400, "Bad Request"),
    "BucketAlreadyExists": (409, "The requested bucket name is not available: select a different name and try again"),
    "BucketAlreadyOwnedByYou": (409, "The bucket that you tried to create already exists, and you own it"),
    "BucketNotEmpty": (409, "The bucket that you tried to delete is not empty"),
    "ConditionalRequestConflict": (409, "A conflicting operation occurred during processing of this request"),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed size"),
    "EntityTooSmall": (400, "Your proposed upload is smaller than the minimum allowed size"),
    "ExpiredToken": (400, "The provided token has expired"),
    "IllegalVersioningConfigurationException": (400, "The Versioning element must be specified"),
    "IncompleteBody": (400, "You did not provide the number of bytes specified by the Content-Length header"),
    "IncorrectNumberOfFilesInPostRequest": (400, "POST requires exactly one file upload per request"),
    "InternalError": (500, "We encountered an internal error: please try again"),
    "InvalidAccessKeyId": (403, "The access key ID that you provided does not exist in our records"),
    "InvalidArgument": (400, "Invalid Argument"),
    "InvalidBucketAclWithObjectOwnership": (400, "Bucket cannot have ACLs set with ObjectOwnership's setting"),
    "InvalidBucketName": (400, "The specified bucket is not valid"),
    "InvalidBucketState": (409, "The request is not valid for the current state of the bucket"),
    "InvalidChunkSizeError": (400, "Only the last chunk is allowed to have a size less than 8192 bytes"),
    "InvalidEncryptionAlgorithmError": (400, "The encryption algorithm is not valid: it must be AES256"),
    "InvalidDigest": (400, "The Content-MD5 or checksum value that you specified is not valid"),
    "InvalidLocationConstraint": (400, "The specified location constraint is not valid"),
    "InvalidObjectState": (403, "The operation is not valid for the current state of the object"),
    "InvalidPart": (400, "One or more of the specified parts could not be found, or its entity tag did not match"),
    "InvalidPartNumber": (416, "The requested partnumber is not satisfiable"),
    "InvalidPartOrder": (400, "The list of parts was not in ascending order by part number"),
    "InvalidPolicyDocument": (400, "The content of the form does not meet the conditions in the policy document"),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "InvalidRedirectLocation": (400, "The website redirect location must begin with http://, https:// or /"),
    "InvalidRequest": (400, "Invalid Request"),
    "InvalidStorageClass": (400, "The storage class that you specified is not valid"),
    "InvalidTargetBucketForLogging": (400, "The target bucket for logging does not exist, or is not owned by you"),
    "InvalidTag": (400, "The tag provided was not a valid tag"),
    "InvalidToken": (400, "The provided token is malformed or otherwise invalid"),
    "InvalidURI": (400, "The specified URI could not be parsed"),
    "KMS.NotFoundException": (400, "The key does not exist"),
    "KeyTooLongError": (400, "Your key is too long"),
    "MalformedACLError": (400, "The ACL that you provided was not well formed or did not validate"),
    "MalformedPOSTRequest": (400, "The body of your POST request is not well-formed multipart/form-data"),
    "MalformedPolicy": (400, "Policy has invalid resource"),
    "MalformedTrailerError": (400, "The trailers of the request are not what it has announced, or not well-formed"),
    "MalformedXML": (400, "The XML that you provided was not well formed or did not validate"),
    "MaxPostPreDataLengthExceededError": (400, "Your POST request fields preceding the upload file were too large"),
    "MetadataTooLarge": (400, "Your metadata headers exceed the maximum allowed metadata size"),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource"),
    "MissingContentLength": (411, "You must provide the Content-Length HTTP header"),
    "MissingSecurityHeader": (400, "Your request is missing a required header"),
    "MissingRequestBodyError": (400, "You sent an empty XML document as a request"),
    "NoSuchBucket": (404, "The specified bucket does not exist"),
    "NoSuchBucketPolicy": (404, "The bucket policy does not exist"),
    "NoSuchCORSConfiguration": (404, "The CORS configuration does not exist"),
    "NoSuchConfiguration": (404, "The specified configuration does not exist"),
    "NoSuchKey": (404, "The specified key does not exist"),
    "NoSuchLifecycleConfiguration": (404, "The lifecycle configuration does not exist"),
    "NoSuchObjectLockConfiguration": (404, "The specified object does not have an object lock configuration"),
    "NoSuchPublicAccessBlockConfiguration": (404, "The public access block configuration was not found"),
    "NoSuchTagSet": (404, "The TagSet does not exist"),
    "NoSuchUpload": (404, "The specified multipart upload does not exist"),
    "NoSuchVersion": (404, "The specified version does not exist"),
    "NoSuchWebsiteConfiguration": (404, "The specified bucket does not have a website configuration"),
    "NotImplemented": (501, "A header or parameter that you provided implies functionality that is not implemented"),
    "ObjectLockConfigurationNotFoundError": (404, "Object Lock configuration does not exist for this bucket"),
    "OwnershipControlsNotFoundError": (404, "The bucket ownership controls were not found"),
    "PreconditionFailed": (412, "At least one of the preconditions that you specified did not hold"),
    "QuotaExceeded": (403, "The quota of the bucket or the account is used up"),
    "ReplicationConfigurationNotFoundError": (404, "The replication configuration was not found"),
    "RequestTimeTooSkewed": (403, "The difference between the request time and the server's time is too large"),
    "RequestTimeout": (400, "Your socket connection to the server was not read from or written to in time"),
    "ServerSideEncryptionConfigurationNotFoundError": (404, "The server side encryption configuration was not found"),
    "ServiceUnavailable": (503, "Please reduce your request rate"),
    "SignatureDoesNotMatch": (403, "The request signature that we calculated does not match the one you provided"),
    "SlowDown": (503, "Please reduce your request rate"),
    "TooManyBuckets": (400, "You have attempted to create more buckets than are allowed"),
    "UnexpectedContent": (400, "This request does not support content"),
    "XAmzContentSHA256Mismatch": (400, "The provided 'x-amz-content-sha256' header does not match what was computed"),
}


@dataclass(eq=False)
class S3Error(StoreError):
    """An answer of the API: a code of CODES, its message unless another one is given, and elements that go with it.

    Values of the elements come from clients, and are escaped when they are rendered.
    """

    message: ClassVar[str] = "{code} {reason}"

    code: str
    reason: str
    headers: dict[str, str]
    elements: dict[str, str]

    def __init__(
        self, code: str, reason: str = "", headers: dict[str, str] | None = None, **elements: str | int
    ) -> None:
        self.code = code
        self.reason = reason or CODES[code][1]
        self.headers = headers or {}
        self.elements = {name: str(value) for name, value in elements.items()}

    @property
    def status(self) -> int:
        return CODES[self.code][0]


Answer = str | Callable[[Any], S3Error]


def _told(code: str) -> Answer:
    """The code, with the error's message."""
    return lambda error: S3Error(code, str(error))


def _no_object(error: core.ObjectNotFound) -> S3Error:
    """NoSuchKey; of a delete marker, which one."""
    if not error.is_marker:
        return S3Error("NoSuchKey", Key=error.path.object)
    headers = {"x-amz-delete-marker": "true", "x-amz-version-id": public_id(error.version)}
    return S3Error("NoSuchKey", headers=headers, Key=error.path.object)


def _no_range(error: core.InvalidRange) -> S3Error:
    size = error.facts.size
    if size is None:
        return S3Error("InvalidRange")
    return S3Error("InvalidRange", headers={"Content-Range": f"bytes */{size}"}, ActualObjectSize=size)


_KEY_NEEDED: Final = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve"
    " the object."
)
_KEY_UNFIT: Final = "The encryption parameters are not applicable to this object."
# An S3Error is its own answer. Every other error that can reach the edge stands here.
ANSWERS: Final[dict[type[StoreError], Answer]] = {
    BadPolicies: "InternalError",
    CallTimeout: "ServiceUnavailable",
    DeviceFull: "ServiceUnavailable",
    DeviceUnavailable: "ServiceUnavailable",
    InvalidMetadata: _told("InvalidArgument"),
    InvalidName: _told("InvalidArgument"),
    InvalidRows: "InternalError",
    IdentityServiceDown: "ServiceUnavailable",
    InvalidText: _told("InvalidArgument"),
    ListingTooLong: _told("InvalidArgument"),
    LockTimeout: "ServiceUnavailable",
    MalformedAccessPolicy: _told("MalformedPolicy"),
    NodeFailure: "ServiceUnavailable",
    ObjectTooLarge: lambda error: S3Error("EntityTooLarge", MaxSizeAllowed=error.limit),
    RingFileError: "InternalError",
    RingMissing: "InternalError",
    TooManyLogins: "SlowDown",
    UnknownPolicy: "InternalError",
    WaitTimeout: "ServiceUnavailable",
    core.AccountDeleted: "AccessDenied",
    core.AccountNotFound: "NoSuchBucket",
    core.AccountNotReaped: "AccessDenied",
    core.BodyBrokenOff: "ServiceUnavailable",
    core.ChecksumMismatch: "BadDigest",
    core.ContainerLimitReached: "TooManyBuckets",
    core.ContainerNotEmpty: "BucketNotEmpty",
    core.ContainerNotFound: lambda error: S3Error("NoSuchBucket", BucketName=error.path.container),
    core.CustomerKeyNeeded: lambda _error: S3Error("InvalidRequest", _KEY_NEEDED),
    core.CustomerKeyUnfit: lambda _error: S3Error("InvalidRequest", _KEY_UNFIT),
    core.CustomerKeyWrong: "AccessDenied",
    core.EncryptionKeyMissing: "InternalError",
    core.IncompleteBody: "IncompleteBody",
    core.InvalidPart: lambda error: S3Error("InvalidPart", PartNumber=error.number, ETag=error.etag),
    core.InvalidPartOrder: "InvalidPartOrder",
    core.InvalidRange: _no_range,
    core.LinkTargetChanged: _told("InvalidObjectState"),
    core.ManifestDamaged: "InternalError",
    core.MetadataRefused: "MetadataTooLarge",
    core.NewerStored: "ServiceUnavailable",
    core.ObjectLocked: lambda _: S3Error("AccessDenied", "Access Denied because object protected by object lock."),
    core.NotModified: "InternalError",  # handlers answer it, with the headers of the object
    core.ObjectNotFound: _no_object,
    core.PartTooSmall: lambda error: S3Error(
        "EntityTooSmall",
        PartNumber=error.number,
        ETag=error.etag,
        ProposedSize=error.size,
        MinSizeAllowed=error.minimum,
    ),
    core.OutboxFull: _told("SlowDown"),
    core.OutcomeUnknown: "ServiceUnavailable",
    core.PartUnavailable: _told("InvalidObjectState"),
    core.ManifestsTooDeep: _told("InvalidObjectState"),
    core.PolicyConflict: "BucketAlreadyExists",
    core.PreconditionFailed: "PreconditionFailed",
    core.QuorumNotReached: "ServiceUnavailable",
    core.QuotaExceeded: "QuotaExceeded",
    core.SealBroken: "InternalError",
    core.TooManyLinks: _told("InvalidObjectState"),
    core.TooManyVersions: _told("InvalidRequest"),
    core.UploadNotFound: lambda error: S3Error("NoSuchUpload", UploadId=error.upload),
    core.WriteRefused: "InvalidRequest",
}
# What receiving a message may raise, by its status.
_RECEIVING: Final = {
    400: "BadRequest",
    403: "AccessDenied",
    408: "RequestTimeout",
    411: "MissingContentLength",
    412: "InvalidArgument",
    413: "EntityTooLarge",
    499: "IncompleteBody",
    501: "NotImplemented",
}


def is_foreseen(error: BaseException) -> bool:
    """Whether the error happens in a healthy store; others are bugs or mistakes of operators, and are logged."""
    if isinstance(error, S3Error):
        return error.code != "InternalError"
    if isinstance(error, HttpError):
        return error.status in _RECEIVING or error.status >= 502
    return isinstance(error, StoreError) and ANSWERS.get(type(error), "InternalError") != "InternalError"


def refusal_of(error: BaseException) -> S3Error:
    """The error as the tables render it."""
    if isinstance(error, S3Error):
        return error
    if isinstance(error, HttpError):
        if error.status >= 502:
            return S3Error("ServiceUnavailable")
        return S3Error(code, error.reason) if (code := _RECEIVING.get(error.status)) else S3Error("InternalError")
    answer = ANSWERS.get(type(error), "InternalError")  # type: ignore[arg-type]
    return S3Error(answer) if isinstance(answer, str) else answer(error)


def answer_to(error: BaseException, resource: str, request_id: str) -> Response:
    """The response to an error: an XML document that says what, where and to which request."""
    refusal = refusal_of(error)
    root = Element("Error")
    root.add("Code", refusal.code)
    root.add("Message", refusal.reason)
    for name, value in refusal.elements.items():
        root.add(name, readable(value))
    root.add("Resource", readable(resource))
    root.add("RequestId", request_id)
    root.add("HostId", request_id)
    return Response(refusal.status, {"Content-Type": "application/xml", **refusal.headers}, document(root))
