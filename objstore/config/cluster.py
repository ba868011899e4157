"""objstore.toml: what all servers of a cluster must agree on."""

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


class ClusterConfig(Struct, frozen=True):
    hash: HashConfig
    policies: tuple[Policy, ...] = (Policy(0, "Policy-0", default=True),)
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        Policies(self.policies)  # raises BadPolicies
