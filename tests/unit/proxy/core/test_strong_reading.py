"""Reads of strong policies: what a majority has, and that it stays there."""

from __future__ import annotations

import pytest

from tests.unit.proxy.core.strong_nodes import StrongStore

OLD = "1600000000.00000_0000000000010000"


@pytest.fixture
def store() -> StrongStore:
    return StrongStore()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_read_asks_one_for_the_object_and_one_for_its_names(store: StrongStore, method: str) -> None:
    store.all_have(OLD, b"old")
    assert store.send(method).status == 200
    assert sorted(store.methods()) == sorted([method, "NAMES"])


def test_a_read_goes_by_the_majority(store: StrongStore) -> None:
    store.all_have(OLD, b"old")
    store.nodes[1].put("1500000000.00000", b"older")
    for _ in range(12):
        answer = store.send("GET")
        assert (answer.status, answer.body) == (200, b"old")


def test_what_is_read_is_on_a_majority(store: StrongStore) -> None:
    store.nodes[2].put(OLD, b"half done")
    for each in (0, 1):
        store.nodes[each].put("1500000000.00000", b"older")
    store.nodes[0].down = True
    answer = store.send("GET")
    assert (answer.status, answer.body) == (200, b"half done")
    assert store.nodes[1].body == b"half done"
    assert "PREPARE" in store.methods()


def test_a_deletion_that_one_node_has_is_brought_to_another_before_it_is_told(store: StrongStore) -> None:
    store.nodes[0].names = {f"{OLD}.ts"}
    store.nodes[2].down = True
    assert store.send("GET").status == 404
    assert store.nodes[1].names == {f"{OLD}.ts"}


def test_a_node_that_cannot_say_what_it_has_has_no_vote(store: StrongStore) -> None:
    store.all_have(OLD, b"old")
    store.nodes[1].mute = frozenset({"GET", "HEAD"})
    assert [store.send("GET").body for _ in range(5)] == [b"old"] * 5
