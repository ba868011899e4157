"""Clients race for a few objects through two proxies while a node is killed, stopped and cut off.

What each got is kept as a history of each object. Under a policy that is strong all of them have to be linearizable;
under one that is available some must not be, or the checker sees nothing.
"""

from __future__ import annotations

import http.client
import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from objstore.ring.format import read_ring, write_ring
from objstore.ring.ring import Ring
from objstore.tools.loopback import STORAGE_SERVICES
from tests.functional.client import Client
from tests.functional.links import Link, Links
from tests.functional.servers import NODES, Cluster, run_daemons
from tests.functional.test_hung_servers import processes
from tests.linearizability import ABSENT, Finding, Kind, Operation, Result, Verdict, check
from tests.waiting import elapse

# How many times as long as usual clients race: OBJSTORE_RACE_SCALE=10 pytest --timeout 1200 for five minutes and more.
SCALE: Final = float(os.environ.get("OBJSTORE_RACE_SCALE", "1"))
PROXIES: Final = (1, 2)  # the nodes whose proxies clients use
CLIENTS: Final = 16
KEYS: Final = 50
LARGE_BYTES: Final = 100_000  # more than what proxies send in one piece
ANSWER_SECONDS: Final = 20.0
CHECK_SECONDS: Final = 20.0
ANSWERED: Final = {200: Result.DONE, 201: Result.DONE, 204: Result.DONE, 412: Result.REFUSED}
# Also no answer, too few servers, and a write that finds something newer: it may have been done, or not.
FORESEEN: Final = (*ANSWERED, 0, 202, 404, 409, 503)
RINGS: Final = ("object", "object-2", "container", "account")
STRONG, AVAILABLE, FRAGMENTS = "gold", "silver", "fragments"


@dataclass
class Phase:
    """A part of a race: what is wrong meanwhile, and how the clients fared."""

    name: str
    seconds: float
    begin: Callable[[Trouble], None]
    latencies: list[float] = field(default_factory=list)
    unknown: int = 0
    lasted: float = 0.0

    def __str__(self) -> str:
        answered = sorted(self.latencies)
        share = len(answered) / max(len(answered) + self.unknown, 1)
        slow = answered[int(len(answered) * 0.99)] if answered else 0.0
        rate = len(answered) / max(self.lasted, 0.001)
        return f"{self.name:<34} {rate:6.0f}/s answered {share:7.2%}  99% within {slow:5.2f} s, unknown {self.unknown}"


class Trouble:
    """A cluster whose two proxies reach the storage nodes by links of their own: "1-3" leads from proxy 1 to node 3."""

    def __init__(self, folder: Path) -> None:
        self._stopped: list[int] = []
        self.cluster = Cluster(folder, ("--policy", f"{FRAGMENTS}=ec:2+2"))
        self.cluster.make()
        for file in folder.rglob("objstore.toml"):
            file.write_text(
                file.read_text().replace("parity_fragments = 2", "parity_fragments = 2\nsmall_object_size = 0")
            )
        ring = read_ring(str(folder / "object.ring.gz"))
        for node in NODES:
            write_ring(ring, str(folder / f"node{node}" / "rings" / "object-1.ring.gz"))
        rings = {name: read_ring(str(folder / f"{name}.ring.gz")) for name in RINGS}
        to = {device.address for each in rings.values() for device in each.devices}
        to |= {device.on_replication.address for each in rings.values() for device in each.devices}
        places = [Link(f"{proxy}-{_node(address)}", address) for proxy in PROXIES for address in sorted(to)]
        self.links = Links(places)
        for proxy in PROXIES:
            ways = {link.to: port for link, port in self.links.ports.items() if link.name.startswith(f"{proxy}-")}
            self._lead(folder / f"node{proxy}", rings, ways)
        self.cluster.start_servers()

    def _lead(self, home: Path, rings: dict[str, Ring], ways: dict[str, int]) -> None:
        """Give a proxy rings in which devices are reached by links."""
        own = home / "proxy-rings"
        own.mkdir()
        settings = home / "proxy.toml"
        settings.write_text(settings.read_text().replace(str(home / "rings"), str(own)))
        for name, ring in rings.items():
            devices = [
                replace(
                    device,
                    ip="127.0.0.1",
                    port=ways[device.address],
                    replication_ip="127.0.0.1",
                    replication_port=ways[device.on_replication.address],
                )
                for device in ring.devices
            ]
            for file in (name, "object-1") if name == "object" else (name,):
                write_ring(Ring(ring.part_power, devices, ring.rows, ring.version), str(own / f"{file}.ring.gz"))

    def calm(self) -> None:
        """All is well again, or will soon be."""
        for process in self._stopped:
            os.kill(process, signal.SIGCONT)
        self._stopped = []
        self.links.break_()

    def kill(self) -> None:
        self.cluster.run("kill-node", "4")

    def restart(self) -> None:
        self.cluster.start_servers(4)
        self.replicate()

    def replicate(self) -> None:
        """Bring what replicas lack, and perhaps what was never acknowledged, while clients write."""
        run_daemons([self.cluster.daemon_words(node, "object", "replicator") for node in NODES])

    def stop(self) -> None:
        self._stopped = processes(self.cluster, 3, STORAGE_SERVICES)
        for process in self._stopped:
            os.kill(process, signal.SIGSTOP)

    def cut_off(self) -> None:
        """No proxy hears of node 2."""
        self.links.break_(silent=[f"{proxy}-2" for proxy in PROXIES])

    def split(self) -> None:
        """Each proxy reaches two nodes that the other one does not, and one of the two a majority of each object's.

        The nodes reach each other.
        """
        self.links.break_(closed=["1-3", "1-4", "2-1", "2-2"])
        self.replicate()

    def end(self) -> None:
        self.calm()
        self.cluster.run("stop")
        self.links.__exit__()


