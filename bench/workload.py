"""A bounded load of all verbs that knows, at every moment, what the store must answer; trials that put it on."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final
from urllib.parse import quote

from objstore.bench.endpoint import Endpoint
from objstore.bench.sessions import ExpectedContent, LoadAnswer, LoadFindings, LoadSession
from objstore.client.errors import ServerUnreachable
from objstore.tools.loopback import LoopbackCluster, Node

SIZES: Final = (0, 1, 4096, 60_000, 200_000, 3_000_000)
SIZE_WEIGHTS: Final = (6, 6, 6, 6, 6, 1)
OBJECTS_MAX: Final = 200  # of a worker
PAUSE_SECONDS: Final = 0.05  # between requests to a proxy that is known to be down, or for a listing to be right
LISTED_SECONDS: Final = 5.0
THREADS_MAX: Final = 32  # of a trial: its workers, and streams


class LoadWorker:
    """Sends requests of all kinds for objects of its own, and remembers what they must hold."""

    def __init__(
        self,
        name: str,
        container: str,
        sessions: Sequence[LoadSession],
        findings: LoadFindings,
        *,
        doomed: bool = False,
    ) -> None:
        """`doomed`: the proxy may be killed, so connections may fail; what they were about is then unknown."""
        self.name = name
        self.container = container
        self.known: dict[str, ExpectedContent | None] = {}  # None: deleted
        self._changed: set[str] = set()  # those that have been something else before
        self._sessions = sessions
        self._findings = findings
        self._doomed = doomed
        self._random = random.Random(name)
        self._turn = 0

    def run(self, ended: threading.Event) -> None:
        while not ended.is_set():
            self._turn += 1
            action = self._random.choices(
                (self._put_new, self._overwrite, self._get, self._head, self._post, self._delete, self._list),
                (30, 10, 30, 5, 10, 10, 5),
            )[0]
            action()

    def _ask(
        self,
        method: str,
        name: str,
        *,
        query: str = "",
        body: bytes | None = None,
        meta: str | None = None,
        newest: bool = False,
    ) -> LoadAnswer | None:
        """None if the connection failed: then nobody knows what became of the object."""
        session = self._random.choice(self._sessions)
        headers = {"X-Newest": "true"} if newest else {}
        if meta is not None:
            headers["X-Object-Meta-Mark"] = meta
        path = f"/{self.container}" + (f"/{quote(name)}" if name else query)
        try:
            answer = session.request(method, path, body, headers)
        except ServerUnreachable as error:
            self.known.pop(name, None)
            if self._doomed:
                self._findings.tolerated += 1
                time.sleep(PAUSE_SECONDS)
            else:
                self._findings.failed(f"{method} {name}: {error}")
            return None
        self._findings.answered += 1
        return answer

    def _check(self, answer: LoadAnswer, expected: int, what: str) -> bool:
        if answer.status == expected:
            return True
        self._findings.failed(f"{what}: {answer.status} instead of {expected}: {answer.body[:80]!r}")
        return False

    def _store(self, name: str) -> None:
        version = ExpectedContent(
            f"{name}-{self._turn}", self._random.choices(SIZES, SIZE_WEIGHTS)[0], f"put-{self._turn}"
        )
        answer = self._ask("PUT", name, body=version.content, meta=version.meta)
        if answer is None:
            return
        self.known[name] = version
        if not self._check(answer, 201, f"PUT {name} of {version.size} bytes"):
            del self.known[name]
        elif answer.headers.get("etag") != version.etag:
            self._findings.failed(f"PUT {name}: ETag {answer.headers.get('etag')}")

    def _put_new(self) -> None:
        if len(self.known) >= OBJECTS_MAX:
            return self._overwrite()
        return self._store(f"{self.name}-{self._turn}")

    def _overwrite(self) -> None:
        if self.known:
            name = self._random.choice(list(self.known))
            self._changed.add(name)
            self._store(name)

    def _live(self) -> str | None:
        live = [name for name, version in self.known.items() if version is not None]
        return self._random.choice(live) if live else None

    def _get(self) -> None:
        if self.known:
            self._read("GET", self._random.choice(list(self.known)))

    def _head(self) -> None:
        if (name := self._live()) is not None:
            self._read("HEAD", name)

    def _read(self, method: str, name: str) -> None:
        """What never was anything else must be right at once.

        A node that was left out of a change, since it was thought to be down, gives what was before until replication
        has run; but whoever asks for the newest gets it.
        """
        version = self.known[name]
        answer = self._ask(method, name)
        if answer is None:
            return
        wrong = difference(method, version, answer)
        if wrong and answer.status < 500 and name in self._changed:
            self._findings.stale += 1
            answer = self._ask(method, name, newest=True)
            wrong = "" if answer is None else difference(method, version, answer)
        if wrong:
            self._findings.failed(f"{method} {name}: {wrong}")

    def _post(self) -> None:
        if (name := self._live()) is None:
            return
        version = self.known[name]
        assert version is not None
        mark = f"post-{self._turn}"
        answer = self._ask("POST", name, meta=mark)
        self._changed.add(name)
        if answer is not None and self._check(answer, 202, f"POST {name}"):
            self.known[name] = ExpectedContent(version.seed, version.size, mark)

    def _delete(self) -> None:
        if (name := self._live()) is None:
            return
        answer = self._ask("DELETE", name)
        self._changed.add(name)
        if answer is not None and self._check(answer, 204, f"DELETE {name}"):
            self.known[name] = None

    def _list(self) -> None:
        """A server may hear of a change a moment later than the client, or while a ring is published not at all.

        That lasts until all proxies have the ring: a listing must be right soon.
        """
        ends = time.monotonic() + LISTED_SECONDS
        while True:
            answer = self._ask("GET", "", query=f"?format=json&prefix={self.name}-")
            if answer is None or not self._check(answer, 200, "a listing"):
                return
            wrong = self._wrong_rows(answer)
            if not wrong or time.monotonic() > ends:
                break
            self._findings.stale += 1
            time.sleep(PAUSE_SECONDS)
        for each in wrong:
            self._findings.failed(f"a listing has {each}")

    def _wrong_rows(self, answer: LoadAnswer) -> list[str]:
        listed = {row["name"]: row["hash"] for row in json.loads(answer.body)}
        etags = {name: version.etag if version else None for name, version in self.known.items()}
        return [f"{name} as {listed.get(name)}, not {etag}" for name, etag in etags.items() if listed.get(name) != etag]

    def verify(self, session: LoadSession) -> None:
        """Read everything back through one proxy: objects, deletions, the listing."""
        self._sessions, self._doomed = [session], False
        for name in list(self.known):
            self._read("GET", name)
        self._list()


class LoadTrial(ABC):
    """Load on a running cluster, in the middle of which something befalls it; nobody may notice."""

    def __init__(self, name: str, cluster: LoopbackCluster, seconds: float) -> None:
        """Each phase takes `seconds`."""
        self.cluster = cluster
        self.findings = LoadFindings()
        self.workers: list[LoadWorker] = []
        self._seconds = seconds
        self._container = f"{name}-{uuid.uuid4().hex[:8]}"
        self._undo = ExitStack()
        self._endpoints = [self._endpoint(node) for node in cluster.nodes]

    @abstractmethod
    def _disturb(self, pool: ThreadPoolExecutor) -> None:
        """What befalls the cluster under load."""

    def _endpoint(self, node: Node) -> Endpoint:
        endpoint = Endpoint(f"http://{node.address('proxy')}/auth/v1.0", "test:tester", "testing")
        self._undo.callback(endpoint.close)
        return endpoint

    def _session(self, endpoint: Endpoint) -> LoadSession:
        session = LoadSession(endpoint.server, endpoint.account, endpoint.token)
        self._undo.callback(session.close)
        return session

    def _add_worker(self, name: str, endpoints: Sequence[Endpoint], *, doomed: bool = False) -> None:
        sessions = [self._session(endpoint) for endpoint in endpoints]
        self.workers.append(LoadWorker(name, self._container, sessions, self.findings, doomed=doomed))

    def run(self) -> None:
        """Load, under it the disturbance, load; then verify."""
        with self._undo:
            status, _ = self._endpoints[0].request("PUT", f"/{self._container}")
            assert status == 201, f"the container cannot be made: {status}"
            ended = threading.Event()
            with ThreadPoolExecutor(THREADS_MAX) as pool:
                loads = [pool.submit(worker.run, ended) for worker in self.workers]
                try:
                    time.sleep(self._seconds)
                    self._disturb(pool)
                    time.sleep(self._seconds)
                finally:
                    ended.set()
                for load in loads:
                    load.result()
            self._verify()

    def _verify(self) -> None:
        """Read everything back through every proxy."""
        self.findings.tell_phase("verify")
        for endpoint in self._endpoints:
            for worker in self.workers:
                worker.verify(self._session(endpoint))

    def report(self) -> int:
        """Print what was found; the exit status."""
        findings, verified = self.findings, sum(len(worker.known) for worker in self.workers)
        print(f"{findings.answered} answers, {verified} objects verified, {len(findings.failures)} failures")
        print(f"{findings.stale} stale answers, put right by X-Newest or a moment later")
        print(f"{findings.tolerated} failed connections to a proxy that was killed")
        for failure in findings.failures[:50]:
            print(failure)
        return int(bool(findings.failures))


def difference(method: str, version: ExpectedContent | None, answer: LoadAnswer) -> str:
    """What of an answer is not as it must be, "" if all is; None stands for a deleted object."""
    expected = 404 if version is None else 200
    if answer.status != expected:
        return f"{answer.status} instead of {expected}: {answer.body[:80]!r}"
    if version is None:
        return ""
    if answer.headers.get("etag") != version.etag or (method == "GET" and answer.body != version.content):
        return "not what was stored last"
    mark = answer.headers.get("x-object-meta-mark")
    return "" if mark == version.meta else f"metadata {mark} instead of {version.meta}"
