"""Making servers: what is checked before there is a row, and the row."""

from __future__ import annotations

import base64
import binascii
import random
import re
import secrets
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session as SqlSession

from objstore.compute.core import quotas
from objstore.compute.core.context import (
    PLACEMENT,
    ComputeContext,
    Requester,
    instance_id_of,
    new_id,
    new_password,
    record_action,
    wake,
)
from objstore.compute.core.states import BUILDING, SCHEDULING
from objstore.compute.errors import InvalidRequest, NotPermitted, OverQuota
from objstore.compute.model.tables import AggregateRow, FlavorRow, HostRow, KeypairRow, ServerGroupRow, ServerRow

USER_DATA_MAX: Final = 65535  # characters of base64
SERVERS_MAX: Final = 1000  # of one request
HINTS: Final = frozenset({"group", "different_host", "same_host", "build_near_host_ip", "cidr", "query", "target_cell"})


@dataclass(frozen=True)
class NewServers:
    """What is asked for: one server, or several that are alike."""

    name: str
    image_id: str
    flavor_id: str
    min_count: int = 1
    max_count: int = 1
    key_name: str | None = None
    user_data: str | None = None
    config_drive: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    availability_zone: str | None = None
    hints: dict[str, Any] = field(default_factory=dict)
    security_groups: tuple[str, ...] = ("default",)
    without_network: bool = False
    admin_password: str | None = None
    access_ipv4: str = ""
    access_ipv6: str = ""
    description: str | None = None
    hostname: str | None = None
    tags: tuple[str, ...] = ()
    disk_config: str = "MANUAL"
    shutdown_behavior: str = "stop"
    protected: bool = False


def create_servers(
    context: ComputeContext, requester: Requester, wanted: NewServers, request_id: str
) -> list[ServerRow]:
    """Rows of servers that are to be placed. Raises InvalidRequest, NoSuch, NotPermitted, OverQuota; as Images."""
    _check_request(wanted)
    image = _image(context, requester, wanted.image_id)

    def work(session: SqlSession) -> list[ServerRow]:
        flavor = flavor_for(session, requester, wanted.flavor_id)
        check_fit(flavor, image)
        key = _key(session, requester, wanted.key_name)
        limits = quotas.limits_of(session, requester.project_id or "", context.limits.quotas)
        quotas.check_metadata(limits, wanted.metadata)
        count = _affordable(session, requester, flavor, wanted, limits)
        group = _group(session, requester, wanted.hints.get("group"), limits, count)
        _check_zone(session, context, requester, wanted.availability_zone)
        reservation = f"r-{secrets.token_hex(9)[:17]}"
        rows = []
        for index in range(count):
            row = _row(context, requester, wanted, flavor, image, key, group, reservation)
            row.launch_index = index
            if count > 1:
                row.name, row.hostname = f"{wanted.name}-{index + 1}", f"{row.hostname}-{index + 1}"
            session.add(row)
            session.flush()
            record_action(session, context, row, "create", requester, request_id)
            rows.append(row)
        wake(session, PLACEMENT)
        for row in rows:
            session.expunge(row)
        return rows

    rows: list[ServerRow] = context.run(work)
    return rows


