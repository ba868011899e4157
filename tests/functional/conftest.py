"""One store per test process, a cluster per file, and a container of its own for each test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.functional.client import Client
from tests.functional.logwatch import LOGS
from tests.functional.servers import NODES, Cluster, Store, wait_until_healthy

CLIENTS = Path(sys.prefix) / "clients"  # a virtual environment, made by .ci/clients
REPLICATION, FRAGMENTS = "gold", "fragments"  # storage policies of the store


@pytest.fixture(autouse=True)
def no_unhandled_errors() -> Iterator[None]:
    """Fails a test during which a server has met an error that it did not foresee."""
    yield
    assert LOGS.unhandled_errors() == []


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A running store with two workers, and a policy of fragments for objects of any size."""
    running = Store(tmp_path_factory.mktemp("store") / "data")
    running.make("parity_fragments = 2", "parity_fragments = 2\nsmall_object_size = 0", (f"{FRAGMENTS}=ec:2+2",))
    running.start()
    yield running
    status = running.stop()
    assert status == 0, f"the store ended with status {status}\n{running.log[-4000:]}"


@pytest.fixture(scope="session")
def client(store: Store) -> Client:
    """test:tester, an administrator of AUTH_test."""
    return Client.login(store.host, store.port)


@pytest.fixture(scope="session")
def other(store: Store) -> Client:
    """test2:tester2, an administrator of another account."""
    return Client.login(store.host, store.port, "test2:tester2", "testing2")


@pytest.fixture(scope="session")
def member(store: Store) -> Client:
    """test:tester3, a user of AUTH_test without rights of its own."""
    return Client.login(store.host, store.port, "test:tester3", "testing3")


@pytest.fixture(scope="session")
def admin(store: Store) -> Client:
    """admin:admin, the reseller's administrator."""
    return Client.login(store.host, store.port, "admin:admin", "admin")


@pytest.fixture(params=[REPLICATION, FRAGMENTS], ids=["replication", "fragments"])
def policy(request: pytest.FixtureRequest) -> str:
    """How the objects of containers are stored that fixtures make: whole, or as fragments."""
    name: str = request.param
    return name


@pytest.fixture
def container(client: Client, policy: str) -> Iterator[str]:
    """A new container; it and its objects are removed afterwards."""
    name = f"c-{uuid4().hex[:12]}"
    assert client.put(name, headers={"X-Storage-Policy": policy}).status == 201
    yield name
    remove(client, name)


def remove(client: Client, name: str) -> None:
    """Delete a container with all its objects, if it is there."""
    if client.head(name).status == 404:
        return
    while names := [row["name"] for row in client.rows(name)]:
        for listed in names:
            client.delete(f"{name}/{listed}")
    client.delete(name)


@pytest.fixture
def own_store(tmp_path: Path) -> Iterator[Store]:
    """A store of this test alone, not started yet."""
    made = Store(tmp_path / "data")
    yield made
    made.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running four-node cluster; one for each file, since nodes that were down are not believed in at once."""
    running = Cluster(tmp_path_factory.mktemp("cluster") / "cluster")
    try:
        running.start()
        yield running
    finally:
        running.run("stop")


@pytest.fixture
def whole(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster; all nodes run again afterwards."""
    yield cluster
    cluster.run("start")
    for node in NODES:
        wait_until_healthy(*cluster.endpoint(node, "object"))


def run(*command: str, cwd: Path | None = None, **variables: str) -> str:
    """A command's output; fails with its errors."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=os.environ | variables, timeout=100)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def installed(name: str) -> str:
    """The path of a program that `make test` installs, into the environment of the clients or into the system.

    Fails without it, skips for those who cannot install it.
    """
    folders = os.pathsep.join((str(CLIENTS / "bin"), os.environ["PATH"]))
    program = shutil.which(name, path=folders)
    if program is None:
        if os.geteuid() == 0:
            pytest.fail(f"{name} is missing: make test installs it")
        pytest.skip(f"{name} is not installed, and only root can install it")
    return program


@pytest.fixture
def rclone(store: Store, tmp_path: Path) -> Callable[..., None]:
    """Runs rclone, for which the store is "store:"; keyword arguments are further options of that remote."""
    program = installed("rclone")
    remote = {"TYPE": "swift", "AUTH": f"{store.url}/auth/v1.0", "USER": "test:tester", "KEY": "testing"}

    def run_rclone(*arguments: str, **options: str) -> None:
        settings = {f"RCLONE_CONFIG_STORE_{name}": value for name, value in (remote | options).items()}
        run(program, *arguments, RCLONE_CONFIG=str(tmp_path / "rclone.conf"), **settings)

    return run_rclone
