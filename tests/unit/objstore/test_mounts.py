import os
from pathlib import Path

import pytest

from objstore.config.units import Reserve
from objstore.mounts import BELIEVED_SECONDS, DeviceFull, DeviceRoot, DeviceUnavailable


class Seconds:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.value = 100.0

    def __call__(self) -> float:
        return self.value


class Disk:
    """A statvfs(2) of 1000 blocks of 4 KiB."""

    def __init__(self) -> None:
        self.available = 500
        self.asked = 0

    def __call__(self, path: str) -> os.statvfs_result:
        self.asked += 1
        # bsize, frsize, blocks, bfree, bavail, files, ffree, favail, flag, namemax: more is free than available.
        return os.statvfs_result((4096, 4096, 1000, self.available + 100, self.available, 9, 9, 9, 0, 255))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(os, "statvfs", disk)
    return disk


def root(path: Path, reserve: Reserve = Reserve(), clock: Seconds | None = None, mounted: bool = False) -> DeviceRoot:  # noqa: B008
    (path / "sda").mkdir(exist_ok=True)
    return DeviceRoot(str(path), mounted, reserve, clock or Seconds())


def test_path(tmp_path: Path) -> None:
    assert root(tmp_path).path("sda") == str(tmp_path / "sda")


@pytest.mark.parametrize("name", ["", ".", "..", "sda/..", "/etc", "a\0", "sdb"])
def test_names_that_are_no_device(tmp_path: Path, name: str) -> None:
    with pytest.raises(DeviceUnavailable) as caught:
        root(tmp_path).path(name)
    assert caught.value.device == name


def test_a_file_is_no_device(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceUnavailable):
        root(tmp_path).path("file")


def test_with_mount_check_a_plain_folder_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(DeviceUnavailable):
        root(tmp_path, mounted=True).path("sda")
    assert DeviceRoot("/", True, Reserve()).path("proc") == "//proc"


def test_a_device_that_drops_out_is_noticed_after_a_second(tmp_path: Path) -> None:
    clock = Seconds()
    devices = root(tmp_path, clock=clock)
    devices.path("sda")
    (tmp_path / "sda").rmdir()
    devices.path("sda")
    clock.value += BELIEVED_SECONDS
    with pytest.raises(DeviceUnavailable):
        devices.path("sda")


def test_a_device_that_comes_back_is_noticed_at_once(tmp_path: Path) -> None:
    devices = root(tmp_path)
    with pytest.raises(DeviceUnavailable):
        devices.path("sdb")
    (tmp_path / "sdb").mkdir()
    assert devices.path("sdb")


@pytest.mark.parametrize(
    ("reserve", "room"),
    [(Reserve(), 500), (Reserve(percent=10.0), 400), (Reserve(bytes=100 * 4096), 400), (Reserve(percent=50), 0)],
)
def test_the_reserve_stays_free(tmp_path: Path, disk: Disk, reserve: Reserve, room: int) -> None:
    root(tmp_path, reserve).check_space("sda", room * 4096)
    with pytest.raises(DeviceFull) as caught:
        root(tmp_path, reserve).check_space("sda", room * 4096 + 1)
    assert str(caught.value) == "Device sda is full"


def test_below_the_reserve_not_even_an_empty_file_fits(tmp_path: Path, disk: Disk) -> None:
    disk.available = 99
    with pytest.raises(DeviceFull):
        root(tmp_path, Reserve(percent=10.0)).check_space("sda", 0)


def test_grants_within_a_second_add_up(tmp_path: Path, disk: Disk) -> None:
    clock = Seconds()
    devices = root(tmp_path, clock=clock)
    devices.check_space("sda", 300 * 4096)
    with pytest.raises(DeviceFull):
        devices.check_space("sda", 300 * 4096)
    assert disk.asked == 1
    clock.value += BELIEVED_SECONDS
    devices.check_space("sda", 300 * 4096)
    assert disk.asked == 2


def test_space_of_a_device_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeviceUnavailable):
        root(tmp_path).check_space("sdb", 0)


def test_a_disk_that_fails_while_asked_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str) -> os.statvfs_result:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "statvfs", fail)
    with pytest.raises(DeviceUnavailable):
        root(tmp_path).check_space("sda", 0)
