"""What the handlers of the S3 API are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext
    from objstore.proxy.s3.access import Authorizer
    from objstore.proxy.s3.buckets import Buckets
    from objstore.proxy.s3.settings import BucketSettings


class S3Context(Struct, frozen=True):
    """The store, its buckets and their settings, and who may use them; one for each process."""

    proxy: ProxyContext
    buckets: Buckets
    settings: BucketSettings
    authorizer: Authorizer
