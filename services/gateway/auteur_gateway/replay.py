"""Reading the event stream again, patiently: a hiccup of the bus must not cost a client what is still stored."""

import asyncio
from collections.abc import AsyncGenerator

from auteur_contracts.errors import Unavailable
from auteur_kit.bus import Bus, Delivery

_TRIES = 4
_PAUSE = 0.25


async def replay(bus: Bus, subject: str, *, after: int, until: int) -> AsyncGenerator[Delivery, None]:
    """As `Bus.replay`, going on where it was interrupted. Raises Unavailable when the bus stays away."""
    attempt = 0
    while True:
        attempt += 1
        try:
            async for delivery in bus.replay(subject, after=after, until=until):
                after, attempt = delivery.sequence, 0
                yield delivery
        except Unavailable:
            if attempt == _TRIES:
                raise
            await asyncio.sleep(_PAUSE * attempt)
        else:
            return
