"""What Linux says of the machine, in /proc: pure readers of its files."""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import Struct

PAGE_BYTES: Final = 4096
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


class Mount(Struct, frozen=True):
    device: str
    path: str
    kind: str
    read_only: bool


def parse_mounts(text: str) -> list[Mount]:
    """/proc/mounts, see fstab(5): blanks in names are written as octal escapes."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 4:
            device, path = (_ESCAPED.sub(lambda match: chr(int(match[1], 8)), field) for field in fields[:2])
            found.append(Mount(device, path, fields[2], "ro" in fields[3].split(",")))
    return found


def parse_memory(text: str) -> dict[str, str]:
    """/proc/meminfo: values with their units, as they stand there."""
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, colon, value in lines if colon}


def parse_load(text: str) -> dict[str, Any]:
    """/proc/loadavg: of 1, 5 and 15 minutes, tasks that run of all there are, the last process id."""
    one, five, fifteen, tasks, last = text.split()[:5]
    return {"1m": float(one), "5m": float(five), "15m": float(fifteen), "tasks": tasks, "processes": int(last)}


def parse_sockets(text: str, text6: str) -> dict[str, int]:
    """/proc/net/sockstat and sockstat6."""
    tcp, tcp6 = _figures(text, "TCP:"), _figures(text6, "TCP6:")
    return {
        "tcp_in_use": tcp.get("inuse", 0),
        "orphan": tcp.get("orphan", 0),
        "time_wait": tcp.get("tw", 0),
        "tcp_mem_allocated_bytes": tcp.get("mem", 0) * PAGE_BYTES,
        "tcp6_in_use": tcp6.get("inuse", 0),
    }


def _figures(text: str, heading: str) -> dict[str, int]:
    for line in text.splitlines():
        if line.startswith(heading):
            words = line.split()[1:]
            return {name: int(value) for name, value in zip(words[::2], words[1::2], strict=False)}
    return {}
