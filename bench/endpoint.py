"""A Swift endpoint under load: logs in, runs wrk or single transfers against it, and sees what its processes use."""

from __future__ import annotations

import http.client
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

LOAD_SCRIPT: Final = Path(__file__).with_name("load.lua")
COUNTED_SECONDS_MAX: Final = 600
BLOCK: Final = os.urandom(1024 * 1024)


@dataclass(frozen=True)
class Run:
    """What one run brought: answers in a time, refusals among them, and latencies in milliseconds (0 unknown)."""

    answers: int
    seconds: float
    refused: int = 0
    median_ms: float = 0.0
    slowest_ms: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


class Endpoint:
    """One store and a token for it."""

    def __init__(self, auth_url: str, user: str, key: str) -> None:
        """Raises OSError or ValueError when there is no token to be had."""
        where = urlsplit(auth_url)
        self.host, self.port = where.hostname or "127.0.0.1", where.port or 80
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        connection.request("GET", where.path, headers={"X-Auth-User": user, "X-Auth-Key": key})
        response = connection.getresponse()
        if response.status != 200:
            raise ValueError(f"{auth_url} refuses {user} with status {response.status}")
        self.token = response.headers["X-Auth-Token"]
        self.account = urlsplit(response.headers["X-Storage-Url"]).path
        connection.close()

    def wrk(
        self,
        method: str,
        path: str,
        *,
        keys: str,
        size: int = 0,
        seconds: float = 10,
        count: int = 0,
        connections: int = 16,
    ) -> Run:
        """Put load on it for a time, or until `count` answers have come; see load.lua for `keys`."""
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder, "result")
            environment = os.environ | {
                "BENCH_METHOD": method,
                "BENCH_PATH": self.account + path,
                "BENCH_KEYS": keys,
                "BENCH_SIZE": str(size),
                "BENCH_COUNT": str(count or ""),
                "BENCH_TOKEN": self.token,
                "BENCH_RESULT": str(result),
            }
            duration = f"{COUNTED_SECONDS_MAX if count else max(round(seconds), 1)}s"
            command = ["wrk", "-t1", f"-c{connections}", f"-d{duration}", "--timeout", "60s", "-s", str(LOAD_SCRIPT)]
            done = subprocess.run(
                [*command, f"http://{self.host}:{self.port}"], env=environment, capture_output=True, text=True
            )
            if not result.exists():
                raise ValueError(f"wrk gave no result: {done.stdout}{done.stderr}")
            answers, took, refused, median, slowest = result.read_text().split()
        return Run(int(answers), float(took), int(refused), float(median), float(slowest))

    def request(self, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """One small request: status and body."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        sent = {"X-Auth-Token": self.token, "Content-Length": "0", **(headers or {})}
        connection.request(method, self.account + path, headers=sent)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, body

    def upload(self, path: str, mebibytes: int) -> Run:
        """PUT one object over one connection; `answers` counts MB (10**6 bytes)."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=600)
        connection.putrequest("PUT", self.account + path)
        connection.putheader("X-Auth-Token", self.token)
        connection.putheader("Content-Length", str(mebibytes * len(BLOCK)))
        began = time.perf_counter()
        connection.endheaders()
        for _ in range(mebibytes):
            connection.send(BLOCK)
        status = connection.getresponse().status
        took = time.perf_counter() - began
        connection.close()
        return Run(round(mebibytes * len(BLOCK) / 1e6), took, int(status != 201))

    def download(self, path: str, take: Callable[[memoryview], object] = len) -> Run:
        """GET one object over one connection; `answers` counts MB (10**6 bytes). `take` is given what comes."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=600)
        began = time.perf_counter()
        connection.request("GET", self.account + path, headers={"X-Auth-Token": self.token})
        response = connection.getresponse()
        buffer = memoryview(bytearray(1024 * 1024))
        size = 0
        while taken := response.readinto(buffer):
            take(buffer[:taken])
            size += taken
        took = time.perf_counter() - began
        connection.close()
        return Run(round(size / 1e6), took, int(response.status != 200 or size != response_length(response)))


def response_length(response: http.client.HTTPResponse) -> int:
    """What the answer announced."""
    return int(response.headers["Content-Length"])


TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


class ProcessTree:
    """Some processes and all below them. Without any, every figure is 0."""

    def __init__(self, roots: Iterable[int]) -> None:
        self.roots = list(roots)

    @classmethod
    def of_pid_files(cls, folders: Iterable[Path]) -> ProcessTree:
        """The processes whose ids the *.pid files of these folders begin with."""
        found = [int(file.read_text().split()[0]) for folder in folders for file in sorted(folder.glob("**/*.pid"))]
        return cls(found)

    def process_ids(self) -> list[int]:
        """All of them now."""
        found: list[int] = []
        waiting = list(self.roots)
        while waiting:
            process_id = waiting.pop()
            if process_id in found:
                continue
            children = list(Path(f"/proc/{process_id}/task").glob("*/children"))
            if children:
                found.append(process_id)
            for file in children:
                waiting += map(int, _read(file).split())
        return found

    def processor_seconds(self) -> float:
        """Time on a processor so far, in user and system mode, also of ended children that were waited for."""
        ticks = 0
        for process_id in self.process_ids():
            fields = _read(Path(f"/proc/{process_id}/stat")).rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
        return ticks / TICKS_PER_SECOND

    def memory_bytes(self) -> int:
        """Proportional set size: memory that several share counts once in all."""
        return self._sum("smaps_rollup", "Pss:")

    def resident_bytes(self) -> dict[int, int]:
        """Resident memory of each process, by its id."""
        return {process_id: _field(process_id, "status", "VmRSS:") for process_id in self.process_ids()}

    def _sum(self, file: str, field: str) -> int:
        return sum(_field(process_id, file, field) for process_id in self.process_ids())


def _field(process_id: int, file: str, field: str) -> int:
    """A figure in kB that the kernel gives for a process, in bytes; 0 if the process is gone."""
    kilobytes = 0
    for line in _read(Path(f"/proc/{process_id}/{file}")).splitlines():
        if line.startswith(field):
            kilobytes += int(line.split()[1])
    return kilobytes * 1024


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
