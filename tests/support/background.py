"""What runs until it is cancelled, for as long as a block."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any


@contextlib.asynccontextmanager
async def running(run: Callable[[Callable[[], None]], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """`run(ready)` calls `ready` when the block may begin. Leaving the block ends it without goodbye; what it failed by
    is raised.
    """
    up = asyncio.Event()
    task = asyncio.create_task(run(up.set))
    ready = asyncio.create_task(up.wait())
    try:
        async with asyncio.timeout(60):
            await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield
    finally:
        ready.cancel()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
