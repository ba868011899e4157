"""objstore explain: what a file of the store holds, whether it is intact, and where it should be."""

from __future__ import annotations

import os
import re
from typing import Any, Final

import click
from click import Context

from objstore.cluster import Cluster
from objstore.policies import Policy
from objstore.ring.format import read_ring
from objstore.tools.explaining import Explanation, explain_file
from objstore.tools.locate import show_places
from objstore.tools.output import echo_json, json_option
from objstore.tools.placing import ReplicaPlaces, places_of, ring_name

# DEVICE/objects-1/PARTITION/SUFFIX/HASH/..., likewise of containers and accounts.
_WHERE: Final = re.compile(
    r"/(?P<device>[^/]+)/(?P<folder>objects|containers|accounts|async_pending)(?:-(?P<policy>\d+))?/"
    r"(?:(?P<partition>\d+)/[0-9a-f]{3}/(?P<hash>[0-9a-f]{32})/)?"
)


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False))
@click.option("--ring-dir", default="/etc/objstore", show_default=True, help="The rings that say where it should be.")
@click.option("--cluster", "cluster_file", default="", help="The cluster's objstore.toml; that beside the rings.")
@click.option("-n", "--no-verify", is_flag=True, help="Do not read the whole file to verify checksums.")
@click.option("-s", "--sync", is_flag=True, help="Also what a database knows of its replicas.")
@click.option("--root", default="/srv/node", show_default=True, help="Where servers have their devices.")
@json_option
@click.pass_context
def explain(
    context: Context,
    /,
    file: str,
    ring_dir: str,
    cluster_file: str,
    no_verify: bool,
    sync: bool,
    root: str,
    as_json: bool,
) -> None:
    """Explain a FILE of a device, or a ring. The exit status is 1 when something is wrong with it."""
    found = explain_file(file, not no_verify, sync)
    wrong, places = list(found.wrong), None
    config = cluster_file or os.path.join(ring_dir, "objstore.toml")
    # Away from a node there may be no rings; who names a file means it.
    if found.path is not None and (cluster_file or os.path.exists(config)):
        places, misplaced = _where(file, found, config, ring_dir, root)
        wrong += misplaced
    if as_json:
        shown: dict[str, Any] = {"kind": found.kind, "facts": found.facts, "wrong": wrong}
        echo_json(shown | ({} if places is None else {"should_be": places.data()}))
    else:
        _show(found, wrong, places)
    context.exit(1 if wrong else 0)


def _where(
    file: str, found: Explanation, cluster_file: str, ring_dir: str, root: str
) -> tuple[ReplicaPlaces, list[str]]:
    """Where it should be, and what is wrong with where it is."""
    assert found.path is not None
    match = _WHERE.search(os.path.abspath(file))
    policies = Cluster.load(cluster_file).policies
    policy: Policy = policies.by_index(int(match["policy"] or 0) if match else 0)
    ring = read_ring(os.path.join(ring_dir, ring_name(found.path, policy)))
    places = places_of(ring, found.path, cluster_file, policy, root, 0)
    if match is None or match["hash"] is None:
        return places, []
    wrong = []
    if match["hash"] != places.hash:
        wrong.append(f"it lies below the hash {match['hash']}, its own is {places.hash}")
    if int(match["partition"]) not in (places.partition, *places.also_in):
        wrong.append(f"it lies in partition {match['partition']}, its own is {places.partition}")
    own = [place for place in places.places if found.fragment is None or place.fragment == found.fragment]
    if match["device"] not in {place.device.device for place in own}:
        of = "" if found.fragment is None else f" of fragment {found.fragment}"
        wrong.append(f"no primary{of} is called {match['device']}: it waits here to be handed over")
    return places, wrong


def _show(found: Explanation, wrong: list[str], places: ReplicaPlaces | None) -> None:
    click.echo(found.kind if found.path is None else f"{found.kind} {found.path}")
    for name, value in found.facts.items():
        if isinstance(value, dict):
            for inner, text in value.items():
                click.echo(f"  {name} {inner}: {_text(text)}")
        elif isinstance(value, list):
            for entry in value or [None]:
                click.echo(f"  {name}: {_text(entry)}")
        else:
            click.echo(f"  {name}: {_text(value)}")
    for line in wrong:
        click.echo(f"! {line}")
    if not wrong:
        click.echo("nothing is wrong with it")
    if places is not None:
        click.echo("It should be here:")
        show_places(places)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(inner)}" for name, inner in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
