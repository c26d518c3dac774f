"""The one task that writes. Concurrent changes share a transaction (group commit): one fsync for many of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auteur_contracts.errors import AuteurError, Conflict, Unavailable
from auteur_kit.logs import get_logger
from auteur_sql.faults import cause_of

log = get_logger()
T = TypeVar("T")
Item = TypeVar("Item")
_LARGEST_GROUP = 256

Change = Callable[[AsyncConnection], Awaitable[T]]
"""Runs in a transaction that it may share, and twice after a rollback: it has no side effects. An AuteurError must be
raised before its first write."""
Batch = Callable[[AsyncConnection, Sequence[Item]], Awaitable[Sequence[T | AuteurError]]]
"""As a change, for many items of one kind at once: their answers, in the order of the items."""


@dataclass(eq=False)
class _Waiting:
    change: Change[Any] | None = None
    batch: Batch[Any, Any] | None = None
    item: Any = None
    then: Callable[[Any], None] | None = None
    done: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Writer:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()

    async def change(self, change: Change[T], then: Callable[[T], None] | None = None) -> T:
        """Returns after the commit. Raises what the change raised, Conflict where a constraint forbids it, and
        Unavailable. `then` is called with the answer as soon as it is committed, in the order of the commits, also
        where whoever asked has gone: what must follow does not hang on their connection.
        """
        return cast("T", await self._enqueue(_Waiting(change=change, then=then)))

    async def add(self, batch: Batch[Item, T], item: Item, then: Callable[[T], None] | None = None) -> T:
        """As `change`, together with all other items that wait for the same `batch`: they share its queries."""
        return cast("T", await self._enqueue(_Waiting(batch=batch, item=item, then=then)))

    async def _enqueue(self, waiting: _Waiting) -> Any:
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
                results = await _apply(connection, group)
        except Exception as error:  # noqa: BLE001  # whatever it was: it is the answer to whoever waits
            if len(group) == 1:
                _settle(group[0], _translate(error))
                return
            for waiting in group:  # one bad change must not take the others along
                await self._write([waiting])
            return
        for waiting in group:
            _follow(waiting, results[waiting])
            _settle(waiting, results[waiting])


async def _apply(connection: AsyncConnection, group: Sequence[_Waiting]) -> dict[_Waiting, Any]:
    results: dict[_Waiting, Any] = {}
    batches: dict[Batch[Any, Any], list[_Waiting]] = {}
    for waiting in group:
        if waiting.batch is not None:
            batches.setdefault(waiting.batch, []).append(waiting)
    for batch, waiters in batches.items():
        answers = await batch(connection, [waiting.item for waiting in waiters])
        results.update(zip(waiters, answers, strict=True))
    for waiting in group:
        if waiting.change is not None:
            try:
                results[waiting] = await waiting.change(connection)
            except AuteurError as error:
                results[waiting] = error
    return results


def _follow(waiting: _Waiting, result: Any) -> None:
    if waiting.then is None or isinstance(result, BaseException):
        return
    try:
        waiting.then(result)
    except Exception:  # a fault of whoever asked must not end the one task that writes
        log.exception("what follows a commit failed")


def _settle(waiting: _Waiting, result: Any) -> None:
    if waiting.done.done():  # whoever waited has gone
        return
    if isinstance(result, BaseException):
        waiting.done.set_exception(result)
    else:
        waiting.done.set_result(result)


def _translate(error: Exception) -> Exception:
    """With the driver's error as its cause: the answer tells a person what to do, the log tells us why."""
    match error:
        case IntegrityError():
            said: AuteurError = Conflict("the name was taken just now; choose another or try again")
        case DBAPIError() | OSError():
            said = Unavailable("the database does not take writes; try again", cause=cause_of(error))
        case _:
            return error
    said.__cause__ = error
    return said
