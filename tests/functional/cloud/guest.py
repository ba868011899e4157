"""The guest image, built once for all test runs that share a virtual environment; and how tests talk to a guest."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from objstore.compute.guest import image
from objstore.compute.host.processes import missing, processes_with
from tests.waiting import wait_until

NEEDED = ("qemu-system-x86_64", "qemu-img", "qemu-storage-daemon", "socat", "genisoimage", *image.PACKAGES)
BOOT_SECONDS = 60.0  # without KVM it takes some 5 s of a processor that others use, too


def lacking() -> list[str]:
    """Programs that tests with real machines need and this system has not."""
    return missing(*NEEDED)


def guest_image() -> Path:
    """Built when its scripts have changed; test processes wait for the one that builds it."""
    scripts = [*sorted(image.SCRIPTS.glob("*.sh")), Path(image.__file__)]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in scripts)).hexdigest()[:16]
    path = Path(sys.prefix) / f"guest-{digest}.qcow2"
    with (Path(sys.prefix) / ".guest-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            image.build(path)
    return path


@contextmanager
def machine_folder() -> Iterator[Path]:
    """A folder with a short path. In the end no process of a machine may be left; what is left is killed."""
    with tempfile.TemporaryDirectory(prefix="host-") as name:
        try:
            yield Path(name)
            assert processes_with(f"{name}/") == {}
        finally:
            for number in processes_with(f"{name}/"):
                os.kill(number, signal.SIGKILL)


def type_on_console(serial: Path, line: str) -> None:
    """What a person types at the serial console; its shell runs it."""
    with socket.socket(socket.AF_UNIX) as console:
        console.settimeout(10)
        console.connect(str(serial))
        console.sendall(line.encode() + b"\n")
        wait_until(lambda: b"\n" in console.recv(4096), "the console's echo")
