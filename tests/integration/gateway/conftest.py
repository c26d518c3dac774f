"""A gateway as people meet it: a real server on a port of the OS's choosing, over SQLite and over PostgreSQL."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from auteur_gateway.app import build, end_streams
from auteur_gateway.context import Context
from auteur_gateway.settings import GatewaySettings, Settings
from auteur_kit.bus import Bus
from auteur_kit.settings import NatsSettings, StoreSettings
from auteur_kit.store import Store
from auteur_web.server import make_server
from tests.support.memory_control import MemoryControl, running_control
from tests.support.waiting import eventually


@dataclass
class Running:
    url: str
    http: httpx.AsyncClient
    context: Context

    @property
    def ws_url(self) -> str:
        return self.url.replace("http://", "ws://")


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Running]:
    """A gateway in this process, with uvicorn and real sockets; ends as by SIGTERM."""
    app = build(settings)
    server = make_server(app, settings.gateway, lambda: end_streams(app))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]  # signals are pytest's
    task = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started or task.done(), "the gateway to start")
        if task.done():
            task.result()
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, timeout=10) as http:
            context: Context = app.state.context
            await asyncio.wait_for(context.hub.ready.wait(), 60)
            yield Running(url, http, context)
    finally:
        server.should_exit = True
        end_streams(app)
        await asyncio.wait_for(task, 60)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'gateway.db'}"
    return str(request.getfixturevalue("postgres_database")).replace("+asyncpg", "")  # as people write it


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'gateway.db'}"


SettingsFactory = Callable[..., Settings]


@pytest.fixture
def settings_for(nats_settings: NatsSettings, store_settings: StoreSettings) -> SettingsFactory:
    def make(database_url: str, **gateway: object) -> Settings:
        chosen = {"port": 0, "database_url": database_url, "silence": "1", **gateway}
        return Settings(nats=nats_settings, store=store_settings, gateway=GatewaySettings.model_validate(chosen))

    return make


@pytest.fixture
async def control(bus: Bus, nats_settings: NatsSettings, store: Store) -> AsyncIterator[MemoryControl]:
    async with running_control(nats_settings, store) as running:
        yield running


@pytest.fixture
async def gateway(control: MemoryControl, database_url: str, settings_for: SettingsFactory) -> AsyncIterator[Running]:
    """On both databases: for what depends on them."""
    async with serving(settings_for(database_url)) as running:
        await eventually(lambda: running.context.catalogue.runners, "the catalogue")
        yield running


@pytest.fixture
async def light_gateway(
    control: MemoryControl, sqlite_url: str, settings_for: SettingsFactory
) -> AsyncIterator[Running]:
    """On SQLite only: for what does not."""
    async with serving(settings_for(sqlite_url)) as running:
        await eventually(lambda: running.context.catalogue.runners, "the catalogue")
        yield running


Serving = Callable[[Settings], AbstractAsyncContextManager[Running]]
