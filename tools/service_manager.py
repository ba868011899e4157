"""objstore services: starts, stops and reloads the services of this machine, for who runs them without systemd."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click import Context

from objstore.config.loading import load
from objstore.tools.check_config import KINDS
from objstore.tools.commands import OperatorProblem
from objstore.tools.loopback import DAEMONS
from objstore.tools.loopback import SERVICES as SERVERS
from objstore.tools.processes import POLL_SECONDS, DetachedProcess
from objstore.tools.units import DURATION

# In the order of starting: a proxy comes last, when what it asks is there.
GROUPS: Final = {"all": (*SERVERS, *DAEMONS), "main": SERVERS, "rest": DAEMONS}
RESTART_SECONDS: Final = 15.0
# What cannot run, for want of a ring or because its address is taken, has said so by then.
WATCH_SECONDS: Final = 1.0
Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class ManagedService:
    """One service with one configuration file. Files of one kind are numbered by name, from 1."""

    kind: str
    number: int
    configuration: Path
    process: DetachedProcess

    @property
    def name(self) -> str:
        """As in "object.2"."""
        return f"{self.kind}.{self.number}"


def find_services(names: Sequence[str], config_dir: Path, run_dir: Path, log_dir: Path) -> list[ManagedService]:
    """Those of groups, services ("object") and single ones ("object.2"), in the order of starting.

    Raises OperatorProblem for a name that means nothing here.
    """
    known = [service for kind in GROUPS["all"] for service in _of_kind(kind, config_dir, run_dir, log_dir)]
    chosen: list[ManagedService] = []
    for name in names or ("all",):
        found = [service for service in known if name == service.name or service.kind in GROUPS.get(name, (name,))]
        if not found:
            here = ", ".join(service.name for service in known) or "none"
            raise OperatorProblem(
                f"{config_dir} has no configuration of {name!r}",
                f"name one of {', '.join(GROUPS)} or of the services there: {here}",
            )
        chosen += found
    return [service for service in known if service in chosen]


def _of_kind(kind: str, config_dir: Path, run_dir: Path, log_dir: Path) -> list[ManagedService]:
    """The file's name says what it configures: object.toml, also object-2.toml."""
    server = kind.removesuffix("-daemons")
    paths = sorted(
        path for path in config_dir.glob(f"{server}*.toml") if path.stem == server or path.stem.startswith(f"{server}-")
    )
    found = []
    for number, path in enumerate(paths, start=1):
        stem = kind + path.stem.removeprefix(server)
        command = [sys.executable, "-m", "objstore.tools.main", kind, "--config", str(path.absolute())]
        process = DetachedProcess(command, run_dir / f"{stem}.pid", log_dir / f"{stem}.log")
        found.append(ManagedService(kind, number, path, process))
    return found


def common_options(command: Command) -> Command:
    """Where the files are, and which services are meant."""
    folder = click.Path(file_okay=False, path_type=Path)
    for decorate in (
        click.option("--log-dir", type=folder, default="/var/log/objstore", show_default=True, help="Their logs."),
        click.option("--run-dir", type=folder, default="/run/objstore", show_default=True, help="Their pid files."),
        click.option("--config-dir", type=folder, default="/etc/objstore", show_default=True, help="Their *.toml."),
        click.argument("names", nargs=-1, metavar="[all|main|rest|SERVICE[.N]]..."),
    ):
        command = decorate(command)
    return command


@click.group()
def services() -> None:
    """Start, stop, reload the services of this machine: all, main (servers), rest (daemons), or one."""


@services.command()
@common_options
@click.option("--once", is_flag=True, help="Daemons only: one pass of each, and wait for it.")
@click.pass_context
def start(
    context: Context, /, names: tuple[str, ...], config_dir: Path, run_dir: Path, log_dir: Path, once: bool
) -> None:
    """Start those that do not run."""
    chosen = find_services(names or (("rest",) if once else ()), config_dir, run_dir, log_dir)
    if once:
        context.exit(max(_run_once(service) for service in chosen))
    _check(chosen)
    started = [service for service in chosen if service.process.start()]
    _watch(started)
    for service in chosen:
        state = "started" if service in started else "runs already"
        click.echo(f"{service.name}: {state}, process {service.process.process_id}")


