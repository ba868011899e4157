"""Real machines, by the driver alone: booted from an image that is not copied, and from snapshots of themselves."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore.compute.host.cache import ImageCache
from objstore.compute.host.processes import processes_with
from objstore.compute.host.qemu import QemuDriver
from objstore.compute.protocol import FlavorCopy, ImageSource, MachineSpec, PowerState
from tests.functional.cloud.guest import BOOT_SECONDS, guest_image, lacking, machine_folder, type_on_console
from tests.unit.compute.host.machines import Images, machine
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(bool(lacking()), reason=f"programs are missing: {' '.join(lacking())}")

ONE = "11111111-1111-1111-1111-111111111111"
TWO = "22222222-2222-2222-2222-222222222222"
READY = "objstore-guest: ready"
ONE_MIB = 1024 * 1024


@pytest.fixture
def folder() -> Iterator[Path]:
    with machine_folder() as path:
        yield path


@pytest.fixture
def images() -> Images:
    return Images({"guest": guest_image().read_bytes()})


def driver_of(folder: Path, images: Images) -> QemuDriver:
    return QemuDriver(folder, ImageCache(folder / "images", images))


@pytest.fixture
def driver(folder: Path, images: Images) -> Iterator[QemuDriver]:
    running = driver_of(folder, images)
    yield running
    for server_id in running.machines():
        running.destroy(server_id)
    running.close()


def guest(images: Images, server_id: str, image_id: str = "guest", **fields: object) -> MachineSpec:
    content = images.contents[image_id]
    image = ImageSource(
        image_id, size=len(content), disk_format="qcow2", hash_value=hashlib.sha512(content).hexdigest()
    )
    flavor = FlavorCopy("1", "tiny", 1, 96, swap_mb=1)
    return machine(server_id, image, flavor=flavor, hostname=f"h{server_id[:2]}", **fields)


def nothing(percent: int) -> None:
    """Nobody wants to know how far it is."""


def wait_for_text(driver: QemuDriver, server_id: str, text: str) -> str:
    wait_until(lambda: text in driver.console(server_id, ONE_MIB), text, BOOT_SECONDS)
    return driver.console(server_id, ONE_MIB)


def snapshot(driver: QemuDriver, server_id: str) -> bytes:
    with driver.snapshot(server_id) as content:
        taken = b"".join(content.pieces)
        assert (content.disk_format, len(taken)) == ("qcow2", content.length)
    return taken


def test_a_machine_is_booted_snapshotted_and_the_snapshot_booted(
    driver: QemuDriver, images: Images, folder: Path
) -> None:
    script = base64.b64encode(b"#!/bin/sh\necho first > /root/kept\nsync\n").decode()
    driver.build(guest(images, ONE, user_data=script), nothing)
    console = wait_for_text(driver, ONE, READY)
    assert f"ready uuid={ONE} hostname=h11 source=metadata boots=1" in console
    assert "ec2 i-0123456789abcdef0 h11" in console
    assert len(images.reads) <= len(images.contents["guest"]) // ONE_MIB + 1, "no piece is read twice"

    # The agent ends, another one finds the machine, and takes its snapshot while the machine goes on.
    (process,) = processes_with(f"{folder}/machines/{ONE}/")
    driver.close()
    driver.__init__(folder, ImageCache(folder / "images", images), "tcg")  # type: ignore[misc]
    assert driver.power(ONE) is PowerState.RUNNING
    images.contents["live"] = snapshot(driver, ONE)
    assert list(processes_with(f"{folder}/machines/{ONE}/")) == [process]

    # What it writes later is not in that snapshot, but in the next, taken of its memory on the disk.
    type_on_console(folder / "machines" / ONE / "serial.sock", "echo second > /root/kept; sync; echo d''one")
    wait_for_text(driver, ONE, "done")
    driver.suspend(ONE)
    assert driver.power(ONE) is PowerState.SUSPENDED
    assert processes_with(f"{folder}/machines/{ONE}/") == {}
    images.contents["cold"] = snapshot(driver, ONE)
    driver.start(ONE)
    assert driver.power(ONE) is PowerState.RUNNING
    driver.stop(ONE, 30)
    assert "objstore-guest: powering off" in driver.console(ONE, ONE_MIB), "the guest was asked"
    driver.destroy(ONE)

    driver.build(guest(images, ONE, "live", config_drive=True), nothing)
    driver.build(guest(images, TWO, "cold"), nothing)
    assert "kept first" in wait_for_text(driver, ONE, READY)
    assert f"ready uuid={ONE} hostname=h11 source=config-drive boots=2" in driver.console(ONE, ONE_MIB)
    assert "kept second" in wait_for_text(driver, TWO, READY)


def test_a_machine_needs_its_image_no_longer_once_it_is_copied(
    driver: QemuDriver, images: Images, folder: Path
) -> None:
    driver.build(guest(images, ONE), nothing)
    driver.pause(ONE)
    assert driver.power(ONE) is PowerState.PAUSED
    assert driver.used_images() == {"guest"}

    def copied() -> bool:
        driver.tend(ONE)
        return driver.used_images() == set()

    wait_until(copied, "the image is copied", BOOT_SECONDS)
    (process,) = processes_with(f"{folder}/machines/{ONE}/")
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: driver.power(ONE) is PowerState.SHUTDOWN, "it has ended")
    images.contents.clear()
    driver.reboot(ONE, hard=True)
    assert f"uuid={ONE}" in wait_for_text(driver, ONE, READY)
    numbers = driver.diagnostics(ONE)
    assert numbers["root_read_bytes"] > ONE_MIB
