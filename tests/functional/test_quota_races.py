"""However many uploads come at once, each worker process admits no more than what is left of a quota."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from threading import Barrier
from typing import Final

import pytest

from tests.functional.client import Client
from tests.functional.servers import Store

CONNECTIONS: Final = 24
EACH: Final = 3
FIT: Final = 5
SIZE: Final = 100_000


class Race:
    """Uploads by many connections, which all begin together."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.owner = Client.login(store.host, store.port)

    def run(self, container: str, *, chunked: bool = False) -> int:
        """How many are stored; the others are refused."""
        start = Barrier(CONNECTIONS)

        def upload(number: int) -> list[int]:
            client = Client(self.store.host, self.store.port, account=self.owner.account, token=self.owner.token)
            assert client.head(container).status == 204
            start.wait(30)
            statuses, body = [], b"x" * SIZE
            for each in range(EACH):
                answer = client.put(f"{container}/{number}-{each}", body=[body] if chunked else body)
                client.close()  # the server ends a connection on which too much of a refused body is left
                statuses.append(answer.status)
            return statuses

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            statuses = Counter(chain.from_iterable(pool.map(upload, range(CONNECTIONS))))
        assert statuses[201] + statuses[413] == CONNECTIONS * EACH
        assert len(self.owner.rows(container)) == statuses[201]
        return statuses[201]


@pytest.mark.parametrize("workers", [1, 2])
def test_races(tmp_path: Path, workers: int) -> None:
    store = Store(tmp_path / "data", ("--workers", str(workers)))
    store.start()
    try:
        race = Race(store)
        for name, quota in (("count", {"Count": str(FIT)}), ("bytes", {"Bytes": str(FIT * SIZE)})):
            (kind, value), *_ = quota.items()
            assert race.owner.put(name, headers={f"X-Container-Meta-Quota-{kind}": value}).status == 201
            assert FIT <= race.run(name) <= workers * FIT
        assert race.owner.put("unknown", headers={"X-Container-Meta-Quota-Bytes": str(FIT * SIZE)}).status == 201
        assert 0 < race.run("unknown", chunked=True) <= workers * FIT
        # The account's own count comes too late for all of them.
        reseller = Client.login(store.host, store.port, "admin:admin", "admin")
        other = Client.login(store.host, store.port, "test2:tester2", "testing2")
        limited = Client(store.host, store.port, account=other.account, token=reseller.token)
        assert limited.post(headers={"X-Account-Quota-Count": str(FIT)}).status == 204
        race.owner = other
        assert other.put("account").status == 201
        assert FIT <= race.run("account") <= workers * FIT
    finally:
        store.kill()