def _node(address: str) -> str:
    return address.partition(":")[0].rpartition(".")[2]


class Race:
    """Clients that write and read KEYS objects of a new container, through both proxies by turns."""

    def __init__(self, trouble: Trouble, policy: str) -> None:
        self._trouble = trouble
        self._container = f"race-{policy}"
        self.histories: dict[str, list[Operation]] = defaultdict(list)
        self.unforeseen: list[str] = []
        self._seen: dict[str, str] = {}  # the ETags that clients have met last
        self._ended = threading.Event()
        self._phase = Phase("", 0.0, Trouble.calm)
        logins = [Client.login(*trouble.cluster.endpoint(proxy)) for proxy in PROXIES]
        assert logins[0].put(self._container, None, {"X-Storage-Policy": policy}).status == 201
        self._threads = [
            threading.Thread(target=self._run, args=(number, logins[number % len(logins)])) for number in range(CLIENTS)
        ]

    def run(self, phases: list[Phase]) -> None:
        for thread in self._threads:
            thread.start()
        try:
            for phase in phases:
                self._phase, began = phase, time.monotonic()
                phase.begin(self._trouble)
                elapse(phase.seconds * SCALE, "clients race meanwhile")
                phase.lasted = time.monotonic() - began
                print(phase)
        finally:
            self._ended.set()
            self._trouble.calm()
            for thread in self._threads:
                thread.join(2 * ANSWER_SECONDS)

    def _run(self, number: int, login: Client) -> None:
        chance, sent = random.Random(number), 0
        with closing(Racer(login, f"/v1/{login.account}/{self._container}/")) as racer:
            while not self._ended.is_set():
                sent += 1
                kind = chance.choices((Kind.READ, Kind.PUT, Kind.DELETE), (35, 50, 15))[0]
                body = f"{number} {sent} ".encode()
                if kind is Kind.PUT and chance.random() < 0.03:
                    body = body.ljust(LARGE_BYTES)
                condition = chance.choices(("absent", "match", ""), (45, 45, 10))[0] if kind is not Kind.READ else ""
                self._act(racer, number, f"o{chance.randrange(KEYS)}", kind, body, condition)

    def _act(self, racer: Racer, number: int, key: str, kind: Kind, body: bytes, condition: str) -> None:
        phase, known, headers = self._phase, self._seen.get(key, ABSENT), {}
        if condition == "absent" and kind is Kind.PUT:
            headers["If-None-Match"] = "*"
        elif condition and known:
            headers["If-Match"] = f'"{known}"'
        method = "GET" if kind is Kind.READ else kind.value.upper()
        began = time.monotonic()
        status, found = racer.ask(method, key, headers, body if kind is Kind.PUT else None)
        ended = time.monotonic()
        if status not in FORESEEN:
            self.unforeseen.append(f"{method} {key} {headers}: {status}")
        result = ANSWERED.get(status, Result.UNKNOWN)
        if status == 404:
            result = Result.REFUSED if headers else Result.DONE
        if result is Result.UNKNOWN:
            phase.unknown += 1
        else:
            phase.latencies.append(ended - began)
        # A DELETE does not tell for sure what it has found: its first attempt may have been the one that did it.
        value = {Kind.READ: found, Kind.PUT: md5(body).hexdigest(), Kind.DELETE: "?"}[kind]
        if result is Result.DONE:
            self._seen[key] = ABSENT if kind is Kind.DELETE else value
        if kind is Kind.READ and result is Result.UNKNOWN:
            return
        match = known if "If-Match" in headers else None
        if_absent = "If-None-Match" in headers
        self.histories[key].append(Operation(kind, began, ended, value, if_absent, match, result, number))

    def findings(self) -> dict[str, Finding]:
        return {key: check(history, CHECK_SECONDS) for key, history in sorted(self.histories.items())}