@services.command()
@common_options
@click.option("--graceful/--no-graceful", default=True, show_default=True, help="Let requests under way finish.")
@click.option("--kill-after", type=DURATION, default=15.0, show_default=True, help="Kill what has not ended by then.")
@click.pass_context
def stop(
    context: Context,
    /,
    names: tuple[str, ...],
    config_dir: Path,
    run_dir: Path,
    log_dir: Path,
    graceful: bool,
    kill_after: float,
) -> None:
    """Stop those that run, all at a time. The exit status is 1 when one had to be killed after all."""
    running = [each for each in find_services(names, config_dir, run_dir, log_dir) if each.process.process_id]
    for service in reversed(running):
        service.process.signal(signal.SIGTERM if graceful else signal.SIGKILL)
    killed = 0
    for service in reversed(running):
        if service.process.wait_until_gone(kill_after):
            click.echo(f"{service.name}: stopped")
            continue
        service.process.signal(signal.SIGKILL)
        service.process.wait_until_gone(kill_after)
        click.echo(f"{service.name}: killed, for it had not ended after {kill_after:g} s")
        killed += 1
    context.exit(1 if killed else 0)


@services.command("reload")
@common_options
@click.pass_context
def reload_(context: Context, /, names: tuple[str, ...], config_dir: Path, run_dir: Path, log_dir: Path) -> None:
    """Let servers read their configuration again, without dropping a request; daemons are started anew."""
    idle = 0
    chosen = find_services(names, config_dir, run_dir, log_dir)
    _check(chosen)
    for service in chosen:
        process = service.process
        if process.process_id is None:
            click.echo(f"{service.name}: does not run")
            idle += 1
        elif service.kind in SERVERS:
            process.signal(signal.SIGHUP)
            click.echo(f"{service.name}: reloads")
        else:
            _restart(process)
            click.echo(f"{service.name}: started anew, process {process.process_id}")
    context.exit(1 if idle else 0)


@services.command()
@common_options
@click.pass_context
def status(context: Context, /, names: tuple[str, ...], config_dir: Path, run_dir: Path, log_dir: Path) -> None:
    """Say which run. The exit status is 1 when one does not."""
    idle = 0
    for service in find_services(names, config_dir, run_dir, log_dir):
        process_id = service.process.process_id
        state = "does not run" if process_id is None else f"runs, process {process_id}"
        click.echo(f"{service.name}: {state} ({service.configuration})")
        idle += process_id is None
    context.exit(1 if idle else 0)


def _check(chosen: Sequence[ManagedService]) -> None:
    """Read the configuration of services, before any of them trips over it. Raises ConfigError."""
    for service in chosen:
        load(service.configuration, KINDS[service.kind.removesuffix("-daemons")])


def _watch(started: Sequence[ManagedService]) -> None:
    """Look for a moment whether services keep running. Raises OperatorProblem."""
    deadline = time.monotonic() + WATCH_SECONDS
    while started and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        for service in started:
            if service.process.process_id is None:
                log = service.process.log_file
                *_, last = log.read_text(encoding="utf-8", errors="replace").splitlines() or ["without a word"]
                raise OperatorProblem(f"{service.name} ended: {last.strip()}", f"its log is {log}")


def _restart(process: DetachedProcess) -> None:
    process.signal(signal.SIGTERM)
    if not process.wait_until_gone(RESTART_SECONDS):
        process.signal(signal.SIGKILL)
        process.wait_until_gone(RESTART_SECONDS)
    process.start()


def _run_once(service: ManagedService) -> int:
    """Its exit status. Raises OperatorProblem for a server."""
    if service.kind in SERVERS:
        raise OperatorProblem(f"{service.name} is a server", "--once is for daemons: rest, or object-daemons")
    done = subprocess.run([*service.process.command, "--once"])
    click.echo(f"{service.name}: {'done' if done.returncode == 0 else f'failed with {done.returncode}'}")
    return 1 if done.returncode else 0
