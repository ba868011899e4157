"""`objstore services` on the configuration of a node of its own: started, reloaded under load, stopped."""

from __future__ import annotations

import http.client
import threading
from contextlib import closing
from operator import gt
from pathlib import Path

from objstore.tools.loopback import ClusterPlan, LoopbackCluster
from tests.functional.client import Client
from tests.functional.servers import call, claim_ports, wait_until_healthy
from tests.waiting import elapse, wait_until


class Machine:
    """One node, whose services are started by the command."""

    def __init__(self, folder: Path) -> None:
        plan = ClusterPlan(nodes=1, devices_per_node=3, workers=2, first_port=claim_ports())
        self.node = LoopbackCluster.make(folder / "cluster", plan).nodes[0]
        self.folder = folder

    def run(self, *arguments: str) -> tuple[int, str]:
        """One `objstore services` command: its status and what it printed."""
        folders = ["--config-dir", str(self.node.home), "--run-dir", str(self.folder / "run")]
        folders += ["--log-dir", str(self.folder / "log")]
        done = call("services", *arguments, *folders)
        return done.status, done.stdout + done.stderr


def test_start_reload_under_load_stop(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.run("status")[0] == 1
    try:
        status, text = machine.run("start", "main")
        assert status == 0, text
        host, port = machine.node.ip, machine.node.port("proxy")
        wait_until_healthy(host, port)
        assert machine.run("start", "proxy.1")[1].startswith("proxy.1: runs already")
        client = Client.login(host, port)
        assert client.put("c").status == 201
        assert client.put("c/o", b"content").status == 201
        bad, count = reload_under_load(machine, client)
        assert bad == []
        assert count > 100
        assert machine.run("status", "main")[0] == 0
        assert machine.run("status")[0] == 1  # daemons do not run
    finally:
        status, text = machine.run("stop", "--kill-after", "20")
    assert status == 0, text
    assert text.count("stopped") == 4
    assert machine.run("status", "main")[0] == 1


def reload_under_load(machine: Machine, client: Client) -> tuple[list[object], int]:
    """Answers that were not right, and how many there were, while all servers reload twice."""
    bad: list[object] = []
    counts = [0] * 4
    ended = threading.Event()

    def load(number: int) -> None:
        path = f"/v1/{client.account}/c/o"
        # Kept between requests until an answer says that the server closes it.
        with closing(http.client.HTTPConnection(client.host, client.port, timeout=30)) as connection:
            while not ended.is_set():
                try:
                    connection.request("GET", path, headers={"X-Auth-Token": client.token})
                    answer = connection.getresponse()
                    found = answer.status, answer.read()
                except (OSError, http.client.HTTPException) as error:
                    bad.append(repr(error))
                    return
                if found != (200, b"content"):
                    bad.append(found)
                counts[number] += 1

    threads = [threading.Thread(target=load, args=(number,)) for number in range(len(counts))]
    for thread in threads:
        thread.start()
    for _ in range(2):
        counted = list(counts)
        wait_until(lambda counted=counted: bad or all(map(gt, counts, counted)), "every client is served")  # type: ignore[misc]
        status, text = machine.run("reload", "main")
        assert (status, text.count("reloads")) == (0, 4)
    elapse(2.0, "the old workers end, the new ones serve")
    ended.set()
    for thread in threads:
        thread.join()
    return bad, sum(counts)


def test_daemons_run_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    status, text = machine.run("start", "--once", "account-daemons")
    assert (status, "account-daemons.1: done" in text) == (0, True), text
    assert machine.run("start", "--once", "object")[0] == 2


def test_names_that_mean_nothing(tmp_path: Path) -> None:
    status, text = Machine(tmp_path).run("start", "object.7")
    assert status == 2
    assert "object.1" in text
    assert text.count("\n") == 1


def test_what_cannot_run_is_told_at_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (machine.node.ring_dir / "account.ring.gz").write_bytes(b"junk")
    status, text = machine.run("start", "proxy")
    assert status == 2
    assert text.startswith("objstore: proxy.1 ended: objstore: ")
    assert "account.ring.gz: not a valid ring file" in text
    assert text.count("\n") == 1
    assert machine.run("status", "proxy")[0] == 1


def test_a_wrong_configuration_starts_and_reloads_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with machine.node.configuration("proxy").open("a") as file:
        file.write("[prxy]\n")
    for verb in ("start", "reload"):
        status, text = machine.run(verb, "main")
        assert (status, text.count("\n")) == (2, 1)
        assert "proxy.toml" in text
        assert "prxy: unknown key" in text
    assert "runs, process" not in machine.run("status")[1]
