"""The stream of facts by cursor: where it stands, what was missed, what comes."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamInfo
from nats.js.errors import NotFoundError

from auteur_contracts.errors import Unavailable
from auteur_kit import streams
from auteur_kit.backoff import Backoff
from auteur_kit.bus.connection import FAULTS, Connection, heeding_cancel
from auteur_kit.bus.consuming import Delivery, pull
from auteur_kit.logs import get_logger

log = get_logger()
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_STREAM_PAUSE = 0.2
"""Between looks for a stream that the control plane has not made yet: a studio that starts waits for it."""


class _NoStream(Unavailable):
    """The control plane has not made it yet."""


@dataclass(frozen=True)
class Position:
    epoch: str
    """Changes when the stream was rebuilt: its sequences then mean other events."""
    first: int
    """The oldest sequence still stored."""
    last: int


class EventLog:
    """Read by as many as like: nothing here is remembered on the server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def position(self) -> Position:
        """Where the stream stands now. Raises Unavailable, also while there is no stream."""
        try:
            info = await self._info()
        except NotFoundError as error:
            await self._connection.on_missing_stream(streams.EVENTS)
            raise _NoStream("the event stream is not there yet: the control plane makes it") from error
        except FAULTS as error:
            raise Unavailable(f"NATS: {error!r}") from error
        # A memory stream begins anew with its server, perhaps with the same creation time: the server's id, new at
        # every boot, tells two lives apart.
        server = str(self._connection.nats._server_info.get("server_id", ""))  # noqa: SLF001  # it has no public name
        marker = f"{server}/{info.created}".encode()
        return Position(
            epoch=hashlib.sha256(marker).hexdigest()[:12],
            first=info.state.first_seq,
            last=info.state.last_seq,
        )

    async def _info(self) -> StreamInfo:
        with heeding_cancel():
            return await self._connection.js.stream_info(streams.EVENTS)

    async def replay(self, filter_subject: str, *, after: int, until: int) -> AsyncIterator[Delivery]:
        """The stored events with `after` < sequence <= `until`, in order. Raises Unavailable when it is interrupted."""
        try:
            name, pending = await self._read_from(after + 1, filter_subject, inactive=5.0)
            if not pending:
                return
            async for batch in pull(self._connection, streams.EVENTS, name, 256):
                for delivery in batch:
                    if delivery.sequence <= until:
                        yield delivery
                    if delivery.sequence >= until or not delivery.pending:
                        return
        except FAULTS as error:
            raise Unavailable(f"the event stream was interrupted: {error!r}") from error

    async def follow(
        self,
        handle: Callable[[list[Delivery], str], Awaitable[None]],
        on_reset: Callable[[Position], Awaitable[None]],
    ) -> None:
        """Every event from now on, `handle(batch, epoch)`, until cancelled. `on_reset(position)` is called first, and
        whenever events may have been missed: the stream was rebuilt, or we fell behind what it keeps.
        """
        epoch, last = "", 0
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                here = await self.position()
                if here.epoch != epoch or here.first > last + 1:
                    epoch, last = here.epoch, here.last
                    await on_reset(here)
                name, _ = await self._read_from(last + 1, "", inactive=30.0)
                async for batch in pull(self._connection, streams.EVENTS, name, 512):
                    backoff.reset()
                    last = batch[-1].sequence
                    await handle(batch, epoch)
            except _NoStream:
                await asyncio.sleep(_STREAM_PAUSE)
                continue
            except (*FAULTS, Unavailable) as error:
                log.debug("event stream interrupted", error=repr(error))
            except Exception:  # the outermost loop: what the handler missed it asks for after the reset
                log.exception("event handler failed")
                epoch = ""
            await asyncio.sleep(backoff.next())

    async def _read_from(self, sequence: int, filter_subject: str, *, inactive: float) -> tuple[str, int]:
        """An ephemeral consumer: its name, and how many messages it has to give. It goes `inactive` seconds after it
        was last asked.
        """
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=sequence,
            filter_subject=filter_subject or None,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=inactive,
            mem_storage=True,
        )
        with heeding_cancel():
            info = await self._connection.js.add_consumer(streams.EVENTS, config)
        return info.name, info.num_pending or 0
