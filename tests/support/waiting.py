"""Waiting for a condition with a deadline: the only place where tests sleep.

A deadline ends a test that hangs; it does not measure. It is generous enough for a machine that has ten times the work
it can do, and what may take as long as the machine needs (hundreds of jobs, images) says how far it is: with `progress`
the deadline runs from the last change of what that returns.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")
Progress = Callable[[], object]
_PAUSE = 0.02


class _Deadline:
    def __init__(self, what: str, seconds: float, progress: Progress | None) -> None:
        self._what, self._seconds = what, seconds
        self._progress = progress or (lambda: None)
        self._reached: object = None
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        if (reached := self._progress()) != self._reached:
            self._reached, self._end = reached, time.monotonic() + self._seconds
        if time.monotonic() > self._end:
            stuck = "" if self._reached is None else f", which stays at {self._reached}"
            raise AssertionError(f"waited {self._seconds:.0f} s for {self._what}{stuck}")


def wait_for(
    condition: Callable[[], T | None], what: str, *, seconds: float = 60.0, progress: Progress | None = None
) -> T:
    """The first truthy value of `condition()`. Fails the test, saying `what` was waited for."""
    deadline = _Deadline(what, seconds, progress)
    while True:
        if value := condition():
            return value
        deadline.check()
        time.sleep(_PAUSE)


@overload
async def eventually(
    condition: Callable[[], Awaitable[T | None]], what: str, *, seconds: float = ..., progress: Progress | None = ...
) -> T: ...
@overload
async def eventually(
    condition: Callable[[], T | None], what: str, *, seconds: float = ..., progress: Progress | None = ...
) -> T: ...
async def eventually(
    condition: Callable[[], Awaitable[T | None] | T | None],
    what: str,
    *,
    seconds: float = 60.0,
    progress: Progress | None = None,
) -> T:
    """As `wait_for`, for tests with an event loop; `condition` may be a coroutine function."""
    deadline = _Deadline(what, seconds, progress)
    while True:
        result = condition()
        value = await result if inspect.isawaitable(result) else result
        if value:
            return value
        deadline.check()
        await asyncio.sleep(_PAUSE)
