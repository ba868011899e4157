"""`objstore locate` and `objstore explain` tell where things really are, and what is wrong with them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.functional.client import Client
from tests.functional.servers import Cluster, call


def run(cluster: Cluster, *arguments: str) -> tuple[int, Any]:
    folders = ["--ring-dir", str(cluster.folder / "node1/rings"), "--cluster", str(cluster.folder / "objstore.toml")]
    done = call(*arguments, *folders, "--json")
    return done.status, json.loads(done.stdout) if done.status < 2 else done.stderr


@pytest.fixture(scope="module")
def account(cluster: Cluster) -> str:
    client = Client.login(*cluster.endpoint(1))
    assert client.put("located").status == 201
    assert client.put("located/a b", b"content" * 1000, {"X-Object-Meta-Color": "blue"}).status == 201
    return client.account


def directories(cluster: Cluster, found: dict[str, Any], folder: str) -> list[Path]:
    """Where a located item should be, of its primaries."""
    below = f"{folder}/{found['partition']}/{found['hash'][-3:]}/{found['hash']}"
    return [
        cluster.folder / f"node{place['zone']}/devices/{place['device']}/{below}"
        for place in found["places"]
        if not place["handoff"]
    ]


@pytest.mark.parametrize(
    ("names", "folder"), [(["located", "a b"], "objects"), (["located"], "containers"), ([], "accounts")]
)
def test_it_is_where_it_is_said_to_be(cluster: Cluster, account: str, names: list[str], folder: str) -> None:
    status, found = run(cluster, "locate", account, *names)
    assert status == 0
    places = directories(cluster, found, folder)
    assert len(places) == 3
    assert sum(place.is_dir() for place in places) >= 2
    assert [place["handoff"] for place in found["places"]] == [0, 0, 0, 1]


def test_quoted_names_and_lines_that_work(cluster: Cluster, account: str) -> None:
    _, plain = run(cluster, "locate", account, "located", "a b")
    _, quoted = run(cluster, "locate", "--quoted", account, "located", "a%20b")
    assert plain == quoted
    lines = [place["head"] for place in plain["places"] if not place["handoff"]]
    found = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    answers = [
        subprocess.run(line, shell=True, capture_output=True, text=True, timeout=30, env=found).stdout for line in lines
    ]
    assert sum(answer.startswith("200") for answer in answers) >= 2  # which is what a PUT waits for


def test_partitions_and_bad_questions(cluster: Cluster) -> None:
    ring = str(cluster.folder / "node1/rings/object-1.ring.gz")
    status, found = run(cluster, "locate", "--ring", ring, "--partition", "3")
    assert (status, found["partition"], found["hash"]) == (0, 3, "")
    assert "/objects-1/3" in found["places"][0]["ls"]
    for bad in (
        ["--ring", ring, "--partition", "99999"],
        [],
        ["a", "c", "o", "more"],
        ["a", "c", "o", "--policy", "x"],
    ):
        status, text = run(cluster, "locate", *bad)
        assert (status, text.count("\n")) == (2, 1), bad


def test_an_object_and_its_damage(cluster: Cluster, account: str, tmp_path: Path) -> None:
    _, found = run(cluster, "locate", account, "located", "a b")
    whole = next(file for place in directories(cluster, found, "objects") for file in place.glob("*.data"))
    status, told = run(cluster, "explain", str(whole))
    assert (status, told["wrong"]) == (0, [])
    assert told["facts"]["headers"] == {"X-Object-Meta-Color": "blue"}
    assert told["should_be"]["partition"] == found["partition"]
    copy = tmp_path / whole.name
    shutil.copy2(whole, copy)
    content = bytearray(whole.read_bytes())
    content[100] ^= 1
    copy.write_bytes(content)
    assert run(cluster, "explain", str(copy))[1]["wrong"] == ["the body does not match its checksum"]
    assert run(cluster, "explain", "--no-verify", str(copy))[0] == 0
    copy.write_bytes(content[:-1])
    assert run(cluster, "explain", str(copy))[1]["wrong"] == ["the body has 6999 bytes, 7000 were stored"]


def test_databases_and_rings(cluster: Cluster, account: str) -> None:
    _, found = run(cluster, "locate", account, "located")
    file = next(file for place in directories(cluster, found, "containers") for file in place.glob("*.db"))
    status, told = run(cluster, "explain", str(file))
    assert (status, told["kind"], told["facts"]["container"]) == (0, "container", "located")
    assert told["facts"].keys() >= {"reported_to_account", "is_all_reported"}
    assert "sync_points" not in told["facts"]
    _, more = run(cluster, "explain", "--sync", str(file))
    assert all(point.keys() == {"id", "sequence", "at"} for point in more["facts"]["sync_points"])
    _, ring = run(cluster, "explain", str(cluster.folder / "node1/rings/object.ring.gz"))
    assert (ring["kind"], ring["facts"]["replicas"]) == ("ring", 3.0)


def test_files_that_are_none_of_ours(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    assert run(cluster, "explain", str(tmp_path / "x.txt"))[0] == 2
    (tmp_path / "x.db").write_text("x" * 5000)
    status, told = run(cluster, "explain", str(tmp_path / "x.db"))
    assert (status, "cannot be read" in told["wrong"][0]) == (1, True)
