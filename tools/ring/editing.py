"""What all commands that change a builder file do."""

from __future__ import annotations

import click

from objstore.tools.ring.changes import Changes
from objstore.tools.ring.opening import editing


def change_builder(path: str, what: str, changes: Changes) -> None:
    """Change the file and say what was changed. Raises StoreError; the file is then as it was."""
    session = editing(path, [what, *changes.words])
    with session.changing() as builder:
        lines = changes.apply(builder)
    for line in lines:
        click.echo(line)
    click.echo(f"next: objstore ring plan {path}, then objstore ring rebalance {path}")
