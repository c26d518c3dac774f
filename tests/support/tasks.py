"""Loops of a program under test, in the background of a story."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable


@contextlib.asynccontextmanager
async def running(work: Awaitable[None]) -> AsyncIterator[None]:
    """Cancelled at the end of the block; that it ended by itself before fails the test."""
    task = asyncio.ensure_future(work)
    try:
        yield
        assert not task.done(), "the loop ended by itself"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
