"""What is said over a connection: messages that are stored, words for whoever listens, questions, small documents."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

from nats.aio.msg import Msg
from nats.errors import MaxPayloadError, NoRespondersError
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import KeyNotFoundError, NotFoundError
from pydantic import BaseModel, ValidationError

from auteur_contracts.errors import AuteurError, Code, Unavailable
from auteur_contracts.events import Envelope
from auteur_kit import telemetry, trace
from auteur_kit.backoff import Backoff
from auteur_kit.bus import consuming, spans
from auteur_kit.bus.connection import ASK_TIMEOUT, FAULTS, NO_STREAM, Connection, encode, heeding_cancel
from auteur_kit.bus.consuming import Consumer, Delivery
from auteur_kit.logs import get_logger

log = get_logger()
MSG_ID = "Nats-Msg-Id"


class TooLarge(AuteurError):
    """NATS will not take this message, now or later."""

    default_code = Code.TOO_LARGE


class Listener:
    """A subscription that can be ended."""

    def __init__(self, subscription: Any) -> None:
        self._subscription = subscription

    async def stop(self) -> None:
        with contextlib.suppress(*FAULTS):
            await self._subscription.unsubscribe()


class Bus(Connection):
    """A connection, and what we say and hear over it."""

    _unreadable = 0

    # ── saying ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def publish(
        self,
        subject: object,
        payload: BaseModel | bytes,
        *,
        msg_id: str,
        headers: dict[str, str] | None = None,
        patience: float = 30.0,
    ) -> int:
        """Returns the stream sequence once the server has stored the message, trying for `patience` seconds.

        A retry is not a second message: the server drops what it has seen under the same `msg_id` within two minutes.
        Raises Unavailable when the patience is at its end, and TooLarge at once.
        """
        carrier = {MSG_ID: msg_id, **(headers or {})}
        parent = carrier.get(trace.HEADER) or telemetry.traceparent()
        with spans.of_producer(str(subject), parent, msg_id):
            _inject(carrier)
            data = encode(payload)
            self._check_size(subject, data, carrier)
            return await self._publish(str(subject), data, carrier, patience)

    async def _publish(self, subject: str, data: bytes, headers: dict[str, str], patience: float) -> int:
        deadline = time.monotonic() + patience
        backoff = Backoff(0.05, 1.0)
        pause = backoff.next()
        while True:
            try:
                left = min(ASK_TIMEOUT, max(deadline - time.monotonic(), pause))
                async with self.asking(left):
                    ack = await self.js.publish(subject, data, timeout=left, headers=headers)
            except FAULTS as error:
                if isinstance(error, NO_STREAM):
                    await self.on_missing_stream(subject)
                if time.monotonic() + pause > deadline:
                    raise Unavailable(_not_taken(subject, error)) from error
            else:
                return ack.seq
            await asyncio.sleep(pause)
            pause = backoff.next()

    def _check_size(self, subject: object, data: bytes, headers: dict[str, str]) -> None:
        """The server counts the headers too, and ends the connection of who sends more than it takes."""
        size = len(data) + sum(len(name) + len(value) + 4 for name, value in headers.items()) + len("NATS/1.0\r\n\r\n")
        if size > self.nats.max_payload:
            raise TooLarge(f"a message on {subject} has {size} bytes; this NATS takes at most {self.nats.max_payload}")

    async def publish_fact(self, envelope: Envelope, *, traceparent: str = "", patience: float = 5.0) -> None:
        """Best effort: events may be lost, so nothing waits long for one and nothing fails by one."""
        headers = {trace.HEADER: traceparent} if traceparent else None
        try:
            await self.publish(envelope.nats_subject, envelope, msg_id=envelope.id, headers=headers, patience=patience)
        except (Unavailable, TooLarge) as error:
            log.warning("event lost", type=envelope.type, job=envelope.name, error=str(error))

    async def say(self, subject: object, payload: BaseModel | bytes) -> None:
        """Core NATS: whoever listens now hears it; dropped when there is no connection."""
        if self.connected:
            with contextlib.suppress(*FAULTS), heeding_cancel():
                await self.nats.publish(str(subject), encode(payload))

    async def request(self, subject: object, payload: BaseModel | bytes, *, timeout: float = 5.0) -> bytes:  # noqa: ASYNC109
        """One question, one answer within `timeout` seconds. Raises Unavailable when nobody answers, TooLarge when it
        cannot be asked.
        """
        with spans.of_request(str(subject)):
            headers = _inject({})
            try:
                async with self.asking(timeout):
                    message = await self.nats.request(
                        str(subject), encode(payload), timeout=timeout, headers=headers or None
                    )
            except NoRespondersError as error:
                raise Unavailable(f"nobody answers on {subject}") from error
            except MaxPayloadError as error:
                raise TooLarge(f"a question on {subject} is larger than this NATS takes") from error
            except FAULTS as error:
                raise Unavailable(f"no answer on {subject} within {timeout:.0f} s") from error
            return bytes(message.data)

    # ── hearing ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def listen(self, subject: object, handle: Callable[[str, bytes], Awaitable[None]]) -> Listener:
        """Calls `handle(subject, data)` for every core NATS message; subscriptions survive reconnects."""

        async def on_message(message: Msg) -> None:
            try:
                await handle(message.subject, message.data)
            except ValidationError as error:
                self._tell_unreadable(message.subject, error)
            except Exception:  # the outermost loop of a subscription: one bad message must not end it
                log.exception("listener failed", subject=message.subject)

        return await self._subscribe(subject, on_message)

    async def answer(self, subject: object, handle: Callable[[str, bytes], Awaitable[BaseModel | bytes]]) -> Listener:
        """Serves request and reply. Requests are answered concurrently; one that fails gets no answer."""
        tasks: set[asyncio.Task[None]] = set()

        async def reply(message: Msg) -> None:
            try:
                with spans.of_answer(message.subject, (message.headers or {}).get(trace.HEADER, "")):
                    await message.respond(encode(await handle(message.subject, message.data)))
            except ValidationError as error:
                self._tell_unreadable(message.subject, error)
            except Exception:  # as above
                log.exception("request failed", subject=message.subject)

        async def on_message(message: Msg) -> None:
            task = asyncio.create_task(reply(message))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        return await self._subscribe(subject, on_message)

    def _tell_unreadable(self, subject: str, error: ValidationError) -> None:
        """The first, the tenth, the hundredth, …: nobody fills a disk with what we say of their nonsense."""
        self._unreadable += 1
        if f"{self._unreadable}".strip("0") == "1":
            log.warning("message not understood", subject=subject, error=str(error)[:300], until_now=self._unreadable)

    async def _subscribe(self, subject: object, on_message: Callable[[Msg], Awaitable[None]]) -> Listener:
        """The server knows of the subscription when this returns (or will after a reconnect)."""
        subscription = await self.nats.subscribe(str(subject), cb=on_message)
        with contextlib.suppress(*FAULTS), heeding_cancel():
            for _ in range(2):  # the library's PING overtakes what waits to be written; the second one finds it written
                await self.nats.flush(2)
        return Listener(subscription)

    async def consume(self, consumer: Consumer, handle: Callable[[list[Delivery]], Awaitable[None]]) -> None:
        """Runs until cancelled, through every failure of the server. `handle` gets 1 to `batch` messages and answers
        them itself; an exception of it leaves them unacknowledged, to be delivered again after `ack_wait`.
        """
        await consuming.consume(self, consumer, handle)

    # ── small shared documents ────────────────────────────────────────────────────────────────────────────────────

    async def put_document(self, bucket: str, key: str, payload: BaseModel | bytes) -> None:
        """Key-value, newest only, rebuilt by its writer: the bucket lives in memory."""
        try:
            with heeding_cancel():
                store = await self.js.create_key_value(KeyValueConfig(bucket, history=1, storage=StorageType.MEMORY))
                await store.put(key, encode(payload))
        except FAULTS as error:
            raise Unavailable(f"NATS: {error!r}") from error

    async def get_document(self, bucket: str, key: str) -> bytes | None:
        """None when nobody wrote it (yet, or since NATS restarted)."""
        try:
            with heeding_cancel():
                store = await self.js.key_value(bucket)
                entry = await store.get(key)
        except (KeyNotFoundError, NotFoundError):
            return None
        except FAULTS as error:
            raise Unavailable(f"NATS: {error!r}") from error
        return entry.value


def _inject(headers: dict[str, str]) -> dict[str, str]:
    """The active span's; a header that was given stays where none is active."""
    if parent := telemetry.traceparent():
        headers[trace.HEADER] = parent
    return headers


def _not_taken(subject: str, error: Exception) -> str:
    if isinstance(error, NO_STREAM):
        return f"NATS did not take a message on {subject}: it has no stream for it yet; the control plane makes it"
    return f"NATS did not take a message on {subject}: {error!r}"
