"""What happens again and again, and must neither end the process nor stop because of one fault."""

import asyncio
from collections.abc import Awaitable, Callable

from auteur_contracts.errors import Unavailable
from auteur_control.errors import ResourceError
from auteur_kit.logs import get_logger

log = get_logger()
LATER = (Unavailable, ResourceError)
"""Errors that are no fault of ours, and pass."""


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
