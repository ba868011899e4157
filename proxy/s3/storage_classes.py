"""Storage classes: names that objects keep, of which configuration may say that some mean a storage policy.

A bucket has one policy, which it gets when it is made: the location of a new bucket may name it, or a class that means
it, after a colon, as in `us-east-1:silver` or `:GLACIER`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from objstore.config.loading import ConfigError
from objstore.policies import Policies, Policy, UnknownPolicy
from objstore.proxy.s3.errors import S3Error

if TYPE_CHECKING:
    from objstore.config.proxy import S3Config

STANDARD: Final = "STANDARD"
STORAGE_CLASSES: Final = frozenset(
    {"STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "DEEP_ARCHIVE"}
    | {"OUTPOSTS", "GLACIER_IR", "SNOW", "EXPRESS_ONEZONE", "FSX_OPENZFS", "FSX_ONTAP"}
)


class ClassPolicies:
    """Which policy a class means."""

    def __init__(self, config: S3Config, policies: Policies) -> None:
        """Raises ConfigError for a class that AWS has not, and a policy that the cluster has not."""
        self._region: Final = config.region
        self._policies: Final = policies
        self._by_class: Final[dict[str, Policy]] = {}
        for name, policy in config.policies_of_classes.items():
            try:
                self._by_class[name] = policies.by_name(policy)
            except UnknownPolicy as error:
                raise ConfigError("proxy.toml", 0, "s3.storage_classes", str(error)) from None
            if name not in STORAGE_CLASSES:
                raise ConfigError("proxy.toml", 0, "s3.storage_classes", f"there is no storage class {name}")

    def check(self, name: str, policy_index: int) -> None:
        """Whether an object of a class may lie in a bucket of this policy. Raises S3Error InvalidStorageClass."""
        policy = self._by_class.get(name)
        if policy is not None and policy.index != policy_index:
            reason = f"Objects of this class lie in buckets of the storage policy {policy.name}, which this one has not"
            raise S3Error("InvalidStorageClass", reason, StorageClassRequested=name)

    def of_location(self, location: str) -> Policy | None:
        """The policy that the location of a new bucket names, None if it names none.

        Raises S3Error InvalidLocationConstraint.
        """
        region, colon, name = location.partition(":")
        if region not in ("", self._region):
            raise S3Error("InvalidLocationConstraint", LocationConstraint=location)
        if not colon:
            return None
        try:
            policy = self._by_class.get(name) or self._policies.by_name(name)
        except UnknownPolicy:
            policy = None
        if policy is None or policy.deprecated:
            raise S3Error("InvalidLocationConstraint", LocationConstraint=location)
        return policy
