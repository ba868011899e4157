"""The commands of the README, run as they are printed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from objstore.tools.cluster import wait_until_answering
from objstore.tools.loopback import ClusterPlan, LoopbackCluster
from tests.functional.servers import Store, claim_ports

ROOT = Path(__file__).resolve().parents[2]
SECTION = re.compile(r"^### (\w+)$", re.MULTILINE)
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples() -> dict[str, str]:
    """The shell commands of each client's section."""
    _, *parts = SECTION.split((ROOT / "README.md").read_text())
    return {name: "".join(BLOCK.findall(text)) for name, text in zip(parts[::2], parts[1::2], strict=True)}


CLIENTS = ("curl", "swift", "rclone")
GROWING = "growing"


def test_every_example_is_run() -> None:
    assert set(examples()) == {*CLIENTS, GROWING}


@pytest.mark.parametrize("client", CLIENTS)
def test_examples_work_as_printed(store: Store, client: str) -> None:
    if client == "rclone" and shutil.which("rclone") is None and os.geteuid() != 0:
        pytest.skip("rclone is not installed, and only root can install it")
    script = examples()[client].replace("http://127.0.0.1:8080", store.url)
    assert store.url in script
    run(script, ROOT)


def test_a_cluster_grows_as_printed(tmp_path: Path) -> None:
    first_port = claim_ports()
    script = re.sub(r"\b62(0\d)\b", lambda match: str(first_port + int(match[1])), examples()[GROWING])
    cluster = LoopbackCluster.make(tmp_path / "cluster", ClusterPlan(first_port=first_port))
    cluster.start(cluster.nodes)
    try:
        wait_until_answering(cluster.nodes)
        shown = run(script, tmp_path)
        assert "is in use on 10 servers" in shown
        assert "differs" not in shown
    finally:
        grown = LoopbackCluster.open(cluster.directory)
        grown.stop(grown.nodes)


def run(script: str, folder: Path) -> str:
    """What a script printed, which has to succeed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PATH": path},
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
