"""Reading the tables, and the changes that the writer runs."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, bindparam, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auteur_contracts.vocabulary import ApiStatus
from auteur_gateway.database.tables import OPEN_STATES, JobRow, document, idempotency, jobs
from auteur_sql.reader import Reader

Change = Callable[[AsyncConnection], Awaitable[None]]


@dataclass(frozen=True)
class Filter:
    project: str | None = None
    function: str | None = None
    status: ApiStatus | None = None
    before: int | None = None
    """Rows older than this id: the keyset cursor."""


class Repository:
    def __init__(self, reader: Reader, namespace: str) -> None:
        self._reader = reader
        self._namespace = namespace

    async def _rows(self, query: Select[tuple[object, ...]]) -> list[JobRow]:
        return [JobRow.of(row) for row in await self._reader.rows(query)]

    async def find(self, name: str) -> JobRow | None:
        query = select(jobs).where(jobs.c.namespace == self._namespace, jobs.c.name == name, jobs.c.deleted_id == 0)
        return next(iter(await self._rows(query)), None)

    async def page(self, wanted: Filter, limit: int) -> list[JobRow]:
        """Newest first."""
        query = select(jobs).where(jobs.c.namespace == self._namespace, jobs.c.deleted_id == 0)
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
        of_namespace = jobs.c.namespace == self._namespace, jobs.c.deleted_id == 0
        return await self._rows(select(jobs).where(*of_namespace, jobs.c.state.in_(OPEN_STATES)))

    async def reused(self, names: Collection[str]) -> set[str]:
        """Those of these names that a deleted job had."""
        query = select(jobs.c.name).where(
            jobs.c.namespace == self._namespace, jobs.c.deleted_id != 0, jobs.c.name.in_(names)
        )
        return set(await self._reader.values(query.distinct()))

    async def known(self, uids: Collection[str], request_ids: Collection[str]) -> list[JobRow]:
        """Rows of these, the deleted ones too."""
        return await self._rows(select(jobs).where(or_(jobs.c.uid.in_(uids), jobs.c.request_id.in_(request_ids))))


# ── changes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def save_statuses(rows: Sequence[JobRow], running: Sequence[int]) -> Change:
    """Newer statuses, and jobs that started running."""

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

    return change


def _status_columns(row: JobRow) -> dict[str, object]:
    columns = row.columns()
    wanted = ("id", "uid", "state", "version", "status", "finished_at")
    return {f"row_{name}": columns[name] for name in wanted}


def insert_row(row: JobRow) -> Change:
    async def change(connection: AsyncConnection) -> None:
        await connection.execute(jobs.insert(), [row.columns()])

    return change


def replace_job(row: JobRow) -> Change:
    """The job as asked, after one of its changeable fields was changed."""

    async def change(connection: AsyncConnection) -> None:
        await connection.execute(update(jobs).where(jobs.c.id == row.id).values(job=document(row.job)))

    return change


def mark_deleted(row: JobRow) -> Change:
    """Hides a job from every reader, and frees its name and its place in the queue."""
    state = row.state if row.finished else ApiStatus.CANCELLED

    async def change(connection: AsyncConnection) -> None:
        of_it = jobs.c.id == row.id, jobs.c.deleted_id == 0
        await connection.execute(update(jobs).where(*of_it).values(deleted_id=row.id, state=state.value))

    return change


def remove_keys(created_before: datetime) -> Change:
    async def change(connection: AsyncConnection) -> None:
        await connection.execute(delete(idempotency).where(idempotency.c.created_at < created_before))

    return change
