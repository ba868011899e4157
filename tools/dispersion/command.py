"""objstore dispersion populate, objstore dispersion report."""

from __future__ import annotations

import http.client
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click
from click import Context
from msgspec import Struct, field

from objstore.cluster import Cluster
from objstore.devices import Device
from objstore.errors import reason_of
from objstore.headers import Client
from objstore.paths import ResourcePath
from objstore.policies import Policy
from objstore.ring.format import read_ring
from objstore.ring.ring import Ring
from objstore.ring.rings import CONTAINER_FILE, object_file
from objstore.tools.dispersion.client import has_copy, log_in
from objstore.tools.dispersion.names import container_names, object_names, objects_container, partitions_wanted, spread
from objstore.tools.dispersion.settings import Settings, settings_options
from objstore.tools.ring.output import echo_json, echo_table, json_option, progress, quiet_option


class Sample(Struct, frozen=True):
    """Things of a ring, one in each of some partitions; `policy` of objects, None of containers."""

    title: str
    ring: Ring
    paths: dict[int, ResourcePath]
    policy: Policy | None = None


def samples(settings: Settings, cluster: Cluster, account: str) -> list[Sample]:
    """Containers, and objects of each policy. Raises RingFileError, OperatorProblem."""
    found = []
    if settings.containers:
        found.append(_sample("container", settings, cluster, CONTAINER_FILE, container_names(account), None))
    for policy in settings.policies(cluster):
        names = object_names(account, policy)
        found.append(_sample(f"object {policy.name}", settings, cluster, object_file(policy.index), names, policy))
    return found


def _sample(
    title: str,
    settings: Settings,
    cluster: Cluster,
    file: str,
    make: Callable[[int], ResourcePath],
    policy: Policy | None,
) -> Sample:
    ring = read_ring(os.path.join(settings.ring_dir, file))
    wanted = partitions_wanted(ring.partition_count, settings.coverage)
    paths = spread(make, lambda path: ring.partition_of(cluster.hasher.digest(path)), wanted)
    return Sample(title, ring, paths, policy)


@click.group()
def dispersion() -> None:
    """Whether copies are where they should be, measured on a sample of the partitions."""


@dispersion.command()
@settings_options
@quiet_option
@click.pass_context
def populate(context: Context, /, quiet: bool, **given: Any) -> None:
    """Put containers and objects into a share of the partitions. The exit status is 1 when one failed."""
    settings = Settings(**given)
    cluster = settings.open_cluster()
    session = log_in(settings.auth, settings.user, settings.key, settings.timeout)
    wrong = []
    for sample in samples(settings, cluster, session.account):
        if sample.policy is not None:
            container = objects_container(session.account, sample.policy)
            wrong.append(session.put(container, {Client.STORAGE_POLICY: sample.policy.name}))
        with ThreadPoolExecutor(settings.concurrency) as pool, progress(sample.title, len(sample.paths), quiet) as step:
            for reason in pool.map(lambda path: session.put(path, {}, b""), sample.paths.values()):
                wrong.append(reason)
                step(1)
        click.echo(f"{sample.title}: {len(sample.paths)} of {sample.ring.partition_count} partitions")
    for reason in filter(None, wrong):
        click.echo(f"! {reason}")
    context.exit(1 if any(wrong) else 0)


class Findings(Struct):
    """What a report counts: copies found of those expected, partitions by copies missing, servers that failed."""

    expected: int = 0
    found: int = 0
    missing_copies: Counter[int] = field(default_factory=Counter)
    failures: list[str] = []


@dispersion.command()
@settings_options
@json_option
@quiet_option
@click.pass_context
def report(context: Context, /, as_json: bool, quiet: bool, **given: Any) -> None:
    """Ask the storage servers for their copies. The exit status is 1 when one is missing or cannot be asked for."""
    settings = Settings(**given)
    cluster = settings.open_cluster()
    session = log_in(settings.auth, settings.user, settings.key, settings.timeout)
    results = {}
    for sample in samples(settings, cluster, session.account):
        results[sample.title] = _look(sample, settings, quiet)
    if as_json:
        echo_json({title: _data(found) for title, found in results.items()})
    else:
        rows = [
            (
                title,
                str(found.found),
                str(found.expected),
                f"{_percent(found):.2f}",
                str(sum(found.missing_copies.values())),
            )
            for title, found in results.items()
        ]
        echo_table(("<", "copies found", "of", "percent", "partitions with less"), rows)
        for line in dict.fromkeys(line for found in results.values() for line in found.failures):
            click.echo(f"! {line}")
    context.exit(1 if any(found.found < found.expected or found.failures for found in results.values()) else 0)


def _look(sample: Sample, settings: Settings, quiet: bool) -> Findings:
    findings = Findings(missing_copies=Counter(), failures=[])
    index = 0 if sample.policy is None else sample.policy.index

    def ask(place: tuple[int, ResourcePath, Device]) -> tuple[int, bool, str]:
        partition, path, node = place
        try:
            return partition, has_copy(node, partition, path, index, settings.timeout), ""
        except (OSError, http.client.HTTPException) as error:
            return partition, False, f"{node.address}/{node.device}: {reason_of(error)}"

    places = [(number, path, node) for number, path in sample.paths.items() for node in sample.ring.primaries(number)]
    missing: Counter[int] = Counter()
    with ThreadPoolExecutor(settings.concurrency) as pool, progress(sample.title, len(places), quiet) as step:
        for partition, found, failure in pool.map(ask, places):
            findings.found += found
            missing[partition] += not found
            if failure and failure not in findings.failures:
                findings.failures.append(failure)
            step(1)
    findings.expected = len(places)
    findings.missing_copies = Counter(count for count in missing.values() if count)
    return findings


def _percent(found: Findings) -> float:
    return 100.0 * found.found / found.expected if found.expected else 100.0


def _data(found: Findings) -> dict[str, Any]:
    return {
        "copies_found": found.found,
        "copies_expected": found.expected,
        "pct_found": _percent(found),
        "partitions_by_missing_copies": {str(count): number for count, number in sorted(found.missing_copies.items())},
        "failures": found.failures,
    }
