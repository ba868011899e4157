"""Names of buckets across accounts: one claim succeeds, and a name that nobody has can be had again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from objstore.paths import ResourcePath
from objstore.proxy.core.info import PRESENT, ContainerInfo
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.registry import FREE, STALE_SECONDS, BucketRegistry
from tests.unit.proxy.s3.memory import MemoryCore


@pytest.fixture
def core() -> MemoryCore:
    return MemoryCore()


@pytest.fixture
def registry(core: MemoryCore) -> BucketRegistry:
    return BucketRegistry(core.context)


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(S3Error) as error:
        call()
    return error.value.code


def test_the_first_claim_has_the_name(registry: BucketRegistry) -> None:
    assert registry.account_of("photos", "") == ""
    registry.claim("photos", "a", "")
    assert registry.account_of("photos", "") == "a"
    assert code_of(lambda: registry.claim("photos", "b", "")) == "BucketAlreadyExists"
    registry.claim("photos", "a", "")


def test_of_two_claims_at_once_one_succeeds(core: MemoryCore, registry: BucketRegistry) -> None:
    registry.claim("first", "a", "")  # the container of names is there
    rival = BucketRegistry(core.context)

    def at_once() -> None:
        core.before_write = lambda: None
        rival.claim("photos", "b", "")

    core.before_write = at_once
    assert code_of(lambda: registry.claim("photos", "a", "")) == "BucketAlreadyExists"
    assert registry.account_of("photos", "") == "b"
    core.before_write = lambda: (setattr(core, "before_write", lambda: None), rival.claim("more", "a", ""))[0]
    registry.claim("more", "a", "")
    assert registry.account_of("more", "") == "a"


def test_a_name_is_given_back(registry: BucketRegistry) -> None:
    registry.claim("photos", "a", "")
    held = registry.held("photos", "a", "")
    assert registry.held("photos", "b", "") == FREE
    registry.release("photos", FREE, "")
    assert registry.account_of("photos", "") == "a"
    registry.release("photos", held, "")
    assert registry.account_of("photos", "") == ""
    registry.release("photos", held, "")
    registry.claim("photos", "b", "")
    assert registry.account_of("photos", "") == "b"


def test_what_was_claimed_anew_is_not_given_back(registry: BucketRegistry) -> None:
    registry.claim("photos", "a", "")
    held = registry.held("photos", "a", "")
    registry.claim("photos", "a", "")
    registry.release("photos", held, "")
    assert registry.account_of("photos", "") == "a"


def test_a_claim_without_a_bucket_is_taken_over_when_it_is_old(core: MemoryCore, registry: BucketRegistry) -> None:
    registry.claim("photos", "a", "")
    core.clock.seconds += STALE_SECONDS - 1
    assert code_of(lambda: registry.claim("photos", "b", "")) == "BucketAlreadyExists"
    core.clock.seconds += 2
    core.made[ResourcePath("a", "photos")] = ContainerInfo(PRESENT)
    assert code_of(lambda: registry.claim("photos", "b", "")) == "BucketAlreadyExists"
    del core.made[ResourcePath("a", "photos")]
    registry.claim("photos", "b", "")
    assert registry.account_of("photos", "") == "b"


def test_names_are_remembered_for_a_while(core: MemoryCore, registry: BucketRegistry) -> None:
    registry.claim("photos", "a", "")
    reads = core.reads
    for _ in range(3):
        assert registry.account_of("photos", "") == "a"
    assert core.reads == reads + 1
    core.clock.seconds += 61
    registry.account_of("photos", "")
    assert core.reads == reads + 2
