"""Replay, then live, without a gap or a repeat between them: what both the socket and the event stream send."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

from auteur_contracts.errors import AuteurError, Unavailable
from auteur_contracts.subjects import project_events
from auteur_contracts.web.socket import SnapshotMessage, SnapshotTask
from auteur_gateway.cursor import Cursor, Place
from auteur_gateway.hub import Frame, Hub, Progresses, Subscriber, frames_of, parse_fact
from auteur_gateway.replay import replay
from auteur_kit.bus import Delivery, EventLog
from auteur_kit.clock import Clock

Snapshots = Callable[[str], Awaitable[tuple[SnapshotTask, ...]]]
_REPLAYS_AT_ONCE = 8
_BATCH = 64


class Feeds:
    def __init__(self, hub: Hub, events: EventLog, namespace: str, snapshots: Snapshots, now: Clock) -> None:
        self._hub = hub
        self._events = events
        self._namespace = namespace
        self._snapshots = snapshots
        self._now = now
        self._replays = asyncio.Semaphore(_REPLAYS_AT_ONCE)

    # A frame without text tells where the stream stands and nothing else.
    async def open(
        self, project: str, after: str, *, heartbeat: float | None = None
    ) -> AsyncGenerator[list[Frame], None]:
        """Messages in batches until the process ends, an empty one after `heartbeat` seconds of nothing.
        `after` is a cursor or empty.
        """
        await self._hub.ready.wait()
        subscriber = self._hub.subscribe(project)
        try:
            place = Place(self._hub.last)
            cursor = str(Cursor(self._hub.epoch, place))
            if after:
                async with contextlib.aclosing(self._catch_up(project, after, place)) as missed:
                    async for frames in missed:
                        yield frames
                        place, cursor = max(place, frames[-1].place), frames[-1].cursor
            else:
                yield [Frame(place, cursor, "", "")]
            while not subscriber.closed:
                if not await subscriber.wait(heartbeat):
                    yield []
                    continue
                if (reason := subscriber.take_missed()) is not None:
                    frame = await self._snapshot(project, reason, cursor, subscriber)
                    yield [frame]
                    place, cursor = frame.place, frame.cursor
                # A cursor may be ahead of this process; what it names was seen elsewhere.
                fresh = subscriber.take()
                if fresh and fresh[0].place <= place:
                    fresh = [frame for frame in fresh if frame.place > place]
                if fresh:
                    yield fresh
                    place, cursor = fresh[-1].place, fresh[-1].cursor
        finally:
            self._hub.unsubscribe(subscriber)

    async def _catch_up(self, project: str, after: str, here: Place) -> AsyncGenerator[list[Frame], None]:
        epoch = self._hub.epoch
        cursor = Cursor.parse(after)
        reason = ""
        if cursor is None or cursor.epoch != epoch:
            reason = "the cursor is of another event stream; it was rebuilt since"
        elif cursor.place >= here:
            if cursor.place > here:  # ahead of us: wait for it
                yield [Frame(cursor.place, after, "", "")]
            return
        else:
            try:
                async with contextlib.aclosing(self._replay(project, cursor, here.sequence)) as replayed:
                    async for frames in replayed:
                        yield frames
            except Unavailable:
                reason = "the event stream was interrupted while it was read again"
            except _TooOldError:
                reason = "the cursor is older than what the event stream keeps"
        if reason:
            yield [await self._snapshot(project, reason, after if cursor else None, None)]

    async def _replay(self, project: str, cursor: Cursor, until: int) -> AsyncGenerator[list[Frame], None]:
        async with self._replays:
            position = await self._events.position()
        if position.epoch != cursor.epoch or position.first > cursor.replay_after + 1:
            raise _TooOldError
        subject = project_events(self._namespace, project)
        progresses = Progresses()
        async with contextlib.aclosing(
            replay(self._events, subject, after=cursor.replay_after, until=until)
        ) as deliveries:
            while True:
                # A batch at a time: nobody waits for a slot because a client reads slowly.
                async with self._replays:
                    batch, more = await _next_batch(deliveries, cursor, progresses)
                if batch:
                    yield batch
                if not more:
                    return

    async def _snapshot(
        self, project: str, reason: str, missed_after: str | None, subscriber: Subscriber | None
    ) -> Frame:
        """What is true now; events from here on follow it."""
        if subscriber is not None:
            subscriber.take()
        place = Place(self._hub.last)
        cursor = str(Cursor(self._hub.epoch, place))
        try:
            tasks = await self._snapshots(project)
        except AuteurError:
            tasks, reason = (), f"{reason}; and the state of the jobs cannot be read now"
        message = SnapshotMessage(
            id=uuid.uuid4().hex,
            project_id=project,
            timestamp=self._now(),
            cursor=cursor,
            reason=reason,
            missed_after=missed_after,
            tasks=tasks,
        )
        return Frame(place, cursor, message.type, message.model_dump_json())


async def _next_batch(
    deliveries: AsyncIterator[Delivery], cursor: Cursor, progresses: Progresses
) -> tuple[list[Frame], bool]:
    """Frames, and whether there may be more."""
    batch: list[Frame] = []
    async for delivery in deliveries:
        fact = parse_fact(delivery)
        if fact is None:
            continue
        made = frames_of(fact, cursor.epoch, delivery.sequence, progresses)
        batch += [frame for frame in made if frame.place > cursor.place]
        if len(batch) >= _BATCH:
            return batch, True
    return batch, False


class _TooOldError(Exception):
    pass
