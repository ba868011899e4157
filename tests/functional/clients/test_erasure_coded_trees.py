"""Trees of files on policies of 4+2 and 8+3 fragments: identical while devices are lost, and then rebuilt."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functional.client import Client
from tests.functional.clients.conftest import contents, new_bucket
from tests.functional.clients.s3 import s3_client, settings_of
from tests.functional.conftest import installed, run
from tests.functional.servers import Cluster, run_daemons, wait_until_healthy
from tests.waiting import wait_until

MIB = 1024 * 1024
BODY = hashlib.shake_128(b"body").digest(9 * MIB + 12_345)
NODES = range(1, 7)
FOLDERS = {"gold": "objects", "archive": "objects-2"}
DIGESTS = ("digests", "digests-2")


class Nodes(Cluster):
    """Six nodes of two devices each; daemons run when a test says so."""

    @property
    def url(self) -> str:
        host, port = self.endpoint(1)
        return f"http://{host}:{port}"

    def device(self, node: int, device: int) -> Path:
        return self.folder / f"node{node}" / "devices" / f"d{device}"

    def fragments(self, policy: str) -> dict[str, bytes]:
        """What the devices have of objects of a policy."""
        found = self.folder.glob(f"node*/devices/*/{FOLDERS[policy]}/*/*/*/*.data")
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found}

    def wait_until_durable(self, policy: str) -> None:
        def is_pending() -> bool:
            found = self.folder.glob(f"node*/devices/*/{FOLDERS[policy]}/*/*/*/*#*.data")
            return any("#d." not in path.name for path in found)

        wait_until(lambda: not is_pending(), "all fragments are durable")

    def start_node(self, node: int) -> None:
        self.start_servers(node)
        for service in ("object", "container", "account", "proxy"):
            wait_until_healthy(*self.endpoint(node, service))

    def wipe(self, node: int, device: int) -> None:
        """Put an empty disk of objects in the place of one."""
        self.run("kill-node", str(node))
        for name in (*FOLDERS.values(), *DIGESTS):
            shutil.rmtree(self.device(node, device) / name, ignore_errors=True)
        self.start_node(node)

    def replicate(self) -> None:
        for _ in range(2):
            run_daemons([self.daemon_words(node, "object", "replicator") for node in NODES])


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    policies = ("--policy", "gold=ec:4+2", "--policy", "archive=ec:8+3")
    made = Nodes(tmp_path_factory.mktemp("nodes") / "cluster", ("--nodes", "6", "--devices-per-node", "2", *policies))
    made.make()
    try:
        made.start_servers()
        for node in NODES:
            wait_until_healthy(*made.endpoint(node))
        yield made
    finally:
        made.run("stop")


@pytest.fixture
def client(nodes: Nodes) -> Client:
    return Client.login(*nodes.endpoint(1))


Run = Callable[[str, Path], None]


def clients_of(nodes: Any, home: Path) -> dict[str, tuple[Run, Run]]:
    """By client how it uploads a tree into a container or bucket, and downloads it again."""
    login = ("-A", f"{nodes.url}/auth/v1.0", "-U", "test:tester", "-K", "testing")
    swift, rclone, aws = [str(Path(sys.executable).with_name("swift")), *login], installed("rclone"), installed("aws")
    remote = {"TYPE": "swift", "AUTH": f"{nodes.url}/auth/v1.0", "USER": "test:tester", "KEY": "testing"}
    options = {f"RCLONE_CONFIG_STORE_{name}": value for name, value in remote.items()}
    options["RCLONE_CONFIG"] = str(home / "rclone.conf")
    settings = settings_of(nodes, home)

    def by_swift(name: str, folder: Path) -> None:
        run(*swift, "download", name, cwd=folder)

    return {
        "swift": (lambda name, tree: print(run(*swift, "upload", name, ".", cwd=tree)), by_swift),
        "rclone": (
            lambda name, tree: print(run(rclone, "copy", str(tree), f"store:{name}", **options)),
            lambda name, folder: print(run(rclone, "copy", f"store:{name}", str(folder), **options)),
        ),
        "aws": (
            lambda name, tree: print(run(aws, "s3", "sync", str(tree), f"s3://{name}", **settings)),
            lambda name, folder: print(run(aws, "s3", "sync", f"s3://{name}", str(folder), **settings)),
        ),
    }


@pytest.mark.parametrize(("policy", "lost"), [("gold", [(2, 1), (5, 2)]), ("archive", [(1, 2), (3, 1), (6, 1)])])
def test_trees_outlive_devices(
    nodes: Nodes, client: Client, tree: Path, tmp_path: Path, policy: str, lost: list[tuple[int, int]]
) -> None:
    clients = clients_of(nodes, tmp_path)
    names = {each: new_bucket(s3_client(nodes), policy) for each in clients}  # type: ignore[arg-type]
    for each, (upload, _) in clients.items():
        upload(names[each], tree)
    nodes.wait_until_durable(policy)
    before = nodes.fragments(policy)
    for node, device in lost:
        nodes.wipe(node, device)
    assert nodes.fragments(policy) != before
    for each, (_, download) in clients.items():
        back = tmp_path / each
        back.mkdir()
        download(names[each], back)
        assert contents(back) == contents(tree), each
    nodes.replicate()
    assert nodes.fragments(policy) == before


@pytest.mark.parametrize("policy", ["gold", "archive"])
def test_nobody_notices_a_node_that_dies(nodes: Nodes, client: Client, policy: str) -> None:
    name = f"dies-{policy}"
    assert client.put(name, headers={"X-Storage-Policy": policy}).status == 201

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(BODY), MIB):
            if start == 4 * MIB:
                nodes.run("kill-node", "3")
            yield BODY[start : start + MIB]

    assert client.put(f"{name}/up", pieces()).status == 201
    assert client.get(f"{name}/up").body == BODY
    nodes.start_node(3)
    assert client.put(f"{name}/down", BODY * 5).status == 201
    connection = http.client.HTTPConnection(client.host, client.port, timeout=60)
    connection.request("GET", f"/v1/{client.account}/{name}/down", headers={"X-Auth-Token": client.token})
    response = connection.getresponse()
    received = response.read(1_000_000)
    nodes.run("kill-node", "2")
    received += response.read()
    connection.close()
    assert received == BODY * 5
    nodes.start_node(2)
