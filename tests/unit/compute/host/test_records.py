"""Folders of machines: names that leave them are refused, and what is removed goes with its record last."""

from pathlib import Path

import pytest

from objstore.compute.host.blocks import disk_bytes, image_node, machine_nodes
from objstore.compute.host.driver import GIB, MachineError
from objstore.compute.host.records import MachineFolders, MachineRecord, short_name
from objstore.compute.protocol import FlavorCopy, ImageSource, PowerState
from tests.unit.compute.host.machines import SERVER, machine


def test_a_record_reads_back(short_path: Path) -> None:
    folder = MachineFolders(short_path).of(SERVER)
    assert folder.read() is None
    with pytest.raises(MachineError, match="no such machine"):
        folder.known()
    record = MachineRecord(machine(), PowerState.RUNNING, ImageSource("image"))
    folder.write(record)
    assert folder.known() == record
    assert folder.change(record, base=None).base is None
    assert folder.known().base is None


@pytest.mark.parametrize("name", ["..", "a/b", "", "a" * 65, "a\n"])
def test_ids_that_leave_the_folder_are_refused(short_path: Path, name: str) -> None:
    with pytest.raises(MachineError):
        MachineFolders(short_path).of(name)


@pytest.mark.parametrize("name", ["a,b", "a b", "a" * 60])
def test_paths_that_sockets_or_options_cannot_hold_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(MachineError, match="shorter path"):
        MachineFolders(tmp_path / name)


def test_a_folder_with_a_long_path_has_a_short_name(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(short_path))
    assert short_name(short_path) == short_path
    folder = short_path / ("a" * 60)
    folder.mkdir()
    link = short_name(folder)
    assert short_name(folder) == link
    (link / "x").write_bytes(b"1")
    assert (folder / "x").exists()
    link.unlink()
    link.symlink_to("/etc")
    with pytest.raises(MachineError, match="not what this host has made"):
        short_name(folder)


def test_what_is_removed_leaves_nothing(short_path: Path) -> None:
    folders = MachineFolders(short_path)
    folder = folders.of(SERVER)
    folder.remove()
    folder.write(MachineRecord(machine()))
    folder.root_disk.write_bytes(b"disk")
    (folder.path / "config-1").mkdir()
    folder.remove()
    assert folders.all() == []


def test_consoles_are_cut_to_their_end(short_path: Path) -> None:
    folder = MachineFolders(short_path).of(SERVER)
    assert folder.console(10) == ""
    folder.write(MachineRecord(machine()))
    folder.console_log.write_bytes(b"0123456789\xff")
    assert folder.console(4) == "789\ufffd"


def test_disks_are_as_large_as_the_flavor_or_the_image() -> None:
    assert disk_bytes(FlavorCopy("1", "a", 1, 1, disk_gb=2), 10) == 2 * GIB
    assert disk_bytes(FlavorCopy("1", "a", 1, 1), 1000) == 1024
    with pytest.raises(MachineError, match="too small"):
        disk_bytes(FlavorCopy("1", "a", 1, 1, disk_gb=1), GIB + 1)


def test_names_in_an_image_are_never_followed() -> None:
    assert image_node(ImageSource("a", disk_format="qcow2"), "/socket")["backing"] is None
    assert "backing" not in image_node(ImageSource("a", disk_format="raw"), "/socket")


def test_a_raw_image_is_opened_as_raw_cve_2026_24708(short_path: Path) -> None:
    """Its guest may have written the header of another format; nobody looks for one."""
    image = ImageSource("a", disk_format="raw")
    folder = MachineFolders(short_path).of(SERVER)
    (root,) = machine_nodes(folder, MachineRecord(machine(image=image), base=image), "/socket")
    assert (root["driver"], root["backing"]["driver"]) == ("qcow2", "raw")
