"""Places servers: a sample of the hosts that have room, filters, weights, and a claim by compare-and-swap.

Any number of processes may place at once. A claim succeeds only on the generation of the host that was looked at; who
loses takes the next host. A server waits in the database (task_state scheduling), so a crash loses nothing.
"""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, select, update
from sqlalchemy.orm import Session as SqlSession

from objstore.compute.core.context import ComputeContext, change, fault_of, finish_action, new_id, queue_task
from objstore.compute.core.states import BUILDING, ERROR, OFFLOADED, SCHEDULING
from objstore.compute.errors import StateConflict
from objstore.compute.model.tables import AggregateRow, HostRow, ServerGroupRow, ServerRow
from objstore.compute.protocol import HostTask, MachineAction
from objstore.compute.scheduler.filters import CandidateHost, PlacementRequest, refusal
from objstore.compute.scheduler.weights import best_first

SAMPLE: Final = 30  # hosts that are looked at closely
SAMPLES_MAX: Final = 40  # until a server is said to fit nowhere, unless all hosts were seen before
CLAIMS_MAX: Final = 10  # lost races, after which the server waits for the next round
BATCH: Final = 50  # servers of one step


@dataclass(frozen=True)
class Ratios:
    """How much more may be given away than there is, and what the host keeps for itself."""

    cpu: float = 4.0
    ram: float = 1.0
    disk: float = 1.0
    reserved_ram_mb: int = 512


@dataclass(eq=False)
class NoValidHost(Exception):
    """No host can have the server; the reasons are for its owner."""

    reasons: str

    def __str__(self) -> str:
        return f"No valid host was found. {self.reasons}"


