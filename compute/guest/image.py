"""Builds the guest image: a qcow2 of some 14 MB from Debian's packages. It needs neither root nor a loop device.

The disk has two partitions: a FAT one with the boot loader, the kernel and a memory disk with drivers; and an ext2 one
with busybox and the guest's scripts, which is the root file system.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from objstore.errors import StoreError

SCRIPTS: Final = Path(__file__).parent
SECTOR: Final = 512
MIB: Final = 1024 * 1024
BOOT_BYTES: Final = 20 * MIB
ROOT_BYTES: Final = 16 * MIB
BOOT_AT: Final = MIB
ROOT_AT: Final = BOOT_AT + BOOT_BYTES
DISK_BYTES: Final = ROOT_AT + ROOT_BYTES + MIB
COMMAND_SECONDS: Final = 120
KERNEL: Final = "linux-image-cloud-amd64"  # a package that depends on the newest kernel
# What to install for each program that is missing.
PACKAGES: Final = {
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "busybox": "busybox-static",
    "mke2fs": "e2fsprogs",
    "mformat": "mtools",
    "syslinux": "syslinux",
    "qemu-img": "qemu-utils",
}
MASTER_BOOT_CODE: Final = Path("/usr/lib/syslinux/mbr/mbr.bin")
# In the order in which they depend on each other.
MODULES: Final = (
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
    "cdrom",
    "isofs",
    "button",
    "evdev",
)
FOLDERS: Final = ("bin", "sbin", "dev", "proc", "sys", "run", "root", "tmp", "var", "etc/acpi/PWRF")
BOOT_MENU: Final = """\
default guest
label guest
  kernel vmlinuz
  initrd initrd
  append console=ttyS0 quiet mitigations=off panic=-1
"""


@dataclass(eq=False)
class GuestNotBuilt(StoreError):
    """A program is missing or fails."""

    message: ClassVar[str] = "the guest image cannot be built: {reason}"

    reason: str


def build(target: Path) -> None:
    """Write the image to `target`, whole or not at all. Raises GuestNotBuilt, OSError."""
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    if missing or not MASTER_BOOT_CODE.exists():
        raise GuestNotBuilt(f"install {' '.join(missing or ['syslinux-common'])}")
    with tempfile.TemporaryDirectory(prefix="objstore-guest-") as name:
        folder = Path(name)
        kernel = _kernel(folder)
        disk = folder / "disk"
        with disk.open("wb") as file:
            file.truncate(DISK_BYTES)
        _make_boot_partition(folder, kernel, disk)
        _make_root_partition(folder, disk)
        _write_partition_table(disk)
        whole = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            _run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", str(disk), str(whole))
            whole.replace(target)
        finally:
            whole.unlink(missing_ok=True)


def _run(*command: str, folder: Path | None = None) -> str:
    """What a command prints. Raises GuestNotBuilt."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=COMMAND_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GuestNotBuilt(f"{command[0]}: {error}") from error
    if done.returncode:
        raise GuestNotBuilt(f"{command[0]}: {done.stderr.decode(errors='replace').strip()[-500:]}")
    return done.stdout.decode(errors="replace")


def _kernel(folder: Path) -> Path:
    """The newest kernel's package, downloaded and unpacked: the folder that holds boot/ and lib/modules/."""
    depends = _run("apt-cache", "depends", KERNEL)
    names = [line.split()[1] for line in depends.splitlines() if line.strip().startswith("Depends: linux-image-")]
    if not names:
        raise GuestNotBuilt(f"no package {KERNEL}: is this Debian, and has apt-get update run?")
    # As root, apt complains when its own user cannot write to the folder, and downloads nevertheless.
    _run("apt-get", "download", "-q", names[0], folder=folder)
    unpacked = folder / "kernel"
    _run("dpkg-deb", "-x", str(next(folder.glob("linux-image-*.deb"))), str(unpacked))
    return unpacked


