"""`objstore dispersion`: a whole cluster has all copies, and without a node some are missing."""

from __future__ import annotations

import json
from typing import Any

from tests.functional.servers import Cluster, call
from tests.waiting import wait_until


def run(cluster: Cluster, *arguments: str) -> tuple[int, str]:
    host, port = cluster.endpoint(1)
    options = ["--auth", f"http://{host}:{port}/auth/v1.0", "--user", "test:tester", "--key", "testing"]
    options += ["--ring-dir", str(cluster.folder / "node1/rings"), "--cluster", str(cluster.folder / "objstore.toml")]
    options += ["--coverage", "10"]
    done = call("dispersion", *arguments, *options)
    return done.status, done.stdout + done.stderr


def report(cluster: Cluster) -> tuple[int, dict[str, Any]]:
    status, text = run(cluster, "report", "--json")
    return status, json.loads(text)


def test_copies_are_found_and_missed(cluster: Cluster) -> None:
    status, text = run(cluster, "populate")
    assert status == 0, text
    assert "container: 26 of 256 partitions" in text
    wait_until(lambda: report(cluster)[0] == 0, "the third copies of all")
    status, found = report(cluster)
    assert status == 0, found
    assert found.keys() == {"container", "object gold", "object silver"}
    assert found["object gold"]["copies_found"] == found["object gold"]["copies_expected"] == 78
    assert found["object silver"]["copies_expected"] == 52
    cluster.run("kill-node", "4")
    try:
        status, found = report(cluster)
    finally:
        cluster.run("start")
    assert status == 1
    assert 50 < found["object gold"]["pct_found"] < 100
    assert found["object gold"]["failures"]
