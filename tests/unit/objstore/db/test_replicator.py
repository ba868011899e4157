"""Replicas come to the same state, whatever became of them."""

from __future__ import annotations

import sqlite3
from functools import partial

import pytest

from objstore.daemon import run_once
from objstore.db.rows import CHANGE
from objstore.db.schema import row_digest
from objstore.paths import ResourcePath
from objstore.rows import ContainerRow, ObjectRow, encode_rows
from tests.unit.objstore.db.harness import at, row
from tests.unit.objstore.db.replicas import Replicas


def put_everywhere(replicas: Replicas, *numbers: int) -> None:
    for number in numbers or (1, 2, 3):
        assert replicas[number].put(1) == 201


def test_rows_go_both_ways(replicas: Replicas) -> None:
    put_everywhere(replicas)
    replicas[1].update(row("one"), row("gone", 2, deleted=True))
    replicas[2].update(row("two"), row("gone", 1))
    replicas.replicate(1)
    assert replicas.agree(1, 2)
    assert replicas[1].names() == replicas[3].names() == ["one", "two"] or replicas[3].names() == ["one"]
    replicas.replicate()
    assert replicas.agree()
    assert replicas[3].names() == ["one", "two"]


def test_an_unchanged_database_costs_one_small_request_for_many(replicas: Replicas) -> None:
    put_everywhere(replicas)
    replicas[1].update(row("o"))
    replicas.replicate()
    replicas.replicate()
    replicas.steps()
    files = [node.database_files()[0] for node in replicas.nodes.values() if node.number < 4]
    before = [file.stat().st_mtime_ns for file in files]
    replicas.replicate(1)
    assert replicas.steps() == ["compare", "compare"]
    assert replicas[1].counts == {"looked_at": 1, "unchanged": 2}
    assert [file.stat().st_mtime_ns for file in files] == before


def test_rows_that_reached_all_replicas_are_not_sent_again(replicas: Replicas) -> None:
    put_everywhere(replicas)
    for number in (1, 2, 3):
        replicas[number].update(row("a"), row("b"))
    replicas.replicate()
    assert set(replicas.steps()) == {"compare"}


def test_metadata_and_life_are_merged(replicas: Replicas) -> None:
    replicas[1].put(1, X_Container_Meta_A="old", X_Container_Meta_B="kept")
    replicas[2].put(2, X_Container_Meta_A="new")
    replicas.replicate(1)
    assert replicas.agree(1, 2)
    replicas.replicate()
    for number in (1, 2, 3):
        headers = replicas[number].request("HEAD").headers
        assert (headers["X-Container-Meta-A"], headers["X-Container-Meta-B"]) == ("new", "kept")
        assert (headers["X-Backend-Timestamp"], headers["X-Backend-Put-Timestamp"]) == (at(1), at(2))
    assert replicas.agree()


@pytest.mark.parametrize("count", [3, 40])
def test_a_wiped_replica_is_refilled(replicas: Replicas, count: int) -> None:
    """With few rows by a batch, with many by the whole file."""
    for node in replicas.nodes.values():
        node.config = type(node.config)(per_diff=10)
        node.start()
    put_everywhere(replicas)
    rows = [row(f"o{number:03}", size=number) for number in range(count)]
    for number in (1, 2, 3):
        replicas[number].update(*rows)
    replicas.replicate()
    replicas[3].wipe()
    assert replicas[3].update(row("late", 5)) == 404
    replicas[1].update(row("late", 5))
    replicas.steps()
    replicas.replicate(1)
    assert ("whole" in replicas.steps()) is (count > 10)
    # It knows whose rows it has got in this way.
    assert {replicas[1].summary().id, replicas[2].summary().id} <= set(replicas[3].summary().points)
    replicas.replicate()
    replicas.replicate()
    assert replicas.agree()
    assert len(replicas[3].names()) == count + 1
    headers = replicas[3].request("HEAD").headers
    assert headers["X-Container-Object-Count"] == str(count + 1)
    assert headers["X-Container-Bytes-Used"] == str(sum(range(count)) + 1)
    assert len({replicas[number].summary().id for number in (1, 2, 3)}) == 3
    # What is there is known to be there: nothing is sent again.
    replicas.steps()
    replicas.replicate()
    assert set(replicas.steps()) == {"compare"}


def test_a_replica_far_behind_gets_the_whole_file_and_keeps_its_own(replicas: Replicas) -> None:
    for node in replicas.nodes.values():
        node.config = type(node.config)(per_diff=5, max_diffs=2)
        node.start()
    put_everywhere(replicas)
    replicas[2].update(row("mine", 3), row("o000", 9, deleted=True))
    replicas[1].update(*[row(f"o{number:03}") for number in range(30)])
    replicas.replicate(1)
    assert "whole" in replicas.steps()
    assert "mine" in replicas[2].names() and "o029" in replicas[2].names() and "o000" not in replicas[2].names()
    replicas.replicate()
    replicas.replicate()
    assert replicas.agree()


def test_batches_are_limited_and_the_rest_follows(replicas: Replicas) -> None:
    put_everywhere(replicas)
    replicas.replicate()
    for node in replicas.nodes.values():
        node.config = type(node.config)(per_diff=5, max_diffs=3)
        node.start()
    replicas[1].update(*[row(f"o{number:03}") for number in range(14)])
    replicas.replicate(1)
    assert replicas.agree(1, 2, 3)


def test_replicas_that_have_strayed_are_compared_to_the_end(replicas: Replicas) -> None:
    """Each has merged all of the other's, and lacks a row nevertheless."""
    put_everywhere(replicas)
    rows = [row(f"o{number:03}") for number in range(30)]
    replicas[1].update(*rows)
    replicas.replicate()
    for node in replicas.nodes.values():
        node.config = type(node.config)(per_diff=5, max_diffs=2)
        node.start()
    for number, lost in ((1, rows[28]), (2, rows[29])):
        with replicas[number].opened() as database:
            database.write(partial(lose, lost))
    replicas.replicate(1)
    assert len(replicas[1].names()) == 30
    assert replicas.agree(1, 2)


def lose(row: ObjectRow, connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM row WHERE name = ?", (row.name,))
    connection.execute(CHANGE, (0, row_digest(row), 0)).fetchone()


def test_a_peer_that_is_down_stops_nothing(replicas: Replicas) -> None:
    put_everywhere(replicas)
    replicas[1].update(row("o"))
    replicas[2].up = False
    replicas.replicate(1)
    assert replicas[3].names() == ["o"]
    assert replicas[1].counts["failed"] == 1
    replicas[2].up = True
    replicas.replicate(1)
    assert replicas.agree()


def test_accounts_are_replicated_by_the_same_mechanism(replicas: Replicas) -> None:
    account = ResourcePath("a")
    for number in (1, 2, 3):
        assert replicas[number].request("PUT", 1, path=account).status == 201
    body = encode_rows([ContainerRow("c", at(1), object_count=3, bytes_used=7, stats_timestamp=at(2))])
    assert replicas[1].request("UPDATE", body=body, path=account).status == 202
    run_once(replicas[1].account_replicator)
    for number in (1, 2, 3):
        headers = replicas[number].request("HEAD", path=account).headers
        assert (headers["X-Account-Object-Count"], headers["X-Account-Bytes-Used"]) == ("3", "7")
