"""Settings of buckets about strangers, as they are stored: what of public access is refused, and who pays."""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

from objstore.proxy.s3.xml import parse


class PublicAccessBlock(Struct, frozen=True):
    """What of public access is refused or ignored, in the words of the API."""

    block_acls: bool = False
    ignore_acls: bool = False
    block_policy: bool = False
    restrict_buckets: bool = False


@lru_cache(maxsize=1024)
def requester_pays(document: bytes) -> bool:
    """Whether a stored document has requesters pay."""
    return parse(document, "RequestPaymentConfiguration").value("Payer") == "Requester"


@lru_cache(maxsize=1024)
def public_access_block(document: bytes) -> PublicAccessBlock:
    """A stored document, read."""
    root = parse(document, "PublicAccessBlockConfiguration")
    names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    return PublicAccessBlock(*(root.value(name) == "true" for name in names))
