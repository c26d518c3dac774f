"""Reading the tables, and the changes that the writer runs."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, bindparam, delete, or_, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auteur_contracts.errors import Unavailable
from auteur_contracts.vocabulary import ApiStatus
from auteur_gateway.database.models import JobRow, OutboxRow, document, idempotency, jobs, outbox
from auteur_gateway.database.writer import OPEN_STATES, add_commands

Change = Callable[[AsyncConnection], Awaitable[None]]


@dataclass(frozen=True)
class Filter:
    project: str | None = None
    function: str | None = None
    status: ApiStatus | None = None
    before: int | None = None
    """Rows older than this id: the keyset cursor."""


class Repository:
    def __init__(self, reader: AsyncEngine, namespace: str) -> None:
        self._reader = reader
        self._namespace = namespace

    async def ping(self) -> None:
        """Raises Unavailable when the database does not answer."""
        try:
            async with self._reader.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except (DBAPIError, OSError) as error:
            raise Unavailable("the database does not answer") from error

    async def _rows(self, query: Select[tuple[object, ...]]) -> list[JobRow]:
        try:
            async with self._reader.connect() as connection:
                found = (await connection.execute(query)).mappings().all()
        except (DBAPIError, OSError) as error:
            raise Unavailable("the database does not answer; try again") from error
        return [JobRow.of(row) for row in found]

    async def find(self, name: str) -> JobRow | None:
        query = select(jobs).where(jobs.c.namespace == self._namespace, jobs.c.name == name, jobs.c.tomb == 0)
        return next(iter(await self._rows(query)), None)

    async def page(self, wanted: Filter, limit: int) -> list[JobRow]:
        """Newest first."""
        query = select(jobs).where(jobs.c.namespace == self._namespace, jobs.c.tomb == 0)
        if wanted.project is not None:
            query = query.where(jobs.c.project == wanted.project)
        if wanted.function is not None:
            query = query.where(jobs.c.function == wanted.function)
        if wanted.status is not None:
            query = query.where(jobs.c.state == wanted.status.value)
        if wanted.before is not None:
            query = query.where(jobs.c.id < wanted.before)
        return await self._rows(query.order_by(jobs.c.id.desc()).limit(limit))

    async def unfinished(self) -> list[JobRow]:
        return await self._rows(
            select(jobs).where(jobs.c.namespace == self._namespace, jobs.c.state.in_(OPEN_STATES), jobs.c.tomb == 0)
        )

    async def reused(self, names: Collection[str]) -> set[str]:
        """Those of these names that a deleted job had."""
        query = select(jobs.c.name).where(jobs.c.namespace == self._namespace, jobs.c.tomb != 0, jobs.c.name.in_(names))
        try:
            async with self._reader.connect() as connection:
                return set(await connection.scalars(query.distinct()))
        except (DBAPIError, OSError) as error:
            raise Unavailable("the database does not answer; try again") from error

    async def known(self, uids: Collection[str], request_ids: Collection[str]) -> list[JobRow]:
        """Rows of these, the deleted ones too."""
        return await self._rows(select(jobs).where(or_(jobs.c.uid.in_(uids), jobs.c.request_id.in_(request_ids))))

    async def unsent(self, created_before: datetime, limit: int = 1000) -> list[OutboxRow]:
        query = select(outbox).where(outbox.c.created_at < created_before).order_by(outbox.c.id).limit(limit)
        try:
            async with self._reader.connect() as connection:
                found = (await connection.execute(query)).mappings().all()
        except (DBAPIError, OSError) as error:
            raise Unavailable("the database does not answer") from error
        return [OutboxRow.of(row) for row in found]


# ── changes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def save_statuses(rows: Sequence[JobRow], running: Sequence[int], commands: Sequence[OutboxRow]) -> Change:
    """Newer statuses, jobs that started running, and the releases that follow from them."""

    async def change(connection: AsyncConnection) -> None:
        if rows:
            statement = (
                update(jobs)
                .where(jobs.c.id == bindparam("row_id"), jobs.c.version < bindparam("row_version"))
                .values(
                    uid=bindparam("row_uid"),
                    state=bindparam("row_state"),
                    version=bindparam("row_version"),
                    status=bindparam("row_status"),
                    finished_at=bindparam("row_finished_at"),
                )
            )
            await connection.execute(statement, [_status_columns(row) for row in rows])
        if running:
            await connection.execute(
                update(jobs)
                .where(jobs.c.id == bindparam("row_id"), jobs.c.state == ApiStatus.QUEUED.value)
                .values(state=ApiStatus.RUNNING.value),
                [{"row_id": row_id} for row_id in running],
            )
        await add_commands(connection, commands)

    return change


def _status_columns(row: JobRow) -> dict[str, object]:
    columns = row.columns()
    wanted = ("id", "uid", "state", "version", "status", "finished_at")
    return {f"row_{name}": columns[name] for name in wanted}


def insert_row(row: JobRow) -> Change:
    async def change(connection: AsyncConnection) -> None:
        await connection.execute(jobs.insert(), [row.columns()])

    return change


def replace_job(row: JobRow, commands: Sequence[OutboxRow]) -> Change:
    """The job as asked, after one of its changeable fields was changed."""

    async def change(connection: AsyncConnection) -> None:
        await connection.execute(update(jobs).where(jobs.c.id == row.id).values(job=document(row.job)))
        await add_commands(connection, commands)

    return change


def bury(row: JobRow, commands: Sequence[OutboxRow]) -> Change:
    """Forgets a job for every reader, and frees its name and its place in the queue."""
    state = row.state if row.finished else ApiStatus.CANCELLED

    async def change(connection: AsyncConnection) -> None:
        buried = update(jobs).where(jobs.c.id == row.id, jobs.c.tomb == 0).values(tomb=row.id, state=state.value)
        await connection.execute(buried)
        await add_commands(connection, commands)

    return change


def send(commands: Sequence[OutboxRow]) -> Change:
    async def change(connection: AsyncConnection) -> None:
        await add_commands(connection, commands)

    return change


def forget_sent(ids: Sequence[int]) -> Change:
    async def change(connection: AsyncConnection) -> None:
        await connection.execute(delete(outbox).where(outbox.c.id.in_(ids)))

    return change


def forget_keys(created_before: datetime) -> Change:
    async def change(connection: AsyncConnection) -> None:
        await connection.execute(delete(idempotency).where(idempotency.c.created_at < created_before))

    return change
