"""What daemons are handed in unit tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from objstore.recon import NoRecon
from objstore.ring.daemon_context import DaemonContext


def make_context(machine: Any, others: Mapping[str, Any]) -> DaemonContext:
    """Those of a daemon on a machine whose devices all are; without rings unless these are among `others`."""
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
