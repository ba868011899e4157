"""compute-host.toml: the agent of a host that runs machines."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from objstore.config.sections import IdentityClientConfig, LogConfig
from objstore.config.units import Count, Seconds


class HostConfig(Struct, frozen=True):
    """[host]: what this host is called, and what of it machines may have. 0 means all that there is."""

    folder: str = "/var/lib/objstore/host"
    name: str = ""
    driver: Literal["qemu", "fake"] = "qemu"
    accelerator: Literal["", "kvm", "tcg"] = ""
    availability_zone: str = "nova"
    vcpus: Count = 0
    ram_mb: Count = 0
    disk_gb: Count = 0
    interval: Annotated[Seconds, Meta(gt=0)] = 5.0


class ComputeEndpointConfig(Struct, frozen=True):
    """[compute]: where the compute API is."""

    url: str = "http://127.0.0.1:8774"


class ImageEndpointConfig(Struct, frozen=True):
    """[image]: where the image service is."""

    url: str = "http://127.0.0.1:9292"


class ComputeHostConfig(Struct, frozen=True):
    """The whole file."""

    host: HostConfig = HostConfig()
    compute: ComputeEndpointConfig = ComputeEndpointConfig()
    image: ImageEndpointConfig = ImageEndpointConfig()
    identity: IdentityClientConfig = IdentityClientConfig()
    log: LogConfig = LogConfig()
