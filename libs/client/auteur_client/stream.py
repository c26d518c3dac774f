"""A stream of server-sent events that survives lost connections: it comes back to where it was by the last id."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import httpx
from pydantic import ValidationError

from auteur_client.errors import Refusal, Unreachable, error_of
from auteur_client.retry import RETRIED_STATUS, Patience, retry_after
from auteur_client.sse import ServerSent, parse_events
from auteur_contracts.errors import AuteurError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Source(Generic[Item]):
    """Where a stream is, how its events are decoded, and how many failures are borne."""

    url: str
    query: Mapping[str, str]
    decode: Callable[[ServerSent], Item]
    patience: Patience
    quiet_seconds: float
    end_event: str | None = None
    """The event after which the server has no more to say; None: never, and a closed connection is reopened."""
    starts_over: bool = False
    """Whether a new connection may begin at the start, whatever it was told to resume after: what was handed out
    before is dropped then."""


class EventStream(Generic[Item]):
    """Iterate once, in one thread; `close()` from any."""

    def __init__(
        self, http: httpx.Client, source: Source[Item], *, after: str = "", sleep: Callable[[float], None]
    ) -> None:
        self._http = http
        self._source = source
        self._sleep = sleep
        self._last_id = after
        self._delivered: Counter[tuple[str, str]] = Counter()
        """For a stream that starts over: ids and data of the events that were delivered."""
        self._accepted = False
        self._received = False
        self._closed = threading.Event()
        self._open: httpx.Response | None = None

    @property
    def cursor(self) -> str:
        """Where to resume after, in another process or later."""
        return self._last_id

    def close(self) -> None:
        self._closed.set()
        if (answer := self._open) is not None:
            _shut_down(answer)

    def __iter__(self) -> Iterator[Item]:
        failures = quiet = 0
        while not self._closed.is_set():
            self._accepted = self._received = False
            advised: float | None = None
            try:
                for sent in self._connection():
                    if sent.event == self._source.end_event:
                        return
                    yield from self._decoded(sent)
                problem = "the server ended the stream"
            except httpx.TransportError as error:
                problem = str(error) or type(error).__name__
            except _BusyError as busy:
                problem, advised = str(busy.error), busy.error.retry_after
            # A connection that was accepted shows that the server is there, so only refusals in a row count as
            # failures. A server that accepts and closes again and again without an event is still asked ever more
            # slowly.
            failures = 0 if self._accepted else failures + 1
            quiet = 1 if self._received else quiet + 1
            if self._source.patience.wait(failures, advised=advised) is None and not self._closed.is_set():
                raise Unreachable(f"the stream {self._source.url} of {self._http.base_url} is lost: {problem}")
            self._sleep(self._source.patience.wait(min(quiet, self._source.patience.tries - 1), advised=advised) or 0.0)

    def _connection(self) -> Iterator[ServerSent]:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._last_id:
            headers["Last-Event-ID"] = self._last_id
        repeated = self._delivered.copy()
        timeout = httpx.Timeout(self._source.quiet_seconds, connect=5.0)
        with self._http.stream(
            "GET", self._source.url, params=dict(self._source.query), headers=headers, timeout=timeout
        ) as answer:
            if answer.status_code in RETRIED_STATUS:
                raise _BusyError(error_of(refusal_of(answer)))
            if not answer.is_success:
                raise error_of(refusal_of(answer))
            self._accepted = True
            self._open = answer
            try:
                for sent in parse_events(answer.iter_lines(), self._last_id):
                    if self._closed.is_set():
                        return
                    if not sent.is_place and not self._is_repeated(sent, repeated):
                        self._received = True
                        yield sent
                    # After the consumer took it: an event that was never handled comes again.
                    self._last_id = sent.id
            finally:
                self._open = None

    def _is_repeated(self, sent: ServerSent, repeated: Counter[tuple[str, str]]) -> bool:
        """Whether the event was delivered before. Each of `repeated` counts once, because two lines without ids may be
        equal."""
        if not self._source.starts_over:
            return False
        key = (sent.id, sent.data)
        if repeated[key]:
            repeated[key] -= 1
            return True
        self._delivered[key] += 1
        return False

    def _decoded(self, sent: ServerSent) -> Iterator[Item]:
        try:
            yield self._source.decode(sent)
        except ValidationError:
            return  # a kind of message that a newer server has


class _BusyError(Exception):
    """The server is there and asks to come back later."""

    def __init__(self, error: AuteurError) -> None:
        super().__init__(error.message)
        self.error = error


def refusal_of(answer: httpx.Response) -> Refusal:
    request_id = answer.headers.get("x-request-id", "")
    return Refusal(answer.status_code, answer.read(), str(answer.url), request_id, retry_after(answer.headers))


def _shut_down(answer: httpx.Response) -> None:
    """Wakes the thread that reads `answer`; closing the descriptor alone would leave it waiting."""
    connection = answer.extensions.get("network_stream")
    found = connection.get_extra_info("socket") if connection is not None else None
    if isinstance(found, socket.socket):
        try:
            found.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # already gone
