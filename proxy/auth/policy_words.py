"""The words of bucket policies: which actions and which keys of conditions there are."""

from __future__ import annotations

from typing import Final

from objstore.proxy.auth.patterns import parse_pattern


def _words(text: str) -> list[str]:
    return text.lower().split()


# With Get and with Put before them.
_SETTINGS: Final = _words(
    """AccelerateConfiguration AnalyticsConfiguration BucketAbac BucketAcl BucketCORS BucketLogging BucketNotification
    BucketObjectLockConfiguration BucketOwnershipControls BucketPolicy BucketPublicAccessBlock BucketRequestPayment
    BucketTagging BucketVersioning BucketWebsite EncryptionConfiguration IntelligentTieringConfiguration
    InventoryConfiguration LifecycleConfiguration MetricsConfiguration ReplicationConfiguration ObjectAcl
    ObjectAnnotation ObjectLegalHold ObjectRetention ObjectTagging ObjectVersionAcl ObjectVersionAnnotation
    ObjectVersionTagging"""
)
_OTHERS: Final = _words(
    """AbortMultipartUpload BypassGovernanceRetention CreateBucket CreateBucketMetadataTableConfiguration
    CreateSession DeleteBucket DeleteBucketMetadataTableConfiguration DeleteBucketPolicy DeleteBucketWebsite
    DeleteObject DeleteObjectAnnotation DeleteObjectTagging DeleteObjectVersion DeleteObjectVersionAnnotation
    DeleteObjectVersionTagging GetBucketLocation GetBucketMetadataTableConfiguration GetBucketPolicyStatus GetObject
    GetObjectAttributes GetObjectTorrent GetObjectVersion GetObjectVersionAttributes GetObjectVersionForReplication
    GetObjectVersionTorrent InitiateReplication ListAllMyBuckets ListBucket ListBucketMultipartUploads
    ListBucketVersions ListMultipartUploadParts ListObjectAnnotations ListObjectVersionAnnotations
    ObjectOwnerOverrideToBucketOwner PutObject ReplicateDelete ReplicateObject ReplicateTags RestoreObject
    UpdateBucketMetadataAnnotationTableConfiguration UpdateBucketMetadataInventoryTableConfiguration
    UpdateBucketMetadataJournalTableConfiguration UpdateObjectEncryption"""
)
ACTIONS: Final = frozenset(
    f"s3:{name}" for name in (*_OTHERS, *(verb + each for verb in ("get", "put") for each in _SETTINGS))
)
CONDITION_KEYS: Final = frozenset(
    _words(
        """aws:calledvia aws:calledviafirst aws:calledvialast aws:currenttime aws:epochtime aws:multifactorauthage
        aws:multifactorauthpresent aws:principalaccount aws:principalarn aws:principalisawsservice aws:principalorgid
        aws:principalorgpaths aws:principalservicename aws:principaltype aws:referer aws:requestedregion
        aws:resourceaccount
        aws:resourceorgid aws:resourceorgpaths aws:securetransport aws:sourceaccount aws:sourcearn aws:sourceip
        aws:sourceorgid aws:sourceorgpaths aws:sourceowner aws:sourcevpc aws:sourcevpce aws:tokenissuetime aws:useragent
        aws:userid aws:username aws:viaawsservice aws:vpcsourceip s3:accessgrantsinstancearn s3:accesspointnetworkorigin
        s3:authtype s3:dataaccesspointaccount s3:dataaccesspointarn s3:delimiter s3:if-match s3:if-none-match
        s3:jobsuspendedcause s3:locationconstraint s3:max-keys s3:object-lock-legal-hold s3:object-lock-mode
        s3:object-lock-remaining-retention-days s3:object-lock-retain-until-date s3:objectcreationoperation s3:prefix
        s3:requestobjecttagkeys s3:resourceaccount s3:signatureage s3:signatureversion s3:tlsversion s3:versionid
        s3:x-amz-acl s3:x-amz-content-sha256 s3:x-amz-copy-source s3:x-amz-grant-full-control s3:x-amz-grant-read
        s3:x-amz-grant-read-acp s3:x-amz-grant-write s3:x-amz-grant-write-acp s3:x-amz-metadata-directive
        s3:x-amz-object-ownership s3:x-amz-server-side-encryption s3:x-amz-server-side-encryption-aws-kms-key-id
        s3:x-amz-server-side-encryption-customer-algorithm s3:x-amz-storage-class s3:x-amz-website-redirect-location"""
    )
)
# What follows names a tag.
KEY_FAMILIES: Final = (
    "aws:principaltag/", "aws:requesttag/", "aws:resourcetag/", "s3:buckettag/", "s3:existingobjecttag/",
    "s3:requestobjecttag/",
)  # fmt: skip


def is_action(text: str) -> bool:
    """Whether a pattern of actions fits one that S3 has."""
    pattern = parse_pattern(text.lower(), variables=False)
    return any(pattern.matches(each, _no_variables) for each in ACTIONS)


def is_condition_key(text: str) -> bool:
    key = text.lower()
    return key in CONDITION_KEYS or any(key.startswith(each) and key != each for each in KEY_FAMILIES)


def _no_variables(_name: str) -> None:
    return None
