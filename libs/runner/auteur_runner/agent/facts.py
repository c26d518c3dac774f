"""Facts leave in order and in the background: an event stream that is slow or away never holds up a run."""

import asyncio

from auteur_contracts.events import Envelope
from auteur_contracts.subjects import Fact
from auteur_kit.bus import Bus
from auteur_kit.logs import get_logger

log = get_logger()
_WAITING = 500
"""Facts kept while NATS is away; progress that old tells nobody anything."""


class Facts:
    """A queue in front of the bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._queue: asyncio.Queue[Envelope] = asyncio.Queue(_WAITING)

    def say(self, envelope: Envelope) -> None:
        """Never waits. The newest is dropped when too many wait."""
        try:
            self._queue.put_nowait(envelope)
        except asyncio.QueueFull:
            level = log.debug if envelope.data.fact in (Fact.PROGRESSED, Fact.LOGGED) else log.warning
            level("event dropped", type=envelope.type, job=envelope.name)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            envelope = await self._queue.get()
            try:
                await self._bus.publish_fact(envelope)
            except Exception:  # the outermost loop: one fact that cannot be said must not silence the others
                log.exception("event lost", type=envelope.type, job=envelope.name)
            finally:
                self._queue.task_done()

    async def settle(self, seconds: float) -> None:
        """Before leaving: what waits is sent, if it can be."""
        try:
            await asyncio.wait_for(self._queue.join(), seconds)
        except TimeoutError:
            log.warning("events lost on leaving", count=self._queue.qsize())
