"""Options that both commands of `objstore dispersion` have."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click
from msgspec import Struct

from objstore.cluster import Cluster
from objstore.policies import Policy, UnknownPolicy
from objstore.tools.problems import OperatorProblem
from objstore.tools.ring.units import PERCENT, TIMEOUT

CONTAINER_PREFIX: Final = "dispersion"
Command = TypeVar("Command", bound=Callable[..., Any])


class Settings(Struct, frozen=True):
    """Which cluster, as whom, and how much of it."""

    auth: str
    user: str
    key: str
    ring_dir: str
    cluster_file: str
    policy: str | None
    coverage: float
    concurrency: int
    timeout: float
    containers: bool
    objects: bool

    def open_cluster(self) -> Cluster:
        """Raises ConfigError."""
        return Cluster.load(self.cluster_file or os.path.join(self.ring_dir, "objstore.toml"))

    def policies(self, cluster: Cluster) -> list[Policy]:
        """The one asked for, or all that new containers may have. Raises OperatorProblem."""
        if not self.objects:
            return []
        if self.policy is None:
            return [policy for policy in cluster.policies if not policy.deprecated]
        try:
            return [cluster.policies.by_name(self.policy)]
        except UnknownPolicy:
            raise OperatorProblem(f"no storage policy {self.policy!r}", "name one of objstore.toml") from None


def settings_options(command: Command) -> Command:
    """All of them."""
    for decorate in (
        click.option("--objects/--no-objects", default=True, show_default=True, help="Objects of each policy."),
        click.option("--containers/--no-containers", default=True, show_default=True, help="Containers."),
        click.option("--timeout", type=TIMEOUT, default=10.0, show_default=True, help="Seconds for each request."),
        click.option(
            "--concurrency", type=click.IntRange(1), default=25, show_default=True, help="Requests at a time."
        ),
        click.option("--coverage", type=PERCENT, default=1.0, show_default=True, help="Percent of the partitions."),
        click.option("--policy", help="Objects of this storage policy only."),
        click.option(
            "--cluster", "cluster_file", default="", help="The cluster's objstore.toml; that beside the rings."
        ),
        click.option("--ring-dir", default="/etc/objstore", show_default=True, help="The rings."),
        click.option("--key", envvar="OBJSTORE_DISPERSION_KEY", required=True, help="With which key."),
        click.option("--user", required=True, help="As whom: an account of its own is best."),
        click.option("--auth", default="http://127.0.0.1:8080/auth/v1.0", show_default=True, help="Where to log in."),
    ):
        command = decorate(command)
    return command
