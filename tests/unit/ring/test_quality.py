from __future__ import annotations

import numpy as np
import pytest

from objstore.ring.layout import Layout
from objstore.ring.quality import quality_of
from objstore.ring.settings import RingSettings
from objstore.ring.tiers import make_tiers
from tests.unit.ring.factories import make_device

# Two zones; in the first two servers with two devices each, in the second one server for each of two devices.
PLACES = [(0, 1), (0, 1), (0, 2), (0, 2), (1, 3), (1, 4)]
TIERS = make_tiers(
    [make_device(number, zone=zone, ip=f"10.0.0.{server}") for number, (zone, server) in enumerate(PLACES)]
)


def layout(*columns: tuple[int, ...]) -> Layout:
    """One partition for each column."""
    settings = RingSettings(len(columns).bit_length() - 1, len(columns[0]))
    return Layout(settings, np.array(columns, np.uint16).T.copy())


def test_replicas_as_far_apart_as_can_be() -> None:
    quality = quality_of(layout((0, 4), (5, 2)), TIERS)
    assert quality.dispersion == 0
    assert set(quality.closeness.values()) == {0}


def test_dispersion_is_that_of_the_worst_level() -> None:
    # One pair shares a zone, one a server too, one a device too; in the last all is well.
    quality = quality_of(layout((0, 2), (0, 1), (3, 3), (1, 5)), TIERS)
    assert quality.closeness == {"region": 0, "zone": 37.5, "server": 25, "device": 12.5}
    assert quality.dispersion == 37.5


def test_dispersion_does_not_depend_on_the_order_of_replicas() -> None:
    partitions = [(0, 2, 1), (0, 1, 2), (1, 0, 2), (2, 1, 0)]
    assert len({quality_of(layout(each), TIERS).dispersion for each in partitions}) == 1


def test_balance_is_the_distance_of_the_worst_device_from_its_share() -> None:
    quality = quality_of(layout((0, 4), (0, 5), (1, 4), (2, 5)), TIERS)
    assert quality.balance == pytest.approx(100)  # the last one of the first zone has nothing
