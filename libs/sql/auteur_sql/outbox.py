"""Messages that must reach the bus: written in the transaction that decided them, sent after its commit."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, MetaData, RowMapping, Select, String, Table, Text, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auteur_sql.tables import Moment


@dataclass(frozen=True)
class Message:
    id: int
    lane: str
    """Messages of one lane are sent in the order of their ids."""
    subject: str
    payload: str
    msg_id: str
    """The bus drops a second message of the same id."""
    created_at: datetime
    traceparent: str = ""
    """Of the request that it belongs to: it is sent after that has ended, or by another process."""

    @classmethod
    def of(cls, row: RowMapping) -> "Message":
        return cls(**row)


class Outbox:
    """The table. A row goes when its message was stored by the bus."""

    def __init__(self, metadata: MetaData) -> None:
        self.table = Table(
            "outbox",
            metadata,
            Column("id", BigInteger, primary_key=True, autoincrement=False),
            Column("lane", String(64), nullable=False),
            Column("subject", String(256), nullable=False),
            Column("payload", Text, nullable=False),
            Column("msg_id", String(160), nullable=False),
            Column("created_at", Moment, nullable=False),
            Column("traceparent", String(128), nullable=False, server_default=""),
        )

    async def add(self, connection: AsyncConnection, messages: Sequence[Message]) -> None:
        if messages:
            await connection.execute(insert(self.table), [dict(vars(message)) for message in messages])

    def unsent(self, created_before: datetime, after: int, limit: int = 1000) -> Select[Any]:
        """By id, those behind `after`."""
        column = self.table.c
        wanted = column.created_at < created_before, column.id > after
        return select(self.table).where(*wanted).order_by(column.id).limit(limit)

    def remove(self, ids: Sequence[int]) -> Callable[[AsyncConnection], Awaitable[None]]:
        async def change(connection: AsyncConnection) -> None:
            await connection.execute(delete(self.table).where(self.table.c.id.in_(ids)))

        return change
