"""compute-api.toml: the compute service's API, its scheduler, and what only its leader does."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from objstore.config.sections import CloudServerConfig, IdentityClientConfig, LogConfig
from objstore.config.units import Address, Bind, Positive, Seconds, Secret

Factor = Annotated[float, Meta(gt=0)]
Limit = Annotated[int, Meta(ge=-1)]


class Ec2Config(Struct, frozen=True):
    """[ec2]: the EC2 API, which has a port of its own."""

    bind: Bind = Address("127.0.0.1", 8788)
    region: str = "RegionOne"


class SchedulerConfig(Struct, frozen=True):
    """[scheduler]: how much of a host is given away, and when a host is down or lost."""

    cpu_ratio: Factor = 4.0
    ram_ratio: Factor = 1.0
    disk_ratio: Factor = 1.0
    reserved_ram_mb: Annotated[int, Meta(ge=0)] = 512
    attempts: Positive = 3
    host_down: Seconds = 60.0
    lease: Seconds = 120.0


class QuotaConfig(Struct, frozen=True):
    """[quota]: what a project may have unless an administrator sets it; -1 is no limit."""

    instances: Limit = 10
    cores: Limit = 20
    ram: Limit = 51200
    metadata_items: Limit = 128
    key_pairs: Limit = 100
    server_groups: Limit = 10
    server_group_members: Limit = 10


class ComputeApiConfig(Struct, frozen=True):
    """The whole file. `coordination` is a URL of tooz: who leads when several processes serve one cell."""

    database: Secret = "sqlite:////var/lib/objstore/compute.sqlite"
    image_url: str = "http://127.0.0.1:9292"
    coordination: str = ""
    availability_zone: str = "nova"
    reclaim_after: Seconds = 0.0
    server: CloudServerConfig = field(default_factory=lambda: CloudServerConfig(Address("127.0.0.1", 8774), threads=64))
    identity: IdentityClientConfig = IdentityClientConfig()
    ec2: Ec2Config = Ec2Config()
    scheduler: SchedulerConfig = SchedulerConfig()
    quota: QuotaConfig = QuotaConfig()
    log: LogConfig = LogConfig()
