"""The log lines of one job as server-sent events: those that the event stream has, then those that come. A line's id is
the id of its fact, the same however often it is sent: a reader who comes back, or a rebuilt stream, repeats lines.
"""

import json
import sys
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator

from auteur_contracts.errors import NotFound, Unavailable
from auteur_contracts.events import Envelope, Logged
from auteur_contracts.subjects import TERMINAL_FACTS, Fact, JobFact
from auteur_contracts.vocabulary import ApiStatus
from auteur_gateway.context import Context
from auteur_gateway.generations import Found
from auteur_gateway.hub import News, parse_fact
from auteur_gateway.replay import replay
from auteur_kit.bus import EventLog
from auteur_web import sse

_LOOK_EVERY = 5.0
"""Seconds without news after which the job is looked at: its last fact may have been lost."""
_REMEMBERED = 10_000


async def follow_logs(ctx: Context, found: Found, *, follow: bool) -> AsyncGenerator[bytes, None]:
    """Until the job has finished, or the process ends: then without the `end`, so that the reader comes back."""
    listener = ctx.hub.listen(found.row.name)
    patience = min(_LOOK_EVERY, ctx.settings.gateway.heartbeat.total_seconds())
    reader = _Reader(ctx, found)
    try:
        async for chunk in reader.catch_up():
            yield chunk
        while follow and not reader.found.seen.status.finished:
            news = await listener.next(patience)
            if news is News.CLOSING:
                return
            async for chunk in reader.after(news):
                yield chunk
        yield sse.event("end", json.dumps({"status": reader.found.seen.view.api.value}))
    except NotFound:  # deleted while it was followed
        yield sse.event("end", json.dumps({"status": ApiStatus.CANCELLED.value}))
    finally:
        ctx.hub.unlisten(listener)


class _Reader:
    """One follower: what it knows of the job, and which lines it was sent."""

    def __init__(self, ctx: Context, found: Found) -> None:
        self._ctx = ctx
        self.found = found
        self._sent: OrderedDict[str, None] = OrderedDict()

    async def after(self, news: Envelope | News) -> AsyncIterator[bytes]:
        if isinstance(news, News):
            yield sse.COMMENT
            await self._look()
            if news is News.REBUILT or self.found.seen.status.finished:  # what nobody handed out lies in the stream
                async for chunk in self.catch_up():
                    yield chunk
            return
        if not self.found.row.uid:  # and so does what it said before it was known
            async for chunk in self.catch_up():
                yield chunk
        if news.uid != self.found.row.uid:  # of another job of this name, which was deleted
            return
        if chunk := self.line(news):
            yield chunk
        if news.data.fact in TERMINAL_FACTS:
            await self._look()

    async def catch_up(self) -> AsyncIterator[bytes]:
        """The lines that the event stream has and that were not sent yet."""
        await self._look()
        row = self.found.row
        if not row.uid:
            return
        subject = JobFact(row.job.metadata.namespace, row.job.spec.project, row.uid, Fact.LOGGED)
        try:
            async for delivery in replay(EventLog(self._ctx.bus), str(subject), after=0, until=sys.maxsize):
                fact = parse_fact(delivery)
                if fact is not None and (chunk := self.line(fact)):
                    yield chunk
        except Unavailable:
            yield b": the stored lines cannot be read now\n\n"

    async def _look(self) -> None:
        self.found = await self._ctx.generations.find(self.found.row.name)

    def line(self, fact: Envelope) -> bytes:
        """Empty for what is no line, and for one that was sent."""
        if not isinstance(fact.data, Logged) or fact.id in self._sent:
            return b""
        self._sent[fact.id] = None
        if len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)
        return line_of(fact, fact.data)


def line_of(fact: Envelope, data: Logged) -> bytes:
    line = {
        "line": data.line,
        "level": data.level,
        "stream": data.stream,
        "attempt": data.attempt,
        "time": fact.time.isoformat(),
    }
    return sse.event("log", json.dumps(line, ensure_ascii=False), cursor=fact.id)
