"""Whoever floods the store with logins takes little from those who have a token, or log in elsewhere."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Final

from objstore import passwords
from objstore.login_throttle import ADDRESS_FAILURES_MAX, CLIENT_FAILURES_MAX
from objstore.passwords import WAITING_MAX
from objstore.system.shared_counters import WINDOW_SECONDS
from tests.functional.client import Client
from tests.functional.servers import Store
from tests.waiting import wait_until

CONNECTIONS: Final = 64
WORKERS: Final = 2
FLOOD_SECONDS: Final = 8.0
# A slow machine checks fewer keys a second: the flood goes on until it is refused, but not into the next minute.
FLOOD_SECONDS_MAX: Final = 19.0
BODY: Final = b"0123456789abcdef" * (8 * 65536)
# It takes 40 ms on an idle machine, and took 20 s when keys were checked by the threads of disk calls.
PUT_SECONDS_MAX: Final = 2.0


def start_with_hashed_keys(store: Store) -> None:
    store.start()
    store.stop()
    file = store.folder / "development-users.toml"
    text = re.sub(
        r'key = "(.*)"', lambda match: f'key = "{passwords.hashed(match[1], b"0123456789abcdef")}"', file.read_text()
    )
    file.write_text(text)
    store.start()


def login(client: Client, user: str, key: str = "wrong") -> int:
    return client.raw("GET", "/auth/v1.0", {"X-Auth-User": user, "X-Auth-Key": key}).status


def wait_for_a_young_window() -> None:
    """So that no minute ends while a test counts."""
    wait_until(lambda: time.monotonic() % WINDOW_SECONDS < WINDOW_SECONDS - 20, "the next minute", WINDOW_SECONDS)


def flood(store: Store, number: int, statuses: Counter[int], ended: threading.Event) -> None:
    client, attempt = Client(store.host, store.port), 0
    while not ended.is_set():
        statuses[login(client, f"test:{number}-{attempt}")] += 1
        attempt += 1


def test_a_login_flood(own_store: Store) -> None:
    start_with_hashed_keys(own_store)
    client = Client.login(own_store.host, own_store.port)
    assert client.put("c").status == 201
    wait_for_a_young_window()
    start, ended = time.monotonic(), threading.Event()
    counts, took = [Counter[int]() for _ in range(CONNECTIONS)], []
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        floods = [pool.submit(flood, own_store, number, counts[number], ended) for number in range(CONNECTIONS)]
        try:
            while (lasts := time.monotonic() - start) < FLOOD_SECONDS or (
                lasts < FLOOD_SECONDS_MAX and not any(each[429] for each in counts)
            ):
                began = time.monotonic()
                assert client.put("c/o", body=BODY).status == 201
                took.append(time.monotonic() - began)
        finally:
            ended.set()
        for each in floods:
            each.result()
    statuses = sum(counts, Counter[int]())
    assert sorted(took)[len(took) // 2] < PUT_SECONDS_MAX
    # Those that waited for a check when the limit was reached still get it.
    assert ADDRESS_FAILURES_MAX <= statuses[401] <= ADDRESS_FAILURES_MAX + WORKERS * WAITING_MAX
    assert statuses[429] > 0
    assert statuses[401] + statuses[429] + statuses[503] == sum(statuses.values())
    assert own_store.log.count('msg="login') <= 2 * len(str(sum(statuses.values())))
    assert login(Client(own_store.host, own_store.port), "test:tester", "testing") == 200, "who is known may come in"


def test_workers_count_together(own_store: Store) -> None:
    own_store.start()
    # A worker leaves a new connection to the one that has fewer.
    clients = cycle([Client(own_store.host, own_store.port) for _ in range(WORKERS)])
    wait_for_a_young_window()
    statuses = [login(next(clients), "test:tester") for _ in range(CLIENT_FAILURES_MAX + 2)]
    assert statuses == [401] * CLIENT_FAILURES_MAX + [429] * 2
