"""The one task that writes. Concurrent changes share a transaction (group commit): one fsync for many submits."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, cast

from sqlalchemy import func, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auteur_contracts.errors import AuteurError, Busy, Code, Conflict, Unavailable
from auteur_contracts.vocabulary import ApiStatus
from auteur_gateway.database.models import JobRow, OutboxRow, idempotency, jobs, outbox
from auteur_kit.logs import get_logger

log = get_logger()
T = TypeVar("T")
_LARGEST_GROUP = 256
OPEN_STATES = tuple(state.value for state in ApiStatus if not state.finished)


@dataclass(frozen=True)
class Key:
    """An Idempotency-Key and what was asked and answered under it."""

    digest: str
    fingerprint: str
    reply: str
    created_at: datetime


@dataclass(frozen=True)
class Admission:
    """New jobs of one request, their commands, and the key they came under: all or nothing."""

    rows: tuple[JobRow, ...]
    commands: tuple[OutboxRow, ...]
    key: Key | None = None


@dataclass(frozen=True)
class Admitted:
    reply: str | None = None
    """The answer given before under the same key; None for a new admission."""
    reused: frozenset[str] = frozenset()
    """Names that a deleted job had before: facts that carry one may be of either."""


Change = Callable[[AsyncConnection], Awaitable[Any]]


@dataclass(eq=False)
class _Waiting:
    what: Admission | Change
    done: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Writer:
    def __init__(self, engine: AsyncEngine, *, namespace: str, queue_limit: int) -> None:
        self._engine = engine
        self._namespace = namespace
        self._queue_limit = queue_limit
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()

    async def admit(self, admission: Admission) -> Admitted:
        """Returns after the commit. Raises Busy, Conflict (name or key taken), Unavailable."""
        return cast("Admitted", await self._enqueue(admission))

    async def change(self, change: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Runs `change` in a transaction that it may share, and twice after a rollback: no side effects in it.
        An AuteurError must be raised before the first write.
        """
        return cast("T", await self._enqueue(change))

    async def _enqueue(self, what: Admission | Change) -> Any:
        waiting = _Waiting(what)
        self._queue.put_nowait(waiting)
        return await waiting.done

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Writes while the context is open; at its end what is queued is written still."""
        task = asyncio.create_task(self._run(), name="writer")
        try:
            yield
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(3):
                    await self._queue.join()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            group = [await self._queue.get()]
            while len(group) < _LARGEST_GROUP and not self._queue.empty():
                group.append(self._queue.get_nowait())
            await self._write(group)
            for _ in group:
                self._queue.task_done()

    async def _write(self, group: Sequence[_Waiting]) -> None:
        try:
            async with self._engine.begin() as connection:
                results = await self._apply(connection, group)
        except Exception as error:  # noqa: BLE001  # whatever it was: it is the answer to whoever waits
            if len(group) == 1:
                _settle(group[0], _translate(error))
                return
            for waiting in group:  # one bad change must not take the others along
                await self._write([waiting])
            return
        for waiting, result in zip(group, results, strict=True):
            _settle(waiting, result)

    async def _apply(self, connection: AsyncConnection, group: Sequence[_Waiting]) -> list[Any]:
        admissions = [waiting.what for waiting in group if isinstance(waiting.what, Admission)]
        admitted = iter(await self._admit(connection, admissions)) if admissions else iter(())
        results: list[Any] = []
        for waiting in group:
            if isinstance(waiting.what, Admission):
                results.append(next(admitted))
                continue
            try:
                results.append(await waiting.what(connection))
            except AuteurError as error:
                results.append(error)
        return results

    async def _admit(
        self, connection: AsyncConnection, admissions: Sequence[Admission]
    ) -> list[Admitted | AuteurError]:
        known = await _known_keys(connection, [one.key.digest for one in admissions if one.key])
        taken, buried = await _namesakes(
            connection, self._namespace, [row.name for one in admissions for row in one.rows]
        )
        unfinished = await _unfinished(connection, self._namespace)
        results: list[Admitted | AuteurError] = []
        accepted: list[Admission] = []
        for one in admissions:
            if one.key and one.key.digest in known:
                results.append(_replay(one.key, known[one.key.digest]))
            elif unfinished + len(one.rows) > self._queue_limit:
                results.append(
                    Busy(f"{unfinished} jobs wait or run and the queue holds {self._queue_limit}; try again later")
                )
            elif clash := next((row.name for row in one.rows if row.name in taken), None):
                results.append(Conflict(f'there is a job named "{clash}" already; choose another name', name=clash))
            else:
                names = {row.name for row in one.rows}
                accepted.append(one)
                results.append(Admitted(reused=frozenset(names & buried)))
                unfinished += len(one.rows)
                taken |= names
                if one.key:
                    known[one.key.digest] = one.key
        await _insert(connection, accepted)
        return results


def _settle(waiting: _Waiting, result: Any) -> None:
    if waiting.done.done():  # whoever waited has gone
        return
    if isinstance(result, BaseException):
        waiting.done.set_exception(result)
    else:
        waiting.done.set_result(result)


def _translate(error: Exception) -> Exception:
    match error:
        case AuteurError():
            return error
        case IntegrityError():
            return Conflict("the name was taken just now; choose another or try again")
        case DBAPIError() | OSError():
            log.error("database write failed", error=str(error))
            return Unavailable("the database does not take writes; try again")
        case _:
            return error


async def _namesakes(connection: AsyncConnection, namespace: str, names: Sequence[str]) -> tuple[set[str], set[str]]:
    """Which of these names a job has, and which a deleted one had."""
    deleted = jobs.c.tomb != 0
    query = select(jobs.c.name, deleted).where(jobs.c.namespace == namespace, jobs.c.name.in_(names)).distinct()
    found = (await connection.execute(query)).all()
    return {name for name, gone in found if not gone}, {name for name, gone in found if gone}


async def _unfinished(connection: AsyncConnection, namespace: str) -> int:
    of_namespace = jobs.c.namespace == namespace, jobs.c.state.in_(OPEN_STATES)
    count = select(func.count()).select_from(jobs).where(*of_namespace)  # by the index alone
    return (await connection.execute(count)).scalar_one()


async def _insert(connection: AsyncConnection, accepted: Sequence[Admission]) -> None:
    if not accepted:
        return
    await connection.execute(insert(jobs), [row.columns() for one in accepted for row in one.rows])
    await add_commands(connection, [command for one in accepted for command in one.commands])
    keys = [
        {
            "key": one.key.digest,
            "fingerprint": one.key.fingerprint,
            "reply": one.key.reply,
            "created_at": one.key.created_at,
        }
        for one in accepted
        if one.key
    ]
    if keys:
        await connection.execute(insert(idempotency), keys)


async def add_commands(connection: AsyncConnection, commands: Sequence[OutboxRow]) -> None:
    if commands:
        await connection.execute(insert(outbox), [command.columns() for command in commands])


async def _known_keys(connection: AsyncConnection, digests: Sequence[str]) -> dict[str, Key]:
    if not digests:
        return {}
    found = await connection.execute(select(idempotency).where(idempotency.c.key.in_(digests)))
    return {
        row["key"]: Key(row["key"], row["fingerprint"], row["reply"], row["created_at"]) for row in found.mappings()
    }


def _replay(asked: Key, known: Key) -> Admitted | AuteurError:
    if asked.fingerprint != known.fingerprint:
        return Conflict(
            "this Idempotency-Key was used for another request; use a new key", code=Code.IDEMPOTENCY_MISMATCH
        )
    return Admitted(known.reply)
