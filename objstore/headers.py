"""Every header name, spelt once in Title-Case and grouped by who may see it.

A name is either whole ("X-Timestamp") or, where its constant ends in _PREFIX, the beginning of a family.
"""

from collections.abc import Mapping
from typing import Final


class Client:
    """Anyone may send or see these: HTTP's own first, then the Swift API's."""

    ACCEPT: Final = "Accept"
    ACCEPT_RANGES: Final = "Accept-Ranges"
    ACCESS_CONTROL_ALLOW_CREDENTIALS: Final = "Access-Control-Allow-Credentials"
    ACCESS_CONTROL_ALLOW_HEADERS: Final = "Access-Control-Allow-Headers"
    ACCESS_CONTROL_ALLOW_METHODS: Final = "Access-Control-Allow-Methods"
    ACCESS_CONTROL_ALLOW_ORIGIN: Final = "Access-Control-Allow-Origin"
    ACCESS_CONTROL_EXPOSE_HEADERS: Final = "Access-Control-Expose-Headers"
    ACCESS_CONTROL_MAX_AGE: Final = "Access-Control-Max-Age"
    ACCESS_CONTROL_REQUEST_HEADERS: Final = "Access-Control-Request-Headers"
    ACCESS_CONTROL_REQUEST_METHOD: Final = "Access-Control-Request-Method"
    ALLOW: Final = "Allow"
    CACHE_CONTROL: Final = "Cache-Control"
    CONNECTION: Final = "Connection"
    CONTENT_DISPOSITION: Final = "Content-Disposition"
    CONTENT_ENCODING: Final = "Content-Encoding"
    CONTENT_LANGUAGE: Final = "Content-Language"
    CONTENT_LENGTH: Final = "Content-Length"
    CONTENT_LOCATION: Final = "Content-Location"
    CONTENT_RANGE: Final = "Content-Range"
    CONTENT_TYPE: Final = "Content-Type"
    DATE: Final = "Date"
    DESTINATION: Final = "Destination"
    DESTINATION_ACCOUNT: Final = "Destination-Account"
    ETAG: Final = "Etag"
    EXPIRES: Final = "Expires"
    HOST: Final = "Host"
    IF_MATCH: Final = "If-Match"
    IF_MODIFIED_SINCE: Final = "If-Modified-Since"
    IF_NONE_MATCH: Final = "If-None-Match"
    IF_RANGE: Final = "If-Range"
    IF_UNMODIFIED_SINCE: Final = "If-Unmodified-Since"
    LAST_MODIFIED: Final = "Last-Modified"
    LOCATION: Final = "Location"
    ORIGIN: Final = "Origin"
    RANGE: Final = "Range"
    RETRY_AFTER: Final = "Retry-After"
    TRAILER: Final = "Trailer"
    TRANSFER_ENCODING: Final = "Transfer-Encoding"
    VARY: Final = "Vary"
    WWW_AUTHENTICATE: Final = "Www-Authenticate"

    # Every request and response
    TIMESTAMP: Final = "X-Timestamp"
    TRANS_ID: Final = "X-Trans-Id"
    REQUEST_ID: Final = "X-Openstack-Request-Id"
    NEWEST: Final = "X-Newest"
    STORAGE_POLICY: Final = "X-Storage-Policy"

    # Tokens
    AUTH_USER: Final = "X-Auth-User"
    AUTH_KEY: Final = "X-Auth-Key"
    AUTH_TOKEN: Final = "X-Auth-Token"
    AUTH_TOKEN_EXPIRES: Final = "X-Auth-Token-Expires"
    STORAGE_USER: Final = "X-Storage-User"
    STORAGE_PASS: Final = "X-Storage-Pass"
    STORAGE_TOKEN: Final = "X-Storage-Token"
    STORAGE_URL: Final = "X-Storage-Url"

    # Accounts
    ACCOUNT_META_PREFIX: Final = "X-Account-Meta-"
    ACCOUNT_CONTAINER_COUNT: Final = "X-Account-Container-Count"
    ACCOUNT_OBJECT_COUNT: Final = "X-Account-Object-Count"
    ACCOUNT_BYTES_USED: Final = "X-Account-Bytes-Used"
    ACCOUNT_STORAGE_POLICY_PREFIX: Final = "X-Account-Storage-Policy-"
    ACCOUNT_STATUS: Final = "X-Account-Status"
    ACCOUNT_QUOTA_BYTES: Final = "X-Account-Quota-Bytes"
    ACCOUNT_QUOTA_COUNT: Final = "X-Account-Quota-Count"
    ACCOUNT_QUOTA_BYTES_POLICY_PREFIX: Final = "X-Account-Quota-Bytes-Policy-"
    ACCOUNT_QUOTA_COUNT_POLICY_PREFIX: Final = "X-Account-Quota-Count-Policy-"
    ACCOUNT_META_QUOTA_BYTES: Final = "X-Account-Meta-Quota-Bytes"

    # Containers
    CONTAINER_META_PREFIX: Final = "X-Container-Meta-"
    CONTAINER_OBJECT_COUNT: Final = "X-Container-Object-Count"
    CONTAINER_BYTES_USED: Final = "X-Container-Bytes-Used"
    CONTAINER_ENCRYPTION: Final = "X-Container-Encryption"
    CONTAINER_QUOTA_BYTES: Final = "X-Container-Meta-Quota-Bytes"
    CONTAINER_QUOTA_COUNT: Final = "X-Container-Meta-Quota-Count"
    CONTAINER_ALLOW_ORIGIN: Final = "X-Container-Meta-Access-Control-Allow-Origin"
    CONTAINER_CORS_MAX_AGE: Final = "X-Container-Meta-Access-Control-Max-Age"
    CONTAINER_EXPOSE_HEADERS: Final = "X-Container-Meta-Access-Control-Expose-Headers"

    # Objects
    OBJECT_META_PREFIX: Final = "X-Object-Meta-"
    DELETE_AT: Final = "X-Delete-At"
    DELETE_AFTER: Final = "X-Delete-After"
    IF_DELETE_AT: Final = "X-If-Delete-At"
    OPEN_EXPIRED: Final = "X-Open-Expired"
    ROBOTS_TAG: Final = "X-Robots-Tag"
    COPY_FROM: Final = "X-Copy-From"
    COPY_FROM_ACCOUNT: Final = "X-Copy-From-Account"
    FRESH_METADATA: Final = "X-Fresh-Metadata"
    COPIED_FROM: Final = "X-Copied-From"
    COPIED_FROM_ACCOUNT: Final = "X-Copied-From-Account"
    COPIED_FROM_LAST_MODIFIED: Final = "X-Copied-From-Last-Modified"

    # Versions
    VERSIONS_ENABLED: Final = "X-Versions-Enabled"
    VERSIONS_LOCATION: Final = "X-Versions-Location"
    HISTORY_LOCATION: Final = "X-History-Location"
    OBJECT_VERSION_ID: Final = "X-Object-Version-Id"

    # Links
    SYMLINK_TARGET: Final = "X-Symlink-Target"
    SYMLINK_TARGET_ACCOUNT: Final = "X-Symlink-Target-Account"
    SYMLINK_TARGET_ETAG: Final = "X-Symlink-Target-Etag"
    SYMLINK_TARGET_BYTES: Final = "X-Symlink-Target-Bytes"

    # Large objects
    STATIC_LARGE_OBJECT: Final = "X-Static-Large-Object"
    OBJECT_MANIFEST: Final = "X-Object-Manifest"
    MANIFEST_ETAG: Final = "X-Manifest-Etag"
    PARTS_COUNT: Final = "X-Parts-Count"


