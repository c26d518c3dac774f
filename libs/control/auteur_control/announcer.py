"""Says facts after their status was written, in order. Events may be lost; what a reader missed it asks for."""

import asyncio
from collections import deque

from auteur_contracts.events import Envelope
from auteur_kit import telemetry
from auteur_kit.bus import Bus
from auteur_kit.logs import get_logger

log = get_logger()
_MOST = 20_000
"""Facts kept while NATS is away; older ones are dropped, readers then begin with a snapshot anyway."""
_AT_ONCE = 32


class Announcer:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: deque[tuple[Envelope, str]] = deque(maxlen=_MOST)
        """With the traceparent of what led to it."""
        self._wake = asyncio.Event()

    def say(self, *envelopes: Envelope) -> None:
        cause = telemetry.traceparent()
        self._waiting.extend((envelope, cause) for envelope in envelopes)
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _AT_ONCE))]
                # Written to one connection in this order, so stored in this order; only a retry may change places,
                # and readers go by the version.
                told = (self._bus.publish_fact(envelope, traceparent=cause) for envelope, cause in batch)
                await asyncio.gather(*told)
