"""objstore drive-audit: finds devices that fail, takes them out of service, and says so."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from click import Context

from objstore.config.drive_audit import DriveAuditConfig
from objstore.config.loading import load
from objstore.logs import SINK, Logger, get_logger
from objstore.mounts import out_of_service_file
from objstore.operators.machine import Mount, parse_mounts
from objstore.recon import ReconFolder
from objstore.system import files
from objstore.tools.driveaudit.gathering import gather
from objstore.tools.driveaudit.judging import Verdict, judge
from objstore.tools.problems import OperatorProblem

UNMOUNT_SECONDS: Final = 60.0
NAME: Final = "drive-audit"


@click.command("drive-audit")
@click.option(
    "--config",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default="/etc/objstore/drive-audit.toml",
    show_default=True,
    metavar="FILE",
    help="Its configuration.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--return", "returned", metavar="DEVICE", help="Put a device back into service.")
@click.pass_context
def drive_audit(context: Context, /, path: Path, dry_run: bool, returned: str | None) -> None:
    """Look for devices that fail, and take them out of service. The exit status is 1 when there is one."""
    config = load(path, DriveAuditConfig)
    SINK.configure(config.log.level, config.log.max_line_length)
    if returned is not None:
        _put_back(config.devices.root, returned)
        return
    started = time.time()
    with open("/proc/mounts", encoding="utf-8", errors="surrogateescape") as file:
        mounts = mounts_below(config.devices.root, parse_mounts(file.read()))
    evidence = gather(mounts.values(), config.kernel, config.smart, config.slow)
    judged = (judge(name, mount, config, evidence) for name, mount in mounts.items())
    verdicts = [verdict for verdict in judged if verdict is not None]
    for verdict in verdicts:
        click.echo(f"{verdict.name}: {'; '.join(verdict.reasons)}")
    if not dry_run:
        act(config, verdicts, get_logger(NAME))
        figures = _figures(config.devices.root, verdicts)
        ended = time.time()
        ReconFolder(config.recon.directory).report(
            NAME, started=started, ended=ended, pass_seconds=ended - started, **figures
        )
    context.exit(1 if verdicts else 0)


def mounts_below(root: str, mounts: Sequence[Mount]) -> dict[str, Mount]:
    """The mounted devices of a device root, by the names the rings know them by."""
    parent = os.path.realpath(root)
    return {os.path.basename(mount.path): mount for mount in mounts if os.path.dirname(mount.path) == parent}


def act(config: DriveAuditConfig, verdicts: Sequence[Verdict], log: Logger) -> None:
    """Take the bad ones out of service, and log all."""
    for verdict in verdicts:
        reason = "; ".join(verdict.reasons)
        if not verdict.remove:
            log.warning("device is suspect", device=verdict.name, disk=verdict.mount.device, reason=reason)
            continue
        # First of all the mark: from now on servers answer 507 for it, whether it can be unmounted or not.
        mark(config.devices.root, verdict.name, verdict.reasons)
        unmounted = config.devices.unmount_failed_device and _unmount(verdict.mount.path)
        log.error(
            "device taken out of service",
            device=verdict.name,
            disk=verdict.mount.device,
            reason=reason,
            unmounted=unmounted,
        )


def mark(root: str, name: str, reasons: Sequence[str]) -> None:
    """Leave the mark that servers look for; one that stands there stays. Raises OSError."""
    path = out_of_service_file(root, name)
    if not os.path.exists(path):
        content = msgspec.json.encode({"since": time.time(), "reasons": list(reasons)})
        files.write_atomically(path, content, 0o644)


def _unmount(path: str) -> bool:
    command = shutil.which("umount")
    if command is None:
        return False
    try:
        return subprocess.run([command, path], capture_output=True, timeout=UNMOUNT_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _figures(root: str, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    marks = [name for name in files.list_directory(root) if name[0] == "." and name.endswith(".out-of-service")]
    out = sorted(name[1:].removesuffix(".out-of-service") for name in marks)
    suspect = {verdict.name: list(verdict.reasons) for verdict in verdicts}
    return {"errors": len(set(out) | set(suspect)), "out_of_service": out, "found": suspect}


def _put_back(root: str, name: str) -> None:
    if "/" in name or not files.unlink_quietly(out_of_service_file(root, name)):
        raise OperatorProblem(f"{root}: {name!r} is not out of service", "name a device as the rings do")
    click.echo(f"{name}: in service again, once it is mounted")