class Owner:
    """Clients may send these, and only those who own the account or container see them."""

    CONTAINER_READ: Final = "X-Container-Read"
    CONTAINER_WRITE: Final = "X-Container-Write"
    CONTAINER_SYNC_TO: Final = "X-Container-Sync-To"
    CONTAINER_SYNC_KEY: Final = "X-Container-Sync-Key"
    ACCOUNT_TEMP_URL_KEY: Final = "X-Account-Meta-Temp-Url-Key"
    ACCOUNT_TEMP_URL_KEY_2: Final = "X-Account-Meta-Temp-Url-Key-2"
    CONTAINER_TEMP_URL_KEY: Final = "X-Container-Meta-Temp-Url-Key"
    CONTAINER_TEMP_URL_KEY_2: Final = "X-Container-Meta-Temp-Url-Key-2"
    ACCOUNT_ACCESS_CONTROL: Final = "X-Account-Access-Control"


# By the fields of a container that hold them.
CONTAINER_OWNER_HEADERS: Final = {
    "read_acl": Owner.CONTAINER_READ,
    "write_acl": Owner.CONTAINER_WRITE,
    "sync_to": Owner.CONTAINER_SYNC_TO,
    "sync_key": Owner.CONTAINER_SYNC_KEY,
}
OWNER_ONLY: Final = frozenset(value for name, value in vars(Owner).items() if name.isupper())


