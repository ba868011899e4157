"""objstore locate: where an account, a container, an object or a partition lives."""

from __future__ import annotations

import os
from typing import Final
from urllib.parse import unquote

import click

from objstore.cluster import Cluster
from objstore.limits import InvalidName, Limits, check_path
from objstore.paths import ResourcePath
from objstore.policies import Policies, Policy
from objstore.ring.format import read_ring
from objstore.tools.commands import OperatorProblem, policy_named
from objstore.tools.output import echo_json, echo_table, json_option
from objstore.tools.placing import (
    ReplicaPlace,
    ReplicaPlaces,
    folder_of,
    folder_of_ring,
    only_device,
    places_of,
    places_of_partition,
    ring_name,
)

HEADINGS: Final = ("<", "region", "zone", "<address", "<replication", "<device")


@click.command()
@click.argument("names", nargs=-1, metavar="[ACCOUNT [CONTAINER [OBJECT]]]")
@click.option("--partition", type=click.IntRange(0), help="A partition of the ring of --ring, instead of names.")
@click.option("--ring", "ring_file", metavar="FILE", help="This ring; its name says what it places.")
@click.option("--ring-dir", default="/etc/objstore", show_default=True, help="The rings.")
@click.option("--cluster", "cluster_file", default="", help="The cluster's objstore.toml; that beside the rings.")
@click.option("--policy", "policy_name", help="Storage policy of the object, by name; the default one.")
@click.option("-a", "--all", "all_handoffs", is_flag=True, help="All handoffs, not only as many as primaries.")
@click.option("-d", "--device", help="Only places on devices of this name.")
@click.option("-Q", "--quoted", is_flag=True, help="The names are percent-quoted.")
@click.option("--root", default="/srv/node", show_default=True, help="Where servers have their devices.")
@json_option
def locate(
    names: tuple[str, ...],
    partition: int | None,
    ring_file: str | None,
    ring_dir: str,
    cluster_file: str,
    policy_name: str | None,
    all_handoffs: bool,
    device: str | None,
    quoted: bool,
    root: str,
    as_json: bool,
) -> None:
    """Say where something lives: its partition, primaries, handoffs, and how to look there."""
    if (partition is None) == (not names) or len(names) > 3:
        raise click.UsageError("give an account, its container and object, or else --partition with --ring")
    if partition is not None:
        if ring_file is None:
            raise click.UsageError("--partition needs --ring")
        found = _of_partition(ring_file, partition, root, all_handoffs)
    else:
        cluster_file = cluster_file or os.path.join(ring_dir, "objstore.toml")
        cluster = Cluster.load(cluster_file)
        path = _path(names, quoted, cluster.limits)
        policy = _policy(cluster.policies, policy_name, ring_file if path.is_object else None)
        if ring_file is not None and folder_of_ring(ring_file) != folder_of(path, policy):
            raise OperatorProblem(f"{ring_file} does not place {path}", f"that does {ring_name(path, policy)}")
        ring = read_ring(ring_file or os.path.join(ring_dir, ring_name(path, policy)))
        handoffs = None if all_handoffs else len(ring.rows)
        found = places_of(ring, path, cluster_file, policy, root, handoffs)
    if device is not None:
        found = only_device(found, device)
    if as_json:
        echo_json(found.data())
    else:
        show_places(found)


def _path(names: tuple[str, ...], quoted: bool, limits: Limits) -> ResourcePath:
    """What the names mean. Raises OperatorProblem for those that nothing can have."""
    try:
        texts = [unquote(name, errors="strict") if quoted else name for name in names]
        for text in texts:
            text.encode()  # what the terminal sent in another encoding than UTF-8 cannot be
        if not all(texts):
            raise ValueError("a name is empty")
        path = ResourcePath(*texts)
        check_path(limits, path)
    except InvalidName as error:
        raise OperatorProblem(str(error), "give the account, its container and object as separate words") from None
    except ValueError as error:
        reason = "a name is not UTF-8" if isinstance(error, UnicodeError) else str(error)
        raise OperatorProblem(reason, "give an account, its container and object") from None
    return path


def show_places(found: ReplicaPlaces) -> None:
    """A table, and lines to copy."""
    click.echo(f"partition {found.partition}" + (f", hash {found.hash}" if found.hash else ""))
    if found.also_in:
        click.echo(f"or, while the part power is increased, partition {' or '.join(map(str, found.also_in))}")
    rows = [
        (
            _role(place),
            str(place.device.region),
            str(place.device.zone),
            place.device.address,
            place.device.on_replication.address,
            place.device.device,
        )
        for place in found.places
    ]
    echo_table(HEADINGS, rows)
    for line in [place.head for place in found.places if place.head] + [place.ls for place in found.places]:
        click.echo(line)


def _role(place: ReplicaPlace) -> str:
    if place.handoff:
        return f"handoff {place.handoff}"
    return "primary" if place.fragment is None else f"primary, fragment {place.fragment}"


def _of_partition(ring_file: str, partition: int, root: str, all_handoffs: bool) -> ReplicaPlaces:
    ring = read_ring(ring_file)
    handoffs = None if all_handoffs else len(ring.rows)
    try:
        return places_of_partition(ring, partition, folder_of_ring(ring_file), root, handoffs)
    except IndexError:
        raise OperatorProblem(
            f"{ring_file} has no partition {partition}", f"it has 0 to {ring.partition_count - 1}"
        ) from None


def _policy(policies: Policies, name: str | None, ring_file: str | None) -> Policy:
    """By name, else that of the ring file, else the default one. Raises OperatorProblem."""
    if name is None:
        of_ring = [policy for policy in policies if ring_file and policy.data_dir == folder_of_ring(ring_file)]
        return of_ring[0] if of_ring else policies.default
    return policy_named(policies, name)
