"""Queries. A database that does not answer is Unavailable, whichever driver says so."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Executable, RowMapping, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from auteur_contracts.errors import Unavailable
from auteur_sql.faults import cause_of


class Reader:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def rows(self, query: Executable) -> Sequence[RowMapping]:
        try:
            async with self._engine.connect() as connection:
                return (await connection.execute(query)).mappings().all()
        except (DBAPIError, OSError) as error:
            raise Unavailable("the database does not answer; try again", cause=cause_of(error)) from error

    async def values(self, query: Executable) -> Sequence[Any]:
        """Of a query of one column."""
        return [next(iter(row.values())) for row in await self.rows(query)]

    async def ping(self) -> None:
        """Raises Unavailable when the database does not answer."""
        await self.rows(text("SELECT 1"))
