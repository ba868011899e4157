"""The first tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "001"
down_revision = None

BINARY = "utf8mb4_bin"
LONG = sa.Text().with_variant(mysql.MEDIUMTEXT(collation=BINARY), "mysql", "mariadb")


def text(length: int) -> sa.String:
    """A text that is compared byte by byte in every database."""
    return sa.String(length).with_variant(mysql.VARCHAR(length, collation=BINARY), "mysql", "mariadb")


ID = text(36)
NAME = text(255)
WORD = text(16)
IMAGE = "images.id"


def upgrade() -> None:
    """Make the tables."""
    _images()
    _parts_of_images()
    _data_and_tasks()


def _images() -> None:
    op.create_table(
        "images",
        sa.Column("id", ID, primary_key=True),
        sa.Column("name", NAME, index=True),
        sa.Column("status", WORD, nullable=False, index=True),
        sa.Column("visibility", WORD, nullable=False, index=True),
        sa.Column("owner", NAME, index=True),
        sa.Column("checksum", text(32)),
        sa.Column("os_hash_value", text(128)),
        sa.Column("size", sa.BigInteger),
        sa.Column("virtual_size", sa.BigInteger),
        sa.Column("min_ram", sa.Integer, nullable=False),
        sa.Column("min_disk", sa.Integer, nullable=False),
        sa.Column("disk_format", WORD),
        sa.Column("container_format", WORD),
        sa.Column("protected", sa.Boolean, nullable=False),
        sa.Column("os_hidden", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    op.create_index("images_in_order", "images", ["created_at", "id"])


def _parts_of_images() -> None:
    op.create_table(
        "image_properties",
        sa.Column("image_id", ID, sa.ForeignKey(IMAGE), primary_key=True),
        sa.Column("name", NAME, primary_key=True),
        sa.Column("value", LONG, nullable=False),
    )
    op.create_table(
        "image_tags",
        sa.Column("image_id", ID, sa.ForeignKey(IMAGE), primary_key=True),
        sa.Column("value", NAME, primary_key=True),
    )
    op.create_table(
        "image_members",
        sa.Column("image_id", ID, sa.ForeignKey(IMAGE), primary_key=True),
        sa.Column("member", NAME, primary_key=True, index=True),
        sa.Column("status", WORD, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "image_uses",
        sa.Column("image_id", ID, sa.ForeignKey(IMAGE), primary_key=True),
        sa.Column("user", NAME, primary_key=True),
    )


def _data_and_tasks() -> None:
    op.create_table(
        "image_data",
        sa.Column("id", ID, primary_key=True),
        sa.Column("image_id", ID, sa.ForeignKey(IMAGE), nullable=False, index=True),
        sa.Column("owner", NAME, index=True),
        sa.Column("store", text(64), nullable=False),
        sa.Column("purpose", text(8), nullable=False),
        sa.Column("state", WORD, nullable=False, index=True),
        sa.Column("touched_at", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("checksum", text(32)),
        sa.Column("os_hash_value", text(128)),
    )
    op.create_table(
        "image_tasks",
        sa.Column("id", ID, primary_key=True),
        sa.Column("image_id", ID, index=True),
        sa.Column("type", text(32), nullable=False),
        sa.Column("status", WORD, nullable=False, index=True),
        sa.Column("owner", NAME),
        sa.Column("user_id", NAME),
        sa.Column("request_id", text(64), nullable=False),
        sa.Column("input", LONG, nullable=False),
        sa.Column("result", LONG, nullable=False),
        sa.Column("message", LONG, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("touched_at", sa.BigInteger, nullable=False),
    )
