"""Alembic's entry: runs the migrations on the connection, and in the transaction, that `engines.migrate` opened."""

from alembic import context

from auteur_gateway.database.models import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter most things in place
)
context.run_migrations()
