"""The folder of a whole store: made once, found again, refused when it is not what was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from objstore.cluster import Cluster
from objstore.config.access_keys import MANAGED_FILE
from objstore.config.loading import load
from objstore.config.users import UsersConfig
from objstore.passwords import KeyChecker
from objstore.ring.format import read_ring
from objstore.tools.commands import OperatorProblem
from objstore.tools.store_folder import AskedShape, StoreFolder

ANY = AskedShape(None, None)


def made(path: Path, devices: int | None = None, replicas: int | None = None) -> StoreFolder:
    folder = StoreFolder(path)
    with folder.locked():
        folder.prepare(AskedShape(devices, replicas), loopback=True)
    return folder


def test_a_new_store(tmp_path: Path) -> None:
    folder = made(tmp_path / "data")
    assert (folder.shape.devices, folder.shape.replicas) == (4, 3)
    assert sorted(path.name for path in folder.path.glob("d[0-9]*")) == ["d1", "d2", "d3", "d4"]
    ring = read_ring(str(folder.path / "object.ring.gz"))
    assert (len(ring.devices), ring.replica_count) == (4, 3.0)
    assert read_ring(str(folder.path / "object-1.ring.gz")).replica_count == 2.0
    cluster = Cluster.load(folder.cluster_file)
    assert [policy.name for policy in cluster.policies] == ["gold", "silver"]


def test_secrets_are_private_and_differ(tmp_path: Path) -> None:
    one, two = made(tmp_path / "one"), made(tmp_path / "two")
    assert one.cluster_file.read_text() != two.cluster_file.read_text()
    for file in (one.cluster_file, one.proxy_file, one.users_file(loopback=True)):
        assert file.stat().st_mode & 0o777 == 0o600


def test_a_store_is_found_again(tmp_path: Path) -> None:
    secrets = made(tmp_path, 3, 2).cluster_file.read_text()
    again = made(tmp_path)
    assert (again.shape.devices, again.shape.replicas) == (3, 2)
    assert again.cluster_file.read_text() == secrets


def test_one_device_means_one_replica(tmp_path: Path) -> None:
    assert made(tmp_path, 1).shape.replicas == 1


@pytest.mark.parametrize(
    ("devices", "replicas", "said"),
    [(5, None, "--devices 4, not 5"), (None, 2, "--replicas 3, not 2")],
)
def test_another_shape_is_refused(tmp_path: Path, devices: int | None, replicas: int | None, said: str) -> None:
    made(tmp_path)
    with pytest.raises(OperatorProblem, match=said):
        made(tmp_path, devices, replicas)


def test_more_replicas_than_devices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OperatorProblem, match="4 replicas need as many devices"):
        made(tmp_path, 2, 4)
    assert made(tmp_path, 2).shape.replicas == 2  # and nothing half-made stays in the way


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OperatorProblem, match="thesis"):
        made(tmp_path)


def test_a_refused_folder_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OperatorProblem, match="thesis"), StoreFolder(tmp_path).locked():
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_disks_may_be_mounted_before_the_store_is_made(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "d1/lost+found").mkdir(parents=True)
    (tmp_path / "d2").mkdir()
    assert made(tmp_path).shape.devices == 4


def test_a_store_is_not_made_over_the_data_of_another(tmp_path: Path) -> None:
    (made(tmp_path).path / "store.json").unlink()
    (tmp_path / "d2/objects").mkdir()
    with pytest.raises(OperatorProblem, match=r"store\.json is missing, though d2 is not empty; restore"):
        made(tmp_path)


def test_a_start_cut_short_begins_again(tmp_path: Path) -> None:
    folder = made(tmp_path)
    (folder.path / "store.json").unlink()
    for device in folder.path.glob("d[0-9]*"):
        device.rmdir()
    assert made(tmp_path).shape.devices == 4


def test_one_at_a_time(tmp_path: Path) -> None:
    refused = pytest.raises(OperatorProblem, match="another objstore up, process")
    with StoreFolder(tmp_path).locked(), refused, StoreFolder(tmp_path).locked():
        pass
    with StoreFolder(tmp_path).locked():
        pass


def test_users_everybody_knows_stay_on_loopback(tmp_path: Path) -> None:
    folder = StoreFolder(tmp_path)
    assert folder.prepare(ANY, loopback=True) is None
    first = folder.prepare(ANY, loopback=False)
    users = load(folder.users_file(loopback=False), UsersConfig).users
    assert [(user.account, user.name) for user in users] == [("admin", "admin")]
    assert first is not None
    password = first.password
    assert len(password) >= 20
    (managed,) = MANAGED_FILE.read(str(folder.access_keys_file)).users
    assert (managed.account, managed.name, managed.keys) == ("admin", "admin", (first.key,))
    assert folder.access_keys_file.stat().st_mode & 0o777 == 0o600
    assert KeyChecker([users[0].key]).is_right(password, users[0].key)
    assert password not in users[0].key
    assert folder.prepare(ANY, loopback=False) is None
    development = load(folder.users_file(loopback=True), UsersConfig).users
    assert ("test5", "tester5", ("service",)) in [(user.account, user.name, user.groups) for user in development]
