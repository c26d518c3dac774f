"""Reading the event stream again, patiently: a hiccup of the bus must not cost a client what is still stored."""

import asyncio
from collections.abc import AsyncIterator

from auteur_contracts.errors import Unavailable
from auteur_kit.bus import Bus, Delivery

_TRIES = 4
_PAUSE = 0.25


async def replay(bus: Bus, subject: str, *, after: int, until: int) -> AsyncIterator[Delivery]:
    """As `Bus.replay`, going on where it was interrupted. Raises Unavailable when the bus stays away."""
    for attempt in range(1, _TRIES + 1):
        try:
            async for delivery in bus.replay(subject, after=after, until=until):
                after = delivery.sequence
                yield delivery
        except Unavailable:
            if attempt == _TRIES:
                raise
            await asyncio.sleep(_PAUSE * attempt)
        else:
            return
