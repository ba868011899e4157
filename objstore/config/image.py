"""image.toml: the image service."""

from __future__ import annotations

import ipaddress
from typing import Literal

from msgspec import Struct

from objstore.config.sections import CloudServerConfig, IdentityClientConfig, LogConfig
from objstore.config.units import Address, Bind, Bytes, Count, Positive, Seconds, Secret


class ImageServerConfig(CloudServerConfig, frozen=True):
    bind: Bind = Address("127.0.0.1", 9292)


class ImageStoreConfig(Struct, frozen=True):
    """One [[stores]] entry: where bytes of images are kept.

    A store of the kind "swift" is logged into at `url` as `user` with `key`: at http://HOST:PORT/auth/v1.0 as
    "ACCOUNT:NAME", or at an identity service, http://HOST:PORT/v3, as "PROJECT:NAME". One of the kind "s3" is at `url`
    (http://HOST:PORT), and `user` is an access key.
    """

    name: str
    url: str
    user: str
    container: str = "images"
    kind: Literal["swift", "s3"] = "swift"
    key: Secret = ""
    region: str = "us-east-1"

    def __post_init__(self) -> None:
        if not self.name or "," in self.name or len(self.name) > 64:
            raise ValueError("stores: a name has 1 to 64 characters, and no comma")


class ImageQuotaConfig(Struct, frozen=True):
    """[quota]: how much one image, and one project, may have; 0 is no limit of a project."""

    image_size_max: Bytes = 1 << 40
    image_size_total: Bytes = 0
    image_stage_total: Bytes = 0
    image_count_total: Count = 0
    image_count_uploading: Count = 0
    properties: Count = 128
    tags: Count = 128
    members: Count = 128


class ImageImportConfig(Struct, frozen=True):
    """[imports]: downloads from elsewhere: from public addresses, and from networks that the operator trusts."""

    ports: tuple[int, ...] = (80, 443)
    trusted_networks: tuple[str, ...] = ()
    concurrency: Positive = 4

    def __post_init__(self) -> None:
        for network in self.trusted_networks:
            ipaddress.ip_network(network)


class ImageConfig(Struct, frozen=True):
    """image.toml: the image service. What nobody works on is undone after `reclaim_after`."""

    stores: tuple[ImageStoreConfig, ...]
    default_store: str = ""
    database: str = "sqlite:////var/lib/objstore/image.sqlite"
    reclaim_after: Seconds = 60.0
    server: ImageServerConfig = ImageServerConfig()
    identity: IdentityClientConfig = IdentityClientConfig()
    quota: ImageQuotaConfig = ImageQuotaConfig()
    imports: ImageImportConfig = ImageImportConfig()
    log: LogConfig = LogConfig()

    def __post_init__(self) -> None:
        names = [store.name for store in self.stores]
        if not names or len(set(names)) < len(names):
            raise ValueError("stores: at least one is needed, and each needs a name of its own")
        if self.default_store and self.default_store not in names:
            raise ValueError(f"default_store: there is no store {self.default_store}")
