"""The tables that migrations make are those that the program uses."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from objstore.image.records import ImageTables
from tests.unit.image.service_in_memory import ServiceInMemory


def test_migrations_lead_to_the_tables_in_use(images: ServiceInMemory) -> None:
    with images.database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, ImageTables.metadata) == []
