"""NATS and JetStream, as thin as our needs: publish that is known to have arrived, loops that survive a killed server,
request and reply, replay by cursor. Nobody above this file catches an exception of the NATS library.
"""

import asyncio
import contextlib
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import nats
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError, NoRespondersError
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    KeyValueConfig,
    StorageType,
    StreamConfig,
    StreamInfo,
)
from nats.js.client import JetStreamContext
from nats.js.errors import KeyNotFoundError, NotFoundError
from opentelemetry import propagate
from pydantic import BaseModel

from auteur_contracts.errors import AuteurError, Code, Unavailable
from auteur_contracts.events import Envelope
from auteur_kit import streams
from auteur_kit.address import Address, address_of
from auteur_kit.logs import get_logger
from auteur_kit.settings import NatsSettings

log = get_logger()

MSG_ID = "Nats-Msg-Id"
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_REFUSED_STREAM = re.compile(r'permissions violation for publish to "\$js\.api\.stream\.create\.', re.IGNORECASE)
_FAULTS = (NatsError, TimeoutError, OSError)
_PULL_EXPIRES = 5.0
_PULL_SILENCE = _PULL_EXPIRES + 2.0
"""Seconds without a message or a status after which a pull is taken for dead (nats-io/nats.py#504)."""
_PUBLISH_TIMEOUT = 5.0
"""One try. The library's default is tight when the process is busy."""


class TooLarge(AuteurError):
    """NATS will not take this message, now or later."""

    default_code = Code.TOO_LARGE


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
        with contextlib.suppress(*_FAULTS), _heeding_cancel():
            await how()


