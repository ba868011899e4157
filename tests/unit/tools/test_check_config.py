"""objstore check-config finds what a service needs and lacks, and warns of ports that answer strangers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from objstore.tools.check_config import check_config
from objstore.tools.loopback import SERVICES, STORAGE_SERVICES, ClusterPlan, LoopbackCluster, Node


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Node:
    return LoopbackCluster.make(tmp_path_factory.mktemp("made"), ClusterPlan(nodes=1, devices_per_node=3)).nodes[0]


@pytest.fixture
def node(made: Node, tmp_path: Path) -> Node:
    """A node that may be damaged."""
    shutil.copytree(made.directory, tmp_path, dirs_exist_ok=True)
    for file in tmp_path.glob("node1/*.toml"):
        file.write_text(file.read_text().replace(str(made.directory), str(tmp_path)))
    return Node(1, made.plan, tmp_path)


def check(file: Path) -> Result:
    return CliRunner().invoke(check_config, [str(file)])


def listen_on(node: Node, service: str, host: str) -> Path:
    file = node.configuration(service)
    file.write_text(file.read_text().replace('bind = "127.0.0.1:', f'bind = "{host}:'))
    return file


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "8.8.8.8"])
def test_a_public_bind_is_warned_of(node: Node, service: str, host: str) -> None:
    file = listen_on(node, service, host)
    assert check(file).stderr == ""  # servers answer only each other
    cluster = node.ring_dir.parent.parent / "objstore.toml"
    cluster.write_text(cluster.read_text() + "\n[handshake]\nrequired = false\n")
    answer = check(file)
    assert answer.exit_code == 0
    assert answer.stdout == f"{file}: ok\n"
    warned = [line.split(": ")[3] for line in answer.stderr.splitlines() if "answers anyone" in line]
    # Clients are to reach a proxy.
    assert warned == (["replication.bind"] if service == "proxy" else ["server.bind", "replication.bind"])


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "[fd00::1]"])
def test_other_binds_are_not(node: Node, service: str, host: str) -> None:
    file = listen_on(node, service, host)
    answer = check(file)
    assert (answer.exit_code, answer.stdout, answer.stderr) == (0, f"{file}: ok\n", "")


def faults(node: Node, service: str) -> list[str]:
    """What is said of the service's file, which is not called ok then."""
    file = node.configuration(service)
    answer = check(file)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert answer.stderr.startswith(f"objstore: {file}: ")
    return [line.removeprefix(f"objstore: {file}: ") for line in answer.stderr.splitlines()]


@pytest.mark.parametrize("service", SERVICES)
def test_all_rings_have_to_be_there_and_sound(node: Node, service: str) -> None:
    (node.ring_dir / "account.ring.gz").unlink()
    (node.ring_dir / "object-1.ring.gz").write_bytes(b"")
    missing, damaged = faults(node, service)
    assert missing.startswith(f"{node.ring_dir}/account.ring.gz: no such ring file")
    assert damaged == f"{node.ring_dir}/object-1.ring.gz: not a valid ring file: it is truncated"


@pytest.mark.parametrize("service", STORAGE_SERVICES)
def test_a_storage_server_needs_a_device(node: Node, service: str) -> None:
    file = node.configuration(service)
    file.write_text(file.read_text().replace("mount_check = false", "mount_check = true"))
    (fault,) = faults(node, service)
    assert fault == f"devices.root: nothing is mounted on any device in {node.device_root} (d1, d2, d3)"
    shutil.rmtree(node.device_root)
    assert faults(node, service) == [f"devices.root: {node.device_root} has no folder of a device"]
    node.device_root.mkdir()
    assert faults(node, service) == [f"devices.root: {node.device_root} has no folder of a device"]


def test_a_proxy_needs_users_and_tls_files(node: Node) -> None:
    users, cert = node.directory / "users.toml", node.home / "cert.pem"
    users.unlink()
    assert faults(node, "proxy") == [f"{users}: cannot be read: No such file or directory"]
    users.write_text("# nobody\n")
    file = node.configuration("proxy")
    file.write_text(file.read_text().replace("[server]", f'[server]\ntls_cert = "{cert}"\ntls_key = "{cert}"'))
    (fault,) = faults(node, "proxy")
    assert fault.startswith(f"{cert} cannot be read: No such file or directory")


@pytest.mark.parametrize("service", SERVICES)
def test_the_cluster_file_is_read(node: Node, service: str) -> None:
    (node.directory / "objstore.toml").write_text("")
    (fault,) = faults(node, service)
    assert fault.startswith(f"{node.directory}/objstore.toml: empty")


def test_a_ring_that_is_too_small_for_its_policy(node: Node, tmp_path: Path) -> None:
    cluster = tmp_path / "objstore.toml"
    kind = 'kind = "erasure_coding"\ndata_fragments = 3\nparity_fragments = 2\n'
    cluster.write_text(cluster.read_text().replace('name = "silver"\n', f'name = "silver"\n{kind}'))
    (fault,) = faults(node, "proxy")
    assert "object-1.ring.gz: it has 2 replicas, and policy silver 5 fragments" in fault
