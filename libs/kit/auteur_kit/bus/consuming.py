"""Durable pull consumers: our own pull loop, because the library's does not survive a killed server
(nats-io/nats.py#504).
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError

from auteur_contracts.errors import Unavailable
from auteur_kit import telemetry, trace
from auteur_kit.backoff import Backoff
from auteur_kit.bus import spans
from auteur_kit.bus.connection import FAULTS, Connection, heeding_cancel
from auteur_kit.logs import get_logger

log = get_logger()
_PULL_EXPIRES = 5.0
_PULL_SILENCE = _PULL_EXPIRES + 2.0
"""Seconds without a message or a status after which a pull is taken for dead (nats-io/nats.py#504)."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


@dataclass(frozen=True)
class Delivery:
    """One message of a stream."""

    subject: str
    data: bytes
    headers: dict[str, str]
    sequence: int
    deliveries: int
    """1 at the first delivery."""
    pending: int
    """Messages that wait behind this one."""
    _message: Msg

    @property
    def traceparent(self) -> str:
        """What its sender's span was; empty where nobody traces it."""
        return self.headers.get(trace.HEADER, "")

    def processing(self) -> AbstractContextManager[telemetry.Span]:
        """Around what is done about it: a span, where its sender has one."""
        return spans.of_consumer(self.subject, self.traceparent)

    async def ack(self) -> None:
        await self._answer(self._message.ack)

    async def nak(self, delay: float = 0) -> None:
        """Deliver again, after `delay` seconds."""
        await self._answer(lambda: self._message.nak(delay=delay or None))

    async def term(self) -> None:
        """Never deliver again: the message cannot be understood."""
        await self._answer(self._message.term)

    async def _answer(self, how: Callable[[], Awaitable[None]]) -> None:
        # A lost acknowledgement means a second delivery, which every consumer of ours survives.
        with contextlib.suppress(*FAULTS), heeding_cancel():
            await how()


@dataclass(frozen=True)
class Consumer:
    """A durable pull consumer of a stream."""

    stream: str
    durable: str
    filter_subject: str
    batch: int = 64
    """Messages in hand at once; 1 takes no second before the first was handled."""
    ack_wait: float = 30.0
    """Seconds after which an unacknowledged message is delivered again."""
    max_ack_pending: int = 1000


async def consume(
    connection: Connection, consumer: Consumer, handle: Callable[[list[Delivery]], Awaitable[None]]
) -> None:
    """Runs until cancelled, through every failure of the server. `handle` gets 1 to `batch` messages and answers them
    itself; an exception of it leaves them unacknowledged, to be delivered again after `ack_wait`.
    """
    config = ConsumerConfig(
        durable_name=consumer.durable,
        filter_subject=consumer.filter_subject,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=consumer.ack_wait,
        max_ack_pending=consumer.max_ack_pending,
    )
    backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
    while True:
        try:
            with heeding_cancel():
                await connection.js.add_consumer(consumer.stream, config)
            async for batch in pull(connection, consumer.stream, consumer.durable, consumer.batch):
                backoff.reset()
                try:
                    await handle(batch)
                except Unavailable as error:
                    log.warning("consumer waits", consumer=consumer.durable, error=str(error))
                except Exception:  # the outermost loop: the messages come again
                    log.exception("consumer failed", consumer=consumer.durable)
        except NotFoundError:
            await connection.on_missing_stream(consumer.stream)
        except FAULTS as error:
            log.debug("pull interrupted", consumer=consumer.durable, error=repr(error))
        await asyncio.sleep(backoff.next())


async def pull(connection: Connection, stream: str, consumer: str, batch: int) -> AsyncIterator[list[Delivery]]:
    """Batches as they come. Ends by an error when the server went away; the caller starts anew."""
    inbox = connection.nats.new_inbox()
    subscription = await connection.nats.subscribe(inbox, pending_msgs_limit=-1)
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
    ask = json.dumps({"batch": batch, "expires": int(_PULL_EXPIRES * 1e9)}).encode()
    try:
        while True:
            await connection.nats.publish(subject, ask, reply=inbox)
            left, ended = batch, False
            while left > 0 and not ended:
                async with connection.asking(_PULL_SILENCE):
                    got = [await subscription.next_msg(_PULL_SILENCE)]
                    while subscription.pending_msgs:
                        got.append(await subscription.next_msg(_PULL_SILENCE))
                messages = [message for message in got if not _is_status(message)]
                ended = len(messages) < len(got)
                left -= len(messages)
                if messages:
                    yield [_delivery(message) for message in messages]
                _raise_for_status(got)
    finally:
        with contextlib.suppress(*FAULTS):
            await subscription.unsubscribe()


def _delivery(message: Msg) -> Delivery:
    meta = message.metadata
    return Delivery(
        subject=message.subject,
        data=message.data,
        headers=message.headers or {},
        sequence=meta.sequence.stream,
        deliveries=meta.num_delivered,
        pending=meta.num_pending,
        _message=message,
    )


def _is_status(message: Msg) -> bool:
    return bool(message.headers and "Status" in message.headers and not message.reply.startswith("$JS.ACK"))


def _raise_for_status(messages: list[Msg]) -> None:
    """408 and 404 end one pull request in peace; anything else (409 consumer deleted, 503 no responders) is a fault."""
    for message in messages:
        if _is_status(message) and (message.headers or {}).get("Status") not in ("404", "408", "100"):
            headers = message.headers or {}
            raise NatsError(f"pull ended: {headers.get('Status')} {headers.get('Description', '')}")
