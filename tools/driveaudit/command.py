"""objstore drive-audit: finds devices that fail, takes them out of service, and says so."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
from click import Context

from objstore.config.drive_audit import DriveAuditConfig, KernelConfig, SlowConfig, SmartConfig
from objstore.config.loading import load
from objstore.logs import SINK, Logger, get_logger
from objstore.mounts import OutOfService, out_of_service_file, take_out_of_service
from objstore.operators.machine import Mount, parse_mounts
from objstore.recon import ReconFolder
from objstore.system import files
from objstore.tools.commands import OperatorProblem
from objstore.tools.driveaudit.judging import (
    DriveVerdict,
    Evidence,
    LogLine,
    disk_of,
    judge,
    kernel_errors,
    kernel_name,
    mean_waits,
    parse_diskstats,
    parse_journal,
    parse_kmsg,
    parse_syslog,
    smart_fails,
)

RECORD_BYTES: Final = 8192  # a read of /dev/kmsg gives one record, or fails if it is longer
JOURNAL_TIMEOUT_SECONDS: Final = 60.0
TAIL_BYTES: Final = 64 * 1024 * 1024  # of a log file: more than an hour can bring


def gather(mounts: Iterable[Mount], kernel: KernelConfig, smart: SmartConfig, slow: SlowConfig) -> Evidence:
    """All there is to know of the disks of these mounts."""
    disks = sorted({disk_of(kernel_name(mount.device)) for mount in mounts})
    now = time.time()
    lines = [line for source in kernel.sources for line in read_log(source, now - kernel.window)]
    failing = {disk for disk in disks if smart.enabled and _smart_fails(disk, smart.timeout)}
    waits: dict[str, float] = {}
    if slow.await_limit and disks:
        before = parse_diskstats(_read("/proc/diskstats"))
        time.sleep(slow.sample)
        waits = mean_waits(before, parse_diskstats(_read("/proc/diskstats")), slow.requests_min)
    return Evidence(kernel_errors(lines, kernel.patterns, now - kernel.window), failing, waits)


def read_log(source: str, since_seconds: float) -> list[LogLine]:
    """The lines of "kmsg", "journal" or a file; [] where there is no such thing."""
    if source == "kmsg":
        boot_seconds = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
        return parse_kmsg(_read_kmsg(), boot_seconds)
    if source == "journal":
        since = f"@{since_seconds:.0f}"
        command = ["journalctl", "--dmesg", "--boot=all", f"--since={since}", "--output=json", "--no-pager"]
        return parse_journal(_output(command, JOURNAL_TIMEOUT_SECONDS))
    return parse_syslog(_read_tail(source), datetime.now().astimezone())


def _read_kmsg() -> str:
    records = []
    try:
        descriptor = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        while True:
            try:
                records.append(os.read(descriptor, RECORD_BYTES))
            except BrokenPipeError:
                continue  # the record was overwritten while we read: the next one follows
            except OSError:
                break  # EAGAIN: all read
    finally:
        os.close(descriptor)
    return b"".join(records).decode("utf-8", "replace")


def _smart_fails(disk: str, timeout_seconds: float) -> bool:
    return smart_fails(_output(["smartctl", "--json", "--health", f"/dev/{disk}"], timeout_seconds))


def _output(command: list[str], timeout_seconds: float) -> str:
    """What a program prints, whatever its status; nothing where it is not installed or does not end."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_seconds, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _read_tail(path: str) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - TAIL_BYTES, 0))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


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


def act(config: DriveAuditConfig, verdicts: Sequence[DriveVerdict], log: Logger) -> None:
    """Take the bad ones out of service, and log all."""
    for verdict in verdicts:
        reason = "; ".join(verdict.reasons)
        if not verdict.remove:
            log.warning("device is suspect", device=verdict.name, disk=verdict.mount.device, reason=reason)
            continue
        # First of all the mark: from now on servers answer 507 for it, whether it can be unmounted or not.
        take_out_of_service(config.devices.root, verdict.name, OutOfService(time.time(), verdict.reasons, NAME))
        unmounted = config.devices.unmount_failed_device and _unmount(verdict.mount.path)
        log.error(
            "device taken out of service",
            device=verdict.name,
            disk=verdict.mount.device,
            reason=reason,
            unmounted=unmounted,
        )


def _unmount(path: str) -> bool:
    command = shutil.which("umount")
    if command is None:
        return False
    try:
        return subprocess.run([command, path], capture_output=True, timeout=UNMOUNT_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _figures(root: str, verdicts: Sequence[DriveVerdict]) -> dict[str, Any]:
    marks = [name for name in files.list_directory(root) if name[0] == "." and name.endswith(".out-of-service")]
    out = sorted(name[1:].removesuffix(".out-of-service") for name in marks)
    suspect = {verdict.name: list(verdict.reasons) for verdict in verdicts}
    return {"errors": len(set(out) | set(suspect)), "out_of_service": out, "found": suspect}


def _put_back(root: str, name: str) -> None:
    if "/" in name or not files.unlink_quietly(out_of_service_file(root, name)):
        raise OperatorProblem(f"{root}: {name!r} is not out of service", "name a device as the rings do")
    click.echo(f"{name}: in service again, once it is mounted")