@dataclass
class Placer:
    """Gives hosts to the servers that wait for one."""

    context: ComputeContext
    ratios: Ratios = field(default_factory=Ratios)
    random: Random = field(default_factory=Random)

    def step(self) -> int:
        """Place what waits; how many servers were looked at."""
        waiting: list[str] = self.context.read(self._waiting)
        for server_id in waiting:
            try:
                self.context.run(partial(self.place, server_id=server_id))
            except StateConflict:
                pass  # deleted meanwhile, or placed by another process
        return len(waiting)

    def _waiting(self, session: SqlSession) -> list[str]:
        wanted = select(ServerRow.id).where(ServerRow.task_state == SCHEDULING, ServerRow.deleted_at.is_(None))
        return list(session.scalars(wanted.order_by(ServerRow.created_at).limit(BATCH)))

    def place(self, session: SqlSession, server_id: str) -> None:
        """Claim a host and give it the task, or end in ERROR. Raises StateConflict."""
        row = session.get(ServerRow, server_id)
        if row is None or row.task_state != SCHEDULING:
            return
        request = self.request_for(session, row)
        try:
            host = self.claim_one(session, request)
        except NoValidHost as none:
            if row.vm_state == OFFLOADED:
                change(session, self.context, row, task_state=None)
            else:
                change(session, self.context, row, vm_state=ERROR, task_state=None, fault=fault_of(self.context, none))
            finish_action(session, self.context, row, str(none))
            return
        if host is None:
            return
        spawning = "spawning" if row.vm_state in (BUILDING, ERROR) else "unshelving"
        change(session, self.context, row, host_id=host.id, task_state=spawning, attempts=row.attempts + 1)
        queue_task(
            session,
            self.context,
            row,
            "build",
            HostTask(new_id(), row.id, MachineAction.BUILD, attempt=row.attempts),
        )

    def request_for(self, session: SqlSession, row: ServerRow) -> PlacementRequest:
        """What a server needs, with its hints looked up."""
        policy, most, members = "", 1, Counter[str]()
        if row.group_id and (group := session.get(ServerGroupRow, row.group_id)):
            policy, most = group.policy, int(group.rules.get("max_server_per_host", 1))
            found = select(ServerRow.host_id, func.count()).where(
                ServerRow.group_id == row.group_id,
                ServerRow.host_id.is_not(None),
                ServerRow.deleted_at.is_(None),
                ServerRow.id != row.id,
            )
            members = Counter({str(host): count for host, count in session.execute(found.group_by(ServerRow.host_id))})
        return PlacementRequest(
            flavor=row.flavor,
            image=row.image,
            project_id=row.project_id,
            zone=row.availability_zone,
            tried=frozenset(row.tried_hosts),
            different_from=_hosts_of(session, row.hints.get("different_host")),
            same_as=_hosts_of(session, row.hints["same_host"]) if row.hints.get("same_host") else None,
            group_policy=policy,
            group_hosts=members,
            group_max_on_host=most,
        )

    def claim_one(self, session: SqlSession, request: PlacementRequest) -> HostRow | None:
        """A host whose resources are the server's now; None if others were always faster. Raises NoValidHost."""
        refused: Counter[str] = Counter()
        seen: set[str] = set()
        lost = 0
        for _ in range(SAMPLES_MAX):
            sample = [host for host in self._sample(session, request) if host.row.id not in seen]
            fit = []
            for host in sample:
                seen.add(host.row.id)
                if reason := refusal(host, request):
                    refused[reason] += 1
                else:
                    fit.append(host)
            for host in best_first(fit, request):
                if self._claim(session, host.row, request):
                    return host.row
                lost += 1
                seen.discard(host.row.id)
                if lost == CLAIMS_MAX:
                    return None
            if not sample:
                break
        raise NoValidHost(self._why(session, request, refused))

    def _room(self, request: PlacementRequest) -> dict[str, ColumnElement[bool]]:
        """The conditions on a host's row, each with the words for a host that fails it."""
        flavor, ratios, limits = request.flavor, self.ratios, self.context.limits
        cutoff = self.context.now() - datetime.timedelta(seconds=limits.host_down_seconds)
        return {
            "disabled": HostRow.enabled.is_(True),
            "down": and_(HostRow.forced_down.is_(False), HostRow.fenced.is_(False), HostRow.seen_at > cutoff),
            f"without {flavor['vcpus']} free VCPUs": HostRow.vcpus * ratios.cpu - HostRow.vcpus_used >= flavor["vcpus"],
            f"with too few processors for {flavor['vcpus']} VCPUs": HostRow.vcpus >= flavor["vcpus"],
            f"without {flavor['ram_mb']} MB of free memory": (HostRow.ram_mb - ratios.reserved_ram_mb) * ratios.ram
            - HostRow.ram_mb_used
            >= flavor["ram_mb"],
            f"without {request.disk_gb} GB of free disk": HostRow.disk_gb * ratios.disk - HostRow.disk_gb_used
            >= request.disk_gb,
        }

    def _sample(self, session: SqlSession, request: PlacementRequest) -> list[CandidateHost]:
        """Some hosts with room, from a random place on; never more than SAMPLE rows are read."""
        room = and_(*self._room(request).values())
        at = self.random.random()
        rows: list[HostRow] = []
        for part in (HostRow.sample >= at, HostRow.sample < at):
            wanted = select(HostRow).where(room, part).order_by(HostRow.sample).limit(SAMPLE - len(rows))
            if len(rows) < SAMPLE:
                rows += session.scalars(wanted.execution_options(populate_existing=True))
        named: dict[str, dict[str, tuple[str, ...]]] = {row.name: {} for row in rows}
        for aggregate in session.scalars(select(AggregateRow)):
            for name in set(aggregate.hosts) & set(named):
                for key, value in aggregate.details.items():
                    named[name][key] = (*named[name].get(key, ()), value)
        return [CandidateHost(row, named[row.name]) for row in rows]

    def _claim(self, session: SqlSession, host: HostRow, request: PlacementRequest) -> bool:
        flavor = request.flavor
        done = session.execute(
            update(HostRow)
            .where(HostRow.id == host.id, HostRow.generation == host.generation)
            .values(
                generation=host.generation + 1,
                vcpus_used=HostRow.vcpus_used + flavor["vcpus"],
                ram_mb_used=HostRow.ram_mb_used + flavor["ram_mb"],
                disk_gb_used=HostRow.disk_gb_used + request.disk_gb,
                servers=HostRow.servers + 1,
                building=HostRow.building + 1,
            )
            .execution_options(synchronize_session=False)
        )
        return bool(done.rowcount == 1)  # type: ignore[attr-defined]

    def _why(self, session: SqlSession, request: PlacementRequest, refused: Counter[str]) -> str:
        """How many hosts there are, and how many fail which condition; counted once, when a placement fails."""
        total = session.scalar(select(func.count()).select_from(HostRow)) or 0
        if not total:
            return "There is no host."
        counts = [
            (session.scalar(select(func.count()).select_from(HostRow).where(~condition)) or 0, words)
            for words, condition in self._room(request).items()
        ]
        parts = [f"{count} {words}" for count, words in counts if count]
        parts += [f"{count} that {reason}" for reason, count in refused.most_common(5)]
        return f"Of {total} hosts: {', '.join(parts)}."


def _hosts_of(session: SqlSession, servers: Any) -> frozenset[str]:
    """The hosts of servers that a hint names: one id or several."""
    ids = [servers] if isinstance(servers, str) else servers or []
    found = session.scalars(select(ServerRow.host_id).where(ServerRow.id.in_(ids)))
    return frozenset(host for host in found if host is not None)
