"""What the builder of the guest image does without any of its programs, and the partition table it writes."""

import struct
from pathlib import Path

import pytest

from objstore.compute.guest import image


def test_missing_programs_are_named_by_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(image.shutil, "which", lambda name: None if name in ("mformat", "syslinux") else f"/bin/{name}")
    with pytest.raises(image.GuestNotBuilt, match="install mtools syslinux$"):
        image.build(tmp_path / "guest.qcow2")
    assert list(tmp_path.iterdir()) == []


def test_a_failing_program_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    boot_code = tmp_path / "mbr.bin"
    boot_code.write_bytes(bytes(440))
    monkeypatch.setattr(image, "MASTER_BOOT_CODE", boot_code)
    monkeypatch.setattr(image.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(image, "KERNEL", "no-such-kernel")
    with pytest.raises(image.GuestNotBuilt):
        image.build(tmp_path / "guest.qcow2")
    assert list(tmp_path.iterdir()) == [boot_code]


def test_the_partition_table_names_both_partitions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    boot_code = tmp_path / "mbr.bin"
    boot_code.write_bytes(b"\x90" * 440)
    monkeypatch.setattr(image, "MASTER_BOOT_CODE", boot_code)
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1024))
    image._write_partition_table(disk)
    content = disk.read_bytes()
    assert content[:440] == b"\x90" * 440
    assert content[510:512] == b"\x55\xaa"
    boot, root = struct.iter_unpack("<B3sB3sII", content[446:478])
    assert (boot[0], boot[2], boot[4], boot[5]) == (0x80, 0x0E, 2048, 40960)
    assert (root[0], root[2], root[4], root[5]) == (0, 0x83, 43008, 32768)
    assert len(content) == 1024