class Sysmeta:
    """Stored with a resource for our own use; the gatekeeper strips these from clients, both ways."""

    ACCOUNT_PREFIX: Final = "X-Account-Sysmeta-"
    CONTAINER_PREFIX: Final = "X-Container-Sysmeta-"
    OBJECT_PREFIX: Final = "X-Object-Sysmeta-"
    # Unlike the rest, replaced by each POST, as user metadata is.
    OBJECT_TRANSIENT_PREFIX: Final = "X-Object-Transient-Sysmeta-"

    ACCESS_CONTROL: Final = "X-Account-Sysmeta-Core-Access-Control"
    ACCOUNT_QUOTA_BYTES: Final = "X-Account-Sysmeta-Quota-Bytes"
    ACCOUNT_QUOTA_COUNT: Final = "X-Account-Sysmeta-Quota-Count"
    ACCOUNT_QUOTA_BYTES_POLICY_PREFIX: Final = "X-Account-Sysmeta-Quota-Bytes-Policy-"
    ACCOUNT_QUOTA_COUNT_POLICY_PREFIX: Final = "X-Account-Sysmeta-Quota-Count-Policy-"
    # What the container's listing shows, where it is not the stored object's own size, type or ETag.
    LISTED_ETAG: Final = "X-Object-Sysmeta-Container-Update-Override-Etag"
    LISTED_SIZE: Final = "X-Object-Sysmeta-Container-Update-Override-Size"
    LISTED_CONTENT_TYPE: Final = "X-Object-Sysmeta-Container-Update-Override-Content-Type"
    # A link: the quoted path of its target and, of a static link, the target's ETag and size.
    LINK_TARGET: Final = "X-Object-Sysmeta-Link-Target"
    LINK_ETAG: Final = "X-Object-Sysmeta-Link-Etag"
    LINK_SIZE: Final = "X-Object-Sysmeta-Link-Size"
    # An object made of parts: the size and the ETag of what its readers get.
    COMPOSITE_SIZE: Final = "X-Object-Sysmeta-Composite-Size"
    COMPOSITE_ETAG: Final = "X-Object-Sysmeta-Composite-Etag"
    # The base64 of a checksum of the body, by algorithm; of those of N parts with "-N" behind it.
    CHECKSUM_PREFIX: Final = "X-Object-Sysmeta-Checksum-"
    # What S3 says of an object beside: its storage class if that is not the default, where a website leads instead.
    STORAGE_CLASS: Final = "X-Object-Sysmeta-Storage-Class"
    WEBSITE_REDIRECT: Final = "X-Object-Sysmeta-Website-Redirect"
    # Its tags, "key=value&...", quoted, and its access list of S3. A POST that does not name them leaves them.
    TAGS: Final = "X-Object-Transient-Sysmeta-Tags"
    S3_ACL: Final = "X-Object-Transient-Sysmeta-S3-Acl"
    # The names of metadata that have underscores, in small letters.
    META_SPELLINGS: Final = "X-Object-Transient-Sysmeta-Meta-Spellings"
    # Versions of the container can be locked: "true", or the retention that new ones get.
    OBJECT_LOCK: Final = "X-Container-Sysmeta-Object-Lock"
    # Until when a version may not be removed, see object_lock.py. A POST that names neither leaves them.
    LOCK_RETENTION: Final = "X-Object-Transient-Sysmeta-Lock-Retention"
    LOCK_HOLD: Final = "X-Object-Transient-Sysmeta-Lock-Hold"
    # The multipart upload whose parts a manifest names, and to which a record or a part belongs.
    UPLOAD: Final = "X-Object-Sysmeta-Upload"
    # An encrypted object: how it is encrypted; encrypted, what it is; and, replaced by each POST, its user metadata.
    SEALED: Final = "X-Object-Sysmeta-Sealed"
    SEALED_FACTS: Final = "X-Object-Sysmeta-Sealed-Facts"
    SEALED_METADATA: Final = "X-Object-Transient-Sysmeta-Sealed-Metadata"
    # Of a container: how new objects are encrypted; it stays, empty of that, once any object was.
    ENCRYPTION: Final = "X-Container-Sysmeta-Encryption"


