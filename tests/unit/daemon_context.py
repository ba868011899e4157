"""What daemons are handed in unit tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from objstore.ring.daemon_context import DaemonContext


class NoRecon:
    """Forgets what daemons report."""

    def report(self, daemon: str, **values: Any) -> None:
        pass


def make_context(machine: Any, others: Mapping[str, Any]) -> DaemonContext:
    """The context of a daemon on a machine that owns all devices; without rings unless they are among `others`."""
    standard: dict[str, Any] = {
        "cluster": machine.cluster,
        "devices": machine.devices,
        "rings": None,
        "transport": machine.transport,
        "runtime": machine.runtime,
        "recon": NoRecon(),
        "is_mine": lambda _device: True,
    }
    return DaemonContext(**(standard | others))
