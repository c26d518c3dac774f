"""The outbox relay: commands that were committed reach the bus, in order for each job, however often it takes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta

from auteur_contracts.errors import AuteurError, Unavailable
from auteur_gateway.database import repository
from auteur_gateway.database.models import OutboxRow
from auteur_gateway.database.repository import Repository
from auteur_gateway.database.writer import Writer
from auteur_kit.bus import Bus, TooLarge
from auteur_kit.clock import Clock
from auteur_kit.logs import get_logger

log = get_logger()
_LANES = 64
_SWEEP = 5.0
_OVERDUE = timedelta(seconds=10)
"""Age after which a row that nobody here has in hand is taken up: its process died."""


def _nobody_cares(_row: OutboxRow, _why: AuteurError) -> None:
    pass


class Relay:
    def __init__(self, bus: Bus, repository: Repository, writer: Writer, now: Clock) -> None:
        self._bus = bus
        self._repository = repository
        self._writer = writer
        self._now = now
        self._lanes: tuple[asyncio.Queue[OutboxRow], ...] = tuple(asyncio.Queue() for _ in range(_LANES))
        self._in_hand: set[int] = set()
        self._sent: list[int] = []
        self._any_sent = asyncio.Event()
        self.on_refused: Callable[[OutboxRow, AuteurError], None] = _nobody_cares
        """Told of a command that the bus will never take."""

    def kick(self, commands: Sequence[OutboxRow]) -> None:
        """These were committed: send them now."""
        for command in commands:
            if command.id not in self._in_hand:
                self._in_hand.add(command.id)
                self._lanes[hash(command.lane) % _LANES].put_nowait(command)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._send(lane), name="outbox lane") for lane in self._lanes]
        tasks += [asyncio.create_task(self._forget(), name="outbox forget"), asyncio.create_task(self._sweep())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, lane: asyncio.Queue[OutboxRow]) -> None:
        while True:
            row = await lane.get()
            await self._deliver(row)
            self._sent.append(row.id)
            self._any_sent.set()

    async def _deliver(self, row: OutboxRow) -> None:
        while True:
            try:
                await self._bus.publish(row.subject, row.payload.encode(), msg_id=row.msg_id)
            except Unavailable as error:
                log.warning("command waits for the bus", subject=row.subject, error=str(error))
                await asyncio.sleep(0.5)
            except TooLarge as error:
                log.error("command dropped", subject=row.subject, error=error.message)  # noqa: TRY400  # no bug of ours
                self.on_refused(row, error)
                return
            else:
                return

    async def _forget(self) -> None:
        """Sent rows go in the company of other writes; one that comes back after a crash is a duplicate by its id."""
        while True:
            await self._any_sent.wait()
            self._any_sent.clear()
            ids, self._sent = self._sent, []
            try:
                await self._writer.change(repository.forget_sent(ids))
            except AuteurError as error:
                log.warning("sent commands not forgotten", error=str(error))
            self._in_hand.difference_update(ids)
            await asyncio.sleep(0.05)

    async def _sweep(self) -> None:
        overdue = timedelta(0)  # at start everything unsent is somebody's who died
        while True:
            try:
                self.kick(await self._repository.unsent(self._now() - overdue))
            except AuteurError as error:
                log.warning("outbox not swept", error=str(error))
            overdue = _OVERDUE
            await asyncio.sleep(_SWEEP)
