"""A Swift endpoint under load: logs in, runs wrk or single transfers against it, and sees what its processes use."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Final

from objstore.client.connections import ClientResponse, KeptConnections, Timeouts
from objstore.client.requests import HttpClient
from objstore.client.store import StoreClient

LOAD_SCRIPT: Final = Path(__file__).with_name("load.lua")
COUNTED_SECONDS_MAX: Final = 600
SILENCE_SECONDS: Final = 600.0
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
        """Raises ClientError or ValueError when there is no token to be had."""
        store = StoreClient(auth_url, user, key, HttpClient.with_limits(SILENCE_SECONDS))
        with store.http:
            given = store.log_in()
        self.server, self.account, self.token = given.server, given.path, given.text
        self.host = given.server.host
        self._pool = KeptConnections(Timeouts(SILENCE_SECONDS, SILENCE_SECONDS))

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
            done = subprocess.run([*command, f"http://{self.server}"], env=environment, capture_output=True, text=True)
            if not result.exists():
                raise ValueError(f"wrk gave no result: {done.stdout}{done.stderr}")
            answers, took, refused, median, slowest = result.read_text().split()
        return Run(int(answers), float(took), int(refused), float(median), float(slowest))

    def send(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: Iterable[bytes] | None = None
    ) -> ClientResponse:
        """One request, never repeated; `path` begins below the account. Raises ServerUnreachable."""
        sent = {"X-Auth-Token": self.token, **(headers or {})}
        return self._pool.send(self.server, method, self.account + path, sent, body)

    def request(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        with self.send(method, path, headers) as response:
            return response.status, response.read()

    def upload(self, path: str, mebibytes: int) -> Run:
        """PUT one object over one connection; `answers` counts MB (10**6 bytes)."""
        size = mebibytes * len(BLOCK)
        began = time.perf_counter()
        with self.send("PUT", path, {"Content-Length": str(size)}, repeat(BLOCK, mebibytes)) as response:
            took = time.perf_counter() - began
            return Run(round(size / 1e6), took, int(response.status != 201))

    def download(self, path: str, take: Callable[[memoryview], object] = len) -> Run:
        """GET one object over one connection; `answers` counts MB (10**6 bytes). `take` is given what comes."""
        buffer = memoryview(bytearray(1024 * 1024))
        size = 0
        began = time.perf_counter()
        with self.send("GET", path) as response:
            while taken := response.readinto(buffer):
                take(buffer[:taken])
                size += taken
        took = time.perf_counter() - began
        return Run(round(size / 1e6), took, int(response.status != 200))

    def close(self) -> None:
        self._pool.close()


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
