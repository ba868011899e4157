"""Doubling the number of partitions without copying data.

    prepare -> ring out -> relinker links files into the new partitions -> increase -> ring out -> relinker removes the
    old links -> finish -> ring out

Between prepare and finish the ring carries `next_part_power`: the larger power while links are to be made, the current
one while there may be links to clean up. Partition p becomes 2p and 2p + 1, both on the devices p was on, so each
object's new place is beside its old one. The ring cannot be rebalanced meanwhile.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from objstore.ring.builder import RingBuilder
from objstore.ring.errors import require
from objstore.ring.layout import Layout
from objstore.ring.settings import PART_POWER_MAX


def prepare_increase(builder: RingBuilder) -> None:
    """Announce the next part power. Raises BuilderError when an increase is under way, or the ring is at its limit."""
    power = builder.settings.part_power
    require(builder.next_part_power is None, "the part power is being increased already")
    require(builder.layout is not None, "the ring was never balanced: rebalance it first")
    require(power < PART_POWER_MAX, f"the part power is {power} already, the largest there is")
    builder.next_part_power = power + 1
    builder.version += 1


def increase(builder: RingBuilder) -> None:
    """Double the partitions. Raises BuilderError unless the increase is prepared."""
    layout, settings = builder.layout, builder.settings
    require(builder.next_part_power == settings.part_power + 1, "prepare the increase of the part power first")
    if layout is None or builder.moved_at is None:
        raise AssertionError("a builder without a layout cannot be prepared")
    power = settings.part_power + 1
    doubled = dataclasses.replace(layout.settings, part_power=power)
    builder.layout = Layout(doubled, np.repeat(layout.ids, 2, axis=1))
    builder.moved_at = np.repeat(builder.moved_at, 2)
    builder.settings = dataclasses.replace(settings, part_power=power)
    builder.limits = {device_id: 2 * limit for device_id, limit in builder.limits.items()}
    builder.version += 1


def cancel_increase(builder: RingBuilder) -> None:
    """Go back before `increase`; the links made so far are cleaned up next. Raises BuilderError unless prepared."""
    power = builder.settings.part_power
    require(builder.next_part_power == power + 1, "only a prepared increase of the part power can be cancelled")
    builder.next_part_power = power
    builder.version += 1


def finish_increase(builder: RingBuilder) -> None:
    """End it, after `increase` or `cancel_increase` and the clean-up. Raises BuilderError at any other time."""
    require(builder.next_part_power == builder.settings.part_power, "there is no increase of the part power to finish")
    builder.next_part_power = None
    builder.version += 1
