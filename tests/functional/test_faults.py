"""Faults on a real cluster: after the daemons' passes all replicas agree, and all that was acknowledged reads back."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from objstore.db.removal import LOCK_NAME
from objstore.object.metadata import ObjectMetadata, decode
from objstore.system.files import TEMPORARY_SUFFIX
from tests.functional.client import Answer, Client
from tests.functional.servers import NODES, Cluster, environment, objstore, run_daemons
from tests.waiting import elapse

# For a real minute: OBJSTORE_STOP_SECONDS=60.
STOP_SECONDS = float(os.environ.get("OBJSTORE_STOP_SECONDS", "4"))
STOPPED_WRITES_MAX = 40
BELIEVED_SECONDS = 1.1
BELIEVED = "a server believes so long what it has seen of free space"
ATTRIBUTE = "user.objstore.metadata"


class Faulty:
    """A cluster whose daemons run when a test says so."""

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.cluster = Cluster(folder, options)
        self.folder = folder
        self.contents: dict[str, str] = {}
        self.cluster.make()
        # What is tested is what handoffs and daemons do; under strong consistency only primaries count.
        settings = folder / "objstore.toml"
        settings.write_text(settings.read_text().replace('consistency = "strong"\n', ""))
        for node in NODES:
            with (folder / f"node{node}" / "object.toml").open("a") as file:
                file.write("\n[auditor]\nfiles_per_second = 2000\nzero_byte_files_per_second = 2000\n")
        self.cluster.start_servers()

    def client(self, node: int = 1) -> Client:
        return Client.login(*self.cluster.endpoint(node))

    def process_id(self, node: int, service: str) -> int | None:
        """Of one service, None when it does not run."""
        found = next((self.folder / f"node{node}").rglob(f"{service}.pid"), None)
        return None if found is None else int(found.read_text().split()[0])

    def signal(self, node: int, service: str, number: int) -> None:
        process = self.process_id(node, service)
        if process is not None:
            try:
                os.kill(process, number)
            except ProcessLookupError:
                pass

    def put(self, client: Client, name: str, content: bytes) -> int:
        status = client.put(name, content).status
        if status == 201:
            self.contents[name] = hashlib.md5(content).hexdigest()
        return status

    def fill(self, container: str, count: int = 12, size: int = 20_000) -> None:
        client = self.client()
        client.put(container)
        for number in range(count):
            assert self.put(client, f"{container}/{number}", f"{container}-{number}-".encode() * (size // 10)) == 201

    def once(self, *passes: tuple[str, str]) -> None:
        """One pass of some daemons, each a kind and names, on every node, side by side."""
        run_daemons([self.cluster.daemon_words(node, *each) for each in passes for node in NODES])

    def heal(self) -> None:
        """What makes all whole again."""
        self.once(("object", "auditor"))
        for _ in range(2):
            self.once(("object", "replicator,updater"))
            self.once(("container", "replicator,updater"), ("account", "replicator"))

    def files(self, node: int, ending: str = "*.data") -> list[Path]:
        """Object files of a node, without what is in quarantine."""
        root = self.folder / f"node{node}" / "devices"
        return sorted(path for path in root.rglob(ending) if "quarantined" not in path.parts)

    def stored(self, node: int) -> set[str]:
        """The objects of which a node has a data file, as "container/object"."""
        found = [decode(ObjectMetadata, os.getxattr(path, ATTRIBUTE)) for path in self.files(node)]
        return {metadata.name.split("/", 2)[2] for metadata in found if isinstance(metadata, ObjectMetadata)}

    def databases(self, node: int, kind: str) -> set[str]:
        """The accounts or containers of which a node has a database, the latter as "account/container"."""
        found = set()
        for path in (self.folder / f"node{node}" / "devices").glob(f"*/{kind}/**/*.db"):
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
                rows = connection.execute("SELECT account, container FROM resource").fetchall()
            found |= {"/".join(filter(None, row)) for row in rows}
        return found

    def is_made_on(self, node: int, container: str) -> bool:
        """Make a container; whether this node has one of its replicas."""
        assert self.client().put(container).status == 201
        return f"AUTH_test/{container}" in self.databases(node, "containers")

    def unfinished(self, node: int) -> list[Path]:
        """Temporary files of a node, and updates that were not delivered."""
        devices = self.folder / f"node{node}" / "devices"
        waiting = [path for folder in ("tmp*", "async_pending*") for path in devices.glob(f"*/{folder}/**/*")]
        found = [*waiting, *devices.rglob(f"*{TEMPORARY_SUFFIX}")]
        return [path for path in found if path.is_file() and path.name != LOCK_NAME]  # the lock stays for the next time

    def everywhere(self, name: str) -> list[Answer]:
        """What each proxy answers to GET."""
        return [self.client(node).get(name) for node in NODES]

    def copies(self) -> dict[str, set[str]]:
        """For every object file, by its place, the nodes' digests of it and its metadata."""
        found: dict[str, set[str]] = {}
        for node in NODES:
            for path in [*self.files(node), *self.files(node, "*.meta"), *self.files(node, "*.ts")]:
                digest = hashlib.md5(path.read_bytes() + os.getxattr(path, ATTRIBUTE)).hexdigest()
                found.setdefault("/".join(path.parts[-3:]), set()).add(f"{node} {digest}")
        return found

    def check(self) -> None:
        """Everything acknowledged reads back from every proxy, is listed, and has three equal replicas."""
        for node in NODES:
            client = self.client(node)
            for name, etag in self.contents.items():
                answer = client.get(name)
                assert (answer.status, hashlib.md5(answer.body).hexdigest()) == (200, etag), name
        for container in {name.partition("/")[0] for name in self.contents}:
            wanted = {name.partition("/")[2] for name in self.contents if name.startswith(f"{container}/")}
            assert wanted <= set(self.client().names(container))
        for place, holders in self.copies().items():
            assert len(holders) == 3, (place, holders)
            assert len({holder.partition(" ")[2] for holder in holders}) == 1, (place, holders)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    made = Faulty(tmp_path_factory.mktemp("faults") / "cluster")
    try:
        yield made
    finally:
        made.cluster.run("stop")


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 16]))