class Backend:
    """Between our own servers; the gatekeeper strips these from clients, both ways."""

    PREFIX: Final = "X-Backend-"

    ACCOUNT_AUTOCREATE: Final = "X-Backend-Account-Autocreate"
    ALLOW_RESERVED_NAMES: Final = "X-Backend-Allow-Reserved-Names"
    # Of objects whose policy is strong, see object/agreement.py.
    AGREED: Final = "X-Backend-Agreed"
    BELATED: Final = "X-Backend-Belated"
    FLOOR: Final = "X-Backend-Floor"
    KEPT_BODY: Final = "X-Backend-Kept-Body"
    # Of objects that are stored as fragments, see object/fragments.py.
    FRAGMENT: Final = "X-Backend-Fragment"
    FRAGMENTS: Final = "X-Backend-Fragments"
    WHOLE_SIZE: Final = "X-Backend-Whole-Size"
    NAMES_ONLY: Final = "X-Backend-Names-Only"
    NAMED_BY: Final = "X-Backend-Named-By"
    NEWEST: Final = "X-Backend-Newest"
    PUSHED: Final = "X-Backend-Pushed"
    STATE: Final = "X-Backend-State"
    UPLOAD: Final = "X-Backend-Upload"
    UPDATE_QUEUED: Final = "X-Backend-Update-Queued"
    AS_STORED: Final = "X-Backend-As-Stored"
    BODY_CHECKSUM: Final = "X-Backend-Body-Checksum"
    BODY_DIGEST: Final = "X-Backend-Body-Digest"
    BYPASS_GOVERNANCE: Final = "X-Backend-Bypass-Governance"
    CONTAINER_PATH: Final = "X-Backend-Container-Path"
    CONTENT_TYPE_TIMESTAMP: Final = "X-Backend-Content-Type-Timestamp"
    DATA_TIMESTAMP: Final = "X-Backend-Data-Timestamp"
    DELETE_MARKER: Final = "X-Backend-Delete-Marker"
    DELETE_TIMESTAMP: Final = "X-Backend-Delete-Timestamp"
    DEVICE_FULL: Final = "X-Backend-Device-Full"
    DURABLE_TIMESTAMP: Final = "X-Backend-Durable-Timestamp"
    INBOUND_TIMESTAMP: Final = "X-Backend-Inbound-X-Timestamp"
    IF_SIZE: Final = "X-Backend-If-Size"
    IF_VERSION: Final = "X-Backend-If-Version"
    MERGE: Final = "X-Backend-Merge"
    MODIFIED: Final = "X-Backend-Modified"
    OBJECT_LENGTH: Final = "X-Backend-Obj-Content-Length"
    EXPIRED: Final = "X-Backend-Expired"
    OPEN_EXPIRED: Final = "X-Backend-Open-Expired"
    POLICY_DEFAULT: Final = "X-Backend-Storage-Policy-Default"
    POLICY_INDEX: Final = "X-Backend-Storage-Policy-Index"
    POLICY_STATS: Final = "X-Backend-Policy-Stats"
    PUT_TIMESTAMP: Final = "X-Backend-Put-Timestamp"
    REPLICATION: Final = "X-Backend-Replication"
    ROWS_DIGEST: Final = "X-Backend-Rows-Digest"
    SIGNATURE: Final = "X-Backend-Signature"
    NONCE: Final = "X-Backend-Nonce"
    PROOF: Final = "X-Backend-Proof"
    SIGNATURE_NONCE: Final = "X-Backend-Signature-Nonce"
    SIGNED_AT: Final = "X-Backend-Signed-At"
    STATS_TIMESTAMP: Final = "X-Backend-Stats-Timestamp"
    STATUS_CHANGED_AT: Final = "X-Backend-Status-Changed-At"
    TIMESTAMP: Final = "X-Backend-Timestamp"
    VERSION_COUNT: Final = "X-Backend-Version-Count"
    VERSIONS_FULL: Final = "X-Backend-Versions-Full"
    VERSION_ID: Final = "X-Backend-Version-Id"
    VERSION_MODE: Final = "X-Backend-Version-Mode"

    # Older names without the family's prefix. Each lists one server per replica, separated by commas.
    ACCOUNT_HOST: Final = "X-Account-Host"
    ACCOUNT_DEVICE: Final = "X-Account-Device"
    ACCOUNT_PARTITION: Final = "X-Account-Partition"
    CONTAINER_HOST: Final = "X-Container-Host"
    CONTAINER_DEVICE: Final = "X-Container-Device"
    CONTAINER_PARTITION: Final = "X-Container-Partition"
    DELETE_AT_HOST: Final = "X-Delete-At-Host"
    DELETE_AT_DEVICE: Final = "X-Delete-At-Device"
    DELETE_AT_PARTITION: Final = "X-Delete-At-Partition"
    DELETE_AT_CONTAINER: Final = "X-Delete-At-Container"
    LISTED_PUT_TIMESTAMP: Final = "X-Put-Timestamp"


