"""The records of the identity and the image service in PostgreSQL and in MariaDB."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.orm import Session

from objstore.identity.records import ProjectRecord, Record
from objstore.image.records import ImageTables
from tests.functional.cloud.databases import mariadb, postgresql
from tests.unit.identity.service import IdentityService
from tests.unit.image.service_in_memory import ServiceInMemory


@pytest.mark.parametrize("server", [postgresql, mariadb])
def test_another_database(server: Callable[[Path], AbstractContextManager[str]], tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with server(tmp_path / "server") as url:
        service = IdentityService(tmp_path, database=url)
        try:
            service.populate()
            _log_in_and_out(service)
            _race(service)
            service.state.database.upgrade()
            with service.state.database.engine.connect() as connection:
                differences = compare_metadata(MigrationContext.configure(connection), Record.metadata)
            assert [each for each in differences if each[0] in ("add_table", "add_column", "remove_column")] == []
            with service.state.database.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("CREATE DATABASE images"))
            _images(ServiceInMemory(tmp_path, database=f"{url.rpartition('/')[0]}/images"))
        finally:
            service.state.database.close()


def _images(images: ServiceInMemory) -> None:
    """Records of images, whose names differ where their bytes do."""
    first, second = images.active(name="a", tags=["t", "T"]), images.active(name="A", colour="\N{SNOWMAN}")
    assert images.listed("name=a") == ["a"]
    assert images.listed("colour=%E2%98%83") == ["A"]
    assert sorted(images.listed("limit=1&sort=name:asc") + images.listed(f"marker={first}&sort_dir=asc")) == ["A", "A"]
    assert images.ask("POST", f"/v2/images/{first}/members", {"member": "p2"}).status == 200
    body = {"method": {"name": "copy-image"}, "all_stores": True}
    assert images.ask("POST", f"/v2/images/{second}/import", body).status == 202
    images.imported()
    assert images.shown(second)["stores"] == "first,second"
    for image in (first, second):
        assert images.ask("DELETE", f"/v2/images/{image}").status == 204
    images.reclaimer.reclaim()
    assert images.first.objects == images.second.objects == {}
    with images.database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), ImageTables.metadata) == []
    images.close()


def _log_in_and_out(service: IdentityService) -> None:
    token = service.log_in("alice", "alice", "red")
    made = service.made(f"users/{service.alice}/application_credentials", token, name="app")
    assert made["roles"]
    assert service.ask("POST", "/v3/projects", service.admin, {"project": {"name": "red"}}).status_int == 409
    assert service.ask("POST", "/v3/projects", service.admin, {"project": {"name": "\N{SNOWMAN}"}}).status_int == 201
    assert service.holds(token)
    service.change(f"users/{service.alice}", enabled=False)
    assert not service.holds(token)
    assert service.ask("DELETE", f"/v3/users/{service.alice}", service.admin).status_int == 204


def _race(service: IdentityService) -> None:
    """Four threads add up in one row: transactions that conflict are repeated."""
    database, project = service.state.database, service.red

    def count(session: Session) -> None:
        record = session.get(ProjectRecord, project)
        assert record is not None
        record.description = str(int(record.description or "0") + 1)

    threads = [threading.Thread(target=lambda: [database.run(count) for _ in range(5)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert service.ask("GET", f"/v3/projects/{project}", service.admin).json["project"]["description"] == "20"
