"""Parts are deleted when no object names them any more, and never before."""

from __future__ import annotations

from pathlib import Path

import pytest

from objstore.config.container import PartReclaimerConfig
from objstore.http.transport import BackendRequest, NodeFailure
from objstore.proxy.core.containers import PutContainer
from objstore.proxy.core.errors import CoreError
from tests.unit.container.uploading import CONFIG, DELAY_SECONDS, HIDDEN, KEY, Store
from tests.unit.objstore.db.replicas import OBJECT_PORT, PATH, ring_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def is_empty(store: Store) -> bool:
    return (store.hidden(), store.files(), store.notes()) == ([], [], [])


def test_parts_of_an_object_stay_with_it_and_go_with_it(store: Store) -> None:
    store.uploaded(b"hello ", b"world")
    store.reclaim()
    assert store.read() == b"hello world"
    assert store.notes() == []
    store.delete()
    assert store.reclaim(after=DELAY_SECONDS / 2) == {}
    assert len(store.hidden()) == 2
    assert store.reclaim()["parts"] == 2
    assert is_empty(store)


def test_parts_of_an_object_that_is_replaced_go(store: Store) -> None:
    store.uploaded(b"old")
    store.uploaded(b"new")
    store.reclaim()
    assert store.read() == b"new"
    assert len(store.hidden()) == 1
    store.put(b"plain")
    store.reclaim()
    assert (store.hidden(), store.notes(), len(store.files())) == ([], [], 3)


def test_parts_of_an_aborted_upload_go(store: Store) -> None:
    upload = store.begin()
    store.put_part(upload, 1, b"x")
    other = store.begin()
    kept = store.put_part(other, 1, b"y")
    store.abort(upload)
    assert store.reclaim(after=DELAY_SECONDS / 2) == {}
    assert store.reclaim()["parts"] == 1
    assert store.notes() == []
    store.complete(other, kept)
    assert store.read() == b"y"


def test_parts_that_were_not_chosen_go(store: Store) -> None:
    upload = store.begin()
    store.put_part(upload, 1, b"first try")
    first = store.put_part(upload, 1, b"1")
    store.put_part(upload, 2, b"never chosen")
    third = store.put_part(upload, 3, b"3")
    store.complete(upload, first, third)
    assert store.reclaim()["parts"] == 2
    assert store.read() == b"13"
    assert (len(store.hidden()), store.notes()) == (2, [])


def test_a_kept_version_keeps_its_parts(store: Store) -> None:
    old = store.uploaded(b"old", version_mode="keep").version
    store.uploaded(b"new", version_mode="keep")
    store.delete(version_mode="keep")
    store.reclaim()
    assert store.read(old) == b"old"
    store.delete(version=old)
    assert store.reclaim()["parts"] == 1
    assert (len(store.hidden()), store.notes()) == (1, [])


def test_parts_stay_as_long_as_any_version_names_them(store: Store) -> None:
    """A completion was repeated while the first one was under way, and each has made a version."""
    upload = store.begin()
    first, second = store.put_part(upload, 1, b"1"), store.put_part(upload, 2, b"2")
    content = store.record_content(upload)
    old = store.complete(upload, first, second, version_mode="keep").version
    store.put(content, store.record_of(upload), record_of=upload)
    new = store.complete(upload, first, version_mode="keep").version
    store.reclaim()
    assert (store.read(old), store.read(new)) == (b"12", b"1")
    store.delete(version=old)
    assert store.reclaim()["parts"] == 1
    assert store.read(new) == b"1"


@pytest.mark.parametrize("node", [1, 2, 3])
def test_a_server_that_does_not_answer_is_waited_for(store: Store, node: int) -> None:
    store.uploaded(b"x")
    store.reclaim()
    store.delete()

    def refuse(request: BackendRequest) -> None:
        if request.path == KEY and request.node.ip == f"10.0.0.{node}":
            raise NodeFailure(request.node, "connect")

    store.replicas.before = refuse
    assert store.reclaim() == {"unreachable": 3}
    store.replicas.before = None
    assert store.reclaim()["parts"] == 1
    assert is_empty(store)


def test_a_server_that_still_names_the_parts_is_waited_for(store: Store) -> None:
    store.uploaded(b"x")
    store.reclaim()
    store.replicas[2].up = False
    store.delete()
    store.replicas[2].up = True
    assert store.reclaim(1, 3)["named"] == 2
    assert len(store.hidden()) == 1
    store.replicas[2].request("DELETE", 5000, path=KEY, X_Backend_Storage_Policy_Index="0")
    assert store.reclaim(1, 3)["parts"] == 1


