"""The part power of a ring is increased: objects get their new places, and none is out of reach at any time."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from objstore.daemon import run_once
from objstore.object import put
from objstore.object.file_engine.disk import Disk
from objstore.object.part_power import Names, remove_linked
from objstore.object.receive import agreed_etag
from objstore.object.relinker import SETTLING_SECONDS
from objstore.policies import Policy
from objstore.system.disk_calls import OpenFile, Pending
from tests.unit.object.growing import POWER, GrowingStore
from tests.unit.object.harness import at


@pytest.fixture
def store(tmp_path: Path) -> GrowingStore:
    return GrowingStore(tmp_path)


def inode(store: GrowingStore, name: str, power: int) -> int:
    partition = store.partition(name, power)
    (file,) = (store.root / "sda/objects" / partition).glob(f"*/{store.directory(store.path(name)).name}/*.data")
    return file.stat().st_ino


class TestWriting:
    def test_a_new_file_has_both_names_while_the_increase_is_prepared(self, store: GrowingStore) -> None:
        (name,) = store.moving(1)
        old, new = store.partition(name), store.partition(name, POWER + 1)
        store.enter("prepared")
        store.put(1, path=store.path(name))
        data = at(1) + ".data"
        assert store.places(name) == {old: [data], new: [data]}
        assert inode(store, name, POWER) == inode(store, name, POWER + 1)
        store.post(2, path=store.path(name), x_object_meta_color="red")
        both = sorted([data, at(2) + ".meta"])
        assert store.places(name) == {old: both, new: both}
        assert store.delete(3, path=store.path(name)).status == 204
        assert store.places(name) == {old: [at(3) + ".ts"], new: [at(3) + ".ts"]}

    def test_a_link_that_cannot_be_made_fails_nothing(
        self, store: GrowingStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (name,) = store.moving(1)
        store.enter("prepared")
        new = store.partition(name, POWER + 1)
        original = Disk.publish

        def publish(disk: Disk, file: OpenFile, directory: str, *arguments: Any) -> Pending:
            if f"/objects/{new}/" in directory:
                raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
            return original(disk, file, directory, *arguments)

        monkeypatch.setattr(Disk, "publish", publish)
        assert store.put(1, path=store.path(name)).status == 201
        assert list(store.places(name)) == [store.partition(name)]
        assert any(b"not linked into the next partition" in line for line in store.lines)
        monkeypatch.undo()
        store.enter("increased")
        assert store.read(name).status == 200
        assert store.run("cleanup").has_failed is False
        assert list(store.places(name)) == [new]

    @pytest.mark.parametrize("power", [POWER, POWER + 1])
    @pytest.mark.parametrize("state", ["at rest", "prepared", "increased", "finished"])
    def test_the_partition_of_a_request_is_only_a_hint(self, store: GrowingStore, state: str, power: int) -> None:
        (name,) = store.moving(1)
        store.enter(state)
        assert store.put(1, path=store.path(name, power)).status == 201
        home = store.partition(name, store.ring.part_power)
        assert home in store.places(name)
        assert len(store.places(name)) == (2 if state == "prepared" else 1)
        for asked in (POWER, POWER + 1):
            assert store.read(name, asked).body == b"body"

    def test_after_the_increase_what_is_obsolete_goes_in_both_places(self, store: GrowingStore) -> None:
        (name,) = store.moving(1)
        store.put(1, path=store.path(name))
        store.enter("prepared")
        store.run("relink")
        store.enter("increased")
        assert store.put(1, path=store.path(name)).status == 409
        assert store.delete(2, path=store.path(name)).status == 204
        assert store.places(name) == {store.partition(name, POWER + 1): [at(2) + ".ts"]}

    @pytest.mark.parametrize("end", ["increased", "finished"])
    @pytest.mark.parametrize("start", ["at rest", "prepared"])
    def test_an_upload_that_outlasts_the_ring_ends_where_it_is_looked_for(
        self, store: GrowingStore, start: str, end: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (name,) = store.moving(1)
        store.enter(start)

        def agreed(*arguments: Any) -> str:
            store.enter(end)
            return agreed_etag(*arguments)

        monkeypatch.setattr(put, "agreed_etag", agreed)
        assert store.put(1, path=store.path(name)).status == 201
        assert store.ring.part_power == POWER + 1
        assert list(store.places(name)) == [store.partition(name, POWER + 1)]
        assert store.read(name).body == b"body"

    def test_an_upload_that_outlasts_the_preparation_is_linked(
        self, store: GrowingStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (name,) = store.moving(1)

        def agreed(*arguments: Any) -> str:
            store.enter("prepared")
            return agreed_etag(*arguments)

        monkeypatch.setattr(put, "agreed_etag", agreed)
        store.put(1, path=store.path(name))
        assert sorted(store.places(name)) == sorted([store.partition(name), store.partition(name, POWER + 1)])


class TestRelinking:
    def test_from_beginning_to_end(self, store: GrowingStore) -> None:
        names = store.moving(20)
        for number, name in enumerate(names):
            store.put(1, name.encode(), path=store.path(name))
            if number % 3 == 1:
                store.post(2, path=store.path(name), x_object_meta_color="red")
            if number % 3 == 2:
                store.delete(2, path=store.path(name))

        def check() -> None:
            for number, name in enumerate(names):
                for power in (POWER, POWER + 1):
                    answer = store.read(name, power)
                    if number % 3 == 2:
                        assert (answer.status, answer.headers.get("X-Backend-Timestamp")) == (404, at(2))
                    else:
                        assert answer.body == name.encode()
                        assert answer.headers.get("X-Object-Meta-Color") == ("red" if number % 3 else None)

        store.enter("prepared")
        check()
        assert not store.run("relink").has_failed
        assert store.recon.figures["devices_to_relink"] == 0
        check()
        for name in names:
            assert store.places(name)[store.partition(name)] == store.places(name)[store.partition(name, POWER + 1)]
        store.enter("increased")
        check()
        assert not store.run("cleanup").has_failed
        assert store.recon.figures["devices_to_cleanup"] == 0
        check()
        for name in names:
            assert list(store.places(name)) == [store.partition(name, POWER + 1)]
        store.enter("finished")
        check()
        wanted = {store.partition(name, POWER + 1) for name in names}
        assert set(os.listdir(store.root / "sda/objects")) == wanted  # no empty folder either

    def test_versions_move_together(self, store: GrowingStore) -> None:
        (name,) = store.moving(1)
        path = store.path(name)
        store.put(1, b"null", path=path)
        for second in (2, 3, 4):
            store.put(second, b"%d" % second, path=path, x_backend_version_mode="keep")
        store.delete(5, path=path, x_backend_version_id=at(3))
        store.enter("prepared")
        store.delete(6, path=path, x_backend_version_mode="keep")
        assert not store.run("relink").has_failed
        expected = [f"{at(1)}.data", f"{at(2)}!.data", f"{at(4)}!.data", f"{at(5)}!{at(3)}.ts", f"{at(6)}!.ts"]
        assert list(store.places(name).values()) == [expected] * 2
        store.enter("increased")
        store.delete(7, path=path, x_backend_version_id=at(6))
        store.put(8, b"8", path=path, x_backend_version_mode="keep")
        assert not store.run("cleanup").has_failed
        store.enter("finished")
        expected = [*expected[:4], f"{at(7)}!{at(6)}.ts", f"{at(8)}!.data"]
        assert store.places(name) == {store.partition(name, POWER + 1): expected}
        assert store.read(name).body == b"8"

    def test_cancelled(self, store: GrowingStore) -> None:
        names = store.moving()
        for name in names:
            store.put(1, path=store.path(name))
        store.enter("prepared")
        store.run("relink")
        store.delete(2, path=store.path(names[0]))
        store.enter("cancelled")
        assert not store.run("cleanup").has_failed
        store.enter("at rest")
        assert [store.read(name).status for name in names] == [404, 200, 200]
        assert [list(store.places(name)) for name in names] == [[store.partition(name)] for name in names]

    def test_without_relinking_nothing_is_out_of_reach(self, store: GrowingStore) -> None:
        (name,) = store.moving(1)
        store.put(1, path=store.path(name))
        store.enter("increased")
        assert store.read(name).body == b"body"
        assert store.post(2, path=store.path(name), x_object_meta_color="red").status == 202
        assert store.read(name).headers["X-Object-Meta-Color"] == "red"
        assert len(store.places(name)) == 2
        store.run("cleanup")
        home = store.partition(name, POWER + 1)
        assert store.places(name) == {home: sorted([at(1) + ".data", at(2) + ".meta"])}

    def test_a_good_copy_replaces_a_damaged_one_at_home(self, store: GrowingStore) -> None:
        (name,) = store.moving(1)
        store.put(1, path=store.path(name))
        store.enter("prepared")
        store.run("relink")
        home = store.root / "sda/objects" / store.partition(name, POWER + 1)
        (file,) = home.glob("*/*/*.data")
        copy = file.with_name("copy")
        shutil.copy2(file, copy)  # with its attributes: another file of the same name
        os.replace(copy, file)
        file.write_bytes(b"damn")
        store.enter("increased")
        assert not store.run("cleanup").has_failed
        assert store.read(name).body == b"body"
        assert list(store.places(name)) == [store.partition(name, POWER + 1)]
        assert any(b"object quarantined" in line for line in store.lines)

    def test_what_is_not_at_home_when_it_comes_to_it_stays(self, store: GrowingStore) -> None:
        (name,) = store.moving(1)
        store.put(1, path=store.path(name))
        old, new = store.partition(name), store.partition(name, POWER + 1)
        linked = Names(new, store.directory(store.path(name)).name, (at(1) + ".data",))
        count = remove_linked(store.engine.device(str(store.root / "sda")), Policy(0, "gold"), old, [linked])
        assert count == 0
        assert list(store.places(name)) == [old]

    def test_a_pass_goes_on_where_it_was(self, store: GrowingStore) -> None:
        names = store.moving(8)
        for name in names:
            store.put(1, path=store.path(name))
        store.enter("prepared")
        worker = store.relinker()
        worker.step()
        (work,) = [work for work in worker._all if work.policy.index == 0]
        assert work.done == 1
        work._saved_at = -100.0
        worker.step()
        again = store.relinker()
        again.step()
        (resumed,) = [work for work in again._all if work.policy.index == 0]
        assert resumed.done == 3

    def test_only_some_partitions(self, store: GrowingStore) -> None:
        first, second = store.moving(2)
        for name in (first, second):
            store.put(1, path=store.path(name))
        store.enter("prepared")
        store.run("relink", [int(store.partition(first))])
        assert (len(store.places(first)), len(store.places(second))) == (2, 1)
        assert store.recon.figures["devices_to_relink"] > 0

    def test_nothing_to_do_at_rest(self, store: GrowingStore) -> None:
        store.put(1, path=store.path("o1"))
        for task in ("relink", "cleanup"):
            assert not store.run(task).has_found_work
        store.enter("increased")
        assert not store.run("relink").has_found_work
        store.enter("prepared")
        assert not store.run("cleanup").has_found_work


class TestDaemon:
    def test_it_does_what_the_ring_asks_for_and_nothing_at_rest(self, store: GrowingStore) -> None:
        (name,) = store.moving(1)
        store.put(1, path=store.path(name))
        now = [0.0]
        store.runtime.clock.monotonic = lambda: now[0]  # type: ignore[method-assign]
        daemon = store.relinker()
        run_once(daemon)
        assert not daemon.has_found_work
        for state, places in (("prepared", 2), ("increased", 1), ("finished", 1)):
            store.enter(state)
            run_once(daemon)
            assert not daemon.has_found_work, "some server of this machine may not have the ring yet"
            now[0] += SETTLING_SECONDS + 1
            run_once(daemon)
            assert len(store.places(name)) == places
            run_once(daemon)
            assert not daemon.has_found_work, "all is done"

    def test_a_device_that_was_away_is_put_in_order_when_it_is_back(self, store: GrowingStore) -> None:
        (name,) = store.moving(1)
        store.put(1, path=store.path(name))
        run_once(store.relinker())
        store.enter("finished")
        assert store.read(name).status == 404  # others have it
        run_once(store.relinker())
        assert store.read(name).body == b"body"
        assert list(store.places(name)) == [store.partition(name, POWER + 1)]

    def test_a_ring_that_was_finished_too_soon(self, store: GrowingStore) -> None:
        (name,) = store.moving(1)
        store.put(1, path=store.path(name))
        now = [0.0]
        store.runtime.clock.monotonic = lambda: now[0]  # type: ignore[method-assign]
        daemon = store.relinker()
        run_once(daemon)
        for state in ("prepared", "increased", "finished"):
            store.enter(state)
            run_once(daemon)
        now[0] += SETTLING_SECONDS + 1
        run_once(daemon)
        assert list(store.places(name)) == [store.partition(name, POWER + 1)]

    def test_a_new_device_needs_nothing(self, store: GrowingStore) -> None:
        store.enter("finished")
        daemon = store.relinker()
        run_once(daemon)
        assert not daemon.has_found_work
