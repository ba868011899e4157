"""The group `objstore ring`."""

from __future__ import annotations

from typing import Final

import click

from objstore.tools.lazy import LazyGroup

COMMANDS: Final = {
    "add": "objstore.tools.ring.add:add",
    "compose": "objstore.tools.ring.compose:compose_rings",
    "create": "objstore.tools.ring.create:create",
    "diff": "objstore.tools.ring.diff:diff",
    "import": "objstore.tools.ring_import:import_builder",
    "plan": "objstore.tools.ring.plan:plan",
    "plot": "objstore.tools.ring.plot:plot",
    "power": "objstore.tools.ring.power:power",
    "publish": "objstore.tools.ring.publish:publish",
    "rebalance": "objstore.tools.ring.rebalance:rebalance",
    "remove": "objstore.tools.ring.remove:remove",
    "set": "objstore.tools.ring.set:set_",
    "show": "objstore.tools.ring.show:show",
    "simulate": "objstore.tools.ring.simulate:simulate",
    "verify": "objstore.tools.ring.verify:verify",
}


@click.group(cls=LazyGroup, where=COMMANDS)
def ring() -> None:
    """Build rings, see what a change would do, and bring them to the servers.

    object.builder has the devices and settings; a rebalance makes object.ring.gz of it, which the servers read.
    """
