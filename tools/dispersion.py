"""objstore dispersion: things spread over the partitions, to see whether their copies are where they should be."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

import click
from click import Context
from msgspec import Struct, field

from objstore.client.connections import ServerAddress
from objstore.client.errors import ClientError, RequestFailed
from objstore.client.requests import HttpClient, RetryPolicy
from objstore.client.store import StoreClient
from objstore.cluster import Cluster
from objstore.devices import Device
from objstore.headers import Backend, Client
from objstore.http.handshake import Handshake
from objstore.paths import ResourcePath
from objstore.policies import Policy
from objstore.ring.format import read_ring
from objstore.ring.ring import Ring
from objstore.ring.rings import CONTAINER_FILE, object_file
from objstore.tools.commands import OperatorProblem, policy_named
from objstore.tools.output import echo_json, echo_table, json_option, progress, quiet_option
from objstore.tools.units import PERCENT, TIMEOUT

CONTAINER_PREFIX: Final = "dispersion"
Command = TypeVar("Command", bound=Callable[..., Any])


class DispersionOptions(Struct, frozen=True):
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
        return [policy_named(cluster.policies, self.policy)]


def settings_options(command: Command) -> Command:
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


# With random names the last partition of n is found after about n * log(n) tries.
TRIES_PER_PARTITION: Final = 64


def partitions_wanted(partition_count: int, coverage_percent: float) -> int:
    """So many partitions are that share, at least one."""
    return min(max(round(partition_count * coverage_percent / 100), 1), partition_count)


def spread(
    make: Callable[[int], ResourcePath], partition_of: Callable[[ResourcePath], int], wanted: int
) -> dict[int, ResourcePath]:
    """The first names, by number, each in another partition; by partition. Fewer if they are not found."""
    found: dict[int, ResourcePath] = {}
    for number in range(wanted * TRIES_PER_PARTITION):
        path = make(number)
        found.setdefault(partition_of(path), path)
        if len(found) == wanted:
            break
    return found


def container_names(account: str) -> Callable[[int], ResourcePath]:
    """Of the containers that are looked for themselves."""
    return lambda number: ResourcePath(account, f"{CONTAINER_PREFIX}_{number}")


def objects_container(account: str, policy: Policy) -> ResourcePath:
    """The container of the objects of a policy."""
    return ResourcePath(account, f"{CONTAINER_PREFIX}_objects_{policy.index}")


def object_names(account: str, policy: Policy) -> Callable[[int], ResourcePath]:
    """Of the objects of a policy."""
    container = objects_container(account, policy)
    return lambda number: container.with_object(f"{CONTAINER_PREFIX}_{number}")


def log_in(options: DispersionOptions) -> StoreClient:
    """A client that has a token. Raises OperatorProblem."""
    store = StoreClient(options.auth, options.user, options.key, HttpClient.with_limits(options.timeout))
    try:
        store.log_in()
    except RequestFailed as error:
        reason = f"{options.auth}: the login of {options.user} was answered with {error.status}"
        raise OperatorProblem(reason, "check --user and --key") from error
    except (ClientError, ValueError) as error:
        brief = error.brief if isinstance(error, ClientError) else str(error)
        raise OperatorProblem(f"{options.auth}: {brief}", "check --auth") from error
    store.http.retries = RetryPolicy()
    return store


def put(
    store: StoreClient, path: ResourcePath, headers: Mapping[str, str] | None = None, policy: Policy | None = None
) -> str:
    """Create a container, or an object so small as its policy admits; what was wrong, "" if nothing."""
    try:
        if path.is_object:
            size = 0 if policy is None or policy.scheme.code is None else policy.small_object_size + 1
            store.put_object(path.container, path.object, bytes(size))
        else:
            store.create_container(path.container, headers)
    except ClientError as error:
        return f"{path}: {error.brief}"
    return ""


def has_copy(http: HttpClient, place: AskedDevice, path: ResourcePath, policy: Policy | None) -> bool:
    """Whether a storage server has its copy or fragment. Raises ClientError, also for responses that say neither."""
    headers = {} if policy is None else {Backend.POLICY_INDEX: str(policy.index)}
    node = place.node
    server, target = ServerAddress(node.ip, node.port), f"/{node.device}/{place.partition}{path.quoted}"
    with http.request(server, "HEAD", target, headers=headers, accept={404}) as response:
        if response.status == 404 or policy is None or policy.scheme.code is None:
            return response.status != 404
        names = response.headers.get(Backend.FRAGMENTS.lower(), "").split(",")
        return any(name.endswith(f"#{policy.scheme.number(place.number)}#d.data") for name in names)


class AskedDevice(Struct, frozen=True):
    """The device of one replica of a partition; `number` is which of its replicas that is."""

    partition: int
    number: int
    node: Device


class Sample(Struct, frozen=True):
    """Things of a ring, one in each of some partitions; `policy` of objects, None of containers."""

    title: str
    ring: Ring
    paths: dict[int, ResourcePath]
    policy: Policy | None = None

    def primaries(self, partition: int) -> Sequence[Device]:
        """In the order of the pieces that they hold."""
        found = self.ring.primaries(partition)
        return found if self.policy is None else self.policy.scheme.in_order(found)


def samples(settings: DispersionOptions, cluster: Cluster, account: str) -> list[Sample]:
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
    settings: DispersionOptions,
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
    settings = DispersionOptions(**given)
    cluster = settings.open_cluster()
    store = log_in(settings)
    wrong = []
    for sample in samples(settings, cluster, store.account):
        if sample.policy is not None:
            container = objects_container(store.account, sample.policy)
            wrong.append(put(store, container, {Client.STORAGE_POLICY: sample.policy.name}))
        with ThreadPoolExecutor(settings.concurrency) as pool, progress(sample.title, len(sample.paths), quiet) as step:
            for reason in pool.map(partial(put, store, policy=sample.policy), sample.paths.values()):
                wrong.append(reason)
                step(1)
        click.echo(f"{sample.title}: {len(sample.paths)} of {sample.ring.partition_count} partitions")
    for reason in filter(None, wrong):
        click.echo(f"! {reason}")
    context.exit(1 if any(wrong) else 0)


class DispersionFindings(Struct):
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
    settings = DispersionOptions(**given)
    cluster = settings.open_cluster()
    store = log_in(settings)
    results = {}
    for sample in samples(settings, cluster, store.account):
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


def _look(sample: Sample, settings: DispersionOptions, quiet: bool) -> DispersionFindings:
    findings = DispersionFindings(missing_copies=Counter(), failures=[])
    http = HttpClient.with_limits(settings.timeout, Handshake.of(settings.open_cluster()))

    def ask(place: AskedDevice) -> tuple[int, bool, str]:
        try:
            return place.partition, has_copy(http, place, sample.paths[place.partition], sample.policy), ""
        except ClientError as error:
            return place.partition, False, f"{place.node.address}/{place.node.device}: {error.brief}"

    places = [
        AskedDevice(partition, number, node)
        for partition in sample.paths
        for number, node in enumerate(sample.primaries(partition))
    ]
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


def _percent(found: DispersionFindings) -> float:
    return 100.0 * found.found / found.expected if found.expected else 100.0


def _data(found: DispersionFindings) -> dict[str, Any]:
    return {
        "copies_found": found.found,
        "copies_expected": found.expected,
        "pct_found": _percent(found),
        "partitions_by_missing_copies": {str(count): number for count, number in sorted(found.missing_copies.items())},
        "failures": found.failures,
    }
