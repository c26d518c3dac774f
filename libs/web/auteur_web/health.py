"""Checks of what a service depends on, as sentences."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from auteur_contracts.errors import AuteurError

OK = "ok"
_PATIENCE_SECONDS = 3.0


async def check(answer: Awaitable[Any]) -> str:
    """`ok`, or what is wrong with whoever should have answered."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await answer
    except AuteurError as error:
        return error.message
    except TimeoutError:
        return f"no answer within {_PATIENCE_SECONDS:.0f} s"
    return OK