# What is stored with a link or a manifest, which stands for other objects: readers get the bytes of those.
STANDS_FOR_OTHERS: Final = frozenset({Client.OBJECT_MANIFEST, Client.STATIC_LARGE_OBJECT, Sysmeta.LINK_TARGET})

INTERNAL_PREFIXES: Final = (
    Backend.PREFIX,
    Sysmeta.ACCOUNT_PREFIX,
    Sysmeta.CONTAINER_PREFIX,
    Sysmeta.OBJECT_PREFIX,
    Sysmeta.OBJECT_TRANSIENT_PREFIX,
)

# Internal names that no prefix covers: a client that could send them would redirect container updates.
INTERNAL_NAMES: Final = frozenset(
    value for name, value in vars(Backend).items() if name.isupper() and not value.startswith(Backend.PREFIX)
)


def is_internal(name: str) -> bool:
    """Whether a Title-Case name is for our own servers only."""
    return name.startswith(INTERNAL_PREFIXES) or name in INTERNAL_NAMES


TRUE_VALUES: Final = frozenset({"true", "1", "yes", "on", "t", "y"})


def family(headers: Mapping[str, str], prefix: str) -> dict[str, str]:
    """The headers whose names begin so, by the rest of their names."""
    return {name[len(prefix) :]: value for name, value in headers.items() if name.startswith(prefix)}


def of_owner(container: object) -> dict[str, str]:
    """Those of a container's headers that only owners see, as far as it has them."""
    found = {name: getattr(container, field) for field, name in CONTAINER_OWNER_HEADERS.items()}
    return {name: value for name, value in found.items() if value is not None}


def is_true(value: str | None) -> bool:
    """Whether the value of a header or parameter, if there is one, switches something on."""
    return value is not None and value.lower() in TRUE_VALUES
