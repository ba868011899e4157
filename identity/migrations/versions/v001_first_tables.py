"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "001"
down_revision = None

ID = sa.String(64)
NAME = sa.String(255)


def upgrade() -> None:
    """Make the tables."""
    _make_tables_of_users()
    _make_tables_of_credentials()


def _make_tables_of_users() -> None:
    op.create_table(
        "domain",
        sa.Column("id", ID, primary_key=True),
        sa.Column("name", NAME, nullable=False, unique=True),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
    )
    op.create_table(
        "project",
        sa.Column("id", ID, primary_key=True),
        sa.Column("name", NAME, nullable=False),
        sa.Column("domain_id", ID, sa.ForeignKey("domain.id", ondelete="CASCADE"), nullable=False),
        sa.Column("parent_id", ID, sa.ForeignKey("project.id")),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.UniqueConstraint("domain_id", "name"),
    )
    op.create_table(
        "user",
        sa.Column("id", ID, primary_key=True),
        sa.Column("name", NAME, nullable=False),
        sa.Column("domain_id", ID, sa.ForeignKey("domain.id", ondelete="CASCADE"), nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("password", NAME),
        sa.Column("default_project_id", ID),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("email", NAME),
        sa.UniqueConstraint("domain_id", "name"),
    )
    op.create_table(
        "role",
        sa.Column("id", ID, primary_key=True),
        sa.Column("name", NAME, nullable=False, unique=True),
        sa.Column("description", sa.Text, nullable=False),
    )
    op.create_table(
        "role_grant",
        sa.Column("user_id", ID, sa.ForeignKey("user.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("target_kind", sa.String(16), primary_key=True),
        sa.Column("target_id", ID, primary_key=True, index=True),
        sa.Column("role_id", ID, sa.ForeignKey("role.id", ondelete="CASCADE"), primary_key=True),
    )


def _make_tables_of_credentials() -> None:
    op.create_table(
        "application_credential",
        sa.Column("id", ID, primary_key=True),
        sa.Column("name", NAME, nullable=False),
        sa.Column("secret", NAME, nullable=False),
        sa.Column("user_id", ID, sa.ForeignKey("user.id", ondelete="CASCADE"), nullable=False),
        sa.Column("project_id", ID, sa.ForeignKey("project.id", ondelete="CASCADE"), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("expires", sa.BigInteger),
        sa.Column("unrestricted", sa.Boolean, nullable=False),
        sa.Column("role_ids", sa.JSON, nullable=False),
        sa.Column("access_rules", sa.JSON),
        sa.UniqueConstraint("user_id", "name"),
    )
    op.create_table(
        "credential",
        sa.Column("id", ID, primary_key=True),
        sa.Column("type", NAME, nullable=False),
        sa.Column("user_id", ID, sa.ForeignKey("user.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("project_id", ID, sa.ForeignKey("project.id", ondelete="CASCADE"), index=True),
        sa.Column("application_credential_id", ID, sa.ForeignKey("application_credential.id", ondelete="CASCADE")),
        sa.Column("blob", sa.Text, nullable=False),
    )
    op.create_table(
        "revocation",
        sa.Column("subject", sa.String(160), primary_key=True),
        sa.Column("issued_by", sa.BigInteger, nullable=False),
        sa.Column("needed_until", sa.BigInteger, nullable=False, index=True),
    )
