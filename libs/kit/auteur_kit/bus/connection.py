"""One connection to NATS: made, lost, made again; and the streams, for the program that owns them."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Self

from nats.aio.client import Client as NatsClient
from nats.errors import Error as NatsError
from nats.js.api import StorageType, StreamConfig
from nats.js.client import JetStreamContext
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError
from pydantic import BaseModel

from auteur_contracts.errors import Unavailable
from auteur_kit import streams
from auteur_kit.address import Address, address_of
from auteur_kit.backoff import Backoff
from auteur_kit.logs import get_logger
from auteur_kit.settings import NatsSettings

log = get_logger()

FAULTS = (NatsError, TimeoutError, OSError)
NO_STREAM = (NotFoundError, NoStreamResponseError)
ASK_TIMEOUT = 5.0
"""Seconds for one answer of the server. The library's default is tight when the process is busy."""
_NO_SEQUENCE = 2**62
"""Of no message."""
_NOT_THERE = re.compile(r"stream store EOF|no message found|sequence \d+ not found")
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


@contextlib.contextmanager
def heeding_cancel() -> Iterator[None]:
    """Around everything that waits for the library: it waits by `asyncio.wait_for`, which before Python 3.12 forgets a
    cancellation that meets the answer, be that a value or an error (https://github.com/python/cpython/issues/81839).
    The task would never end.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError


def encode(payload: BaseModel | bytes) -> bytes:
    if isinstance(payload, bytes):
        return payload
    return payload.model_dump_json(exclude_none=True).encode()


class Connection:
    """Reconnects for ever; `connected` says how it is now."""

    def __init__(self, client: NatsClient, *, owns_streams: bool) -> None:
        self.nats = client
        self.js: JetStreamContext = client.jetstream()
        self.connected_since = time.monotonic()
        """`time.monotonic()` of the last connect: silence before it proves nothing about anybody."""
        self._owns_streams = owns_streams
        self._ensuring = asyncio.Lock()
        self._reconnected = asyncio.Event()
        self._missing = ""
        """What this program was last said to wait for."""
        self._asked: set[asyncio.Timeout] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, settings: NatsSettings, *, name: str, owns_streams: bool = False) -> AsyncIterator[Self]:
        """The control plane owns the streams: it makes them, also for a server that lost them. Everybody else waits.
        Raises Unavailable when NATS cannot be reached within `connect_timeout`, with what was wrong at last.
        """
        client = NatsClient()
        bus = cls(client, owns_streams=owns_streams)
        address = address_of(settings)
        events = _Events(bus, address)
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
                    error_cb=events.on_error,
                    disconnected_cb=events.on_disconnect,
                    reconnected_cb=events.on_reconnect,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.2,  # type: ignore[arg-type]  # seconds; a float works and is what we want
                    ping_interval=5,
                    max_outstanding_pings=2,
                    pending_size=16 * 1024**2,
                )
        except FAULTS as error:
            with contextlib.suppress(Exception):
                await client.close()
            raise Unavailable(_not_reached(address, events.last or error, patience)) from error
        events.started = True
        bus.connected_since = time.monotonic()
        keeping = asyncio.create_task(bus._keep_streams())
        try:
            yield bus
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            with contextlib.suppress(*FAULTS):
                async with asyncio.timeout(1):
                    await client.flush()
            with contextlib.suppress(*FAULTS):
                async with asyncio.timeout(2):
                    await client.close()

    @property
    def connected(self) -> bool:
        return bool(self.nats.is_connected)

    @contextlib.asynccontextmanager
    async def asking(self, seconds: float) -> AsyncIterator[None]:
        """Ends what happens inside by TimeoutError after `seconds`, or as soon as the connection is lost: what one
        server was asked, its successor does not answer.
        """
        async with asyncio.timeout(seconds) as scope:
            self._asked.add(scope)
            try:
                with heeding_cancel():
                    yield
            finally:
                self._asked.discard(scope)

    def on_disconnected(self) -> None:
        now = asyncio.get_running_loop().time()
        for scope in self._asked:
            if not scope.expired():
                scope.reschedule(now)

    def on_reconnected(self) -> None:
        self.connected_since = time.monotonic()
        self._missing = ""
        self._reconnected.set()

    # ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def ensure_streams(self) -> None:
        """Idempotent, and the owner's alone. A stream that exists with another configuration is brought to ours. Raises
        Unavailable.
        """
        if not self._owns_streams:
            raise AssertionError("only the control plane makes streams")
        async with self._ensuring:
            for config in streams.STREAMS:
                await self._ensure(config)

    async def _ensure(self, config: StreamConfig) -> None:
        with contextlib.suppress(*FAULTS):
            async with self.asking(ASK_TIMEOUT):
                await self.js.add_stream(config)
                return
        try:
            async with self.asking(ASK_TIMEOUT):
                await self.js.update_stream(config)
        except FAULTS as error:
            raise Unavailable(f"NATS: {error!r}") from error

    async def unwritable_streams(self) -> dict[str, str]:
        """Streams that NATS stores nothing in any more, each with why. After one write that failed, of a full disk say,
        a stream that lies on disk is closed until its server starts again, and whoever publishes gets no answer
        (`fileStore.werr` of nats-server 2.12 and later). To delete what is not there names that fault, and writes
        nothing. Raises Unavailable.
        """
        found: dict[str, str] = {}
        try:
            async with self.asking(ASK_TIMEOUT):
                for stream in await self.js.streams_info():
                    if stream.config.storage != StorageType.FILE:  # a string, as the library reads it
                        continue
                    try:
                        await self.js.delete_msg(str(stream.config.name), _NO_SEQUENCE)
                    except APIError as error:
                        if not _NOT_THERE.fullmatch(error.description or ""):
                            found[str(stream.config.name)] = error.description or repr(error)
        except FAULTS as error:
            raise Unavailable(f"NATS: {error!r}") from error
        return found

    async def _keep_streams(self) -> None:
        """The owner's, until cancelled: a server that comes back has lost the stream that lies in memory."""
        backoff = Backoff(0.05, 1.0)
        while self._owns_streams:
            await self._reconnected.wait()
            self._reconnected.clear()
            try:
                await self.ensure_streams()
                backoff.reset()
            except Unavailable as error:
                log.debug("streams not made yet", error=str(error))
                self._reconnected.set()
                await asyncio.sleep(backoff.next())

    async def on_missing_stream(self, what: str) -> None:
        """NATS has no stream for `what`: a new server, or one that lost its volume. The owner makes them all; everybody
        else says what it waits for, once.
        """
        if self._owns_streams:
            with contextlib.suppress(Unavailable):
                await self.ensure_streams()
        elif what != self._missing:
            self._missing = what
            log.warning("waiting for the control plane to make a stream", missing=what)


class _Events:
    """What the library tells of its connection. It stops reconnecting for ever when one of these raises
    (nats-io/nats.py#204): they only log, and let go of what was asked.
    """

    def __init__(self, bus: Connection, address: Address) -> None:
        self._bus = bus
        self._address = address
        self.started = False
        """Before, who connects is told by an exception."""
        self.last: Exception | None = None

    async def on_error(self, error: Exception) -> None:
        if isinstance(error, ConnectionError) and self.last is not None and _is_refusal(self.last):
            return  # the server hung up before its words were read
        news = repr(error) != repr(self.last)
        self.last = error
        if news and self.started:
            log.warning("nats error", error=_why(self._address, error))
        else:
            log.debug("nats error", error=_why(self._address, error))

    async def on_disconnect(self) -> None:
        log.warning("nats disconnected")
        self._bus.on_disconnected()

    async def on_reconnect(self) -> None:
        self.last = None
        log.info("nats reconnected")
        self._bus.on_reconnected()


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
