"""Bringing a schema up to date at start, under a lock."""

import logging
import zlib
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.exc import DBAPIError

from auteur_contracts.errors import Unavailable
from auteur_sql.engines import Engines


async def migrate(engines: Engines, folder: Path, *, lock: str) -> None:
    """Runs the revisions of Alembic that lie in `folder`. Two processes that start at once wait for one another:
    `lock` is the name that they share. Raises Unavailable.
    """
    try:
        async with engines.writer.begin() as connection:
            if engines.file is None:
                number = zlib.crc32(lock.encode())
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": number})
            await connection.run_sync(_upgrade, folder)
    except (DBAPIError, OSError) as error:
        raise Unavailable(f"the database cannot be opened or migrated: {error}") from error


def _upgrade(connection: Connection, folder: Path) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)  # or it tells of every start, in words of its own
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def run_revisions(metadata: MetaData) -> None:
    """The whole of a service's `env.py`: on the connection, and in the transaction, that `migrate` opened."""
    from alembic import context  # noqa: PLC0415  # there is one only while Alembic runs

    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        render_as_batch=True,  # SQLite cannot alter most things in place
    )
    context.run_migrations()
