"""Real stores to test against: `objstore up` on a free port, and a four-node cluster of separate processes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Final

from objstore import cluster as clusters
from objstore.client.connections import KeptConnections, ServerAddress
from objstore.client.errors import ServerUnreachable
from objstore.http.handshake import Handshake
from objstore.tools.store_folder import AskedShape, StoreFolder
from tests.functional.client import Answer
from tests.functional.logwatch import LOGS, tracebacks
from tests.functional.preloaded import START_SERVERS
from tests.programs import Outcome, Program
from tests.waiting import wait_until

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
PORTS_OF_A_CLUSTER: Final = 10
CLAIMS: Final[list[socket.socket]] = []


def objstore(*arguments: str) -> list[str]:
    """The command line of one of our commands, run from this checkout."""
    return [sys.executable, "-m", "objstore.tools.main", *arguments]


def environment() -> dict[str, str]:
    """The environment of our processes: this checkout first on the path, output not held back."""
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": root, "PYTHONUNBUFFERED": "1"}


@cache
def _program() -> Program:
    """`objstore`, with all that servers and daemons need; it ends with this process."""
    modules = ("objstore.tools.main", "objstore.tools.cluster", "objstore.tools.serve", "objstore.tools.serving")
    return Program("objstore", sys.executable, "tests.functional.preloaded", "main", *modules)


def call(*words: str, folder: Path | None = None) -> Outcome:
    """One command of `objstore`, in a folder."""
    return _program().call(folder or Path.cwd(), words)


def run_all(commands: Sequence[Sequence[str]], folder: Path | None = None) -> list[str]:
    """Several of them, side by side; what they printed. Fails with their errors."""
    outcomes = _program().call_all(folder or Path.cwd(), commands)
    for words, outcome in zip(commands, outcomes, strict=True):
        assert outcome.status == 0, f"{' '.join(words)}: {outcome.stdout}{outcome.stderr[-3000:]}"
        assert tracebacks(outcome.stderr) == [], " ".join(words)
    return [outcome.stdout for outcome in outcomes]


def run_daemons(commands: Sequence[Sequence[str]]) -> None:
    """One pass each of some daemons, side by side: the words of `objstore` commands without --once."""
    run_all([[*words, "--once"] for words in commands])


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def claim_ports() -> int:
    """The first of PORTS_OF_A_CLUSTER ports that are free on all loopback addresses, ours until this process ends.

    They lie below those that the kernel gives to outgoing connections. A socket bound to the first one, on an
    address that no server uses, keeps other test processes away.
    """
    for first in range(20000, 32000, PORTS_OF_A_CLUSTER):
        guard = socket.socket()
        try:
            guard.bind(("127.0.0.250", first))
            for node, port in product(range(1, 7), range(first, first + PORTS_OF_A_CLUSTER)):
                with socket.socket() as tried:
                    tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    tried.bind((f"127.0.0.{node}", port))
        except OSError:
            guard.close()
            continue
        CLAIMS.append(guard)
        return first
    raise AssertionError("no ports are left for another cluster")


def wait_until_healthy(host: str, port: int, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait for /healthcheck to answer 200; fails when the process ends or START_SECONDS pass."""

    def is_healthy() -> bool:
        if process is not None and process.poll() is not None:
            raise AssertionError(f"the store ended with status {process.returncode} instead of coming up")
        try:
            with closing(http.client.HTTPConnection(host, port, timeout=5)) as connection:
                connection.request("GET", "/healthcheck")
                return connection.getresponse().status == 200
        except OSError:
            return False

    wait_until(is_healthy, f"something healthy on {host}:{port}", START_SECONDS)


