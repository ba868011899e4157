"""The tables of a cell. Times are UTC without a zone, as "when" in SQL; ids are UUIDs with dashes.

Whoever changes a server's state does so by compare-and-swap on its `generation`, and whoever changes what a host has
given away on the host's: two processes never both believe that they decided.
"""

from __future__ import annotations

import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ID = String(36)
NAME = String(255)
# MariaDB keeps whole seconds unless it is told otherwise.
MOMENT = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
LONG_TEXT = Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


class Base(DeclarativeBase):
    """Every table of compute."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime.datetime: MOMENT,
        dict[str, Any]: JSON,
        list[Any]: JSON,
        dict[str, str]: JSON,
        list[str]: JSON,
    }


class HostRow(Base):
    """A machine that runs machines, as its agent registered it, and what of it has been given away."""

    __tablename__ = "hosts"
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(NAME, unique=True)
    generation: Mapped[int] = mapped_column(Integer, default=0)
    driver: Mapped[str] = mapped_column(String(32))
    address: Mapped[str] = mapped_column(String(64))
    architecture: Mapped[str] = mapped_column(String(32))
    accelerator: Mapped[str] = mapped_column(String(32), default="")
    hypervisor_version: Mapped[int] = mapped_column(Integer, default=0)
    features: Mapped[list[str]]
    availability_zone: Mapped[str] = mapped_column(NAME, default="nova")
    vcpus: Mapped[int]
    ram_mb: Mapped[int]
    disk_gb: Mapped[int]
    vcpus_used: Mapped[int] = mapped_column(Integer, default=0)
    ram_mb_used: Mapped[int] = mapped_column(Integer, default=0)
    disk_gb_used: Mapped[int] = mapped_column(Integer, default=0)
    servers: Mapped[int] = mapped_column(Integer, default=0)
    building: Mapped[int] = mapped_column(Integer, default=0)
    failed_builds: Mapped[int] = mapped_column(Integer, default=0)
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    disabled_reason: Mapped[str | None] = mapped_column(NAME)
    forced_down: Mapped[bool] = mapped_column(Boolean, default=False)
    fenced: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime.datetime]
    seen_at: Mapped[datetime.datetime] = mapped_column(index=True)
    # A random number by which a placement takes a few hosts of very many without reading the rest.
    sample: Mapped[float] = mapped_column(Float, index=True)


class ServerRow(Base):
    """A machine, as its owner knows it. Rows of deleted servers stay until they are purged."""

    __tablename__ = "servers"
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    generation: Mapped[int] = mapped_column(Integer, default=0)
    instance_id: Mapped[str] = mapped_column(String(19), unique=True)
    project_id: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(NAME)
    hostname: Mapped[str] = mapped_column(NAME)
    description: Mapped[str | None] = mapped_column(NAME)
    vm_state: Mapped[str] = mapped_column(String(32), default="building")
    task_state: Mapped[str | None] = mapped_column(String(64), index=True)
    power_state: Mapped[int] = mapped_column(Integer, default=0)
    progress: Mapped[int] = mapped_column(Integer, default=0)
    fault: Mapped[dict[str, Any] | None]
    degraded: Mapped[str] = mapped_column(Text, default="")
    host_id: Mapped[str | None] = mapped_column(ForeignKey("hosts.id"), index=True)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    tried_hosts: Mapped[list[str]] = mapped_column(default=list)
    flavor: Mapped[dict[str, Any]]
    old_flavor: Mapped[dict[str, Any] | None]
    image: Mapped[dict[str, Any]]
    last_snapshot: Mapped[str | None] = mapped_column(ID)
    key_name: Mapped[str | None] = mapped_column(NAME)
    public_key: Mapped[str | None] = mapped_column(Text)
    user_data: Mapped[str | None] = mapped_column(LONG_TEXT)
    admin_password: Mapped[str | None] = mapped_column(String(255))
    config_drive: Mapped[bool] = mapped_column(Boolean, default=False)
    user_metadata: Mapped[dict[str, str]]
    tags: Mapped[list[str]] = mapped_column(default=list)
    availability_zone: Mapped[str | None] = mapped_column(NAME)
    hints: Mapped[dict[str, Any]] = mapped_column(default=dict)
    group_id: Mapped[str | None] = mapped_column(ID, index=True)
    reservation_id: Mapped[str] = mapped_column(String(32), index=True)
    launch_index: Mapped[int] = mapped_column(Integer, default=0)
    security_groups: Mapped[list[str]] = mapped_column(default=list)
    mac: Mapped[str | None] = mapped_column(String(17))
    addresses: Mapped[list[Any]] = mapped_column(default=list)
    access_ipv4: Mapped[str] = mapped_column(String(64), default="")
    access_ipv6: Mapped[str] = mapped_column(String(64), default="")
    disk_config: Mapped[str] = mapped_column(String(8), default="MANUAL")
    locked_by: Mapped[str | None] = mapped_column(String(8))
    locked_reason: Mapped[str | None] = mapped_column(NAME)
    protected: Mapped[bool] = mapped_column(Boolean, default=False)  # EC2's disableApiTermination
    shutdown_behavior: Mapped[str] = mapped_column(String(16), default="stop")
    created_at: Mapped[datetime.datetime]
    updated_at: Mapped[datetime.datetime] = mapped_column(index=True)
    launched_at: Mapped[datetime.datetime | None]
    terminated_at: Mapped[datetime.datetime | None]
    deleted_at: Mapped[datetime.datetime | None]
    __table_args__ = (
        Index("servers_of_a_project", "project_id", "created_at"),
        Index("servers_by_age", "created_at", "id"),
    )


class TaskRow(Base):
    """A task that a host has to do, until its outcome has been accepted."""

    __tablename__ = "tasks"
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, index=True)  # nanoseconds: later tasks of a server have more
    host_id: Mapped[str] = mapped_column(ForeignKey("hosts.id"), index=True)
    server_id: Mapped[str] = mapped_column(ForeignKey("servers.id"), index=True)
    kind: Mapped[str] = mapped_column(String(32))  # a key of states.ACTIONS, or build, delete, console, update ...
    body: Mapped[str] = mapped_column(Text)  # the HostTask as JSON, without the machine
    request_id: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime.datetime]
    done: Mapped[bool] = mapped_column(Boolean, default=False)
    outcome: Mapped[str | None] = mapped_column(LONG_TEXT)  # of those that a client waits for


class ActionRow(Base):
    """An entry of os-instance-actions: what was asked of a server, by whom, and how it ended."""

    __tablename__ = "instance_actions"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    server_id: Mapped[str] = mapped_column(ForeignKey("servers.id"), index=True)
    action: Mapped[str] = mapped_column(String(64))
    request_id: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[str] = mapped_column(String(64))
    project_id: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime.datetime]
    finished_at: Mapped[datetime.datetime | None]
    host: Mapped[str | None] = mapped_column(NAME)
    message: Mapped[str | None] = mapped_column(Text)


class FlavorRow(Base):
    """A size of machine. Servers keep a copy."""

    __tablename__ = "flavors"
    id: Mapped[str] = mapped_column(NAME, primary_key=True)
    name: Mapped[str] = mapped_column(NAME, unique=True)
    vcpus: Mapped[int]
    ram_mb: Mapped[int]
    disk_gb: Mapped[int]
    ephemeral_gb: Mapped[int] = mapped_column(Integer, default=0)
    swap_mb: Mapped[int] = mapped_column(Integer, default=0)
    rxtx_factor: Mapped[float] = mapped_column(Float, default=1.0)
    public: Mapped[bool] = mapped_column(Boolean, default=True)
    description: Mapped[str | None] = mapped_column(Text)
    extra_specs: Mapped[dict[str, str]] = mapped_column(default=dict)
    projects: Mapped[list[str]] = mapped_column(default=list)  # who may use it when it is not public


class KeypairRow(Base):
    """A public key of a user."""

    __tablename__ = "keypairs"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    user_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(NAME)
    type: Mapped[str] = mapped_column(String(8), default="ssh")
    public_key: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(String(64))
    ec2_fingerprint: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime.datetime]
    __table_args__ = (UniqueConstraint("user_id", "name"),)


class QuotaRow(Base):
    """A limit of a project that differs from the default."""

    __tablename__ = "quotas"
    project_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    resource: Mapped[str] = mapped_column(String(64), primary_key=True)
    limit: Mapped[int]


class AggregateRow(Base):
    """Hosts that have something in common, as an availability zone."""

    __tablename__ = "aggregates"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    uuid: Mapped[str] = mapped_column(ID)
    name: Mapped[str] = mapped_column(NAME, unique=True)
    details: Mapped[dict[str, str]] = mapped_column(default=dict)  # its metadata; availability_zone among it
    hosts: Mapped[list[str]] = mapped_column(default=list)  # names
    created_at: Mapped[datetime.datetime]
    updated_at: Mapped[datetime.datetime | None]


class ServerGroupRow(Base):
    """Servers that shall be on one host, or on different ones."""

    __tablename__ = "server_groups"
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64), index=True)
    user_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(NAME)
    policy: Mapped[str] = mapped_column(String(32))
    rules: Mapped[dict[str, Any]] = mapped_column(default=dict)


class UsageRow(Base):
    """An interval in which a server had one flavor and one state: what is billed. Known by the server and its start."""

    __tablename__ = "usage_intervals"
    server_id: Mapped[str] = mapped_column(ID, primary_key=True)
    started_at: Mapped[datetime.datetime] = mapped_column(primary_key=True)
    ended_at: Mapped[datetime.datetime | None] = mapped_column(index=True)
    project_id: Mapped[str] = mapped_column(String(64), index=True)
    name: Mapped[str] = mapped_column(NAME)
    flavor: Mapped[str] = mapped_column(NAME)
    vcpus: Mapped[int]
    ram_mb: Mapped[int]
    disk_gb: Mapped[int]
    running: Mapped[bool]


class Ec2IdRow(Base):
    """The EC2 form of an id: derived from it, and unique."""

    __tablename__ = "ec2_ids"
    ec2_id: Mapped[str] = mapped_column(String(24), primary_key=True)
    uuid: Mapped[str] = mapped_column(ID, index=True)


class ClientTokenRow(Base):
    """A RunInstances that may be repeated: the token gives the first call's reservation."""

    __tablename__ = "client_tokens"
    project_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    token: Mapped[str] = mapped_column(String(64), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    reservation_id: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[datetime.datetime]
