"""A stream of server-sent events that survives lost connections: it comes back to where it was by the last id."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import httpx
from pydantic import ValidationError

from auteur_client.errors import Refusal, Unreachable, error_of
from auteur_client.retry import RETRIED_STATUS, Patience
from auteur_client.sse import ServerSent, parse_events

Item = TypeVar("Item")


@dataclass(frozen=True)
class Source(Generic[Item]):
    """Where a stream is, how its events are read, and how much trouble it bears."""

    url: str
    query: Mapping[str, str]
    decode: Callable[[ServerSent], Item]
    patience: Patience
    quiet_seconds: float
    end_event: str | None = None
    """The event after which the server has no more to say; None: never, and a closed connection is reopened."""


class EventStream(Generic[Item]):
    """Iterate once, in one thread; `close()` from any."""

    def __init__(
        self, http: httpx.Client, source: Source[Item], *, after: str = "", sleep: Callable[[float], None]
    ) -> None:
        self._http = http
        self._source = source
        self._sleep = sleep
        self._last_id = after
        self._seen = 0
        self._closed = threading.Event()
        self._open: httpx.Response | None = None

    @property
    def cursor(self) -> str:
        """Where to resume after, in another process or later."""
        return self._last_id

    def close(self) -> None:
        self._closed.set()
        if (answer := self._open) is not None:
            _hang_up(answer)

    def __iter__(self) -> Iterator[Item]:
        failures = 0
        while not self._closed.is_set():
            seen_before = self._seen
            try:
                for sent in self._connection():
                    if sent.event == self._source.end_event:
                        return
                    yield from self._decoded(sent)
                problem = "the server ended the stream"
            except httpx.TransportError as error:
                problem = str(error) or type(error).__name__
            except _Busy as busy:
                problem = str(busy)
            failures = 1 if self._seen > seen_before else failures + 1
            wait = self._source.patience.wait(failures)
            if wait is None and not self._closed.is_set():
                raise Unreachable(f"the stream {self._source.url} of {self._http.base_url} is lost: {problem}")
            self._sleep(wait or 0.0)

    def _connection(self) -> Iterator[ServerSent]:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._last_id:
            headers["Last-Event-ID"] = self._last_id
        # Without ids a stream starts over at each connection: what was seen before is skipped.
        repeated = 0 if self._last_id else self._seen
        timeout = httpx.Timeout(self._source.quiet_seconds, connect=5.0)
        with self._http.stream(
            "GET", self._source.url, params=dict(self._source.query), headers=headers, timeout=timeout
        ) as answer:
            if answer.status_code in RETRIED_STATUS:
                raise _Busy(f"the server answered {answer.status_code}")
            if not answer.is_success:
                raise error_of(Refusal(answer.status_code, answer.read(), str(answer.url)))
            self._open = answer
            try:
                for number, sent in enumerate(parse_events(answer.iter_lines(), self._last_id)):
                    if self._closed.is_set():
                        return
                    if number < repeated:
                        continue
                    self._seen += 1
                    yield sent
                    # After the consumer took it: an event that was never handled comes again.
                    self._last_id = sent.id
            finally:
                self._open = None

    def _decoded(self, sent: ServerSent) -> Iterator[Item]:
        try:
            yield self._source.decode(sent)
        except ValidationError:
            return  # a kind of message that a newer server has


class _Busy(Exception):
    """The server is there and asks to come back later."""


def _hang_up(answer: httpx.Response) -> None:
    """Wakes the thread that reads `answer`; closing the descriptor alone would leave it waiting."""
    connection = answer.extensions.get("network_stream")
    found = connection.get_extra_info("socket") if connection is not None else None
    if isinstance(found, socket.socket):
        try:
            found.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # already gone
