"""The log lines of one job as server-sent events: those that the event stream has, then those that come. A line's id is
the id of its fact, the same however often it is sent: a reader who comes back, or a rebuilt stream, repeats lines.
"""

import json
import sys
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator

from auteur_contracts.errors import Unavailable
from auteur_contracts.events import Envelope, Logged
from auteur_contracts.subjects import TERMINAL_FACTS, Fact, JobFact
from auteur_gateway import sse
from auteur_gateway.context import Context
from auteur_gateway.generations import Found
from auteur_gateway.hub import News, parse_fact
from auteur_gateway.replay import replay

_LOOK_EVERY = 5.0
"""Seconds without news after which the job is looked at: its last fact may have been lost."""
_REMEMBERED = 10_000


async def follow_logs(ctx: Context, found: Found, *, follow: bool) -> AsyncGenerator[bytes, None]:
    """Until the job has finished, or the process ends: then without the `end`, so that the reader comes back."""
    listener = ctx.hub.listen(found.row.name)
    try:
        reader = _Reader(ctx, found.row.name)
        found = await reader.look()  # anew: it may have finished before we listened
        async for chunk in reader.stored(found):
            yield chunk
        while follow and not found.seen.status.finished:
            news = await listener.next(min(_LOOK_EVERY, ctx.settings.gateway.heartbeat.total_seconds()))
            match news:
                case News.CLOSING:
                    return
                case News.NOTHING | News.REBUILT:
                    yield sse.COMMENT
                    found = await reader.look()
                    if news is News.REBUILT or found.seen.status.finished:  # what nobody handed out lies there
                        async for chunk in reader.stored(found):
                            yield chunk
                case fact:
                    found = found if found.row.uid else await reader.look()
                    if fact.uid != found.row.uid:  # of another job of this name, which was deleted
                        continue
                    if chunk := reader.line(fact):
                        yield chunk
                    if fact.data.fact in TERMINAL_FACTS:
                        found = await reader.look()
                        break
        yield sse.event("end", json.dumps({"status": found.seen.view.api.value}))
    finally:
        ctx.hub.unlisten(listener)


class _Reader:
    """What one follower has been sent."""

    def __init__(self, ctx: Context, name: str) -> None:
        self._ctx = ctx
        self._name = name
        self._sent: OrderedDict[str, None] = OrderedDict()

    async def look(self) -> Found:
        return await self._ctx.generations.find(self._name)

    async def stored(self, found: Found) -> AsyncIterator[bytes]:
        """The lines that the event stream has; all of them, for they cannot overtake what is handed out: ids tell."""
        if not found.row.uid:
            return
        metadata = found.row.job.metadata
        subject = JobFact(metadata.namespace, found.row.job.spec.project, found.row.uid, Fact.LOGGED)
        try:
            async for delivery in replay(self._ctx.bus, str(subject), after=0, until=sys.maxsize):
                fact = parse_fact(delivery)
                if fact is not None and (chunk := self.line(fact)):
                    yield chunk
        except Unavailable:
            yield b": the stored lines cannot be read now\n\n"

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
