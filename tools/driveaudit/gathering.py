"""Asks the kernel, the journal and the disks. All of it blocks."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from objstore.config.drive_audit import KernelConfig, SlowConfig, SmartConfig
from objstore.operators.machine import Mount
from objstore.tools.driveaudit.judging import Evidence, kernel_name
from objstore.tools.driveaudit.parsing import (
    LogLine,
    disk_of,
    kernel_errors,
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
