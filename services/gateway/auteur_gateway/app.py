"""Putting it together: connections, background tasks, routes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from datetime import timedelta
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from auteur_contracts.errors import AuteurError, InvalidRequest
from auteur_contracts.web.http import ErrorReply
from auteur_gateway import auteur_version, errors
from auteur_gateway.catalogue import Catalogue
from auteur_gateway.commands import Commands
from auteur_gateway.context import Context
from auteur_gateway.database import repository as db
from auteur_gateway.database.engines import migrate, open_engines, parse_url
from auteur_gateway.database.repository import Repository
from auteur_gateway.database.writer import Writer
from auteur_gateway.endpoints import events, generations, health, pages, resources
from auteur_gateway.feed import Feeds
from auteur_gateway.generations import Generations, Rules
from auteur_gateway.hub import Hub
from auteur_gateway.ids import Ids
from auteur_gateway.middleware import Guard
from auteur_gateway.outbox import Relay
from auteur_gateway.projection import Projection
from auteur_gateway.security import policy_for
from auteur_gateway.settings import Settings, split
from auteur_kit.bus import Bus, EventLog
from auteur_kit.clock import Clock, utc_now
from auteur_kit.logs import get_logger
from auteur_kit.store import Store
from auteur_lifecycle.capabilities import CLUSTER, ONE_MACHINE

log = get_logger()
_DESCRIPTION = """
Ask for generated media, watch it being made, fetch it.

```
curl -s -X POST localhost:8000/v1/generations \\
     -H 'Content-Type: application/json' -d '{"prompt":"misty cyberpunk alley"}'
```

Live: the socket `/ws/{project_id}` and the event stream `/v1/events` (messages: [/asyncapi.json](/asyncapi.json)).
Every error has the form of `ErrorReply`; its `code` is one of a fixed table.
"""
_KEYS_LIVE = timedelta(days=1)
_HOUSEKEEPING = 600.0


def build(settings: Settings, *, now: Clock = utc_now) -> FastAPI:
    """The application; it connects when it starts. Raises InvalidRequest for settings that would be unsafe."""
    policy = policy_for(
        settings.gateway.host, settings.tokens, split(settings.gateway.allowed_hosts), settings.cors_origins
    )

    if not settings.store.secret_key.get_secret_value():
        raise InvalidRequest("AUTEUR_STORE__SECRET_KEY is empty: links to outputs cannot be signed without it")

    parse_url(settings.gateway.database_url)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            try:
                app.state.context = await stack.enter_async_context(running(settings, now))
            except AuteurError as error:
                log.critical("gateway cannot start", error=error.message)
                raise
            except Exception:
                log.critical("gateway cannot start", exc_info=True)
                raise
            log.info("gateway started", version=auteur_version(), namespace=settings.gateway.namespace)
            yield

    app = FastAPI(
        docs_url=None,  # both by `pages`, without a CDN
        redoc_url=None,
        title="Auteur",
        version=auteur_version(),
        description=_DESCRIPTION,
        lifespan=lifespan,
        responses={
            404: {"model": ErrorReply, "description": "What was looked for is not there."},
            422: {"model": ErrorReply, "description": "Understood, but wrong: the error names the field."},
        },
    )
    for module in (generations, resources, events, health, pages):
        app.include_router(module.router)
    pages.add_docs(app)
    errors.install(app)
    app.add_middleware(Guard, policy=policy)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["Location", "X-Request-ID", "Idempotency-Replayed", "Retry-After"],
    )
    return app


@contextlib.asynccontextmanager
async def running(settings: Settings, now: Clock) -> AsyncIterator[Context]:
    """Everything that has a beginning and an end, in the order it must have them."""
    async with contextlib.AsyncExitStack() as stack:
        engines = open_engines(settings.gateway.database_url)
        stack.push_async_callback(engines.dispose)
        await migrate(engines)
        bus = await stack.enter_async_context(Bus.connect(settings.nats, name="gateway"))
        store = Store(settings.store)
        stack.callback(store.close)
        writer = Writer(engines.writer, namespace=settings.gateway.namespace, queue_limit=settings.gateway.queue_limit)
        await stack.enter_async_context(writer.running())
        context, relay = _assemble(settings, now, bus, store, engines, writer)
        await context.projection.load()
        await stack.enter_async_context(relay.running())
        with contextlib.suppress(AuteurError):
            await context.catalogue.refresh()
        await stack.enter_async_context(_background(context, writer))
        yield context
        context.hub.close()


def _assemble(
    settings: Settings, now: Clock, bus: Bus, store: Store, engines: Any, writer: Writer
) -> tuple[Context, Relay]:
    wanted, ids = settings.gateway, Ids()
    repository = Repository(engines.reader, wanted.namespace)
    catalogue = Catalogue(bus, wanted.namespace)
    commands = Commands(wanted.namespace, ids, now)
    relay = Relay(bus, repository, writer, now)
    projection = Projection(
        bus=bus,
        repository=repository,
        writer=writer,
        relay=relay,
        commands=commands,
        ids=ids,
        namespace=wanted.namespace,
        silence=wanted.silence.total_seconds(),
        now=now,
    )
    relay.on_refused = projection.refuse
    service = Generations(
        rules=Rules(
            namespace=wanted.namespace,
            default_quality=wanted.default_quality,
            task_timeout=wanted.task_timeout,
            link_lifetime=wanted.link_lifetime,
            upload_lifetime=wanted.upload_lifetime,
            platform=CLUSTER if wanted.cluster else ONE_MACHINE,
        ),
        catalogue=catalogue,
        repository=repository,
        writer=writer,
        relay=relay,
        projection=projection,
        commands=commands,
        store=store,
        ids=ids,
        now=now,
    )
    event_log = EventLog(bus)
    hub = Hub(event_log, queue_limit=wanted.client_queue)
    feeds = Feeds(
        hub=hub,
        events=event_log,
        namespace=wanted.namespace,
        snapshots=service.snapshot,
        now=now,
    )
    context = Context(
        settings=settings,
        bus=bus,
        store=store,
        engines=engines,
        repository=repository,
        catalogue=catalogue,
        generations=service,
        projection=projection,
        hub=hub,
        feeds=feeds,
        now=now,
    )
    return context, relay


@contextlib.asynccontextmanager
async def _background(context: Context, writer: Writer) -> AsyncIterator[None]:
    projection = context.projection
    work: dict[str, Coroutine[Any, Any, None]] = {
        "events": context.hub.run(projection.note, projection.on_reset, context.settings.gateway.namespace),
        "catalogue": context.catalogue.run(),
        "flush": projection.flush_forever(),
        "ask": projection.ask_forever(),
        "places": projection.ask_places_forever(),
        "strangers": projection.meet_strangers_forever(),
        "housekeeping": _housekeeping(context, writer),
    }
    tasks = [asyncio.create_task(_guarded(name, one), name=name) for name, one in work.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(AuteurError):
            await projection.flush()


async def _guarded(name: str, work: Coroutine[Any, Any, None]) -> None:
    """A background loop that ends by a bug must be seen: nothing else would notice."""
    try:
        await work
    except Exception:
        log.critical("background task failed", task=name, exc_info=True)
        raise


async def _housekeeping(context: Context, writer: Writer) -> None:
    while True:
        with contextlib.suppress(AuteurError):
            await writer.change(db.forget_keys(context.now() - _KEYS_LIVE))
        await asyncio.sleep(_HOUSEKEEPING)
