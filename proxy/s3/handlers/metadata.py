"""Metadata of objects as the S3 API has it, and as the core stores it.

x-amz-meta-NAME                    user metadata, which the Swift API knows as X-Object-Meta-Name
Content-*, Cache-Control, ...      given back as they came
x-amz-tagging                      transient: tags change without the object
x-amz-storage-class, x-amz-website-redirect-location
                                   system metadata
"""

from __future__ import annotations

import re
from typing import Final

from objstore.headers import Client, Sysmeta
from objstore.http.messages import Environ, title_of
from objstore.limits import is_utf8
from objstore.proxy.core.info import StoredMetadata, StoredObjectInfo
from objstore.proxy.core.listing import without_own_parameters
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.object_tags import stored_tags, tag_count, tags_in_header
from objstore.proxy.s3.object_lock import lock_headers
from objstore.proxy.s3.storage_classes import STANDARD, STORAGE_CLASSES

UNKNOWN_TYPE: Final = "binary/octet-stream"
METADATA_BYTES_MAX: Final = 2048
STORAGE_CLASS: Final = Sysmeta.STORAGE_CLASS.removeprefix(Sysmeta.OBJECT_PREFIX)
REDIRECT: Final = Sysmeta.WEBSITE_REDIRECT.removeprefix(Sysmeta.OBJECT_PREFIX)
TAGS: Final = Sysmeta.TAGS.removeprefix(Sysmeta.OBJECT_TRANSIENT_PREFIX)
SPELLINGS: Final = Sysmeta.META_SPELLINGS.removeprefix(Sysmeta.OBJECT_TRANSIENT_PREFIX)
META: Final = "x-amz-meta-"
_META_VARIABLE: Final = "HTTP_X_AMZ_META_"
# Names of metadata with underscores, by variable: the variable itself cannot tell.
_UNDERSCORED: Final = "objstore.underscored"
GIVEN: Final = {
    "HTTP_CACHE_CONTROL": Client.CACHE_CONTROL,
    "HTTP_CONTENT_DISPOSITION": Client.CONTENT_DISPOSITION,
    "HTTP_CONTENT_ENCODING": Client.CONTENT_ENCODING,
    "HTTP_CONTENT_LANGUAGE": Client.CONTENT_LANGUAGE,
    "HTTP_EXPIRES": Client.EXPIRES,
}
_SHOWN: Final = frozenset(GIVEN.values())
_CODING: Final = re.compile(r"\s*aws-chunked\s*(?:,|$)", re.IGNORECASE)
# Of a GET: what it says instead of what is stored.
OVERRIDES: Final = {
    "response-cache-control": Client.CACHE_CONTROL,
    "response-content-disposition": Client.CONTENT_DISPOSITION,
    "response-content-encoding": Client.CONTENT_ENCODING,
    "response-content-language": Client.CONTENT_LANGUAGE,
    "response-content-type": Client.CONTENT_TYPE,
    "response-expires": Client.EXPIRES,
}


def metadata_of(environ: Environ) -> StoredMetadata:
    """What a request stores beside the body. Raises S3Error MetadataTooLarge, InvalidStorageClass, InvalidTag."""
    user, transient, system, given = {}, {}, {}, {}
    underscored = environ.get(_UNDERSCORED) or {}
    spellings, size = [], 0
    for variable, value in environ.items():
        if not variable.startswith("HTTP_"):
            continue
        if variable in GIVEN:
            given[GIVEN[variable]] = value
        elif variable.startswith(_META_VARIABLE):
            name = title_of(variable)[len(META) :]
            user[name] = value
            size += len(name) + len(value)
            if variable in underscored:
                spellings.append(underscored[variable][len(META) :])
    if size > METADATA_BYTES_MAX:
        raise S3Error("MetadataTooLarge", Size=size, MaxSizeAllowed=METADATA_BYTES_MAX)
    if "" in user:
        raise S3Error("InvalidArgument", "Metadata needs a name", ArgumentName=META)
    if spellings:
        transient[SPELLINGS] = ",".join(spellings)
    if "HTTP_X_AMZ_TAGGING" in environ and (tags := tags_in_header(environ["HTTP_X_AMZ_TAGGING"])):
        transient[TAGS] = stored_tags(tags)
    if "HTTP_CONTENT_ENCODING" in environ and not _without_chunking(given):
        del given[Client.CONTENT_ENCODING]
    if (kept := storage_class_of(environ)) != STANDARD:
        system[STORAGE_CLASS] = kept
    if "HTTP_X_AMZ_WEBSITE_REDIRECT_LOCATION" in environ:
        system[REDIRECT] = redirect_of(environ)
    return StoredMetadata(user, system, transient, given)


def _without_chunking(given: dict[str, str]) -> str:
    """The coding of the content alone: that of the message is undone."""
    given[Client.CONTENT_ENCODING] = _CODING.sub("", given[Client.CONTENT_ENCODING]).strip(" ,")
    return given[Client.CONTENT_ENCODING]


def storage_class_of(environ: Environ) -> str:
    """Raises S3Error InvalidStorageClass for none that AWS has."""
    value: str = environ.get("HTTP_X_AMZ_STORAGE_CLASS", STANDARD)
    if value not in STORAGE_CLASSES:
        raise S3Error("InvalidStorageClass", StorageClassRequested=value)
    return value


def redirect_of(environ: Environ) -> str:
    """Raises S3Error InvalidArgument unless it leads somewhere."""
    value: str = environ["HTTP_X_AMZ_WEBSITE_REDIRECT_LOCATION"]
    if not value.startswith(("/", "http://", "https://")) or len(value) > METADATA_BYTES_MAX:
        raise S3Error("InvalidRedirectLocation")
    return value


def content_type_of(environ: Environ) -> str:
    """The type of the content. Raises S3Error InvalidArgument for one that no listing could show."""
    value = environ.get("CONTENT_TYPE")
    if not value:
        return UNKNOWN_TYPE
    if not is_utf8(value):
        raise S3Error("InvalidArgument", "Content-Type must be UTF-8", ArgumentName="Content-Type")
    return without_own_parameters(value) or UNKNOWN_TYPE


def object_headers(info: StoredObjectInfo) -> dict[str, str]:
    """An object as clients see it; its size is for the body to tell, its version for who knows the bucket."""
    headers = {
        "Content-Type": info.content_type,
        "ETag": f'"{info.etag}"',
        "Last-Modified": info.last_modified,
        "Accept-Ranges": "bytes",
    }
    if not info.etag:
        del headers["ETag"]
    metadata = info.metadata
    for name, value in metadata.given.items():
        if name in _SHOWN:
            headers[name] = value
    if metadata.user:
        headers.update(user_headers(metadata))
    if metadata.system:
        if STORAGE_CLASS in metadata.system:
            headers["x-amz-storage-class"] = metadata.system[STORAGE_CLASS]
        if REDIRECT in metadata.system:
            headers["x-amz-website-redirect-location"] = metadata.system[REDIRECT]
    if metadata.transient:
        if TAGS in metadata.transient:
            headers["x-amz-tagging-count"] = str(tag_count(metadata.transient[TAGS]))
        headers |= lock_headers(metadata)
    return headers


def user_headers(metadata: StoredMetadata) -> dict[str, str]:
    """User metadata in the spelling in which S3 clients sent it: small letters, underscores."""
    spelt = {name.replace("_", "-").title(): name for name in metadata.transient.get(SPELLINGS, "").split(",") if name}
    return {META + (spelt.get(name) or name.lower()): value for name, value in metadata.user.items()}
