"""objstore relinker: gives objects their places when the part power of a ring is increased."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from click import Context

from objstore import daemon
from objstore.cluster import Cluster
from objstore.config.loading import load
from objstore.config.object import ObjectConfig
from objstore.mounts import DeviceRoot, DeviceUnavailable
from objstore.policies import Policy, UnknownPolicy
from objstore.ring.daemon_context import IsMine
from objstore.ring.errors import RingFileError
from objstore.ring.ring import Ring
from objstore.ring.rings import Rings
from objstore.tools import assembly
from objstore.tools.commands import OperatorProblem
from objstore.tools.serve import config_option

if TYPE_CHECKING:
    from objstore.object.relinker import Choice
    from objstore.object.relinkstate import RelinkTask

# What swift-object-relinker ends with; 2, when there is nothing to do, is that of every OperatorProblem.
DONE: Final = 0
FAILED: Final = 1
WHEN: Final = "relink comes after `objstore ring power prepare`, cleanup after `increase` or `cancel`"


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
    from objstore.object.relinkstate import RelinkTask, task_of

    config = load(path, ObjectConfig)
    cluster = Cluster.load(config.cluster)
    indexes = frozenset(_policy_index(cluster, policy) for policy in policies)
    choice = Choice(RelinkTask(task), frozenset(devices), indexes, frozenset(partitions))
    runtime = assembly.make_runtime("object", "object-relinker", config.log, config.metrics)
    daemon_context = assembly.make_context(config, cluster, runtime)
    mine = daemon_context.is_mine
    found = _rings_of(cluster, daemon_context.rings, indexes)
    names = _names(found.values(), mine)
    _check(choice, found, names)
    worker = assembly.make_relinker(config, daemon_context, choice=choice)
    daemon.run_once(worker)
    runtime.metrics.share()
    due = _names((ring for ring in found.values() if task_of(ring, None) is choice.task), mine)
    unusable = _unusable(assembly.make_devices(config.devices), due & choice.devices if choice.devices else due)
    for line in unusable:
        click.echo(f"objstore: {line}", err=True)
    if not worker.has_found_work and not unusable:
        raise OperatorProblem(*_nothing_to_do(choice.task, found, names))
    click.echo(f"{task}: {worker.summary()}")
    context.exit(FAILED if worker.has_failed or unusable else DONE)


def _rings_of(cluster: Cluster, rings: Rings, indexes: Collection[int]) -> dict[Policy, Ring]:
    """Those of the policies with these indexes, of all if there are none. Raises RingFileError when all are bad."""
    found: dict[Policy, Ring] = {}
    problems: list[RingFileError] = []
    for policy in cluster.policies:
        if not indexes or policy.index in indexes:
            try:
                found[policy] = rings.object(policy.index)
            except RingFileError as error:
                problems.append(error)
    if not found:
        raise problems[0]
    for problem in problems:
        click.echo(f"objstore: passed over: {problem}", err=True)
    return found


def _names(rings: Iterable[Ring], mine: IsMine) -> set[str]:
    return {device.device for ring in rings for device in ring.devices if mine(device)}


def _check(choice: Choice, rings: Mapping[Policy, Ring], names: Collection[str]) -> None:
    """Raises OperatorProblem for a device or partition that the rings do not know."""
    from objstore.object.relinkstate import partition_end

    strange = sorted(choice.devices.difference(names))
    if strange:
        known = f"they are {', '.join(sorted(names))}" if names else "there are none"
        raise OperatorProblem(f"no device {strange[0]!r} of this machine is in the rings", known)
    end = max(partition_end(ring, choice.task) for ring in rings.values())
    if choice.partitions and max(choice.partitions) >= end:
        reason = f"no ring has a partition {max(choice.partitions)}"
        raise OperatorProblem(reason, f"the last one that {choice.task.value} looks through is {end - 1}")


def _unusable(devices: DeviceRoot, names: Collection[str]) -> list[str]:
    """What is said of the devices that cannot be used."""
    found = []
    for name in sorted(names):
        try:
            devices.path(name)
        except DeviceUnavailable:
            found.append(f"passed over: device {name}, which is not mounted, or out of service")
    return found


def _nothing_to_do(task: RelinkTask, rings: Mapping[Policy, Ring], names: Collection[str]) -> tuple[str, str]:
    """The reason and what to do about it."""
    from objstore.object.relinkstate import state_of

    if not names:
        return "no device of this machine is in the rings", "`bind` of [server] says which are its own"
    states = ", ".join(f"the ring of {policy.name} is {state_of(ring)}" for policy, ring in rings.items())
    return f"no ring is in the state for {task.value}: {states}", WHEN


def _policy_index(cluster: Cluster, policy: str) -> int:
    try:
        found = cluster.policies.by_index(int(policy)) if policy.isdecimal() else cluster.policies.by_name(policy)
    except UnknownPolicy:
        names = ", ".join(each.name for each in cluster.policies)
        raise OperatorProblem(f"no storage policy {policy!r}", f"the policies are {names}") from None
    return found.index
