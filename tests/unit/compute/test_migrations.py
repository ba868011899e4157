"""The migrations lead to the tables that the code describes."""

from pathlib import Path

import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext

from objstore.compute.model.migrations.versions import first
from objstore.compute.model.tables import Base


def test_the_migrations_make_the_tables_of_the_code(tmp_path: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/compute.sqlite")
    with engine.begin() as connection:
        context = MigrationContext.configure(connection)
        with Operations.context(context):
            first.upgrade()
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()
