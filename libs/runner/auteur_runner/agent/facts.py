"""Facts leave in order and in the background: an event stream that is slow or away never holds up a run."""

import asyncio
from collections import deque

from auteur_contracts.events import Envelope
from auteur_contracts.subjects import Fact
from auteur_kit.bus import Bus
from auteur_kit.logs import get_logger

log = get_logger()
_WAITING = 500
"""Facts kept while NATS is away."""
_SURPASSED = (Fact.PROGRESSED, Fact.PREVIEWED)
"""The newest tells all there is to tell."""


class Facts:
    """A queue in front of the bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: deque[Envelope] = deque()
        self._news = asyncio.Event()
        self._settled = asyncio.Event()
        """Nothing waits, and nothing is under way."""
        self._settled.set()

    def say(self, envelope: Envelope) -> None:
        """Never waits. When too many do, an old one goes: the oldest progress, for the newest is the better one."""
        if len(self._waiting) >= _WAITING:
            self._make_room()
        self._waiting.append(envelope)
        self._settled.clear()
        self._news.set()

    def _make_room(self) -> None:
        surpassed = (index for index, envelope in enumerate(self._waiting) if envelope.data.fact in _SURPASSED)
        logged = (index for index, envelope in enumerate(self._waiting) if envelope.data.fact is Fact.LOGGED)
        index = next(surpassed, next(logged, 0))
        dropped = self._waiting[index]
        del self._waiting[index]
        log.debug("event dropped", type=dropped.type, job=dropped.name)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._news.wait()
            while self._waiting:
                await self._send(self._waiting.popleft())
            self._news.clear()
            self._settled.set()

    async def _send(self, envelope: Envelope) -> None:
        try:
            await self._bus.publish_fact(envelope)
        except Exception:  # the outermost loop: one fact that cannot be said must not silence the others
            log.exception("event lost", type=envelope.type, job=envelope.name)

    async def settle(self, seconds: float) -> None:
        """Before leaving: what waits is sent, if it can be."""
        try:
            async with asyncio.timeout(seconds):
                await self._settled.wait()
        except TimeoutError:
            log.warning("events lost on leaving", count=len(self._waiting))
