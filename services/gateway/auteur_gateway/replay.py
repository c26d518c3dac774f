"""Reading the event stream again, patiently: a hiccup of the bus must not cost a client what is still stored."""

import asyncio
from collections.abc import AsyncGenerator

from auteur_contracts.errors import Unavailable
from auteur_kit.backoff import Backoff
from auteur_kit.bus import Delivery, EventLog

_TRIES = 4


async def replay(events: EventLog, subject: str, *, after: int, until: int) -> AsyncGenerator[Delivery, None]:
    """As `EventLog.replay`, going on where it was interrupted. Raises Unavailable when the bus stays away."""
    attempt, backoff = 0, Backoff(0.25, 1.0)
    while True:
        attempt += 1
        try:
            async for delivery in events.replay(subject, after=after, until=until):
                after, attempt = delivery.sequence, 0
                yield delivery
        except Unavailable:
            if attempt == _TRIES:
                raise
            if not attempt:
                backoff.reset()
            await asyncio.sleep(backoff.next())
        else:
            return