def _make_boot_partition(folder: Path, kernel: Path, disk: Path) -> None:
    initrd = folder / "initrd"
    modules = initrd / "modules"
    for each in (modules, initrd / "dev", initrd / "root", initrd / "bin"):
        each.mkdir(parents=True)
    found = {file.stem: file for file in kernel.glob("lib/modules/*/kernel/**/*.ko")}
    for module in MODULES:
        shutil.copy(found[module], modules)
    (modules / "order").write_text("\n".join(MODULES), encoding="utf-8")
    _copy_programs(initrd, {"init": "initrd.sh"})
    names = [str(file.relative_to(initrd)) for file in sorted(initrd.rglob("*"))]
    archive = folder / "initrd.gz"
    _pipe(("busybox", "cpio", "-o", "-H", "newc"), "\n".join(names) + "\n", initrd, folder / "initrd.cpio")
    _pipe(("gzip", "-9", "-c", str(folder / "initrd.cpio")), "", folder, archive)
    (folder / "syslinux.cfg").write_text(BOOT_MENU, encoding="ascii")
    partition = f"{disk}@@{BOOT_AT}"
    sectors = str(BOOT_BYTES // SECTOR)
    _run("mformat", "-i", partition, "-T", sectors, "-h", "16", "-s", "63", "-H", str(BOOT_AT // SECTOR), "::")
    _run("syslinux", "--install", "--offset", str(BOOT_AT), str(disk))
    _run("mcopy", "-i", partition, str(next(kernel.glob("boot/vmlinuz-*"))), "::vmlinuz")
    _run("mcopy", "-i", partition, str(archive), "::initrd")
    _run("mcopy", "-i", partition, str(folder / "syslinux.cfg"), "::syslinux.cfg")


def _make_root_partition(folder: Path, disk: Path) -> None:
    root = folder / "root"
    for name in FOLDERS:
        (root / name).mkdir(parents=True)
    _copy_programs(root, {"sbin/init": "init.sh", "etc/dhcp": "dhcp.sh", "etc/acpi/PWRF/00000080": "poweroff.sh"})
    for applet in _run("busybox", "--list").split():
        if applet not in ("busybox", "init"):
            (root / "bin" / applet).symlink_to("busybox")
    partition = folder / "root.ext2"
    options = "root_owner=0:0"
    label = ("-L", "objstore-guest", "-m", "0")
    _run("mke2fs", "-q", "-t", "ext2", "-E", options, *label, "-d", str(root), str(partition), f"{ROOT_BYTES // 1024}k")
    with disk.open("r+b") as file:
        file.seek(ROOT_AT)
        file.write(partition.read_bytes())


def _copy_programs(root: Path, scripts: dict[str, str]) -> None:
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, root / "bin/busybox")
    for name, script in scripts.items():
        shutil.copy(SCRIPTS / script, root / name)
        (root / name).chmod(0o755)


def _pipe(command: Sequence[str], text: str, folder: Path, target: Path) -> None:
    with target.open("wb") as output:
        try:
            subprocess.run(
                command,
                input=text.encode(),
                cwd=folder,
                stdout=output,
                stderr=subprocess.PIPE,
                timeout=COMMAND_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise GuestNotBuilt(f"{command[0]}: {error}") from error


def _write_partition_table(disk: Path) -> None:
    """A master boot record: boot code, two partitions by sectors, the signature."""
    entry = struct.Struct("<B3sB3sII")
    beyond = b"\xfe\xff\xff"  # addresses by cylinder, head and sector are not used
    boot = entry.pack(0x80, beyond, 0x0E, beyond, BOOT_AT // SECTOR, BOOT_BYTES // SECTOR)
    root = entry.pack(0, beyond, 0x83, beyond, ROOT_AT // SECTOR, ROOT_BYTES // SECTOR)
    with disk.open("r+b") as file:
        file.write(MASTER_BOOT_CODE.read_bytes()[:440])
        file.seek(446)
        file.write(boot + root + bytes(2 * entry.size) + b"\x55\xaa")
