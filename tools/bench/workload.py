"""A bounded load of all verbs that knows, at every moment, what the store must answer."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from objstore.tools.bench.sessions import Answer, Findings, Session, Version

SIZES: Final = (0, 1, 4096, 60_000, 200_000, 3_000_000)
OBJECTS_MAX: Final = 200  # of a worker
PAUSE_SECONDS: Final = 0.05  # between requests to a proxy that is known to be down


class Worker:
    """Sends requests of all kinds for objects of its own, and remembers what they must hold."""

    def __init__(
        self, name: str, container: str, sessions: Sequence[Session], findings: Findings, *, doomed: bool = False
    ) -> None:
        """`doomed`: the proxy may be killed, so connections may fail; what they were about is then unknown."""
        self.name = name
        self.container = container
        self.known: dict[str, Version | None] = {}  # None: deleted
        self._sessions = sessions
        self._findings = findings
        self._doomed = doomed
        self._random = random.Random(name)
        self._turn = 0

    def run(self, ended: threading.Event) -> None:
        """Until told to stop."""
        while not ended.is_set():
            self._turn += 1
            action = self._random.choices(
                (self._put_new, self._overwrite, self._get, self._head, self._post, self._delete, self._list),
                (30, 10, 30, 5, 10, 10, 5),
            )[0]
            action()

    def _ask(
        self, method: str, name: str, *, query: str = "", body: bytes | None = None, meta: str | None = None
    ) -> Answer | None:
        """None if the connection failed: then nobody knows what became of the object."""
        session = self._random.choice(self._sessions)
        headers = {} if meta is None else {"X-Object-Meta-Mark": meta}
        path = f"/{self.container}" + (f"/{quote(name)}" if name else query)
        try:
            answer = session.request(method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self.known.pop(name, None)
            if self._doomed:
                self._findings.tolerated += 1
                time.sleep(PAUSE_SECONDS)
            else:
                self._findings.failed(f"{method} {name} through {session.address[0]}: {error!r}")
            return None
        self._findings.answered += 1
        return answer

    def _check(self, answer: Answer, expected: int, what: str) -> bool:
        if answer.status == expected:
            return True
        self._findings.failed(f"{what}: {answer.status} instead of {expected}: {answer.body[:80]!r}")
        return False

    def _store(self, name: str) -> None:
        version = Version(f"{name}-{self._turn}", self._random.choice(SIZES), f"put-{self._turn}")
        answer = self._ask("PUT", name, body=version.content, meta=version.meta)
        if answer is None:
            return
        self.known[name] = version
        if not self._check(answer, 201, f"PUT {name} of {version.size} bytes"):
            del self.known[name]
        elif answer.headers.get("Etag") != version.etag:
            self._findings.failed(f"PUT {name}: ETag {answer.headers.get('Etag')}")

    def _put_new(self) -> None:
        if len(self.known) >= OBJECTS_MAX:
            return self._overwrite()
        return self._store(f"{self.name}-{self._turn}")

    def _overwrite(self) -> None:
        if self.known:
            self._store(self._random.choice(list(self.known)))

    def _live(self) -> str | None:
        live = [name for name, version in self.known.items() if version is not None]
        return self._random.choice(live) if live else None

    def _get(self) -> None:
        if not self.known:
            return
        name = self._random.choice(list(self.known))
        version = self.known[name]
        answer = self._ask("GET", name)
        if answer is not None:
            self._compare(name, version, answer)

    def _compare(self, name: str, version: Version | None, answer: Answer) -> None:
        if version is None:
            self._check(answer, 404, f"GET {name}, which is deleted")
        elif self._check(answer, 200, f"GET {name} of {version.size} bytes"):
            if answer.headers.get("Etag") != version.etag or answer.body != version.content:
                self._findings.failed(f"GET {name}: not what was stored last")
            elif answer.headers.get("X-Object-Meta-Mark") != version.meta:
                self._findings.failed(f"GET {name}: metadata {answer.headers.get('X-Object-Meta-Mark')}")

    def _head(self) -> None:
        if (name := self._live()) is None:
            return
        version = self.known[name]
        assert version is not None
        answer = self._ask("HEAD", name)
        if answer is not None and self._check(answer, 200, f"HEAD {name}"):
            etag = answer.headers.get("Etag")
            if etag != version.etag:
                self._findings.failed(f"HEAD {name}: ETag {etag}")

    def _post(self) -> None:
        if (name := self._live()) is None:
            return
        version = self.known[name]
        assert version is not None
        mark = f"post-{self._turn}"
        answer = self._ask("POST", name, meta=mark)
        if answer is not None and self._check(answer, 202, f"POST {name}"):
            self.known[name] = Version(version.seed, version.size, mark)

    def _delete(self) -> None:
        if (name := self._live()) is None:
            return
        answer = self._ask("DELETE", name)
        if answer is not None and self._check(answer, 204, f"DELETE {name}"):
            self.known[name] = None

    def _list(self) -> None:
        answer = self._ask("GET", "", query=f"?format=json&prefix={self.name}-")
        if answer is not None and self._check(answer, 200, "a listing"):
            self._compare_listing(answer)

    def _compare_listing(self, answer: Answer) -> None:
        listed = {row["name"]: row["hash"] for row in json.loads(answer.body)}
        for name, version in self.known.items():
            if version is None and name in listed:
                self._findings.failed(f"a listing has {name}, which is deleted")
            elif version is not None and listed.get(name) != version.etag:
                self._findings.failed(f"a listing gives {name} as {listed.get(name)}, not {version.etag}")

    def verify(self, session: Session) -> None:
        """Read everything back through one proxy: objects, deletions, the listing."""
        self._sessions, self._doomed = [session], False
        for name, version in list(self.known.items()):
            answer = self._ask("GET", name)
            if answer is not None:
                self._compare(name, version, answer)
        self._list()
