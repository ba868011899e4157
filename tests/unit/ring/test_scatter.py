from __future__ import annotations

from random import Random

import numpy as np
import pytest

from objstore.ring import quality as scatter
from objstore.ring.builder import new_builder
from objstore.ring.layout import Layout
from objstore.ring.quality import Scatter, scatter_of, scatter_widths
from objstore.ring.settings import RingSettings
from tests.unit.ring.factories import random_devices


def test_peers_are_counted_once_and_nobody_is_none() -> None:
    ids = np.array([[0, 0, 1, 3], [1, 1, 2, 3], [2, 1, 0xFFFF, 0xFFFF]], np.uint16)
    layout = Layout(RingSettings(2, 2.5), ids)
    assert scatter_widths(layout, 5).tolist() == [2, 2, 2, 0, 0]
    assert scatter_of(layout, 5) == Scatter(0, 1.5, 2)


def test_parts_add_up_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = new_builder(RingSettings(8, 3.5), random_devices(Random(1), 30)).rebalance(1, 0.0).layout
    whole = scatter_widths(layout, 30)
    peers: list[set[int]] = [set() for _ in range(30)]
    for column in layout.ids.T.tolist():
        present = set(column) - {layout.nobody}
        for each in present:
            peers[each] |= present - {each}
    assert whole.tolist() == [len(each) for each in peers]
    monkeypatch.setattr(scatter, "PAIRS_MAX", 100)
    assert scatter_widths(layout, 30).tolist() == whole.tolist()
