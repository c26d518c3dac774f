"""The outbox relay: messages that were committed reach the bus, in order within each lane, however often it takes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta

from auteur_contracts.errors import AuteurError, Unavailable
from auteur_kit import telemetry
from auteur_kit.bus import Bus, TooLarge
from auteur_kit.clock import Clock
from auteur_kit.logs import get_logger
from auteur_sql.outbox import Message, Outbox
from auteur_sql.reader import Reader
from auteur_sql.writer import Writer

log = get_logger()
_LANES = 64
_SWEEP_SECONDS = 5.0
_RESEND_SECONDS = 0.5
_OVERDUE = timedelta(seconds=10)
"""Age after which a row that nobody here has in hand is taken up: its process died."""


def _ignore(_message: Message, _error: AuteurError) -> None:
    pass


class Relay:
    def __init__(self, bus: Bus, outbox: Outbox, reader: Reader, writer: Writer, now: Clock) -> None:
        self._bus = bus
        self._outbox = outbox
        self._reader = reader
        self._writer = writer
        self._now = now
        self._lanes: tuple[asyncio.Queue[Message], ...] = tuple(asyncio.Queue() for _ in range(_LANES))
        self._in_hand: set[int] = set()
        self._sent: list[int] = []
        self._any_sent = asyncio.Event()
        self.on_refused: Callable[[Message, AuteurError], None] = _ignore
        """Told of a message that the bus will never take."""

    def send(self, messages: Sequence[Message]) -> None:
        """These were committed: they are on their way now."""
        for message in messages:
            if message.id not in self._in_hand:
                self._in_hand.add(message.id)
                self._lanes[hash(message.lane) % _LANES].put_nowait(message)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """What a process that ended left is first in its lanes: nothing that is committed from now on overtakes it."""
        await self._take_up(timedelta(0))
        tasks = [asyncio.create_task(self._send_lane(lane), name="outbox lane") for lane in self._lanes]
        tasks += [asyncio.create_task(self._remove_sent(), name="outbox removal"), asyncio.create_task(self._sweep())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_lane(self, lane: asyncio.Queue[Message]) -> None:
        while True:
            message = await lane.get()
            await self._deliver(message)
            self._sent.append(message.id)
            self._any_sent.set()

    async def _deliver(self, message: Message) -> None:
        while True:
            try:
                with telemetry.carry(message.traceparent):
                    await self._bus.publish(message.subject, message.payload.encode(), msg_id=message.msg_id)
            except Unavailable as error:
                log.warning("outbox message delayed", subject=message.subject, error=str(error))
                await asyncio.sleep(_RESEND_SECONDS)
            except TooLarge as error:
                log.error("outbox message dropped", subject=message.subject, error=error.message)  # noqa: TRY400
                self.on_refused(message, error)
                return
            else:
                return

    async def _remove_sent(self) -> None:
        """Sent rows go in the company of other writes; one that comes back after a crash is a duplicate by its id."""
        while True:
            await self._any_sent.wait()
            self._any_sent.clear()
            ids, self._sent = self._sent, []
            try:
                await self._writer.change(self._outbox.remove(ids))
            except AuteurError as error:
                log.warning("sent messages not removed from the outbox", error=str(error))
            self._in_hand.difference_update(ids)
            await asyncio.sleep(0.05)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            await self._take_up(_OVERDUE)

    async def _take_up(self, overdue: timedelta) -> None:
        """The oldest first, however many there are."""
        before, last = self._now() - overdue, 0
        try:
            while rows := await self._reader.rows(self._outbox.unsent(before, last)):
                self.send([Message.of(row) for row in rows])
                last = rows[-1]["id"]
        except AuteurError as error:
            log.warning("outbox not swept", error=str(error))
