"""Errors of operations on the store. Each API's edge renders them in its own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from msgspec import Struct

from objstore.checksums import Algorithm
from objstore.errors import StoreError
from objstore.limits import Limits
from objstore.paths import ResourcePath
from objstore.proxy.core.info import StoredObjectInfo


class ObjectFacts(Struct, frozen=True):
    """Facts about an existing object that an error carries; a field that is not known is empty."""

    etag: str = ""
    timestamp: str = ""  # when it was written or its metadata changed, in its normal form
    last_modified: str = ""  # the second that holds that moment, as an HTTP date
    size: int | None = None


NO_FACTS = ObjectFacts()


class CoreError(StoreError):
    """The base of the errors below."""


@dataclass(eq=False)
class PathError(CoreError):
    """The base of errors that are about one account, container or object."""

    path: ResourcePath


class AccountNotFound(PathError):
    """There is no such account, and accounts are not made on demand."""

    message: ClassVar[str] = "no account {path}"


class AccountDeleted(PathError):
    """The account was deleted, and what it held is still being removed."""

    message: ClassVar[str] = "account {path} is deleted"


class AccountNotReaped(PathError):
    """A deleted account can be created again only when everything it held is removed."""

    message: ClassVar[str] = "The account is deleted, and not emptied yet"


@dataclass(eq=False)
class OutboxFull(CoreError):
    """Too many events wait for a webhook; a write that makes one more is refused, so that none is lost."""

    message: ClassVar[str] = "the queue of events for the webhook {webhook} is full"

    webhook: str


@dataclass(eq=False)
class ContainerLimitReached(CoreError):
    """The account holds as many containers as an account may."""

    message: ClassVar[str] = "Reached container limit of {limit}"

    limit: int


class QuotaExceeded(CoreError):
    """What is to be stored does not fit into a quota of its container or account."""

    message: ClassVar[str] = "Upload exceeds quota."


class ContainerNotFound(PathError):
    message: ClassVar[str] = "no container {path}"


class ContainerNotEmpty(PathError):
    message: ClassVar[str] = "The container is not empty"


class PolicyConflict(PathError):
    """A container keeps the storage policy it was created with."""

    message: ClassVar[str] = "The container has another storage policy"


@dataclass(eq=False)
class ObjectNotFound(CoreError):
    """There is no such object; `deleted_at` is when it was deleted, if the servers know.

    is_marker: a delete marker stands there; version: its internal timestamp, "" in the plain line.
    """

    message: ClassVar[str] = "no object {path}"

    path: ResourcePath
    deleted_at: str = ""
    is_marker: bool = False
    version: str = ""


class TooManyVersions(PathError):
    """The object has as many versions as an object may."""

    message: ClassVar[str] = "{path} has as many versions as it may keep"


@dataclass(eq=False)
class NotModified(CoreError):
    """The reader's conditions say that it has the object already. The servers do not tell the size, which is 0."""

    info: StoredObjectInfo


@dataclass(eq=False)
class PreconditionFailed(CoreError):
    """The conditions of a read or a write do not hold."""

    facts: ObjectFacts = NO_FACTS


@dataclass(eq=False)
class InvalidRange(CoreError):
    """The object has no byte of the ranges that are asked for."""

    facts: ObjectFacts


class ObjectLocked(PathError):
    """A lock protects the version: it may not be removed, nor its lock be made weaker."""

    message: ClassVar[str] = "{path} is protected by object lock"


class NewerStored(PathError):
    """The servers hold something newer than the write."""

    message: ClassVar[str] = "something newer is stored at {path}"


@dataclass(eq=False)
class ChecksumMismatch(CoreError):
    """The body is not the one that its sender announced."""

    message: ClassVar[str] = "the body has the {algorithm} {actual}, not {expected}"

    expected: str
    actual: str
    algorithm: Algorithm = Algorithm.MD5


@dataclass(eq=False)
class IncompleteBody(CoreError):
    """The sender left before the end of the body; nothing is stored."""

    message: ClassVar[str] = "{received} of {expected} bytes came"

    expected: int
    received: int


