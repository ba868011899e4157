"""The group `objstore ring`."""

from __future__ import annotations

from typing import Final

import click

from objstore.tools.commands import LazyGroup

COMMANDS: Final = {
    "add": "objstore.tools.ring.edit:add",
    "compose": "objstore.tools.ring.edit:compose_rings",
    "create": "objstore.tools.ring.edit:create",
    "diff": "objstore.tools.ring.diff:diff",
    "import": "objstore.tools.ring.edit:import_builder",
    "plan": "objstore.tools.ring.plan:plan",
    "plot": "objstore.tools.ring.plot:plot",
    "power": "objstore.tools.ring.edit:power",
    "publish": "objstore.tools.ring.publish:publish",
    "rebalance": "objstore.tools.ring.edit:rebalance",
    "remove": "objstore.tools.ring.edit:remove",
    "set": "objstore.tools.ring.edit:set_",
    "show": "objstore.tools.ring.show:show",
    "simulate": "objstore.tools.ring.simulate:simulate",
    "verify": "objstore.tools.ring.verify:verify",
}


@click.group(cls=LazyGroup, where=COMMANDS)
def ring() -> None:
    """Build rings, see what a change would do, and bring them to the servers.

    object.builder has the devices and settings; a rebalance makes object.ring.gz of it, which the servers read.
    """
