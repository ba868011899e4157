"""The table of metadata definitions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "002"
down_revision = "001"

BINARY = "utf8mb4_bin"


def text(length: int) -> sa.String:
    """A text that is compared byte by byte in every database."""
    return sa.String(length).with_variant(mysql.VARCHAR(length, collation=BINARY), "mysql", "mariadb")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "image_definitions",
        sa.Column("namespace", text(80), primary_key=True),
        sa.Column("kind", text(16), primary_key=True),
        sa.Column("name", text(80), primary_key=True),
        sa.Column("owner", text(255)),
        sa.Column("visibility", text(16), nullable=False),
        sa.Column(
            "document", sa.Text().with_variant(mysql.MEDIUMTEXT(collation=BINARY), "mysql", "mariadb"), nullable=False
        ),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
