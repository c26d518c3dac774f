"""Alembic's entry."""

from auteur_gateway.database.tables import metadata
from auteur_sql.migrations import run_revisions

run_revisions(metadata)