def send_as_server(
    cluster_file: Path,
    server: tuple[str, int],
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Answer:
    """A request to a server of a cluster, from one that knows its secrets. Raises OSError if it cannot be reached."""
    connections = KeptConnections(handshake=Handshake.of(clusters.Cluster.load(cluster_file)))
    sent = {**(headers or {}), **({"Content-Length": str(len(body))} if method == "PUT" else {})}
    try:
        with (
            closing(connections),
            connections.send(ServerAddress(*server), method, path, sent, [body] if body else None) as response,
        ):
            return Answer(response.status, response.headers, response.read())
    except ServerUnreachable as error:
        raise OSError(str(error)) from error


def ask_as_operator(cluster_file: Path, host: str, port: int, path: str) -> tuple[int, bytes]:
    """GET of a server of the cluster: status and body."""
    answer = send_as_server(cluster_file, (host, port), "GET", path)
    return answer.status, answer.body


class Store:
    """One `objstore up`."""

    def __init__(self, folder: Path, options: Sequence[str] = ("--workers", "2")) -> None:
        self.folder = folder
        self.options = list(options)
        self.host, self.port = "127.0.0.1", free_port()
        self.log_path = folder.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The root of the endpoint."""
        return f"http://{self.host}:{self.port}"

    @property
    def log(self) -> str:
        """All it has printed so far."""
        return self.log_path.read_text("utf-8", "replace")

    def make(self, word: str, replaced: str, policies: tuple[str, ...] = (), devices: int | None = None) -> None:
        """Make its folder, with these policies; in objstore.toml something else stands in the place of `word`."""
        folder = StoreFolder(self.folder)
        with folder.locked():
            folder.prepare(AskedShape(devices, None, policies), loopback=True)
        text = folder.cluster_file.read_text()
        assert word in text
        folder.cluster_file.write_text(text.replace(word, replaced))

    def start(self) -> None:
        """Start it and wait until it answers."""
        LOGS.add(self.log_path.parent, self.log_path.name)
        command = objstore("up", "--data", str(self.folder), "--bind", f"{self.host}:{self.port}", *self.options)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment(), start_new_session=True
            )
        try:
            wait_until_healthy(self.host, self.port, self.process)
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}\n{self.log[-4000:]}") from None

    def stop(self) -> int:
        """Ask it to drain and end; its exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the store did not end within {STOP_SECONDS:.0f} s of SIGTERM") from None
        finally:
            self.process = None

    def kill(self) -> None:
        """End all its processes at once, as a power cut would."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def processes(self) -> list[int]:
        """The master and its workers."""
        assert self.process is not None
        return [self.process.pid, *descendants(self.process.pid)]


def descendants(parent: int) -> list[int]:
    """The ids of all processes below one."""
    found = []
    for entry in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in entry.read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def resident_bytes(process: int) -> int:
    """The resident memory of a process."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


NODES = range(1, 5)  # of a cluster


class Cluster:
    """Four nodes on 127.0.0.1 to .4, each service a process of its own."""

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.options = options
        self.first_port = claim_ports()

    def run(self, *arguments: str) -> str:
        """One `objstore cluster` command; what it printed. Fails with its errors."""
        (printed,) = run_all([["cluster", *arguments, "--directory", str(self.folder)]])
        return printed

    def make(self) -> None:
        """Its configuration, rings and empty devices."""
        self.run("make", "--first-port", str(self.first_port), *self.options)
        LOGS.add(self.folder, "node*/log/*.log")

    def start(self) -> None:
        """Make it and start all nodes."""
        self.make()
        self.run("start")
        for node in range(1, 5):
            wait_until_healthy(*self.endpoint(node))

    def start_servers(self, node: int | None = None) -> None:
        """Those of a node, or of all, that do not run; daemons run when a test says so."""
        run_all([[START_SERVERS, str(self.folder), *([] if node is None else [str(node)])]])

    def daemon_words(self, node: int, kind: str, only: str) -> list[str]:
        """The command that runs some daemons of a node."""
        return [f"{kind}-daemons", "--config", str(self.folder / f"node{node}" / f"{kind}.toml"), "--only", only]

    def endpoint(self, node: int, server: str = "proxy") -> tuple[str, int]:
        """Where a server of a node (1 to 4) listens."""
        layout: dict[str, Any] = json.loads((self.folder / "cluster.json").read_text())
        host, _, port = layout["nodes"][node - 1][server].rpartition(":")
        return host, int(port)
