"""Waiting for a condition with a deadline: the only place where tests sleep."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")
_PAUSE = 0.02


def wait_for(condition: Callable[[], T], what: str, *, seconds: float = 15.0) -> T:
    """The first truthy value of `condition()`. Fails the test, saying `what` was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s for {what}")
        time.sleep(_PAUSE)


@overload
async def eventually(condition: Callable[[], Awaitable[T]], what: str, *, seconds: float = 15.0) -> T: ...


@overload
async def eventually(condition: Callable[[], T], what: str, *, seconds: float = 15.0) -> T: ...


async def eventually(condition: Callable[[], Any], what: str, *, seconds: float = 15.0) -> Any:
    """As `wait_for`, for tests with an event loop; `condition` may be a coroutine function."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        value = await result if isinstance(result, Awaitable) else result
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s for {what}")
        await asyncio.sleep(_PAUSE)