def strip(path: Path) -> None:
    os.removexattr(path, ATTRIBUTE)


def test_damaged_files_are_found_and_replaced(faulty: Faulty) -> None:
    faulty.fill("damaged", 20)
    damaged = faulty.files(2)[:6]
    for path, damage in zip(damaged, (truncate, flip, strip) * 2, strict=True):
        damage(path)
    faulty.heal()
    faulty.check()
    aside = {path.name for path in (faulty.folder / "node2").rglob("quarantined/objects/*")}
    assert {path.parent.name for path in damaged} <= aside


def test_two_of_three_nodes_down(faulty: Faulty) -> None:
    """Reads work, writes are refused with 503, and nothing half-written is there after.

    One node of four is left. Of the account, the container and some objects it has one of three replicas, of the other
    objects none.
    """
    faulty.client().put("down-account")
    left = next(node for node in NODES if "AUTH_test" in faulty.databases(node, "accounts"))
    container = next(name for name in map("down-{}".format, range(100)) if faulty.is_made_on(left, name))
    faulty.fill(container)
    names = {name for name in faulty.contents if name.startswith(f"{container}/")}
    held = names & faulty.stored(left)
    assert held
    client = faulty.client(left)
    for node in set(NODES) - {left}:
        faulty.cluster.run("kill-node", str(node))
    answers = {name: client.get(name) for name in sorted(names)}
    assert {name for name, answer in answers.items() if answer.status == 200} == held
    assert {answers[name].status for name in names - held} <= {503}
    assert all(hashlib.md5(answers[name].body).hexdigest() == faulty.contents[name] for name in held)
    assert {f"{container}/{name}" for name in client.names(container)} == names
    doomed = min(held)
    refused = [f"{container}/refused-{number}" for number in range(4)]
    assert {client.put(name, b"x").status for name in refused} == {503}
    assert client.delete(doomed).status == 503
    assert client.put("down-refused").status == 503
    for node in set(NODES) - {left}:
        faulty.cluster.start_servers(node)
    faulty.heal()
    # What was refused may have come through or not, but is whole, and the same for everybody.
    for name in refused:
        seen = {(answer.status, answer.body) for answer in faulty.everywhere(name)}
        assert len(seen) == 1
        status, body = seen.pop()
        assert status == 404 or (status, body) == (200, b"x")
        if status == 200:
            faulty.contents[name] = hashlib.md5(b"x").hexdigest()
    (status,) = {answer.status for answer in faulty.everywhere(doomed)}
    if status == 404:
        del faulty.contents[doomed]
    faulty.check()
    for node in NODES:
        assert faulty.stored(node) <= set(faulty.contents)
        assert not faulty.unfinished(node)