def _check_request(wanted: NewServers) -> None:
    if not 1 <= wanted.min_count <= wanted.max_count <= SERVERS_MAX:
        raise InvalidRequest("min_count must be <= max_count, from 1 to 1000.")
    if wanted.user_data is not None:
        if len(wanted.user_data) > USER_DATA_MAX:
            raise InvalidRequest(f"User data too large. User data must be no larger than {USER_DATA_MAX} bytes.")
        try:
            base64.b64decode(wanted.user_data, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidRequest("User data is not valid base64.") from None
    if unknown := set(wanted.hints) - HINTS:
        raise InvalidRequest(f"Unknown scheduler hints: {', '.join(sorted(unknown))}")


def _image(context: ComputeContext, requester: Requester, image_id: str) -> dict[str, Any]:
    document = context.images.show(requester.token, image_id)
    if document["status"] != "active":
        raise InvalidRequest(f"Image {image_id} is not active.")
    return image_copy(document)


NO_PROPERTIES: Final = frozenset(
    {"id", "name", "status", "checksum", "os_hash_algo", "os_hash_value", "size", "virtual_size", "created_at"}
    | {"updated_at", "direct_url", "self", "file", "schema", "stores", "visibility", "protected", "os_hidden", "owner"}
    | {"min_ram", "min_disk", "tags", "disk_format", "container_format", "locations"}
)


def image_copy(document: dict[str, Any]) -> dict[str, Any]:
    """What a server keeps of its image: the fields of protocol.ImageSource."""
    return {
        "id": document["id"],
        "name": document.get("name") or "",
        "size": document.get("size") or 0,
        "disk_format": document.get("disk_format") or "raw",
        "container_format": document.get("container_format") or "bare",
        "min_disk_gb": document.get("min_disk") or 0,
        "min_ram_mb": document.get("min_ram") or 0,
        "hash_algorithm": document.get("os_hash_algo") or "sha512",
        "hash_value": document.get("os_hash_value") or "",
        "properties": {
            key: str(value) for key, value in document.items() if key not in NO_PROPERTIES and value is not None
        },
    }


def flavor_for(session: SqlSession, requester: Requester, flavor_id: str) -> dict[str, Any]:
    """A copy of a flavor the caller may use, as protocol.FlavorCopy has it. Raises InvalidRequest."""
    row = session.get(FlavorRow, flavor_id)
    if row is None or not (row.public or requester.is_admin or requester.project_id in row.projects):
        raise InvalidRequest(f"Flavor {flavor_id[:255]} could not be found.")
    return {
        "id": row.id,
        "name": row.name,
        "vcpus": row.vcpus,
        "ram_mb": row.ram_mb,
        "disk_gb": row.disk_gb,
        "ephemeral_gb": row.ephemeral_gb,
        "swap_mb": row.swap_mb,
        "extra_specs": dict(row.extra_specs),
    }


def check_fit(flavor: dict[str, Any], image: dict[str, Any]) -> None:
    """Raises InvalidRequest if the image asks for more than the flavor has."""
    if image["min_ram_mb"] > flavor["ram_mb"]:
        raise InvalidRequest("Flavor's memory is too small for requested image.")
    disk = flavor["disk_gb"]
    if disk and (image["min_disk_gb"] > disk or image["size"] > disk << 30):
        raise InvalidRequest("Flavor's disk is too small for requested image.")


def _key(session: SqlSession, requester: Requester, name: str | None) -> KeypairRow | None:
    if name is None:
        return None
    row = session.scalars(
        select(KeypairRow).where(KeypairRow.user_id == requester.user_id, KeypairRow.name == name)
    ).one_or_none()
    if row is None:
        raise InvalidRequest("Invalid key_name provided.")
    return row


def _affordable(
    session: SqlSession, requester: Requester, flavor: dict[str, Any], wanted: NewServers, limits: dict[str, int]
) -> int:
    """How many the project's quota allows, from the largest number that was asked for down to the smallest."""
    used = quotas.used_by(session, requester.project_id or "")
    for count in range(wanted.max_count, wanted.min_count - 1, -1):
        more = {"instances": count, "cores": count * flavor["vcpus"], "ram": count * flavor["ram_mb"]}
        try:
            quotas.check(limits, used, more)
        except OverQuota:
            if count == wanted.min_count:
                raise
        else:
            return count
    raise AssertionError("min_count is at most max_count")


def _group(
    session: SqlSession, requester: Requester, group_id: str | None, limits: dict[str, int], count: int
) -> str | None:
    if group_id is None:
        return None
    row = session.get(ServerGroupRow, group_id)
    if row is None or row.project_id != requester.project_id:
        raise InvalidRequest(f"Instance group {str(group_id)[:36]} could not be found.")
    members = session.scalar(select(func.count()).where(ServerRow.group_id == group_id, ServerRow.deleted_at.is_(None)))
    most = limits["server_group_members"]
    if most != quotas.UNLIMITED and (members or 0) + count > most:
        raise OverQuota("Quota exceeded, too many servers in group")
    return row.id


def _check_zone(session: SqlSession, context: ComputeContext, requester: Requester, zone: str | None) -> None:
    """Zones are those of hosts and aggregates; an administrator may name a host too, as zone:host."""
    if zone is None:
        return
    name, _, host = zone.partition(":")
    if host and not requester.is_admin:
        raise NotPermitted("Policy doesn't allow to name the host of a server.")
    if host and session.scalars(select(HostRow).where(HostRow.name == host)).one_or_none() is None:
        raise InvalidRequest(f"Compute host {host} could not be found.")
    if name and name not in zones(session, context):
        raise InvalidRequest("The requested availability zone is not available")


def zones(session: SqlSession, context: ComputeContext) -> set[str]:
    """The names of all zones."""
    own = set(session.scalars(select(HostRow.availability_zone).distinct()))
    details = session.scalars(select(AggregateRow.details))
    return own | {each["availability_zone"] for each in details if "availability_zone" in each} | {context.limits.zone}


def hostname_of(name: str) -> str:
    """A name a guest can have, of a server's name: RFC 1123."""
    cleaned = re.sub(r"[^a-z0-9-]", "", re.sub(r"[ _.]", "-", name.lower())).strip("-")
    return cleaned[:63] or "server"


def random_mac() -> str:
    return "fa:16:3e:" + ":".join(f"{random.randrange(256):02x}" for _ in range(3))


def _row(
    context: ComputeContext,
    requester: Requester,
    wanted: NewServers,
    flavor: dict[str, Any],
    image: dict[str, Any],
    key: KeypairRow | None,
    group: str | None,
    reservation: str,
) -> ServerRow:
    now, uuid = context.now(), new_id()
    return ServerRow(
        id=uuid,
        generation=0,
        instance_id=instance_id_of(uuid),
        project_id=requester.project_id,
        user_id=requester.user_id,
        name=wanted.name,
        hostname=wanted.hostname or hostname_of(wanted.name),
        description=wanted.description,
        vm_state=BUILDING,
        task_state=SCHEDULING,
        power_state=0,
        flavor=flavor,
        image=image,
        key_name=key.name if key else None,
        public_key=key.public_key if key else None,
        user_data=wanted.user_data,
        admin_password=wanted.admin_password or new_password(),
        config_drive=wanted.config_drive or image["properties"].get("img_config_drive") == "mandatory",
        user_metadata=wanted.metadata,
        tags=sorted(wanted.tags),
        availability_zone=wanted.availability_zone,
        hints=wanted.hints,
        group_id=group,
        reservation_id=reservation,
        security_groups=list(wanted.security_groups),
        mac=None if wanted.without_network else random_mac(),
        access_ipv4=wanted.access_ipv4,
        access_ipv6=wanted.access_ipv6,
        disk_config=wanted.disk_config,
        shutdown_behavior=wanted.shutdown_behavior,
        protected=wanted.protected,
        created_at=now,
        updated_at=now,
    )
