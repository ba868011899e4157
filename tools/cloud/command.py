"""objstore cloud: a group of commands."""

from __future__ import annotations

from typing import Final

import click

from objstore.tools.commands import LazyGroup

COMMANDS: Final = {
    "guest-image": "objstore.tools.cloud.guest_image:guest_image",
    "up": "objstore.tools.cloud.up:up",
}


@click.group(cls=LazyGroup, where=COMMANDS)
def cloud() -> None:
    """Run a store with images and machines on it."""
