"""Fan-out: one follower of the event stream a process, each message made once and handed to its project's sockets."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto

from pydantic import ValidationError

from auteur_contracts.events import Envelope, Progressed
from auteur_contracts.subjects import JOB, TERMINAL_FACTS
from auteur_gateway.cursor import Cursor, Place, places
from auteur_gateway.messages import messages_of
from auteur_kit.bus import Delivery, EventLog, Position
from auteur_kit.logs import get_logger

log = get_logger()
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Frame:
    """One message as it goes out, for every socket the same."""

    place: Place
    cursor: str
    kind: str
    text: str


class Progresses:
    """How far each job was last known to be, for facts that do not say."""

    def __init__(self) -> None:
        self._fractions: OrderedDict[str, float] = OrderedDict()

    def after(self, fact: Envelope) -> float:
        if isinstance(fact.data, Progressed):
            self._fractions[fact.uid] = fact.data.progress.fraction
            if len(self._fractions) > _REMEMBERED:
                self._fractions.popitem(last=False)
        elif fact.data.fact in TERMINAL_FACTS:
            self._fractions.pop(fact.uid, None)
        return self._fractions.get(fact.uid, 0.0)


def parse_fact(delivery: Delivery) -> Envelope | None:
    """None for what is no fact of ours, or one of a later version."""
    try:
        return Envelope.model_validate_json(delivery.data)
    except ValidationError as error:
        log.warning("event not understood", subject=delivery.subject, error=str(error).splitlines()[0])
        return None


def frames_of(fact: Envelope, epoch: str, sequence: int, progresses: Progresses) -> list[Frame]:
    made = messages_of(fact, epoch, sequence, progresses.after(fact))
    return [
        Frame(place, str(Cursor(epoch, place)), message.type, message.model_dump_json())
        for message, place in zip(made, places(sequence, len(made)), strict=True)
    ]


class Subscriber:
    """The bounded queue of one socket."""

    def __init__(self, project: str, limit: int) -> None:
        self.project = project
        self.closed = False
        self.missed: str | None = None
        """Why messages were dropped; None while none were."""
        self._limit = limit
        self._frames: list[Frame] = []
        self._wake: asyncio.Future[None] | None = None

    def offer(self, frame: Frame) -> None:
        if len(self._frames) >= self._limit:
            self.drop(f"this client read too slowly: more than {self._limit} messages waited")
            return
        self._frames.append(frame)
        self._ring()

    def drop(self, reason: str) -> None:
        self._frames.clear()
        self.missed = reason
        self._ring()

    def close(self) -> None:
        self.closed = True
        self._ring()

    def _ring(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def wait(self, seconds: float | None) -> bool:
        """Until there is something to do; False after `seconds` of nothing."""
        if self._frames or self.closed or self.missed is not None:
            return True
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        timer = loop.call_later(seconds, self._ring) if seconds is not None else None
        try:
            await self._wake
        finally:
            if timer is not None:
                timer.cancel()
            self._wake = None
        return bool(self._frames or self.closed or self.missed is not None)

    def take(self) -> list[Frame]:
        frames, self._frames = self._frames, []
        return frames

    def take_missed(self) -> str | None:
        missed, self.missed = self.missed, None
        return missed


class News(Enum):
    """What a listener hears beside facts."""

    NOTHING = auto()
    REBUILT = auto()
    """Facts may have been missed: the stream is a new one, or it forgot what was not read yet."""
    CLOSING = auto()
    """The process ends."""


class Listener:
    """The queue of one who listens to one job."""

    def __init__(self, job: str) -> None:
        self.job = job
        self._queue: asyncio.Queue[Envelope | News] = asyncio.Queue()

    def tell(self, news: Envelope | News) -> None:
        self._queue.put_nowait(news)

    async def next(self, seconds: float) -> Envelope | News:
        try:
            async with asyncio.timeout(seconds):
                return await self._queue.get()
        except TimeoutError:
            return News.NOTHING


class Hub:
    def __init__(self, events: EventLog, *, queue_limit: int) -> None:
        self._events = events
        self._queue_limit = queue_limit
        self._sockets: defaultdict[str, set[Subscriber]] = defaultdict(set)
        self._listeners: defaultdict[str, set[Listener]] = defaultdict(set)
        self._progresses = Progresses()
        self.epoch = ""
        self.last = 0
        """The newest sequence that was handed out."""
        self.ready = asyncio.Event()
        self.closing = False

    @property
    def subscribers(self) -> int:
        return sum(map(len, self._sockets.values()))

    async def run(
        self, note: Callable[[Envelope], None], on_reset: Callable[[], Awaitable[None]], namespace: str
    ) -> None:
        """Follows the event stream until cancelled. `note` hears each job's fact of the namespace before sockets do."""

        async def handle(batch: list[Delivery], epoch: str) -> None:
            for delivery in batch:
                fact = parse_fact(delivery)
                self.last = delivery.sequence
                if fact is None or fact.namespace != namespace:
                    continue
                if fact.data.kind == JOB:
                    note(fact)
                    self._tell_followers(fact)
                self.publish(fact, epoch, delivery.sequence)

        async def reset(here: Position) -> None:
            self.epoch, self.last = here.epoch, here.last
            for sockets in self._sockets.values():
                for socket in sockets:
                    socket.drop("the event stream was rebuilt")
            self._tell_listeners(News.REBUILT)
            self.ready.set()
            await on_reset()

        await self._events.follow(handle, reset)

    def _tell_followers(self, fact: Envelope) -> None:
        for listener in self._listeners.get(fact.name, ()):
            listener.tell(fact)

    def publish(self, fact: Envelope, epoch: str, sequence: int) -> None:
        """To the sockets of its project, whatever kind of resource it is about; one without messages says nothing."""
        sockets = self._sockets.get(fact.project)
        if not sockets:
            self._progresses.after(fact)
            return
        for frame in frames_of(fact, epoch, sequence, self._progresses):
            for socket in sockets:
                socket.offer(frame)

    def subscribe(self, project: str) -> Subscriber:
        subscriber = Subscriber(project, self._queue_limit)
        if self.closing:
            subscriber.close()
        self._sockets[project].add(subscriber)
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        sockets = self._sockets[subscriber.project]
        sockets.discard(subscriber)
        if not sockets:
            del self._sockets[subscriber.project]

    def listen(self, job: str) -> Listener:
        """Every fact under one job's name from now on."""
        listener = Listener(job)
        if self.closing:
            listener.tell(News.CLOSING)
        self._listeners[job].add(listener)
        return listener

    def unlisten(self, listener: Listener) -> None:
        listeners = self._listeners[listener.job]
        listeners.discard(listener)
        if not listeners:
            del self._listeners[listener.job]

    def _tell_listeners(self, news: News) -> None:
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.tell(news)

    def close(self) -> None:
        """The process ends: every open stream is told to."""
        self.closing = True
        for sockets in self._sockets.values():
            for socket in sockets:
                socket.close()
        self._tell_listeners(News.CLOSING)
