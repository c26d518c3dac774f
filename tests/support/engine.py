"""The engine in the test's own process, on the test's servers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from auteur_control.control_plane import Outside
from auteur_engine.engine import run_engine
from auteur_engine.settings import EngineSettings
from auteur_engine.table import Table
from auteur_kit.bus import Bus
from auteur_kit.clock import utc_now
from auteur_kit.store import Store


@asynccontextmanager
async def running_engine(bus: Bus, store: Store, settings: EngineSettings) -> AsyncIterator[None]:
    """Hears and answers inside the block; leaving it ends the engine without goodbye."""
    table = Table.open(settings.database, on_fault=lambda error: pytest.fail(repr(error)))
    up = asyncio.Event()
    engine = asyncio.create_task(run_engine(Outside(bus, store, utc_now), table, settings, ready=up.set))
    ready = asyncio.create_task(up.wait())
    try:
        async with asyncio.timeout(60):
            await asyncio.wait({engine, ready}, return_when=asyncio.FIRST_COMPLETED)
        if engine.done():
            engine.result()
        yield
    finally:
        ready.cancel()
        engine.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await engine
        table.close()
