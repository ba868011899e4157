"""objstore.toml: what all servers of a cluster must agree on."""

import re
from typing import Literal

from msgspec import Struct

from objstore.config.units import Secret
from objstore.limits import Limits
from objstore.policies import Policies, Policy


class HashConfig(Struct, frozen=True):
    """[hash]: the secrets that place items on partitions. They can never change once data is stored."""

    prefix: Secret = ""
    suffix: Secret = ""

    def __post_init__(self) -> None:
        if not (self.prefix or self.suffix):
            raise ValueError("give a prefix or a suffix, else clients can aim names at one partition")


class WebhookConfig(Struct, frozen=True):
    """[[webhooks]]: who is told of events in buckets, under the name by which buckets choose it.

    With a `token` each request has it as `Authorization: Bearer TOKEN`.
    """

    name: str
    url: str
    token: Secret = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", self.name):
            raise ValueError(
                f"a webhook's name is made of up to 64 letters, digits, hyphens and underscores: {self.name!r}"
            )
        if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", self.url, re.ASCII):
            raise ValueError(f"a webhook's url begins with http:// or https:// and names a host: {self.url!r}")
        if not (self.token.isascii() and self.token.isprintable()):
            raise ValueError("a webhook's token is made of printable ASCII characters")


class HandshakeConfig(Struct, frozen=True):
    """[handshake]: whether storage servers answer only who proves to be of the cluster."""

    required: bool = True


class ClusterTlsConfig(Struct, frozen=True):
    """[tls]: TLS between servers. `accept`: they take connections with and without; `use`: they also make none without;
    `require`: they take none without. The certificate is this machine's, for its addresses, signed by the authority.
    """

    mode: Literal["off", "accept", "use", "require"] = "off"
    authority: str = "/etc/objstore/tls/authority.pem"
    certificate: str = "/etc/objstore/tls/node.pem"
    key: str = "/etc/objstore/tls/node.key"


class ClusterConfig(Struct, frozen=True):
    hash: HashConfig
    policies: tuple[Policy, ...] = (Policy(0, "Policy-0", default=True),)
    limits: Limits = Limits()
    webhooks: tuple[WebhookConfig, ...] = ()
    handshake: HandshakeConfig = HandshakeConfig()
    tls: ClusterTlsConfig = ClusterTlsConfig()

    def __post_init__(self) -> None:
        Policies(self.policies)  # raises BadPolicies
        names = [each.name for each in self.webhooks]
        if len(set(names)) < len(names):
            raise ValueError("two webhooks have one name")
