"""Facts are published in order and in the background, so that a slow or absent event stream never holds up a run."""

import asyncio
from collections import deque

from auteur_contracts.events import Envelope
from auteur_contracts.subjects import Fact
from auteur_kit.bus import Bus
from auteur_kit.logs import get_logger

log = get_logger()
_QUEUE_LIMIT = 500
"""How many facts are kept while NATS is away."""
_SUPERSEDED = (Fact.PROGRESSED, Fact.PREVIEWED)
"""A newer fact of these kinds makes the older ones superfluous."""


class FactPublisher:
    """A queue in front of the bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: deque[Envelope] = deque()
        self._news = asyncio.Event()
        self._flushed = asyncio.Event()
        """Set while no fact is waiting or being sent."""
        self._flushed.set()

    def publish(self, envelope: Envelope) -> None:
        """Never blocks. When the queue is full an old fact is dropped: first the oldest progress, because a newer one
        says more."""
        if len(self._waiting) >= _QUEUE_LIMIT:
            self._make_room()
        self._waiting.append(envelope)
        self._flushed.clear()
        self._news.set()

    def _make_room(self) -> None:
        superseded = (index for index, envelope in enumerate(self._waiting) if envelope.data.fact in _SUPERSEDED)
        logged = (index for index, envelope in enumerate(self._waiting) if envelope.data.fact is Fact.LOGGED)
        index = next(superseded, next(logged, 0))
        dropped = self._waiting[index]
        del self._waiting[index]
        log.debug("fact dropped", type=dropped.type, job=dropped.name)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._news.wait()
            while self._waiting:
                await self._send(self._waiting.popleft())
            self._news.clear()
            self._flushed.set()

    async def _send(self, envelope: Envelope) -> None:
        try:
            await self._bus.publish_fact(envelope)
        except Exception:  # the outermost loop: one fact that cannot be sent must not stop the others
            log.exception("fact lost", type=envelope.type, job=envelope.name)

    async def flush(self, seconds: float) -> None:
        """Waits until everything queued was sent, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._flushed.wait()
        except TimeoutError:
            log.warning("facts lost on exit", count=len(self._waiting))