@dataclass(eq=False)
class TooManyLinks(CoreError):
    """Links that lead to links, perhaps in a circle."""

    message: ClassVar[str] = "Too many levels of symbolic links, maximum allowed is {maximum}"

    maximum: int


@dataclass(eq=False)
class LinkTargetChanged(CoreError):
    """The object at `path` is not, or not any more, the one that a static link leads to."""

    message: ClassVar[str] = "{path} has the ETag {actual}, and not {expected} as the link to it"

    path: ResourcePath
    expected: str
    actual: str


class WriteRefused(PathError):
    """The servers call the write itself wrong."""

    message: ClassVar[str] = "the servers refuse the write to {path}"


@dataclass(eq=False)
class MetadataRefused(CoreError):
    """A server refuses metadata that is in order by itself: with what is there already it becomes too much."""

    message: ClassVar[str] = (
        "Too much metadata, together with what is there: at most {limits.max_meta_count} items"
        " and {limits.max_meta_overall_size} bytes"
    )

    path: ResourcePath
    limits: Limits


class QuorumNotReached(PathError):
    """Too few servers answered, or they do not agree: trying again may help."""

    message: ClassVar[str] = "too few servers agree about {path}"


class OutcomeUnknown(PathError):
    """The write may have been done, or may still be: too few servers have answered to know."""

    message: ClassVar[str] = "it is not known whether the write to {path} was done"


@dataclass(eq=False)
class UploadNotFound(CoreError):
    """The upload was completed or aborted, or there never was one."""

    message: ClassVar[str] = "no upload {upload} of {path}"

    path: ResourcePath
    upload: str


@dataclass(eq=False)
class InvalidPart(CoreError):
    """The chosen part was not uploaded, or is another one by its ETag or a checksum."""

    message: ClassVar[str] = "part {number} is not there as it was chosen"

    number: int
    etag: str


class InvalidPartOrder(CoreError):
    """The chosen parts do not stand in the order of their numbers, each once; or there are none, or too many."""

    message: ClassVar[str] = "the parts are not in ascending order of their numbers"


@dataclass(eq=False)
class PartTooSmall(CoreError):
    """Only the last of the chosen parts may be so small."""

    message: ClassVar[str] = "part {number} has {size} bytes, less than {minimum}"

    number: int
    etag: str
    size: int
    minimum: int


@dataclass(eq=False)
class BodyBrokenOff(CoreError):
    """The reader has part of a body, and no replica can give the rest."""

    message: ClassVar[str] = "no replica goes on at byte {position}"

    position: int


@dataclass(eq=False)
class PartUnavailable(PathError):
    """A part that a manifest names is gone, has changed, or may not be read."""

    message: ClassVar[str] = "part {path}: {reason}"

    reason: str


@dataclass(eq=False)
class ManifestsTooDeep(PathError):
    """A manifest names a manifest, which names one, and so on, too many times."""

    message: ClassVar[str] = "manifest {path}: manifests are nested more than {depth_max} deep"

    depth_max: int


@dataclass(eq=False)
class ManifestDamaged(PathError):
    """What is stored as a manifest cannot be read as one."""

    message: ClassVar[str] = "manifest {path}: {reason}"

    reason: str


class SealBroken(CoreError):
    """What is encrypted was changed after it was stored, or stands in another object's place."""

    message: ClassVar[str] = "what is stored encrypted is not what was stored"


@dataclass(eq=False)
class EncryptionKeyMissing(CoreError):
    """The secret is not in the file of keys; none is, if its id is empty."""

    message: ClassVar[str] = "no encryption key {key!r}"

    key: str


class CustomerKeyNeeded(PathError):
    """The object is encrypted with a key of its owner, which the request lacks."""

    message: ClassVar[str] = "{path} is encrypted with a key that has to come with the request"


class CustomerKeyWrong(PathError):
    """The object is encrypted with another key than the one of the request."""

    message: ClassVar[str] = "{path} is encrypted with another key"


class CustomerKeyUnfit(PathError):
    """The request brings a key, and the object is not encrypted with one of its owner."""

    message: ClassVar[str] = "{path} is not encrypted with a key of its owner"
