"""Storage classes that mean a storage policy, and locations that name one."""

from __future__ import annotations

import pytest

from objstore.config.loading import ConfigError
from objstore.config.proxy import S3Config
from objstore.policies import Policies, Policy
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.storage_classes import ClassPolicies

POLICIES = Policies([Policy(0, "gold", default=True), Policy(1, "silver"), Policy(2, "old", deprecated=True)])


def classes(*mapped: str) -> ClassPolicies:
    return ClassPolicies(S3Config(region="eu-west-1", storage_classes=mapped), POLICIES)


def test_a_class_that_means_a_policy_is_for_its_buckets() -> None:
    mapped = classes("STANDARD_IA=silver", "GLACIER=Gold")
    for name, index in (("STANDARD_IA", 1), ("GLACIER", 0), ("DEEP_ARCHIVE", 0), ("DEEP_ARCHIVE", 1)):
        mapped.check(name, index)
    for name, index in (("STANDARD_IA", 0), ("GLACIER", 1)):
        with pytest.raises(S3Error, match="InvalidStorageClass"):
            mapped.check(name, index)


@pytest.mark.parametrize(
    ("location", "policy"),
    [
        ("eu-west-1", None),
        ("eu-west-1:silver", "silver"),
        (":Silver", "silver"),
        (":STANDARD_IA", "silver"),
        ("us-east-1:silver", "refused"),
        (":", "refused"),
        (":old", "refused"),
        (":GLACIER", "refused"),
        ("eu-west-1:silver:x", "refused"),
    ],
)
def test_locations(location: str, policy: str | None) -> None:
    mapped = classes("STANDARD_IA=silver")
    if policy == "refused":
        with pytest.raises(S3Error, match="InvalidLocationConstraint"):
            mapped.of_location(location)
        return
    found = mapped.of_location(location)
    assert (None if found is None else found.name) == policy


@pytest.mark.parametrize("mapped", ["NONE=silver", "GLACIER=bronze"])
def test_what_is_not_there_is_refused_at_the_start(mapped: str) -> None:
    with pytest.raises(ConfigError):
        classes(mapped)


@pytest.mark.parametrize("mapped", ["STANDARD=silver", "GLACIER", "GLACIER=", "glacier=silver"])
def test_configuration_that_is_refused(mapped: str) -> None:
    with pytest.raises(ValueError, match="STANDARD_IA=silver"):
        S3Config(storage_classes=(mapped,))
