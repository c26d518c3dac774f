"""Putting it together: connections, background tasks, routes."""

import contextlib
from collections.abc import AsyncIterator, Coroutine
from datetime import timedelta
from typing import Any

from fastapi import FastAPI

from auteur_contracts.errors import AuteurError, InvalidRequest
from auteur_gateway.catalogue import Catalogue
from auteur_gateway.commands import Commands
from auteur_gateway.context import Context
from auteur_gateway.database import repository
from auteur_gateway.database.database import URL_SETTING, Database, open_database
from auteur_gateway.drafts import Rules
from auteur_gateway.endpoints import events, generations, health, pages, resources
from auteur_gateway.feed import Feeds
from auteur_gateway.generations import Generations
from auteur_gateway.hub import Hub
from auteur_gateway.media import Media
from auteur_gateway.projection.anti_entropy import AntiEntropy, ControlPlane
from auteur_gateway.projection.archive import Archive
from auteur_gateway.projection.projection import Projection
from auteur_gateway.projection.state import State
from auteur_gateway.resources import Resources
from auteur_gateway.settings import GatewaySettings, Settings
from auteur_kit.bus import Bus, EventLog
from auteur_kit.clock import Clock, utc_now
from auteur_kit.logs import get_logger
from auteur_kit.store import Store
from auteur_sql.engines import parse_url
from auteur_sql.ids import Ids
from auteur_web.app import About, auteur_version, make_app
from auteur_web.background import periodically, running_tasks
from auteur_web.middleware import BodyLimit
from auteur_web.security import policy_for

log = get_logger()
_ABOUT = About(
    "Auteur",
    """
Ask for generated media, watch it being made, fetch it.

```
curl -s -X POST localhost:8000/v1/generations \\
     -H 'Content-Type: application/json' -d '{"prompt":"misty cyberpunk alley"}'
```

Live: the socket `/ws/{project_id}` and the event stream `/v1/events` (messages: [/asyncapi.json](/asyncapi.json)).
Every error has the form of `ErrorReply`; its `code` is one of a fixed table.
""",
)
_KEYS_LIVE = timedelta(days=1)
_HOUSEKEEPING_SECONDS = 600.0


def build(settings: Settings, *, now: Clock = utc_now) -> FastAPI:
    """The application; it connects when it starts. Raises InvalidRequest for settings that would be unsafe."""
    policy = policy_for(settings.gateway, settings.cors_origins, settings="AUTEUR_GATEWAY")
    if not settings.store.secret_key.get_secret_value():
        raise InvalidRequest("AUTEUR_STORE__SECRET_KEY is empty: links to outputs cannot be signed without it")
    parse_url(settings.gateway.database_url, URL_SETTING)

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

    routers = [module.router for module in (generations, resources, events, health, pages)]
    limit = BodyLimit(remedy="upload files with POST /v1/uploads")
    return make_app(_ABOUT, routers, lifespan, policy=policy, limit=limit)


def end_streams(app: FastAPI) -> None:
    """The process is told to end. Nothing to do for one that has not started."""
    if hasattr(app.state, "context"):
        app.state.context.hub.close()


@contextlib.asynccontextmanager
async def running(settings: Settings, now: Clock) -> AsyncIterator[Context]:
    """Everything that has a beginning and an end, in the order it must have them."""
    async with contextlib.AsyncExitStack() as stack:
        bus = await stack.enter_async_context(Bus.connect(settings.nats, name="gateway"))
        store = Store(settings.store)
        stack.callback(store.close)
        database = await stack.enter_async_context(open_database(settings.gateway, bus, now))
        context = _assemble(settings, now, bus, store, database)
        await context.projection.load(database)
        database.relay.on_refused = context.projection.refuse
        await stack.enter_async_context(database.relay.running())
        with contextlib.suppress(AuteurError):
            await context.catalogue.refresh()
        stack.push_async_callback(_flush, context.projection)
        await stack.enter_async_context(running_tasks(_background(context)))
        yield context
        context.hub.close()


def _assemble(settings: Settings, now: Clock, bus: Bus, store: Store, database: Database) -> Context:
    wanted = settings.gateway
    commands = Commands(wanted.namespace, Ids(), now)
    catalogue = Catalogue(bus, wanted.namespace)
    projection = _projection(wanted, now, bus, database, commands)
    rules = Rules(
        namespace=wanted.namespace,
        bucket=store.bucket,
        default_quality=wanted.default_quality,
        task_timeout=wanted.task_timeout,
        link_lifetime=wanted.link_lifetime,
        upload_lifetime=wanted.upload_lifetime,
    )
    made = Generations(rules, catalogue, database, projection, commands, now)
    event_log = EventLog(bus)
    hub = Hub(event_log, queue_limit=wanted.client_queue)
    return Context(
        settings=settings,
        bus=bus,
        store=store,
        database=database,
        catalogue=catalogue,
        projection=projection,
        generations=made,
        resources=Resources(made),
        media=Media(rules, store, now),
        hub=hub,
        feeds=Feeds(hub, event_log, wanted.namespace, made.snapshot, now),
        now=now,
    )


def _projection(wanted: GatewaySettings, now: Clock, bus: Bus, database: Database, commands: Commands) -> Projection:
    state = State()
    archive = Archive(state, database, commands)
    control_plane = ControlPlane(bus, wanted.namespace)
    anti_entropy = AntiEntropy(state, archive, control_plane, database, commands, wanted.silence, now)
    return Projection(state, archive, anti_entropy, now)


def _background(context: Context) -> dict[str, Coroutine[Any, Any, None]]:
    projection, namespace = context.projection, context.settings.gateway.namespace

    async def remove_keys() -> None:
        await context.database.change(repository.remove_keys(context.now() - _KEYS_LIVE))

    return {
        "events": context.hub.run(projection.note, projection.anti_entropy.on_reset, namespace),
        "catalogue": context.catalogue.run(),
        **projection.background(),
        "housekeeping": periodically(remove_keys, _HOUSEKEEPING_SECONDS),
    }


async def _flush(projection: Projection) -> None:
    """What was heard last is written still."""
    with contextlib.suppress(AuteurError):
        await projection.archive.flush()
