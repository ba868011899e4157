"""objstore recon: every report over the servers' /recon pages."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click
import msgspec
from click import Context

from objstore.cluster import Cluster
from objstore.config.units import Address
from objstore.http.handshake import Handshake
from objstore.operators import disks
from objstore.ring.format import read_ring
from objstore.ring.rings import ACCOUNT_FILE, CONTAINER_FILE
from objstore.system import files
from objstore.tools.commands import OperatorProblem
from objstore.tools.output import echo_json, echo_table, json_option
from objstore.tools.recon import reports
from objstore.tools.recon.asking import ReconAnswer, ReconServer, ask_all, servers_of
from objstore.tools.recon.reports import ALL, REPORTS, STORAGE, ReconReport
from objstore.tools.units import DURATION, TIMEOUT

# In the order in which they are shown, and what of them --all asks for.
NAMES: Final = (
    *("async", "auditor", "diskusage", "driveaudit", "expirer", "loadstats", "md5", "quarantined", "relinker"),
    *("replication", "sockstat", "time", "unmounted", "updater", "validate-servers", "versions"),
)
HELP: Final = {
    "async": ("-a", "Container updates that wait to be delivered."),
    "auditor": ("", "Last passes of the auditors."),
    "diskusage": ("-d", "How full devices are."),
    "driveaudit": ("", "Devices found bad by drive-audit."),
    "expirer": ("", "Last passes of the expirers."),
    "loadstats": ("-l", "Load of the machines."),
    "md5": ("", "Whether rings and objstore.toml are those of this machine."),
    "quarantined": ("-q", "Items in quarantine."),
    "relinker": ("", "Devices that the increase of a part power has still to do with."),
    "replication": ("-r", "Last passes of the replicators."),
    "sockstat": ("", "Sockets in use."),
    "time": ("-T", "Whether clocks agree with this machine's."),
    "unmounted": ("-u", "Devices that are not mounted, or out of service."),
    "updater": ("", "Last sweeps of the updaters."),
    "validate-servers": ("", "Whether servers are what the ring takes them for."),
    "versions": ("", "Releases that the servers run."),
}


def report_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for name in reversed(NAMES):
        short, text = HELP[name]
        spellings = [spelling for spelling in (short, f"--{name}") if spelling]
        command = click.option(*spellings, name.replace("-", "_"), is_flag=True, help=text)(command)
    return command


@dataclass(frozen=True)
class Questions:
    servers: Sequence[ReconServer]
    timeout_seconds: float
    ring_dir: str
    cluster_file: str
    top: int
    lowest: int
    human_readable: bool
    jitter_seconds: float
    handshake: Handshake

    def ask(self, name: str) -> list[ReconReport]:
        """The report or reports of that name; [] when none of the servers has such."""
        if name == "md5":
            return self._digests()
        if name in REPORTS:
            return self._numbers(name)
        kinds = STORAGE if name in ("unmounted", "diskusage") else ALL
        page = {"validate-servers": "version", "versions": "version"}.get(name, name)
        servers = [server for server in self.servers if server.kind in kinds]
        if not servers:
            return []
        answers = self._ask(servers, page)
        if name == "diskusage":
            return [reports.disk_usage(answers, self.top, self.lowest, self.human_readable)]
        if name == "time":
            return [reports.clocks(answers, self.jitter_seconds)]
        made = {"unmounted": reports.unmounted, "validate-servers": reports.validate, "versions": reports.versions}
        return [made[name](answers)]

    def _ask(self, servers: Sequence[ReconServer], page: str) -> list[ReconAnswer]:
        return ask_all(servers, page, self.timeout_seconds, self.handshake)

    def _numbers(self, name: str) -> list[ReconReport]:
        numbers = REPORTS[name]
        found = []
        for kind in numbers.kinds:
            servers = [server for server in self.servers if server.kind == kind]
            if servers:
                answers = self._ask(servers, numbers.path(kind))
                found.append(reports.numbers(f"{name} {kind}", numbers, answers))
        return found

    def _digests(self) -> list[ReconReport]:
        rings = {os.path.basename(path): digest for path, digest in disks.ring_digests(self.ring_dir).items()}
        expected = {os.path.basename(self.cluster_file): disks.file_digest(self.cluster_file)}
        return [
            reports.rings("md5 of rings", self._ask(self.servers, "rings"), rings),
            reports.digests("md5 of configuration", self._ask(self.servers, "configmd5"), expected),
        ]


@click.command()
@click.argument("kinds", nargs=-1, metavar="[account|container|object|proxy]...", type=click.Choice(ALL))
@report_options
@click.option("--all", "everything", is_flag=True, help="All reports.")
@click.option("--ring-dir", default="/etc/objstore", show_default=True, help="The rings, which name the servers.")
@click.option("--cluster", "cluster_file", default="", help="The cluster's objstore.toml; that beside the rings.")
@click.option("--proxy", "proxies", multiple=True, metavar="HOST:PORT", help="A proxy's replication address.")
@click.option("--region", type=int, help="Servers of this region only.")
@click.option("-z", "--zone", type=int, help="Servers of this zone only.")
@click.option("-t", "--timeout", type=TIMEOUT, default=5.0, show_default=True, help="Seconds to wait for each server.")
@click.option("--top", type=click.IntRange(0), default=0, help="Show so many of the fullest devices.")
@click.option("--lowest", type=click.IntRange(0), default=0, help="Show so many of the emptiest devices.")
@click.option("--human-readable", is_flag=True, help="Sizes with units.")
@click.option("--jitter", type=DURATION, default=0.0, show_default=True, help="Seconds that clocks may differ.")
@click.option("-v", "--verbose", is_flag=True, help="What each server answered.")
@click.option("--suppress", is_flag=True, help="Say nothing of servers that cannot be reached.")
@json_option
@click.pass_context
def recon(
    context: Context, /, kinds: tuple[str, ...], as_json: bool, suppress: bool, verbose: bool, **given: Any
) -> None:
    """Ask all servers of a cluster how they are. The exit status is 1 when one fails, or has another ring."""
    wanted = [name for name in NAMES if given["everything"] or given[name.replace("-", "_")]]
    if not wanted:
        raise click.UsageError(f"what to report? --{', --'.join(NAMES)}, or --all")
    cluster_file = given["cluster_file"] or _file_beside(given["ring_dir"])
    questions = Questions(
        _servers(kinds, given["ring_dir"], given["proxies"], given["region"], given["zone"]),
        given["timeout"],
        given["ring_dir"],
        cluster_file,
        given["top"],
        given["lowest"],
        given["human_readable"],
        given["jitter"],
        Handshake.of(Cluster.load(cluster_file)),
    )
    found = [report for name in wanted for report in questions.ask(name)]
    if as_json:
        echo_json({report.name: {**report.data, "wrong": report.wrong} for report in found})
    else:
        for report in found:
            _show(report, verbose, suppress)
    context.exit(1 if any(report.wrong for report in found) else 0)


def _file_beside(ring_dir: str) -> str:
    """The objstore.toml beside the rings. Raises OperatorProblem."""
    path = os.path.join(ring_dir, "objstore.toml")
    if not os.path.exists(path):
        raise OperatorProblem(
            f"there is no {path}",
            "name it by --cluster: servers answer only who knows its secrets",
        )
    return path


def _servers(
    kinds: Sequence[str], ring_dir: str, proxies: Sequence[str], region: int | None, zone: int | None
) -> list[ReconServer]:
    """Raises OperatorProblem, RingFileError, click.UsageError."""
    names = sorted(files.list_directory(ring_dir))
    rings = {"account": [ACCOUNT_FILE], "container": [CONTAINER_FILE]}
    rings["object"] = [name for name in names if name.startswith("object") and name.endswith(".ring.gz")]
    found: list[ReconServer] = []
    for kind in kinds or STORAGE:
        if kind in rings:
            devices = [device for name in rings[kind] for device in read_ring(os.path.join(ring_dir, name)).devices]
            found += servers_of(kind, devices, region, zone)
    if "proxy" in kinds or not kinds:
        try:
            addresses = [Address.parse(proxy) for proxy in proxies]
        except ValueError as error:
            raise click.UsageError(f"--proxy: {error}") from None
        found += [ReconServer("proxy", address.host, address.port) for address in addresses]
    if not found:
        raise OperatorProblem("there is no such server", "rings name storage servers; give proxies with --proxy")
    return found


def _show(report: ReconReport, verbose: bool, suppress: bool) -> None:
    if report.table.rows:
        echo_table(report.table.headings, report.table.rows, report.name)
    else:
        click.echo(f"{report.name}: none" if not report.wrong else report.name)
    if verbose:
        for server, value in report.data["servers"].items():
            click.echo(f"{server}: {msgspec.json.encode(value).decode()}")
    for line in report.wrong:
        if not suppress:
            click.echo(f"! {line}")
