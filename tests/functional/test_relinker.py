"""`objstore relinker`: what it says, and what it ends with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.functional.servers import Cluster, call


class Node:
    """The first node of a cluster whose servers do not run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        Cluster(folder).make()
        self.devices = sorted(path.name for path in (folder / "node1/devices").iterdir())

    def call(self, *words: str) -> tuple[int, str, str]:
        """One command in the cluster's folder: its status, what it printed, and what it said apart from its log."""
        done = call(*words, folder=self.folder)
        said = "".join(line for line in done.stderr.splitlines(True) if line.startswith("objstore: "))
        return done.status, done.stdout, said

    def relinker(self, *words: str) -> tuple[int, str, str]:
        return self.call("relinker", *words, "--config", "node1/object.toml")

    def enter(self, step: str) -> None:
        """The ring of the first policy takes one step, that of the other stays at rest."""
        assert self.call("ring", "power", "object.builder", step)[0] == 0
        shutil.copy(self.folder / "object.ring.gz", self.folder / "node1/rings")


def test_it_says_what_it_did_or_why_not(tmp_path: Path) -> None:
    node = Node(tmp_path / "cluster")
    status, out, err = node.relinker("relink")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "no ring is in the state for relink: the ring of" in err
    assert err.count("is at rest") == 2

    node.enter("prepare")
    status, out, err = node.relinker("cleanup")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "no ring is in the state for cleanup: the ring of" in err
    assert "is prepared" in err
    status, out, err = node.relinker("relink")
    assert (status, err) == (0, "")
    assert out == "relink: devices 1, partitions 0, files linked 0, removed 0, differing 0, failed 0\n"

    node.enter("increase")
    status, out, err = node.relinker("cleanup", "--device", node.devices[0])
    assert (status, err) == (0, "")
    assert out.startswith("cleanup: devices 1, partitions 0, files linked 0, ")
    shutil.rmtree(node.folder / "node1/devices" / node.devices[0])
    status, out, err = node.relinker("cleanup")
    assert (status, out.startswith("cleanup: devices 0, "), err.count("\n")) == (1, True, 1)
    assert f"passed over: device {node.devices[0]}, which is not mounted" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["relink", "--device", "nope"], "no device 'nope' of this machine is in the rings; they are "),
        (
            ["relink", "--partition", "999999"],
            "no ring has a partition 999999; the last one that relink looks through is ",
        ),
        (["relink", "--policy", "nope"], "no storage policy 'nope'; "),
    ],
)
def test_what_the_rings_do_not_know_is_refused(tmp_path: Path, words: list[str], said: str) -> None:
    node = Node(tmp_path / "cluster")
    node.enter("prepare")
    status, out, err = node.relinker(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert said in err
