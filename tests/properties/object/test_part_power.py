"""Whatever is done to an object while the part power of its ring is increased, the newest version is read."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from objstore.daemon import run_once
from tests.unit.object.growing import POWER, GrowingStore

ACTIONS = st.sampled_from(["put", "post", "delete", "relink", "cleanup", "daemon"])
# By which ring a proxy asks.
POWERS = st.sampled_from([POWER, POWER + 1])
WAYS = st.sampled_from([("prepared", "increased", "finished"), ("prepared", "cancelled", "at rest"), ("finished",)])


class Model:
    """What the object must be."""

    def __init__(self) -> None:
        self.body: bytes | None = None
        self.color: str | None = None
        self.second = 0

    def act(self, store: GrowingStore, action: str, path: str) -> None:
        self.second += 1
        if action == "put":
            self.body, self.color = f"body {self.second}".encode(), None
            assert store.put(self.second, self.body, path=path).status == 201
        elif action == "post":
            status = store.post(self.second, path=path, x_object_meta_color=f"red {self.second}").status
            assert status == (404 if self.body is None else 202)
            if self.body is not None:
                self.color = f"red {self.second}"
        elif action == "delete":
            assert store.delete(self.second, path=path).status == (404 if self.body is None else 204)
            self.body = self.color = None
        elif action == "daemon":
            run_once(store.relinker())
        else:
            assert not store.run(action).has_failed

    def check(self, store: GrowingStore, path: str) -> None:
        answer = store.get(path)
        if self.body is None:
            assert answer.status == 404
        else:
            assert (answer.status, answer.body) == (200, self.body)
            assert answer.headers.get("X-Object-Meta-Color") == self.color


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_the_newest_version_is_read_in_every_state(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store, model = GrowingStore(Path(folder)), Model()
        (name,) = store.moving(1)
        run_once(store.relinker())
        way = data.draw(WAYS)
        for state in ("at rest", *way):
            if state in ("finished", "at rest") and store.ring.next_part_power is not None:
                store.run("cleanup")  # what the operator waits for
            store.enter(state)
            if way == ("finished",):
                run_once(store.relinker())  # the device was away, and has missed it all
            for action, power in data.draw(st.lists(st.tuples(ACTIONS, POWERS), max_size=5)):
                model.act(store, action, store.path(name, power))
                for asked in (POWER, POWER + 1):
                    model.check(store, store.path(name, asked))
        home = store.partition(name, store.ring.part_power)
        assert set(store.places(name)) <= {home}
