"""objstore relinker: gives objects their places when the part power of a ring is increased."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
from click import Context

from objstore import daemon
from objstore.cluster import Cluster
from objstore.config.loading import load
from objstore.config.object import ObjectConfig
from objstore.policies import UnknownPolicy
from objstore.tools import assembly
from objstore.tools.problems import OperatorProblem
from objstore.tools.serve import config_option

# What swift-object-relinker ends with.
DONE: Final = 0
FAILED: Final = 1
NOTHING_TO_DO: Final = 2


@click.command()
@click.argument("task", type=click.Choice(["relink", "cleanup"]))
@config_option
@click.option("--device", "devices", multiple=True, metavar="NAME", help="Only this device; several may be given.")
@click.option("--policy", "policies", multiple=True, metavar="NAME", help="Only this policy, by name or index.")
@click.option("--partition", "partitions", multiple=True, type=click.IntRange(0), help="Only this partition.")
@click.pass_context
def relinker(
    context: Context,
    /,
    task: str,
    path: Path,
    devices: tuple[str, ...],
    policies: tuple[str, ...],
    partitions: tuple[int, ...],
) -> None:
    """Relink the objects of this machine after the increase of a part power was prepared, clean up after it.

    The daemon of the same name does this by itself. The exit status is 1 when something failed, and 2 when no ring is
    in the state for it.
    """
    from objstore.object.relinker import Choice
    from objstore.object.relinkstate import Task

    config = load(path, ObjectConfig)
    cluster = Cluster.load(config.cluster)
    indexes = frozenset(_policy_index(cluster, policy) for policy in policies)
    choice = Choice(Task(task), frozenset(devices), indexes, frozenset(partitions))
    runtime = assembly.make_runtime("object", "object-relinker", config.log, config.metrics)
    worker = assembly.make_relinker(config, assembly.make_surroundings(config, cluster, runtime), choice=choice)
    daemon.run_once(worker)
    runtime.metrics.share()
    context.exit(FAILED if worker.has_failed else DONE if worker.has_found_work else NOTHING_TO_DO)


def _policy_index(cluster: Cluster, policy: str) -> int:
    try:
        found = cluster.policies.by_index(int(policy)) if policy.isdecimal() else cluster.policies.by_name(policy)
    except UnknownPolicy:
        names = ", ".join(each.name for each in cluster.policies)
        raise OperatorProblem(f"no storage policy {policy!r}", f"the policies are {names}") from None
    return found.index
