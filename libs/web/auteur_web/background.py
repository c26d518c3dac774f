"""What a service does beside answering."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any

from auteur_contracts.errors import AuteurError
from auteur_kit.logs import get_logger

log = get_logger()


@contextlib.asynccontextmanager
async def running_tasks(work: Mapping[str, Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Runs them, by name, while the context is open."""
    tasks = [asyncio.create_task(_guarded(name, one), name=name) for name, one in work.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _guarded(name: str, work: Coroutine[Any, Any, None]) -> None:
    """A background loop that ends by a bug must be seen: nothing else would notice."""
    try:
        await work
    except Exception:
        log.critical("background task failed", task=name, exc_info=True)
        raise


async def periodically(work: Callable[[], Awaitable[None]], seconds: float) -> None:
    """One that cannot be done now is done the next time."""
    while True:
        with contextlib.suppress(AuteurError):
            await work()
        await asyncio.sleep(seconds)