@contextlib.contextmanager
def _heeding_cancel() -> Iterator[None]:
    """Around everything that waits for the library: it waits by `asyncio.wait_for`, which before Python 3.12 forgets a
    cancellation that meets the answer (https://github.com/python/cpython/issues/81839). The task would never end.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    yield
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError


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


def encode(payload: BaseModel | bytes) -> bytes:
    if isinstance(payload, bytes):
        return payload
    return payload.model_dump_json(exclude_none=True).encode()


class Bus:
    """One connection. Reconnects for ever; `connected` says how it is now."""

    def __init__(self, client: NatsClient) -> None:
        self._nats = client
        self._js: JetStreamContext = client.jetstream()
        self.connected_since = time.monotonic()
        """`time.monotonic()` of the last connect: silence before it proves nothing about anybody."""
        self._ensured = asyncio.Lock()
        self._asked: set[asyncio.Timeout] = set()
        self._may_make_streams = True
        """False once the server has refused it: on a cluster one program's user may, and that program does."""

    # ── connection ────────────────────────────────────────────────────────────────────────────────────────────────

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, settings: NatsSettings, *, name: str) -> AsyncIterator[Self]:
        """Raises Unavailable when NATS cannot be reached within `connect_timeout`, with what was wrong at last."""
        client = NatsClient()
        holder: list[Self] = []
        address = address_of(settings)
        last: Exception | None = None

        # The library stops reconnecting for ever when a callback raises (nats-io/nats.py#204): they only log.
        async def on_error(error: Exception) -> None:
            nonlocal last
            if isinstance(error, ConnectionError) and last is not None and _is_refusal(last):
                return  # the server hung up before its words were read
            for bus in holder:
                bus._heed_refusal(error)  # noqa: SLF001  # this class
            news = repr(error) != repr(last)
            last = error
            if news and holder:
                log.warning("nats error", error=_why(address, error))
            else:
                log.debug("nats error", error=_why(address, error))

        async def on_disconnect() -> None:
            log.warning("nats disconnected")
            for bus in holder:
                bus._give_up_what_was_asked()  # noqa: SLF001  # this class

        async def on_reconnect() -> None:
            nonlocal last
            last = None
            log.info("nats reconnected")
            for bus in holder:
                bus.connected_since = time.monotonic()

        patience = settings.connect_timeout.total_seconds()
        try:
            async with asyncio.timeout(patience):
                await client.connect(
                    address.url,
                    name=name,
                    user=address.user,
                    password=address.password,
                    token=address.token,
                    inbox_prefix=_inbox_of(address),
                    error_cb=on_error,
                    disconnected_cb=on_disconnect,
                    reconnected_cb=on_reconnect,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.2,  # type: ignore[arg-type]  # seconds; a float works and is what we want
                    ping_interval=5,
                    max_outstanding_pings=2,
                    pending_size=16 * 1024**2,
                )
        except (TimeoutError, nats.errors.Error, OSError) as error:
            with contextlib.suppress(Exception):
                await client.close()
            raise Unavailable(_not_reached(address, last or error, patience)) from error
        bus = cls(client)
        holder.append(bus)
        try:
            yield bus
        finally:
            with contextlib.suppress(*_FAULTS):
                async with asyncio.timeout(1):
                    await client.flush()
            with contextlib.suppress(*_FAULTS):
                async with asyncio.timeout(2):
                    await client.close()

    def _give_up_what_was_asked(self) -> None:
        now = asyncio.get_running_loop().time()
        for scope in self._asked:
            if not scope.expired():
                scope.reschedule(now)

    @contextlib.asynccontextmanager
    async def _asking(self, seconds: float) -> AsyncIterator[None]:
        """Ends what happens inside by TimeoutError after `seconds`, or as soon as the connection is lost: what one
        server was asked, its successor does not answer.
        """
        async with asyncio.timeout(seconds) as scope:
            self._asked.add(scope)
            try:
                with _heeding_cancel():
                    yield
            finally:
                self._asked.discard(scope)

    @property
    def connected(self) -> bool:
        return bool(self._nats.is_connected)

    async def ensure_streams(self) -> None:
        """Idempotent. A stream that exists with another configuration is brought to ours. Raises Unavailable, and from
        then on at once, where this user may not make streams.
        """
        async with self._ensured:
            for config in streams.STREAMS:
                await self._make(config)

    async def _make(self, config: StreamConfig) -> None:
        if self._may_make_streams:
            with contextlib.suppress(*_FAULTS):
                async with self._asking(_PUBLISH_TIMEOUT):
                    await self._js.add_stream(config)
                    return
        if not self._may_make_streams:
            raise Unavailable("this user of NATS may not make streams; the program that keeps them does")
        try:
            await self._js.update_stream(config)
        except _FAULTS as error:
            raise Unavailable(f"NATS: {error!r}") from error

    def _heed_refusal(self, error: Exception) -> None:
        """A request that the server does not let through gets no answer: only this error says so, beside it."""
        if self._may_make_streams and _REFUSED_STREAM.search(str(error)):
            self._may_make_streams = False
            self._give_up_what_was_asked()

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
        propagate.inject(carrier)
        data = encode(payload)
        self._check_size(subject, data, carrier)
        deadline = time.monotonic() + patience
        pause = 0.05
        while True:
            try:
                left = min(_PUBLISH_TIMEOUT, max(deadline - time.monotonic(), pause))
                async with self._asking(left):
                    ack = await self._js.publish(str(subject), data, timeout=left, headers=carrier)
            except _FAULTS as error:
                if time.monotonic() + pause > deadline:
                    raise Unavailable(f"NATS did not take a message on {subject}: {error!r}") from error
                if isinstance(error, NatsError) and self.connected:
                    with contextlib.suppress(Unavailable):  # a new server without our streams
                        await self.ensure_streams()
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
            else:
                return ack.seq

    def _check_size(self, subject: object, data: bytes, headers: dict[str, str]) -> None:
        """The server counts the headers too, and ends the connection of who sends more than it takes."""
        size = len(data) + sum(len(name) + len(value) + 4 for name, value in headers.items()) + len("NATS/1.0\r\n\r\n")
        if size > self._nats.max_payload:
            raise TooLarge(f"a message on {subject} has {size} bytes; this NATS takes at most {self._nats.max_payload}")

    async def publish_fact(self, envelope: Envelope, *, patience: float = 5.0) -> None:
        """Best effort: events may be lost, so nothing waits long for one and nothing fails by one."""
        try:
            await self.publish(envelope.nats_subject, envelope, msg_id=envelope.id, patience=patience)
        except (Unavailable, TooLarge) as error:
            log.warning("event lost", type=envelope.type, job=envelope.name, error=str(error))

    async def say(self, subject: object, payload: BaseModel | bytes) -> None:
        """Core NATS: whoever listens now hears it; dropped when there is no connection."""
        if self.connected:
            with contextlib.suppress(*_FAULTS), _heeding_cancel():
                await self._nats.publish(str(subject), encode(payload))

    async def request(self, subject: object, payload: BaseModel | bytes, *, timeout: float = 5.0) -> bytes:  # noqa: ASYNC109
        """One question, one answer within `timeout` seconds. Raises Unavailable when nobody answers, TooLarge when it
        cannot be asked.
        """
        try:
            async with self._asking(timeout):
                message = await self._nats.request(str(subject), encode(payload), timeout=timeout)
        except NoRespondersError as error:
            raise Unavailable(f"nobody answers on {subject}") from error
        except MaxPayloadError as error:
            raise TooLarge(f"a question on {subject} is larger than this NATS takes") from error
        except _FAULTS as error:
            raise Unavailable(f"no answer on {subject} within {timeout:.0f} s") from error
        return bytes(message.data)

    # ── hearing ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def listen(self, subject: object, handle: Callable[[str, bytes], Awaitable[None]]) -> "Listener":
        """Calls `handle(subject, data)` for every core NATS message; subscriptions survive reconnects."""

        async def on_message(message: Msg) -> None:
            try:
                await handle(message.subject, message.data)
            except Exception:  # the outermost loop of a subscription: one bad message must not end it
                log.exception("listener failed", subject=message.subject)

        return await self._subscribe(subject, on_message)

    async def answer(self, subject: object, handle: Callable[[str, bytes], Awaitable[BaseModel | bytes]]) -> "Listener":
        """Serves request and reply. Requests are answered concurrently; one that fails gets no answer."""
        tasks: set[asyncio.Task[None]] = set()

        async def reply(message: Msg) -> None:
            try:
                await message.respond(encode(await handle(message.subject, message.data)))
            except Exception:  # as above
                log.exception("request failed", subject=message.subject)

        async def on_message(message: Msg) -> None:
            task = asyncio.create_task(reply(message))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        return await self._subscribe(subject, on_message)

    async def _subscribe(self, subject: object, on_message: Callable[[Msg], Awaitable[None]]) -> "Listener":
        """The server knows of the subscription when this returns (or will after a reconnect)."""
        subscription = await self._nats.subscribe(str(subject), cb=on_message)
        with contextlib.suppress(*_FAULTS), _heeding_cancel():
            await self._nats.flush(2)
        return Listener(subscription)

    async def consume(self, consumer: Consumer, handle: Callable[[list[Delivery]], Awaitable[None]]) -> None:
        """Runs until cancelled, through every failure of the server. `handle` gets 1 to `batch` messages and answers
        them itself; an exception of it leaves them unacknowledged, to be delivered again after `ack_wait`.
        """
        pause = 0.1
        while True:
            try:
                config = ConsumerConfig(
                    durable_name=consumer.durable,
                    filter_subject=consumer.filter_subject,
                    ack_policy=AckPolicy.EXPLICIT,
                    ack_wait=consumer.ack_wait,
                    max_ack_pending=consumer.max_ack_pending,
                )
                with _heeding_cancel():
                    await self._js.add_consumer(consumer.stream, config)
                async for batch in self._pull(consumer.stream, consumer.durable, consumer.batch):
                    pause = 0.1
                    try:
                        await handle(batch)
                    except Unavailable as error:
                        log.warning("consumer waits", consumer=consumer.durable, error=str(error))
                    except Exception:  # the outermost loop: the messages come again
                        log.exception("consumer failed", consumer=consumer.durable)
            except NotFoundError:
                with contextlib.suppress(Unavailable):
                    await self.ensure_streams()
            except _FAULTS as error:
                log.debug("pull interrupted", consumer=consumer.durable, error=repr(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)

    async def _pull(self, stream: str, consumer: str, batch: int) -> AsyncIterator[list[Delivery]]:
        """Batches as they come. Ends by an error when the server went away; the caller starts anew."""
        inbox = self._nats.new_inbox()
        subscription = await self._nats.subscribe(inbox, pending_msgs_limit=-1)
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        ask = json.dumps({"batch": batch, "expires": int(_PULL_EXPIRES * 1e9)}).encode()
        try:
            while True:
                await self._nats.publish(subject, ask, reply=inbox)
                left, ended = batch, False
                while left > 0 and not ended:
                    async with self._asking(_PULL_SILENCE):
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
            with contextlib.suppress(*_FAULTS):
                await subscription.unsubscribe()

    # ── the event stream by cursor ────────────────────────────────────────────────────────────────────────────────

    async def position(self) -> "Position":
        """Where the event stream stands now."""
        try:
            try:
                info = await self._events()
            except NotFoundError:
                await self.ensure_streams()
                info = await self._events()
        except _FAULTS as error:
            raise Unavailable(f"NATS: {error!r}") from error
        # A memory stream begins anew with its server, perhaps with the same creation time: the server's id, new at
        # every boot, tells two lives apart.
        server = str(self._nats._server_info.get("server_id", ""))  # noqa: SLF001  # the library has no public name for it
        marker = f"{server}/{info.created}".encode()
        return Position(
            epoch=hashlib.sha256(marker).hexdigest()[:12],
            first=info.state.first_seq,
            last=info.state.last_seq,
        )

    async def _events(self) -> StreamInfo:
        with _heeding_cancel():
            return await self._js.stream_info(streams.EVENTS)

    async def replay(self, filter_subject: str, *, after: int, until: int) -> AsyncIterator[Delivery]:
        """The stored events with `after` < sequence <= `until`, in order. Raises Unavailable when it is interrupted."""
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=after + 1,
            filter_subject=filter_subject,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=5.0,
            mem_storage=True,
        )
        try:
            with _heeding_cancel():
                info = await self._js.add_consumer(streams.EVENTS, config)
            if not info.num_pending:
                return
            async for batch in self._pull(streams.EVENTS, info.name, 256):
                for delivery in batch:
                    if delivery.sequence <= until:
                        yield delivery
                    if delivery.sequence >= until or not delivery.pending:
                        return
        except _FAULTS as error:
            raise Unavailable(f"the event stream was interrupted: {error!r}") from error

    async def follow(
        self,
        handle: Callable[[list[Delivery], str], Awaitable[None]],
        on_reset: Callable[["Position"], Awaitable[None]],
    ) -> None:
        """Every event from now on, `handle(batch, epoch)`, until cancelled. `on_reset(position)` is called first, and
        whenever events may have been missed: the stream was rebuilt, or we fell behind what it keeps.
        """
        epoch, last, pause = "", 0, 0.1
        while True:
            try:
                here = await self.position()
                if here.epoch != epoch or here.first > last + 1:
                    epoch, last = here.epoch, here.last
                    await on_reset(here)
                config = ConsumerConfig(
                    deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                    opt_start_seq=last + 1,
                    ack_policy=AckPolicy.NONE,
                    inactive_threshold=30.0,
                    mem_storage=True,
                )
                with _heeding_cancel():
                    info = await self._js.add_consumer(streams.EVENTS, config)
                async for batch in self._pull(streams.EVENTS, info.name, 512):
                    pause = 0.1
                    last = batch[-1].sequence
                    await handle(batch, epoch)
            except (*_FAULTS, Unavailable) as error:
                log.debug("event stream interrupted", error=repr(error))
            except Exception:  # the outermost loop: what the handler missed it asks for after the reset
                log.exception("event handler failed")
                epoch = ""
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)

    # ── small shared documents ────────────────────────────────────────────────────────────────────────────────────

    async def put_document(self, bucket: str, key: str, payload: BaseModel | bytes) -> None:
        """Key-value, newest only, rebuilt by its writer: the bucket lives in memory."""
        try:
            with _heeding_cancel():
                store = await self._js.create_key_value(KeyValueConfig(bucket, history=1, storage=StorageType.MEMORY))
                await store.put(key, encode(payload))
        except _FAULTS as error:
            raise Unavailable(f"NATS: {error!r}") from error

    async def get_document(self, bucket: str, key: str) -> bytes | None:
        """None when nobody wrote it (yet, or since NATS restarted)."""
        try:
            with _heeding_cancel():
                store = await self._js.key_value(bucket)
                entry = await store.get(key)
        except (KeyNotFoundError, NotFoundError):
            return None
        except _FAULTS as error:
            raise Unavailable(f"NATS: {error!r}") from error
        return entry.value


