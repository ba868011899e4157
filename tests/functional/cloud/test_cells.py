"""The records of the compute service in PostgreSQL and in MariaDB: a server's life, and claims that race."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import select

from objstore.cloud.database import SqlDatabase
from objstore.compute.core import actions, metering
from objstore.compute.model.tables import Base, HostRow, ServerRow
from objstore.compute.scheduler.placer import Placer
from objstore.compute.service import MIGRATIONS
from tests.functional.cloud.databases import mariadb, postgresql
from tests.unit.compute.world import START, CellWorld, ObedientHost


@pytest.mark.parametrize("server", [postgresql, mariadb])
def test_another_database(server: Callable[[Path], AbstractContextManager[str]], tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with server(tmp_path / "server") as url:
        database = SqlDatabase(url, MIGRATIONS)
        try:
            database.upgrade()
            database.upgrade()
            with database.engine.connect() as connection:
                differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
            assert [each for each in differences if each[0] in ("add_table", "add_column", "remove_column")] == []
            world = CellWorld(database, quotas={"instances": 100, "cores": 100})
            _live(world)
            _race(world)
        finally:
            database.close()


def _live(world: CellWorld) -> None:
    host = ObedientHost(world, "first")
    server = world.active(host)
    world.later(3600)
    host.report()
    image = actions.snapshot(world.context, world.user, server, "s", {}, "req-2")
    host.work()
    assert (world.server(server).last_snapshot, world.server(server).vm_state) == (image, "active")
    actions.delete(world.context, world.user, server, "req-3")
    host.work()
    with world.sql.reading() as session:
        (sums,) = metering.report(metering.usage(session, START, world.time), {})
        assert sums.running_hours == 1.0


def _race(world: CellWorld) -> None:
    """Four placers give twelve servers to two hosts: each is claimed once, and nothing is given away twice."""
    hosts = [ObedientHost(world, name) for name in ("left", "right")]
    for _ in range(12):
        world.create()
    placers = [Placer(world.context) for _ in range(4)]
    threads = [threading.Thread(target=placer.step) for placer in placers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    placers[0].step()
    for host in hosts:
        host.work()
    with world.sql.reading() as session:
        rows = session.scalars(select(HostRow)).all()
        servers = session.scalars(select(ServerRow).where(ServerRow.deleted_at.is_(None))).all()
        assert {each.vm_state for each in servers} <= {"active", "building"}
        placed = [each for each in servers if each.host_id]
        assert len(placed) == 12
        assert sum(row.vcpus_used for row in rows) == sum(row.servers for row in rows) == 12
