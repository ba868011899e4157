"""What all servers of a cluster share: secrets, policies and limits."""

import os
from typing import Self

from msgspec import Struct

from objstore.config.cluster import ClusterConfig, ClusterTlsConfig, WebhookConfig
from objstore.config.loading import load
from objstore.limits import Limits
from objstore.paths import PathHasher
from objstore.policies import Policies


class Cluster(Struct, frozen=True):
    """How items are placed and stored, how large they may be, and how servers know each other."""

    hasher: PathHasher
    policies: Policies
    limits: Limits
    webhooks: tuple[WebhookConfig, ...] = ()
    handshake_required: bool = True
    tls: ClusterTlsConfig = ClusterTlsConfig()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read objstore.toml. Raises ConfigError."""
        return cls.from_config(load(path, ClusterConfig))

    @classmethod
    def from_config(cls, config: ClusterConfig) -> Self:
        hasher = PathHasher(config.hash.prefix, config.hash.suffix)
        policies, required = Policies(config.policies), config.handshake.required
        return cls(hasher, policies, config.limits, config.webhooks, required, config.tls)
