"""objstore compute-host: the agent of a host that runs machines."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import threading
from pathlib import Path

import click

from objstore.client.identity import IdentityClient, ServiceUser
from objstore.cloud.serving import stop_on_signals
from objstore.compute.host.agent import HostAgent
from objstore.compute.host.cache import ImageCache
from objstore.compute.host.driver import GIB, MIB, Driver, MachineError
from objstore.compute.host.fake import FakeDriver
from objstore.compute.host.journal import TaskJournal
from objstore.compute.host.qemu import QemuDriver
from objstore.compute.host.services import ComputeApi, ImageApi
from objstore.compute.protocol import HostRegistration
from objstore.config.compute_host import ComputeHostConfig, HostConfig
from objstore.config.loading import load
from objstore.config.units import processor_count
from objstore.logs import SINK, get_logger


@click.command("compute-host")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=Path("/etc/objstore/compute-host.toml"),
    show_default=True,
    help="The host's configuration.",
)
def compute_host(config_path: Path) -> None:
    """Run the agent of a host: it does what the compute API asks for, with machines that boot from the image service.

    Machines go on when it ends, and are found again when it starts.
    """
    run(load(config_path, ComputeHostConfig))


def run(config: ComputeHostConfig) -> None:
    """Until SIGTERM. Raises MachineError, OSError."""
    SINK.configure(config.log.level, config.log.max_line_length)
    log, stop = get_logger("compute-host"), threading.Event()
    stop_on_signals(stop)
    folder = Path(config.host.folder).absolute()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MachineError(f"another agent works in {folder}") from None
        own = config.identity
        user = ServiceUser(own.user, own.password, own.user_domain, own.project, own.project_domain)
        identity = IdentityClient(own.url, user)
        images = ImageApi(config.image.url, identity)
        driver = driver_of(config.host, folder, images)
        agent = HostAgent(
            registration(config.host, driver, folder),
            driver,
            TaskJournal(folder / "journal"),
            ComputeApi(config.compute.url, identity),
            images,
            log,
            stop,
            config.host.interval,
        )
        log.info("started", driver=driver.name, accelerator=driver.accelerator, folder=folder)
        try:
            agent.run()
        finally:
            driver.close()
        log.info("stopped")


def driver_of(config: HostConfig, folder: Path, images: ImageApi) -> Driver:
    """Raises MachineError when programs are missing, OSError."""
    if config.driver == "fake":
        return FakeDriver(folder)
    return QemuDriver(folder, ImageCache(folder / "images", images), config.accelerator or None)


def registration(config: HostConfig, driver: Driver, folder: Path) -> HostRegistration:
    """What the host offers: what is configured, else what the machine has."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return HostRegistration(
        name=config.name or socket.gethostname(),
        driver=driver.name,
        vcpus=config.vcpus or processor_count(),
        ram_mb=config.ram_mb or memory // MIB,
        disk_gb=config.disk_gb or shutil.disk_usage(folder).total // GIB,
        hypervisor_version=driver.version,
        accelerator=driver.accelerator,
        features=sorted(driver.features),
        availability_zone=config.availability_zone,
    )
