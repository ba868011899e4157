from __future__ import annotations

import numpy as np
import pytest

from objstore.ring.settings import RingSettings
from objstore.ring.targets import targets
from objstore.ring.tiers import make_tiers
from tests.unit.ring.factories import make_device


def test_overload_fills_no_region_with_what_its_zones_cannot_hold_apart() -> None:
    devices = [
        *(make_device(number, 1, 1, f"10.1.1.{number}") for number in range(4)),
        *(make_device(number, 2, 2, f"10.2.2.{number}", 120.0) for number in range(4, 8)),
        make_device(8, 2, 3, "10.2.3.8", 20.0),
    ]
    tiers = make_tiers(devices)
    apart = targets(tiers, RingSettings(8, 3, overload=1.0))
    # The second zone holds a replica of each partition; of the small third one overload makes twice its share.
    assert tiers.sums(1, apart)[1] == pytest.approx(1)
    assert tiers.sums(0, apart)[0] <= 2
    assert (apart <= 2 * 3 * tiers.weights / tiers.weights.sum() + 1e-9).all()
    assert apart.sum() == pytest.approx(3)
    by_weight = targets(tiers, RingSettings(8, 3))
    assert tiers.sums(1, by_weight)[1] == pytest.approx(1.6)
    assert np.allclose(by_weight, 3 * tiers.weights / tiers.weights.sum())