def test_daemons_killed_in_mid_pass(faulty: Faulty) -> None:
    faulty.fill("killed")
    for path in faulty.files(3)[::2]:
        shutil.rmtree(path.parent)
    for kind, only in (("object", "replicator,auditor,updater,expirer"), ("container", ""), ("account", "")):
        commands = [objstore(*faulty.cluster.daemon_words(node, kind, only), "--once") for node in NODES]
        started = [subprocess.Popen(command, env=environment()) for command in commands]
        elapse(0.9, "the daemons are in mid-pass")
        for process in started:
            process.send_signal(signal.SIGKILL)
            process.wait()
    faulty.heal()
    faulty.check()


def test_a_process_stopped_for_a_while(faulty: Faulty) -> None:
    faulty.fill("stopped", 4)
    faulty.signal(2, "object", signal.SIGSTOP)
    try:
        client, ends, number = faulty.client(1), time.monotonic() + STOP_SECONDS, 0
        while time.monotonic() < ends or number < 3:
            assert faulty.put(client, f"stopped/during-{number}", b"x" * 5000) == 201
            assert client.get(f"stopped/during-{number}").status == 200
            number += 1
            elapse(STOP_SECONDS / STOPPED_WRITES_MAX, "auditors take their time with each object")
    finally:
        faulty.signal(2, "object", signal.SIGCONT)
    faulty.heal()
    faulty.check()


@pytest.fixture
def mounted(faulty: Faulty) -> Iterator[Path]:
    """The device of node 4 is a filesystem of 16 MiB of its own, empty at first."""
    device = faulty.folder / "node4" / "devices" / "d1"
    kept = device.with_name("kept")
    device.rename(kept)
    device.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(device)], capture_output=True)
    if done.returncode:
        device.rmdir()
        kept.rename(device)
        pytest.skip(f"mounting is not permitted here: {done.stderr.decode().strip()}")
    try:
        yield device
    finally:
        subprocess.run(["umount", "-l", str(device)], check=True)
        device.rmdir()
        kept.rename(device)
        elapse(BELIEVED_SECONDS, BELIEVED)
        faulty.heal()
        faulty.check()


def test_a_device_mounted_again_read_only(faulty: Faulty, mounted: Path) -> None:
    faulty.fill("read-only-before", 8)
    # Files open for writing, such as databases, keep a filesystem writable: the servers find it so when they start.
    faulty.cluster.run("kill-node", "4")
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    faulty.cluster.start_servers(4)
    faulty.fill("read-only-after", 8)
    client = faulty.client(4)
    for name in [name for name in faulty.contents if name.startswith("read-only")]:
        assert client.get(name).status == 200, name
    subprocess.run(["mount", "-o", "remount,rw", str(mounted)], check=True)


def test_a_full_device(faulty: Faulty, mounted: Path) -> None:
    """Writes go elsewhere, what is there is read, and deletes work."""
    faulty.fill("full-before", 8)
    ballast = mounted / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"x" * 65536)
    elapse(BELIEVED_SECONDS, BELIEVED)
    faulty.fill("full-after", 8)
    client = faulty.client(4)
    for name in [name for name in faulty.contents if name.startswith("full")]:
        assert client.get(name).status == 200, name
    for number in range(8):
        assert client.delete(f"full-before/{number}").status == 204
        del faulty.contents[f"full-before/{number}"]
        assert client.get(f"full-before/{number}").status == 404
    ballast.unlink()