@dataclass(frozen=True)
class Position:
    epoch: str
    """Changes when the stream was rebuilt: its sequences then mean other events."""
    first: int
    """The oldest sequence still stored."""
    last: int


class Listener:
    """A subscription that can be ended."""

    def __init__(self, subscription: Any) -> None:
        self._subscription = subscription

    async def stop(self) -> None:
        with contextlib.suppress(*_FAULTS):
            await self._subscription.unsubscribe()


def _not_reached(address: Address, error: Exception, patience: float) -> str:
    if _is_refusal(error):
        return _why(address, error)
    why = "" if isinstance(error, TimeoutError) else f": {_why(address, error)}"
    return f"NATS does not answer at {address.url} within {patience:.0f} s{why}"


def _why(address: Address, error: Exception) -> str:
    if _is_refusal(error):
        return f"NATS refuses the credentials of {address.who} at {address.url}"
    return str(error) or type(error).__name__


def _inbox_of(address: Address) -> str:
    """Replies come to subjects of the user's own, so that a server can keep others from listening to them."""
    user = address.user or ""
    return f"_INBOX_{user}" if _PLAIN.fullmatch(user) else "_INBOX"


def _is_refusal(error: Exception) -> bool:
    """The server's -ERR 'Authorization Violation' or 'User Authentication Expired'; the library has no type for it."""
    return isinstance(error, NatsError) and "auth" in str(error).lower()


def _is_status(message: Msg) -> bool:
    return bool(message.headers and "Status" in message.headers and not message.reply.startswith("$JS.ACK"))


def _raise_for_status(messages: list[Msg]) -> None:
    """408 and 404 end one pull request in peace; anything else (409 consumer deleted, 503 no responders) is a fault."""
    for message in messages:
        if _is_status(message) and (message.headers or {}).get("Status") not in ("404", "408", "100"):
            headers = message.headers or {}
            raise NatsError(f"pull ended: {headers.get('Status')} {headers.get('Description', '')}")
