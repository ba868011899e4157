"""Usage: intervals in which a server had one flavor and one state, and what they come to over a period.

An interval is known by its server and its start, so writing it twice changes nothing, and a restart loses nothing: the
rows change in the transaction that changes the server.
"""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import Session as SqlSession

from objstore.compute.core.states import BUILDING, DELETED, ERROR, OFFLOADED, RUNNING_STATES
from objstore.compute.model.tables import ServerRow, UsageRow

# A server takes nothing of a host in these states.
UNBILLED = frozenset({BUILDING, OFFLOADED, DELETED})


def meter(session: SqlSession, row: ServerRow, now: datetime.datetime) -> None:
    """End the server's open interval if its flavor or state is another now, and begin the next one."""
    billed = row.launched_at is not None and row.vm_state not in UNBILLED and row.deleted_at is None
    running = row.vm_state in RUNNING_STATES
    open_row = session.scalars(
        select(UsageRow).where(UsageRow.server_id == row.id, UsageRow.ended_at.is_(None))
    ).one_or_none()
    if open_row is not None:
        same = (open_row.flavor, open_row.vcpus, open_row.ram_mb) == (
            row.flavor["name"],
            row.flavor["vcpus"],
            row.flavor["ram_mb"],
        )
        if billed and same and (row.vm_state == ERROR or open_row.running == running):
            return
        open_row.ended_at = max(now, open_row.started_at)
        session.flush()
        if open_row.ended_at == open_row.started_at:  # nothing was used, and the next one may begin at this instant
            session.delete(open_row)
            session.flush()
    if billed:
        session.add(
            UsageRow(
                server_id=row.id,
                started_at=now,
                project_id=row.project_id,
                name=row.name,
                flavor=row.flavor["name"],
                vcpus=row.flavor["vcpus"],
                ram_mb=row.flavor["ram_mb"],
                disk_gb=row.flavor["disk_gb"] + row.flavor["ephemeral_gb"],
                running=running,
            )
        )


@dataclass(frozen=True)
class ServerUsage:
    """What one interval comes to within a period."""

    row: UsageRow
    hours: float

    @property
    def running_hours(self) -> float:
        return self.hours if self.row.running else 0.0


def usage(
    session: SqlSession, start: datetime.datetime, end: datetime.datetime, project_id: str | None = None
) -> list[ServerUsage]:
    """The intervals that lie in a period at least in part, cut to it; of one project or of all."""
    wanted = select(UsageRow).where(
        UsageRow.started_at < end, or_(UsageRow.ended_at.is_(None), UsageRow.ended_at > start)
    )
    if project_id is not None:
        wanted = wanted.where(UsageRow.project_id == project_id)
    wanted = wanted.order_by(UsageRow.project_id, UsageRow.server_id, UsageRow.started_at)
    return [ServerUsage(row, _hours(row, start, end)) for row in session.scalars(wanted)]


def _hours(row: UsageRow, start: datetime.datetime, end: datetime.datetime) -> float:
    seconds = (min(row.ended_at or end, end) - max(row.started_at, start)).total_seconds()
    return max(0.0, seconds) / 3600


@dataclass(frozen=True)
class ProjectUsage:
    """A project's sums over a period, and what they cost by a rate card."""

    project_id: str
    server_hours: float
    running_hours: float
    vcpu_hours: float
    ram_gb_hours: float
    disk_gb_hours: float
    cost: float


def report(found: Iterable[ServerUsage], rates: dict[str, float]) -> list[ProjectUsage]:
    """Sums by project. `rates` has a price for an hour of "server", "running", "vcpu", "ram_gb" and "disk_gb".

    Disks are charged while a server exists; processors and memory while it runs.
    """
    sums: dict[str, dict[str, float]] = {}
    for each in found:
        project = sums.setdefault(
            each.row.project_id, dict.fromkeys(("server", "running", "vcpu", "ram_gb", "disk_gb"), 0.0)
        )
        project["server"] += each.hours
        project["running"] += each.running_hours
        project["vcpu"] += each.running_hours * each.row.vcpus
        project["ram_gb"] += each.running_hours * each.row.ram_mb / 1024
        project["disk_gb"] += each.hours * each.row.disk_gb
    return [
        ProjectUsage(
            name,
            hours["server"],
            hours["running"],
            hours["vcpu"],
            hours["ram_gb"],
            hours["disk_gb"],
            sum(amount * rates.get(unit, 0.0) for unit, amount in hours.items()),
        )
        for name, hours in sorted(sums.items())
    ]


def as_csv(rows: Iterable[ProjectUsage]) -> str:
    """A report with a heading."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(ProjectUsage.__dataclass_fields__)
    for row in rows:
        writer.writerow([row.project_id, *(f"{value:.6f}" for value in list(vars(row).values())[1:])])
    return text.getvalue()
