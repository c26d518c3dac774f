"""Opening a database: one connection that writes, some that read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from auteur_contracts.errors import InvalidRequest, Unavailable


@dataclass(frozen=True)
class Engines:
    """SQLite has one writer; PostgreSQL is the same engine twice."""

    writer: AsyncEngine
    reader: AsyncEngine
    file: Path | None
    """The database's file; None for a server."""

    async def dispose(self) -> None:
        await self.reader.dispose()
        await self.writer.dispose()


_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}


def parse_url(url: str, setting: str) -> URL:
    """With the driver that we use, whichever way the database is named. Raises InvalidRequest, saying what to write
    into which setting.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise InvalidRequest(
            f"{setting} is not a database URL; write sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
        ) from error
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None:
        raise InvalidRequest(
            f"{setting}: {parsed.drivername} is not supported; write sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
        )
    if driver == "postgresql+asyncpg" and (mode := parsed.query.get("sslmode")) is not None:
        # libpq's word, in every URL that a console gives out; the driver has another for it.
        parsed = parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return parsed.set(drivername=driver)


def open_engines(parsed: URL) -> Engines:
    """Connects with the first query. `parsed` is of `parse_url`."""
    match parsed.get_backend_name():
        case "sqlite":
            file = Path(parsed.database or "auteur.db").absolute()
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise Unavailable(f"the database's folder {file.parent} cannot be made: {error.strerror}") from error
            writer = create_async_engine(parsed, pool_size=1, max_overflow=0)
            reader = create_async_engine(parsed, pool_size=4, max_overflow=0)
            _prepare(writer, begin="BEGIN IMMEDIATE")
            _prepare(reader, begin="BEGIN")
            return Engines(writer, reader, file)
        case _:
            engine = create_async_engine(parsed, pool_size=5, max_overflow=5, pool_pre_ping=True)
            return Engines(engine, engine, None)


def _prepare(engine: AsyncEngine, *, begin: str) -> None:
    """The driver's own transactions start too late, as readers, and most contended writes then fail: we say BEGIN."""

    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", on_connect)
    event.listen(engine.sync_engine, "begin", on_begin)
