"""The log lines of one job as server-sent events: those that the event stream has, then those that come."""

import asyncio
import json
from collections.abc import AsyncIterator

from auteur_contracts.errors import Unavailable
from auteur_contracts.events import Envelope, Logged
from auteur_contracts.subjects import TERMINAL_FACTS, Fact, JobFact
from auteur_gateway import sse
from auteur_gateway.context import Context
from auteur_gateway.generations import Found
from auteur_gateway.hub import parse_fact
from auteur_gateway.replay import replay


async def follow_logs(ctx: Context, found: Found, *, follow: bool) -> AsyncIterator[bytes]:
    name = found.row.name
    facts = ctx.hub.listen(name)
    try:
        until = ctx.hub.last
        found = await ctx.generations.find(name)  # anew: it may have finished before we listened
        if found.seen.status.finished:  # or just now: then nothing is to come, and all of it is stored
            until = ctx.hub.last
        async for chunk in _stored(ctx, found, until):
            yield chunk
        if follow and not found.seen.status.finished:
            async for chunk in _coming(ctx, facts):
                yield chunk
            if ctx.hub.closing:  # not the end of the job: whoever listens comes back
                return
            found = await ctx.generations.find(name)
        yield sse.event("end", json.dumps({"status": found.seen.view.api.value}))
    finally:
        ctx.hub.unlisten(name, facts)


async def _stored(ctx: Context, found: Found, until: int) -> AsyncIterator[bytes]:
    if not found.row.uid:
        return
    metadata = found.row.job.metadata
    subject = JobFact(metadata.namespace, found.row.job.spec.project, found.row.uid, Fact.LOGGED)
    try:
        async for delivery in replay(ctx.bus, str(subject), after=0, until=until):
            fact = parse_fact(delivery)
            if fact is not None and (chunk := line_of(fact)):
                yield chunk
    except Unavailable:
        yield b": the stored lines cannot be read now\n\n"


async def _coming(ctx: Context, facts: "asyncio.Queue[Envelope | None]") -> AsyncIterator[bytes]:
    heartbeat = ctx.settings.gateway.heartbeat.total_seconds()
    while True:
        try:
            fact = await asyncio.wait_for(facts.get(), heartbeat)
        except TimeoutError:
            yield sse.COMMENT
            continue
        if fact is None:
            return
        if chunk := line_of(fact):
            yield chunk
        if fact.data.fact in TERMINAL_FACTS:
            return


def line_of(fact: Envelope) -> bytes:
    if not isinstance(fact.data, Logged):
        return b""
    data = fact.data
    line = {
        "line": data.line,
        "level": data.level,
        "stream": data.stream,
        "attempt": data.attempt,
        "time": fact.time.isoformat(),
    }
    return sse.event("log", json.dumps(line, ensure_ascii=False))
