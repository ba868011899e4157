"""objstore bench: how fast a Swift endpoint is, and what that costs it."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from objstore.bench.endpoint import Endpoint, ProcessTree, Run
from objstore.client.errors import ClientError
from objstore.tools.commands import OperatorProblem
from objstore.tools.units import TIMEOUT

READ_KEYS: Final = 1000
LISTED_OBJECTS: Final = 10_000
LARGE_MEBIBYTES: Final = 100
CALIBRATION_LOOPS: Final = 2_000_000


@dataclass
class BenchSession:
    endpoint: Endpoint
    processes: ProcessTree
    seconds: float
    repeat: int
    connections: int
    container: str

    def measure(self, figure: str, unit: str, run: Callable[[int], Run]) -> list[Run]:
        """Repeat a run and print its median: rate, processor time for each answer, latency, errors."""
        runs, costs, quiet = [], [], []
        for turn in range(self.repeat):
            quiet.append(calibration_ms())
            before = self.processes.processor_seconds()
            done = run(turn)
            costs.append((self.processes.processor_seconds() - before) * 1000 / max(done.answers, 1))
            runs.append(done)
        rates = [done.rate for done in runs]
        click.echo(
            f"{figure:<12} {statistics.median(rates):10.1f} {unit:<6}"
            f" cpu={statistics.median(costs):.3f} ms"
            f" p50={statistics.median(done.median_ms for done in runs):.2f} ms"
            f" p99={statistics.median(done.slowest_ms for done in runs):.2f} ms"
            f" runs={'/'.join(f'{rate:.1f}' for rate in rates)}"
            f" errors={sum(done.refused for done in runs)}"
            f" calibration={'/'.join(f'{value:.0f}' for value in quiet)} ms"
        )
        return runs

    def load(self, method: str, prefix: str, *, keys: str, size: int = 0, count: int = 0) -> Run:
        """wrk on this session's container."""
        path = f"/{self.container}{prefix}"
        return self.endpoint.wrk(
            method, path, keys=keys, size=size, seconds=self.seconds, count=count, connections=self.connections
        )

    def fill(self, prefix: str, size: int, count: int) -> None:
        self.load("PUT", prefix, keys="new", size=size, count=count + self.connections)


def calibration_ms() -> float:
    """How long a fixed piece of work takes now: if it varies, the machine was not quiet."""
    began = time.perf_counter()
    total = 0
    for number in range(CALIBRATION_LOOPS):
        total += number * number % 7
    return (time.perf_counter() - began) * 1000


def put_and_delete_4k(session: BenchSession) -> None:
    """Small writes, and the removal of what they wrote."""
    written = session.measure("put-4k", "req/s", lambda turn: session.load("PUT", f"/p{turn}-", keys="new", size=4096))

    def delete(turn: int) -> Run:
        return session.load("DELETE", f"/p{turn}-", keys="new", count=max(written[turn].answers, 1))

    session.measure("delete-4k", "req/s", delete)


def get_4k(session: BenchSession) -> None:
    session.fill("/g-", 4096, READ_KEYS)
    session.measure("get-4k", "req/s", lambda _: session.load("GET", "/g-", keys=str(READ_KEYS)))


def head(session: BenchSession) -> None:
    """HEAD, of empty objects: wrk waits for the body that any other Content-Length announces."""
    session.fill("/e-", 0, READ_KEYS)
    session.measure("head", "req/s", lambda _: session.load("HEAD", "/e-", keys=str(READ_KEYS)))


def put_64k(session: BenchSession) -> None:
    session.measure("put-64k", "req/s", lambda turn: session.load("PUT", f"/q{turn}-", keys="new", size=65536))


def get_64k(session: BenchSession) -> None:
    """Reads of 64 KiB."""
    session.fill("/h-", 65536, READ_KEYS // 2)
    session.measure("get-64k", "req/s", lambda _: session.load("GET", "/h-", keys=str(READ_KEYS // 2)))


def large(session: BenchSession) -> None:
    """One stream of 100 MiB, up and down."""
    path = f"/{session.container}/large"
    session.measure("put-100m", "MB/s", lambda turn: session.endpoint.upload(f"{path}{turn}", LARGE_MEBIBYTES))
    session.measure("get-100m", "MB/s", lambda turn: session.endpoint.download(f"{path}{turn}"))


def listing(session: BenchSession) -> None:
    """A whole page of a listing, in JSON."""
    listed = f"{session.container}-list"
    session.endpoint.request("PUT", f"/{listed}")
    name = f"/{listed}/an-object-with-a-name-of-usual-length-"
    session.endpoint.wrk("PUT", name, keys="new", count=LISTED_OBJECTS + 100, connections=session.connections)
    session.measure(
        "list-10k",
        "req/s",
        lambda _: session.endpoint.wrk(
            "GET", f"/{listed}?format=json", keys="one", seconds=session.seconds, connections=session.connections
        ),
    )


FIGURES: Final[dict[str, Callable[[BenchSession], None]]] = {
    "small-writes": put_and_delete_4k,
    "get-4k": get_4k,
    "head": head,
    "put-64k": put_64k,
    "get-64k": get_64k,
    "large": large,
    "listing": listing,
}


@click.command()
@click.option("--auth", default="http://127.0.0.1:8080/auth/v1.0", show_default=True, help="Where to log in.")
@click.option("--user", default="test:tester", show_default=True, help="As whom.")
@click.option("--key", default="testing", show_default=True, help="With which key.")
@click.option(
    "--pid-dir",
    "pid_dirs",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the *.pid files of the store's processes, for what they use.",
)
@click.option("--pid", "pids", multiple=True, type=int, help="A process of the store; those below it count too.")
@click.option("--seconds", type=TIMEOUT, default=10.0, show_default=True, help="How long each run takes.")
@click.option(
    "--repeat", type=click.IntRange(1), default=3, show_default=True, help="How many runs; the median counts."
)
@click.option("--connections", type=click.IntRange(1), default=16, show_default=True, help="Connections at a time.")
@click.option("--policy", default="", help="Storage policy.  [default: the store's]")
@click.argument("figures", nargs=-1, type=click.Choice(list(FIGURES)))
def bench(
    auth: str,
    user: str,
    key: str,
    pid_dirs: tuple[Path, ...],
    pids: tuple[int, ...],
    seconds: float,
    repeat: int,
    connections: int,
    policy: str,
    figures: tuple[str, ...],
) -> None:
    """Measure a Swift endpoint: all FIGURES, or those named. Needs wrk."""
    try:
        endpoint = Endpoint(auth, user, key)
    except (ClientError, ValueError) as error:
        raise OperatorProblem(
            f"no token from {auth}: {error}", "start the store, or give --auth, --user, --key"
        ) from None
    roots = [*pids, *ProcessTree.of_pid_files(pid_dirs).roots]
    container = f"bench-{os.getpid()}-{int(time.time())}"
    session = BenchSession(endpoint, ProcessTree(roots), seconds, repeat, connections, container)
    headers = {"X-Storage-Policy": policy} if policy else {}
    status, reason = endpoint.request("PUT", f"/{container}", headers)
    if status != 201:
        raise OperatorProblem(f"no container to work in: {status} {reason.decode()}", "check --user and --policy")
    for figure in figures or FIGURES:
        FIGURES[figure](session)
    if roots:
        click.echo(f"{'memory':<12} {session.processes.memory_bytes() / 1e6:10.1f} MB     (PSS of all processes)")