def test_a_manifest_that_only_handoffs_have_is_found(store: Store) -> None:
    store.replicas.nodes[4] = type(store.replicas[1])(store.replicas, 4)
    ring = ring_of((1, 2, 3, 4), OBJECT_PORT)
    for number in (1, 2, 3, 4):
        store.replicas[number].rings.object = lambda _index: ring  # type: ignore[method-assign]
    store.uploaded(b"x")
    for path in store.files():
        if "part/" not in store.name_in(path):
            Path(path).rename(Path(path).with_suffix(".away"))
    (handoff,) = ring.handoffs(ring.partition_of(store.replicas.cluster.hasher.digest(KEY)))
    away = list(store.replicas.folder.glob("node*/sda/objects/*/*/*/*.away"))
    assert away
    for path in away:
        relative = path.relative_to(store.replicas.folder / path.parts[len(store.replicas.folder.parts)])
        target = store.replicas.folder / f"node{handoff.ip[-1]}" / relative.with_suffix(".data")
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    assert store.reclaim(1, 2, 3) == {"failed": 3}
    assert len(store.hidden()) == 1


def test_what_nobody_noted_is_found_by_a_sweep(store: Store) -> None:
    upload = store.begin()
    store.put_part(upload, 1, b"x")
    store.abort(upload)
    store.uploaded(b"replaced")
    store.put(b"plain")
    store.forget_notes()
    store.reclaim()
    assert len(store.hidden()) == 2
    assert sum(found.get("noted", 0) for found in store.sweep()) >= 2
    store.reclaim()
    assert (store.hidden(), store.notes()) == ([], [])


def test_a_sweep_leaves_what_is_in_use(store: Store) -> None:
    store.uploaded(b"x")
    upload = store.begin()
    part = store.put_part(upload, 1, b"y")
    store.sweep()
    store.reclaim()
    assert store.read() == b"x"
    store.complete(upload, part)
    assert store.read() == b"y"


def test_a_completion_that_was_cut_short_is_ended(store: Store) -> None:
    upload = store.begin()
    part = store.put_part(upload, 1, b"x")
    content = store.record_content(upload)
    store.complete(upload, part)
    store.put(content, store.record_of(upload), record_of=upload)
    store.sweep()
    store.reclaim()
    assert store.read() == b"x"
    assert [name for name in store.hidden() if name.startswith("record/")] == []


def test_an_object_that_was_replaced_before_its_record_went(store: Store) -> None:
    upload = store.begin()
    part = store.put_part(upload, 1, b"x")
    content = store.record_content(upload)
    store.complete(upload, part)
    store.put(content, store.record_of(upload), record_of=upload)
    store.put(b"plain")
    assert store.reclaim()["open"] >= 1
    assert len(store.hidden()) == 1
    store.reclaim()
    assert (store.hidden(), store.notes()) == ([], [])


def test_uploads_go_with_their_container(store: Store) -> None:
    upload = store.begin()
    store.put_part(upload, 1, b"x")
    store.delete_container()
    store.sweep()
    store.reclaim()
    assert is_empty(store)
    store.sweep()
    assert store.replicas[1].request("HEAD", path=HIDDEN, X_Backend_Allow_Reserved_Names="true").status == 404


def test_uploads_of_an_earlier_life_of_the_container_go(store: Store) -> None:
    upload = store.begin()
    store.put_part(upload, 1, b"x")
    store.replicas.clock.seconds += 2 * DELAY_SECONDS
    store.delete_container()
    store.context.containers.put(PutContainer(PATH, store.now()))
    later = store.begin()
    kept = store.put_part(later, 1, b"y")
    store.sweep()
    store.reclaim()
    with pytest.raises(CoreError):
        store.abort(upload)
    assert len(store.hidden()) == 2
    store.complete(later, kept)
    assert store.read() == b"y"


def test_a_row_that_comes_too_late_is_noted(store: Store) -> None:
    """The object was replaced before the container heard of it."""
    store.uploaded(b"x")
    rows = {number: store.replicas[number].rows() for number in (1, 2, 3)}
    store.forget_notes()
    store.delete()
    store.reclaim()
    assert store.notes() == []
    for number in (1, 2, 3):
        store.replicas[number].update(*rows[number])
    assert len(store.notes()) == 3


def test_many_parts_go_page_by_page(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.direct.PAGE_NAMES", 3)
    monkeypatch.setattr("objstore.container.orphans.ORPHANS_PER_PAGE", 1)
    for number in range(3):
        path = PATH.with_object(f"k{number}")
        store.uploaded(*[bytes([each]) for each in range(7)], path=path)
        store.delete(path)
    assert store.reclaim()["parts"] == 21
    assert is_empty(store)


def test_nothing_is_deleted_before_its_time_by_default() -> None:
    assert PartReclaimerConfig().delay >= 60 * 10  # far above what a completion may take
    assert CONFIG.delay == DELAY_SECONDS
