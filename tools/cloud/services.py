"""Which processes a cloud on one machine consists of, and with which configuration each is started.

A new service gets an entry in SERVICES, and its ports in PORTS.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from objstore.tools.layout import quoted

# The usual port of each; --ports gives others, in this order.
PORTS: Final = {"store": 8080, "identity": 5000, "image": 9292, "compute": 8774, "ec2": 8788}
REGION: Final = "RegionOne"
ADMINISTRATOR: Final = "admin"
DEMO: Final = "demo"


@dataclass(frozen=True)
class CloudPlan:
    """Where a cloud lies on disk, where its services listen, and the passwords of its users by their names."""

    folder: Path
    host: str
    ports: Mapping[str, int]
    passwords: Mapping[str, str]

    def bind(self, service: str) -> str:
        """As configuration files have it."""
        return f"{self.host}:{self.ports[service]}"

    def url(self, service: str) -> str:
        return f"http://{self.bind(service)}"

    @property
    def auth_url(self) -> str:
        return f"{self.url('identity')}/v3"

    def identity_section(self, user: str) -> str:
        """[identity] of a service that logs in as this user."""
        return (
            f"[identity]\nurl = {quoted(self.auth_url)}\nuser = {quoted(user)}\n"
            f"password = {quoted(self.passwords[user])}\n"
        )


@dataclass(frozen=True)
class CatalogEntry:
    """A service in the catalog, and the path of its URL."""

    type: str
    name: str
    path: str = ""


@dataclass(frozen=True)
class CloudService:
    """One process. `arguments` follow `objstore`; "{config}" and others stand for what `CloudPlan` knows.

    port: whose port it listens on, "" for none. user: as whom it logs in, with these roles in the project `service`.
    """

    name: str
    arguments: tuple[str, ...]
    config: Callable[[CloudPlan], str] | None = None
    port: str = ""
    user: str = ""
    roles: tuple[str, ...] = ("service",)
    catalog: tuple[CatalogEntry, ...] = ()
    needs: tuple[tuple[str, str], ...] = ()  # programs, each with the package that it comes with

    @property
    def missing(self) -> list[str]:
        """The packages of programs that this machine lacks."""
        return sorted({package for program, package in self.needs if shutil.which(program) is None})

    def config_file(self, plan: CloudPlan) -> Path:
        return plan.folder / f"{self.name}.toml"

    def command(self, plan: CloudPlan) -> list[str]:
        bind = plan.bind(self.port) if self.port else ""
        return [each.format(config=self.config_file(plan), folder=plan.folder, bind=bind) for each in self.arguments]


def identity_config(plan: CloudPlan) -> str:
    entries = "".join(
        f"\n[[catalog]]\ntype = {quoted(entry.type)}\nname = {quoted(entry.name)}\n"
        f"url = {quoted(plan.url(service.port) + entry.path)}\n"
        for service in SERVICES
        for entry in service.catalog
    )
    return (
        f"database = {quoted(f'sqlite:///{plan.folder}/identity.sqlite')}\n"
        f"keys = {quoted(str(plan.folder / 'identity-keys'))}\n"
        f"url = {quoted(plan.url('identity'))}\n"
        f"region = {quoted(REGION)}\n"
        f"\n[server]\nbind = {quoted(plan.bind('identity'))}\n"
        f"\n[first_start]\nuser = {quoted(ADMINISTRATOR)}\npassword = {quoted(plan.passwords[ADMINISTRATOR])}\n"
        f"{entries}"
    )


def image_config(plan: CloudPlan) -> str:
    return (
        f"database = {quoted(f'sqlite:///{plan.folder}/image.sqlite')}\n"
        f"\n[server]\nbind = {quoted(plan.bind('image'))}\n"
        f"\n{plan.identity_section('image')}"
        f'\n[[stores]]\nname = "store"\nurl = {quoted(plan.auth_url)}\nuser = "service:image"\n'
        f"key = {quoted(plan.passwords['image'])}\n"
    )


def compute_config(plan: CloudPlan) -> str:
    """Its cell is one SQLite file; the image service is asked at its usual place."""
    return (
        f"database = {quoted(f'sqlite:///{plan.folder}/compute.sqlite')}\n"
        f"image_url = {quoted(plan.url('image'))}\n"
        f"\n[server]\nbind = {quoted(plan.bind('compute'))}\nthreads = 64\n"
        f"\n[ec2]\nbind = {quoted(plan.bind('ec2'))}\n\n{plan.identity_section('compute')}"
    )


def host_config(plan: CloudPlan) -> str:
    return (
        f"[host]\nfolder = {quoted(str(plan.folder / 'host'))}\n"
        f"\n[compute]\nurl = {quoted(plan.url('compute'))}\n"
        f"\n[image]\nurl = {quoted(plan.url('image'))}\n"
        f"\n{plan.identity_section('compute-host')}"
    )


# In the order of their start: the users of the later ones are made at the first, the identity service.
SERVICES: Final = (
    CloudService("identity", ("identity", "--config", "{config}"), identity_config, "identity"),
    CloudService(
        "store",
        ("up", "--data", "{folder}/store", "--bind", "{bind}"),
        port="store",
        user="store",
        catalog=(CatalogEntry("object-store", "store", "/v1/AUTH_{project_id}"),),
    ),
    CloudService(
        "image",
        ("image", "--config", "{config}"),
        image_config,
        "image",
        user="image",
        roles=("service", "member"),  # its images lie in the account of the project `service`
        catalog=(CatalogEntry("image", "image"),),
    ),
    CloudService(
        "compute",
        ("compute-api", "--config", "{config}"),
        compute_config,
        port="compute",
        user="compute",
        catalog=(CatalogEntry("compute", "compute", "/v2.1"),),
    ),
    CloudService(
        "compute-host",
        ("compute-host", "--config", "{config}"),
        host_config,
        user="compute-host",
        roles=("service", "admin"),  # it fills images of all projects with their snapshots
        needs=(
            ("qemu-system-x86_64", "qemu-system-x86"),
            ("qemu-img", "qemu-utils"),
            ("socat", "socat"),
            ("genisoimage", "genisoimage"),
        ),
    ),
)
