"""Changes of the identity service's tables, for alembic."""
