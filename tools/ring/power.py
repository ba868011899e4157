"""`objstore ring power`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import click

from objstore.ring.builder import RingBuilder
from objstore.ring.partpower import cancel_increase, finish_increase, increase, prepare_increase
from objstore.tools.ring.opening import editing, ring_path
from objstore.tools.ring.rebalance import form_for

# Each with what comes after the ring has been published.
STEPS: Final[dict[str, tuple[Callable[[RingBuilder], None], str]]] = {
    "prepare": (prepare_increase, "relink on all object servers, then increase"),
    "increase": (increase, "clean up on all object servers, then finish"),
    "finish": (finish_increase, "nothing more"),
    "cancel": (cancel_increase, "clean up on all object servers, then finish"),
}


@click.command()
@click.argument("builder")
@click.argument("step", type=click.Choice(list(STEPS)))
def power(builder: str, step: str) -> None:
    """Double the partitions, in steps: prepare, increase, finish; cancel goes back before the increase.

    Each step writes the ring, which is then to be published. No data is copied: each partition becomes two, on the
    devices it was on.
    """
    change, following = STEPS[step]
    session = editing(builder, ["power", step])
    with session.locked() as opened:
        change(opened)
        session.save_with_ring(opened, form_for(opened))
    click.echo(f"part power {opened.settings.part_power}; next: publish {ring_path(builder)}; {following}")
