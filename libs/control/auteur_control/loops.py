"""What happens beside the answering: again and again, where no fault must end it, or once, and nobody waits for it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from auteur_contracts.errors import Unavailable
from auteur_control.errors import ResourceError
from auteur_kit.logs import get_logger

log = get_logger()
LATER = (Unavailable, ResourceError)
"""Errors that are no fault of ours, and pass."""


class Background:
    """Work that nobody waits for: kept until it is done, as the event loop itself keeps no task."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def every(seconds: float, step: Callable[[], Awaitable[None]]) -> None:
    """Until cancelled, with that pause between the end of one step and the begin of the next."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await step()
        except LATER as error:
            log.warning("step failed", step=getattr(step, "__name__", repr(step)), error=str(error))
        except Exception:  # a fault of ours: told, and the next step may go well
            log.exception("step failed", step=getattr(step, "__name__", repr(step)))
