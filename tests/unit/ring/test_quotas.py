from __future__ import annotations

import dataclasses
from random import Random

import numpy as np
import pytest

from objstore.ring.settings import RingSettings
from objstore.ring.targets import quotas, shares
from objstore.ring.tiers import Ints, make_tiers
from tests.unit.ring.factories import make_device, random_devices

# Two zones for two replicas, and most of the weight is in the first one: it has to hold partitions twice.
CROWDED = [make_device(number, zone=int(number > 4), ip=f"10.0.0.{number}", weight=7.0) for number in range(7)]


def rounded(held: Ints | None = None) -> Ints:
    tiers = make_tiers(CROWDED)
    return quotas(tiers, shares(RingSettings(5, 2), tiers), np.zeros(7, np.int64) if held is None else held)


def test_devices_of_a_crowded_place_are_rounded_down() -> None:
    # Each is entitled to 9.14 of 64 replicas; five are in the crowded zone.
    assert rounded().tolist() == [9, 9, 9, 9, 9, 9, 10] or rounded().tolist() == [9, 9, 9, 9, 9, 10, 9]


def test_what_is_held_decides_where_there_is_a_choice() -> None:
    for held in ([9, 9, 9, 9, 9, 10, 9], [9, 9, 9, 9, 9, 9, 10]):
        assert rounded(np.array(held)).tolist() == held


@pytest.mark.parametrize("seed", range(40))
def test_every_device_is_rounded_up_or_down_and_the_sum_is_kept(seed: int) -> None:
    random = Random(seed)
    tiers = make_tiers(random_devices(random, random.randint(3, 40)))
    settings = RingSettings(
        random.randint(3, 9), random.choice([1.0, 2.0, 2.25, 3.0, 3.5]), overload=random.choice([0.0, 0.3])
    )
    wanted = shares(settings, tiers)
    quota = quotas(tiers, wanted, np.zeros(len(tiers.weights), np.int64))
    exact = sum(share.partitions * share.target for share in wanted)
    assert quota.sum() == round(settings.exact_replicas * settings.partition_count)
    assert (np.abs(quota - exact) < len(wanted) + 1e-6).all()
    again = quotas(tiers, wanted, quota)
    assert (again == quota).all()


def test_a_limit_is_kept_and_others_make_up_for_it() -> None:
    tiers = make_tiers(CROWDED, {6: 3})
    wanted = shares(RingSettings(5, 2), tiers)
    quota = quotas(tiers, wanted, np.zeros(7, np.int64))
    assert (quota[6], quota.sum()) == (3, 64)
    lower = dataclasses.replace(tiers, limits=np.minimum(tiers.limits, 12))
    assert (quotas(lower, wanted, np.full(7, 20)) <= 12).all()