class Racer:
    """A client that never repeats a request by itself."""

    def __init__(self, login: Client, prefix: str) -> None:
        self._login, self._prefix = login, prefix
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, name: str, headers: dict[str, str], body: bytes | None) -> tuple[int, str]:
        """The status, 0 for no answer, and the ETag of what was read."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._login.host, self._login.port, timeout=ANSWER_SECONDS)
        try:
            sent = {"X-Auth-Token": self._login.token, **headers}
            self._connection.request(method, self._prefix + name, body, sent)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return 0, ABSENT
        if response.will_close:
            self.close()
        if method != "GET" or response.status != 200:
            return response.status, ABSENT
        etag = response.headers["Etag"]
        assert etag == md5(content).hexdigest()
        return 200, etag

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@pytest.fixture(scope="module")
def trouble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trouble]:
    made = Trouble(tmp_path_factory.mktemp("race") / "cluster")
    try:
        yield made
    finally:
        made.end()


def raced(trouble: Trouble, policy: str, phases: list[Phase]) -> dict[str, Finding]:
    print(f"\n{policy}")
    race = Race(trouble, policy)
    race.run(phases)
    findings = race.findings()
    operations = sum(map(len, race.histories.values()))
    print(f"{operations} operations on {len(findings)} objects checked")
    assert race.unforeseen == []
    assert len(findings) == KEYS
    return findings


def assert_linearizable(findings: dict[str, Finding]) -> None:
    bad = {key: str(finding) for key, finding in findings.items() if finding.verdict is not Verdict.LINEARIZABLE}
    assert not bad, "\n".join(f"{key}: {text}" for key, text in bad.items())


def test_a_strong_policy_is_linearizable(trouble: Trouble) -> None:
    findings = raced(
        trouble,
        STRONG,
        [
            Phase("before", 2.5, Trouble.calm),
            Phase("a node is killed", 3, Trouble.kill),
            Phase("it is started again", 2, Trouble.restart),
            Phase("a node is stopped", 4, Trouble.stop),
            Phase("it goes on", 2, Trouble.calm),
            Phase("a node is cut off", 4, Trouble.cut_off),
            Phase("it is reached again", 2, Trouble.calm),
            Phase("each proxy reaches two nodes", 4, Trouble.split),
            Phase("after", 3, Trouble.calm),
        ],
    )
    assert_linearizable(findings)


def test_a_strong_policy_of_fragments_is_linearizable(trouble: Trouble) -> None:
    findings = raced(
        trouble,
        FRAGMENTS,
        [
            Phase("before", 1, Trouble.calm),
            Phase("a node is killed", 2, Trouble.kill),
            Phase("it is started again", 1, Trouble.restart),
            Phase("a node is cut off", 2, Trouble.cut_off),
            Phase("it is reached again", 1, Trouble.calm),
            Phase("each proxy reaches two nodes", 1, Trouble.split),
            Phase("after", 2, Trouble.calm),
        ],
    )
    assert_linearizable(findings)


def test_an_available_policy_is_not(trouble: Trouble) -> None:
    """Both sides of a split write; so a history shows that two writes have won where one could."""
    findings = raced(
        trouble,
        AVAILABLE,
        [
            Phase("before", 1, Trouble.calm),
            Phase("each proxy reaches two nodes", 4, Trouble.split),
            Phase("after", 1, Trouble.calm),
        ],
    )
    verdicts = [finding.verdict for finding in findings.values()]
    print({verdict.value: verdicts.count(verdict) for verdict in Verdict})
    assert Verdict.NOT_LINEARIZABLE in verdicts
