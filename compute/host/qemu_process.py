"""How a machine's QEMU is called, and what of QEMU works on this host."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from typing import Final

from objstore.compute.host import blocks
from objstore.compute.host.driver import MachineError
from objstore.compute.host.processes import run_tool
from objstore.compute.host.records import MachineFolder, MachineRecord

PROGRAM: Final = "qemu-system-x86_64"
PROBE_SECONDS: Final = 10.0
SMBIOS: Final = "type=1,manufacturer=OpenStack Foundation,product=OpenStack Nova,family=Virtual Machine"


def machine_address(server_id: str) -> str:
    """The address that a machine is given: each is alone in its network, so that this only has to be stable."""
    digest = hashlib.sha256(server_id.encode()).digest()
    return f"169.254.{1 + digest[0] % 168}.{1 + digest[1] % 254}"


def probe_accelerator() -> str:
    """kvm if it really runs a guest here, else tcg.

    Where hosts are machines themselves, KVM may open and create a machine, and run nothing: so a boot sector that turns
    the machine off is run, and has to end in time.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    with tempfile.NamedTemporaryFile() as disk:
        # mov ax, 0x2000; mov dx, 0x604; out dx, ax: the power-off of this kind of machine, in 16 bits.
        disk.write((b"\xb8\x00\x20\xba\x04\x06\xef\xf4\xeb\xfd").ljust(510, b"\0") + b"\x55\xaa")
        disk.flush()
        machine = ("-accel", "kvm", "-cpu", "host", "-M", "pc", "-m", "16", "-nodefaults", "-display", "none")
        drive = f"file={disk.name},format=raw,if=ide"
        try:
            run_tool(PROGRAM, *machine, "-drive", drive, seconds=PROBE_SECONDS)
        except MachineError:
            return "tcg"
    return "kvm"


def version_of(text: str) -> int:
    match = re.search(r"version (\d+)\.(\d+)\.(\d+)", text)
    return int(match[1]) * 1_000_000 + int(match[2]) * 1000 + int(match[3]) if match else 0


def qemu_command(folder: MachineFolder, record: MachineRecord, accelerator: str, images: str) -> list[str]:
    """The program and its options; `images` is the socket of the host's server of images."""
    spec = record.spec
    cpu = "host" if accelerator == "kvm" else "qemu64"
    command = [
        PROGRAM, "-name", f"guest={spec.server_id}", "-uuid", spec.server_id, "-accel", accelerator,
        "-M", "pc", "-cpu", cpu, "-smp", str(spec.flavor.vcpus), "-m", str(spec.flavor.ram_mb),
        "-nodefaults", "-no-user-config", "-display", "none", "-daemonize",
        "-pidfile", str(folder.process_number),
        "-sandbox", "on,obsolete=deny,resourcecontrol=deny",
        "-smbios", f"{SMBIOS},serial={spec.server_id},uuid={spec.server_id}",
        "-qmp", f"unix:{folder.socket('monitor')},server=on,wait=off",
        "-chardev", f"socket,id=serial,path={folder.socket('serial')},server=on,wait=off,"
        f"logfile={folder.console_log},logappend=on", "-serial", "chardev:serial",
    ]  # fmt: skip
    for number, node in enumerate(blocks.machine_nodes(folder, record, images), start=1):
        device = f"virtio-blk-pci,drive={node['node-name']},bootindex={number}"
        command += ["-blockdev", blocks.as_option(node), "-device", device]
    socket = folder.socket("metadata")
    network = (
        f"user,id=net0,restrict=on,net=169.254.0.0/16,host=169.254.0.2,dns=169.254.0.3,"
        f"dhcpstart={machine_address(spec.server_id)},"
        f"guestfwd=tcp:169.254.169.254:80-cmd:socat -t 10 - UNIX-CONNECT:{socket}"
    )
    mac = f",mac={spec.networks[0].mac}" if spec.networks else ""
    command += ["-netdev", network, "-device", f"virtio-net-pci,netdev=net0,romfile={mac}"]
    if spec.image.properties.get("hw_qemu_guest_agent") == "yes":
        command += [
            "-chardev", f"socket,id=agent,path={folder.socket('agent')},server=on,wait=off",
            "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
        ]  # fmt: skip
    return command
