"""How much a project may have: defaults, what operators set, and what is in use."""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session as SqlSession

from objstore.compute.errors import InvalidRequest, OverQuota
from objstore.compute.model.tables import KeypairRow, QuotaRow, ServerGroupRow, ServerRow

UNLIMITED: Final = -1
DEFAULTS: Final[dict[str, int]] = {
    "instances": 10,
    "cores": 20,
    "ram": 51200,
    "metadata_items": 128,
    "key_pairs": 100,
    "server_groups": 10,
    "server_group_members": 10,
    "injected_files": 5,
    "injected_file_content_bytes": 10240,
    "injected_file_path_bytes": 255,
    "fixed_ips": -1,
    "floating_ips": 10,
    "security_groups": 10,
    "security_group_rules": 20,
}


def limits_of(session: SqlSession, project_id: str, defaults: dict[str, int]) -> dict[str, int]:
    """The project's limits by resource."""
    rows = session.scalars(select(QuotaRow).where(QuotaRow.project_id == project_id))
    return DEFAULTS | defaults | {row.resource: row.limit for row in rows}


def used_by(session: SqlSession, project_id: str, user_id: str | None = None) -> dict[str, int]:
    """What the project has of each resource; key pairs are the user's."""
    servers = session.scalars(
        select(ServerRow.flavor).where(ServerRow.project_id == project_id, ServerRow.deleted_at.is_(None))
    ).all()
    groups = session.scalar(
        select(func.count()).select_from(ServerGroupRow).where(ServerGroupRow.project_id == project_id)
    )
    keys = session.scalar(select(func.count()).select_from(KeypairRow).where(KeypairRow.user_id == user_id))
    return dict.fromkeys(DEFAULTS, 0) | {
        "instances": len(servers),
        "cores": sum(flavor["vcpus"] for flavor in servers),
        "ram": sum(flavor["ram_mb"] for flavor in servers),
        "key_pairs": keys or 0,
        "server_groups": groups or 0,
    }


def check(limits: dict[str, int], used: dict[str, int], wanted: dict[str, int]) -> None:
    """Raises OverQuota if what is wanted, with what is used, is more than a limit."""
    over = [name for name, more in wanted.items() if limits[name] != UNLIMITED and used[name] + more > limits[name]]
    if over:
        asked = ", ".join(str(wanted[name]) for name in over)
        have = ", ".join(str(used[name]) for name in over)
        most = ", ".join(str(limits[name]) for name in over)
        raise OverQuota(
            f"Quota exceeded for {', '.join(over)}: Requested {asked}, but already used {have} of {most}"
            f" {', '.join(over)}"
        )


def check_metadata(limits: dict[str, int], metadata: dict[str, str]) -> None:
    """Raises OverQuota for too many items, InvalidRequest for keys or values that are too long."""
    most = limits["metadata_items"]
    if most != UNLIMITED and len(metadata) > most:
        raise OverQuota(f"Maximum number of metadata items exceeds {most}")
    for key, value in metadata.items():
        if not 1 <= len(key) <= 255 or len(value) > 255:
            raise InvalidRequest("Keys of metadata have 1 to 255 characters, values at most 255.")
